"""Check an output folder before anything is written into it, and write files atomically.

A file that cannot be written is reported in one sentence, whatever library writes it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from biglearn_gan.errors import UserError


class OutputError(UserError):
    """An output that cannot be written, or in which files would be lost or mixed up."""

    exit_code = 2


_AGAIN = "then run the same command again"

_REASONS = {
    errno.ENOSPC: f"because its disk is full: free some space, {_AGAIN}",
    errno.EDQUOT: f"because your disk quota is used up: free some space, {_AGAIN}",
    errno.EFBIG: f"because files of its size are not allowed: raise `ulimit -f`, {_AGAIN}",
    errno.EROFS: "because its disk is read-only: choose another output",
    errno.EACCES: "because its folder or the file is protected: change the permissions, or choose "
    "another output",
}
_REASONS[errno.EPERM] = _REASONS[errno.EACCES]


_PROBE_SIZE = 2**22
"""Bytes that are written to learn why a library could not write."""


class WriteError(OutputError, OSError):
    """A file or folder that cannot be written; the message says why and what to do.

    Attributes:
        path: the file or folder.
        reason: the number of the system's error, or a text if there is none.
        errno: the number, or None.
    """

    exit_code = 1

    def __init__(self, path: Path, reason: int | str):
        text = reason if isinstance(reason, str) else os.strerror(reason)
        advice = f"({text}): check the disk, or choose another output"
        if isinstance(reason, int):
            advice = _REASONS.get(reason, advice)
        super().__init__(f"{path} cannot be written {advice}")
        self.path = path
        self.reason = reason
        self.errno = reason if isinstance(reason, int) else None


def check_output_folder(
    folder: Path,
    *,
    written_by: str,
    replaces: Iterable[Path] = (),
    ours: Collection[Path] = (),
    inputs: Iterable[Path] = (),
    recursive: bool = False,
) -> None:
    """Refuse an output folder that cannot be made, or in which files would be lost or mixed up.

    Nothing is written. The folder need not exist.

    Args:
        folder: the output folder.
        written_by: the command that is about to write, as messages name it: ``train``.
        replaces: paths in the folder that the command may replace; those missing do not matter.
        ours: the ones among them that an earlier call of the command wrote.
        inputs: files and folders that the command reads. The folder must differ from each input
            folder and from the folder of each input file.
        recursive: input folders are read with their subfolders, so the folder must not lie below
            one of them either.

    Raises:
        OutputError: for one of these reasons, in one sentence.
    """
    advice = "choose another output folder"
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise OutputError(f"cannot create {folder} because {above} is a file: {advice}")
    if not os.access(above, os.W_OK | os.X_OK):
        read_only = os.statvfs(above).f_flag & os.ST_RDONLY
        raise WriteError(folder, errno.EROFS if read_only else errno.EACCES)
    resolved = folder.resolve()
    for path in inputs:
        input_folder = (path if path.is_dir() else path.parent).resolve()
        if input_folder == resolved or (
            recursive and path.is_dir() and input_folder in resolved.parents
        ):
            raise OutputError(f"output in {folder} would mix with the input {path}: {advice}")
    for path in replaces:
        if path.exists() and path not in ours:
            raise OutputError(
                f"{folder} holds {path.relative_to(folder)}, which `{written_by}` did not write: "
                f"{advice}"
            )


def check_space(error: BaseException, path: Path) -> None:
    """Raise a WriteError for ``path`` if ``error`` says that a disk or a quota is full.

    It is for libraries that download, and that raise other errors for other reasons.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise WriteError(path, error.errno) from error


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless they exist.

    Raises:
        WriteError: it cannot be created.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def writing(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """Yield ``path``; raise every failure to write in the block as a WriteError that names it.

    Args:
        path: a file or folder.
        temporary: where it is written first; its files are named as those of ``path``.

    Raises:
        WriteError: as described.
    """
    try:
        yield path
    except WriteError as error:
        if temporary is None or not error.path.is_relative_to(temporary):
            raise
        raise WriteError(path / error.path.relative_to(temporary), error.reason) from error
    except UserError:
        raise
    except Exception as error:
        reason = _reason(error, temporary or path)
        if reason is None:
            raise
        raise WriteError(path, reason) from error


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; the file written there replaces ``path``.

    The temporary path has the same suffix, because some writers choose their format by it. If the
    block raises, ``path`` stays as it was.

    Args:
        path: the file.
        sync: wait until the file is on the disk, so that it survives a power failure.

    Raises:
        WriteError: the file cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        with writing(path, temporary):
            yield temporary
            if sync:
                _sync(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_json(path: Path, content: object) -> None:
    """Write an indented JSON document, in place of the file if there is one.

    Raises:
        WriteError: see :func:`replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder to fill; it replaces ``folder`` when all of its files are on the disk.

    If the block raises, ``folder`` stays as it was. See :func:`recover_folder` for a process that
    is killed.

    Raises:
        WriteError: the folder or a file in it cannot be written.
    """
    temporary, old = _neighbors(folder)
    recover_folder(folder)
    try:
        with writing(folder, temporary):
            temporary.mkdir()
            yield temporary
            for file in temporary.iterdir():
                _sync(file)
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
    finally:
        recover_folder(folder)


def recover_folder(folder: Path) -> None:
    """Finish or undo a :func:`replacing_folder` that was interrupted, as by a killed process.

    Raises:
        WriteError: the folder cannot be renamed.
    """
    temporary, old = _neighbors(folder)
    if not folder.exists() and old.exists():  # between the two renames: the new one is complete
        with writing(folder, temporary):
            (temporary if temporary.exists() else old).rename(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def append(path: Path, data: bytes) -> None:
    """Append bytes to a file, or leave it as it was.

    Raises:
        WriteError: the file cannot be written.
    """
    with writing(path), path.open("ab", buffering=0) as file:
        size, rest = file.tell(), memoryview(data)
        try:
            while rest:  # a nearly full disk takes a part, and refuses the rest
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise


def _neighbors(folder: Path) -> tuple[Path, Path]:
    """Where the new folder is filled, and where the old one goes."""
    return folder.with_name(f"{folder.name}.tmp"), folder.with_name(f"{folder.name}.old")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _reason(error: Exception, path: Path) -> int | str | None:
    """Why writing to ``path`` failed: an error number, or a text; None if it was something else.

    torch and safetensors raise errors of their own, and PIL drops the error number. So this looks
    at what an error came from, at its text, and at whether more can be written.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno if _concerns(cause, path) else None
        cause = cause.__cause__ or cause.__context__
    if not (isinstance(error, OSError | SafetensorError) or "inline_container" in str(error)):
        return None
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is not None:
        return int(number[1])
    return _try_to_write(path if path.is_dir() else path.parent) or str(error).partition("\n")[0]


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error names no file, or one next to this path, above it or in it."""
    if not isinstance(error.filename, str | os.PathLike):
        return True
    file = Path(error.filename)
    return file.is_relative_to(path.parent) or path.is_relative_to(file)


def _try_to_write(folder: Path) -> int | None:
    """The number of the error that stops a new file of a few megabytes, or None."""
    probe = folder / ".writing-probe"
    try:
        with probe.open("wb") as file:
            file.write(bytes(_PROBE_SIZE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    finally:
        with suppress(OSError):
            probe.unlink()
    return None
