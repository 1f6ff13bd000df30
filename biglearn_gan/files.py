"""Files that are never half there, written under a temporary name and then renamed, and never in
place of somebody else's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class OutputError(Exception):
    """An output folder whose files would be lost, in one sentence."""


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
