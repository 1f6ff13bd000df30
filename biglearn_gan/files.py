"""Check an output folder before anything is written into it, and write files atomically."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from biglearn_gan.errors import UserError


class OutputError(UserError):
    """An output folder that cannot be made, or in which files would be lost or mixed up."""


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; the file written there replaces ``path``.

    The temporary path has the same suffix, because some writers choose their format by it. If the
    block raises, ``path`` stays as it was.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
