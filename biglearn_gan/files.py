"""Files that are never half there, written under a temporary name and then renamed; and what an
output folder may not be.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from biglearn_gan.errors import UserError


class OutputError(UserError):
    """An output folder where files would be lost or mixed up, in one sentence."""


def refuse_foreign(files: Iterable[Path], folder: Path, command: str) -> None:
    """Refuse an output folder with files that the command would replace and did not write.

    Raises:
        OutputError: one of ``files`` exists; it names the folder, the file and the command.
    """
    for file in files:
        if file.exists():
            raise OutputError(
                f"{folder} holds {file.relative_to(folder)}, which is not of {command}: name "
                "another output folder"
            )


def refuse_input_among(folders: Sequence[Path], given: Path) -> None:
    """Refuse output folders that hold what is read: a folder, or the file that is meant.

    Raises:
        OutputError: one of them is the folder, or that of the file.
    """
    place = given if given.is_dir() else given.parent
    for folder in folders:
        if folder.resolve() == place.resolve():
            raise OutputError(
                f"what is written into {folder} would be mixed up with what is read from {given}: "
                "name another output folder"
            )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; what was written there replaces it at the end.

    The suffix stays the same, because some writers choose their format by it. If the block
    raises, ``path`` is left as it was.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
