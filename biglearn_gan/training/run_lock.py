"""One run at a time writes into a folder."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from biglearn_gan.errors import UserError
from biglearn_gan.files import replacing, writing


class RunLockError(UserError):
    """Another process trains in this folder."""


class RunLock:
    """A lock on a folder, which the system releases when its process ends or is killed.

    The file ``.lock`` is what is locked, and it stays. ``.lock-holder.json`` has the process id and
    the host of the holder, for messages only.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = FileLock(folder / ".lock", timeout=0)
        self._holder = folder / ".lock-holder.json"

    @property
    def is_held(self) -> bool:
        """Whether this object has the lock."""
        return self._lock.is_locked

    def acquire(self) -> None:
        """Take the lock, unless this object has it; the folder must exist.

        Raises:
            RunLockError: another process has it.
            WriteError: the folder cannot be written.
        """
        if self.is_held:
            return
        with writing(self._folder / ".lock"):
            try:
                self._lock.acquire()
            except Timeout:
                raise RunLockError(
                    f"{self._folder} is in use by {self._describe_holder()}: wait until it ends, "
                    "or choose another output folder"
                ) from None
        with replacing(self._holder) as path:
            path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))

    def release(self) -> None:
        """Give the lock back, if this object has it."""
        if self.is_held:
            with suppress(OSError):
                self._holder.unlink()
            self._lock.release()

    def _describe_holder(self) -> str:
        try:
            holder = json.loads(self._holder.read_text())
            where = "" if holder["host"] == socket.gethostname() else f" on {holder['host']}"
            return f"process {holder['pid']}{where}"
        except (OSError, ValueError, KeyError, TypeError):  # it is just being written
            return "another process"
