"""The processes of a run, which fail and leave together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TypeVar

import torch
from accelerate import Accelerator

from biglearn_gan.errors import UserError

T = TypeVar("T")


class ProcessError(UserError):
    """Another process of the run failed."""


class Processes:
    """All processes of a run; one, unless a launcher such as ``torchrun`` started several.

    As a context manager, it destroys the process group at the end. If all processes end for the
    same reason, they wait for each other first. If one fails alone, it leaves immediately; the
    others then raise :class:`ProcessError`, because their connection to it is closed.

    Args:
        accelerator: of this process.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.is_main = accelerator.is_main_process
        self._failed_together = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        if error is None or self._failed_together:
            with suppress(RuntimeError):  # a process was killed after its work was done
                self.accelerator.wait_for_everyone()
        torch.distributed.destroy_process_group()
        if error is not None and _is_lost_connection(error):
            raise ProcessError(
                "another process of this run ended early: see its message, then run the same "
                "command again"
            ) from error

    def any(self, flag: bool) -> bool:
        """Whether the flag is True in any process. All processes must call it."""
        if self.accelerator.num_processes == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.accelerator.device)
        return self.accelerator.reduce(flags, "sum").item() > 0

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Raise a user's error of one process in all of them. All processes must enter the block.

        The block may communicate only if all processes that fail do so at the same place.

        Raises:
            ProcessError: a user's error was raised, but in other processes only.
        """
        error: UserError | None = None
        try:
            yield
        except UserError as caught:
            error = caught
        if self.any(error is not None):
            self._failed_together = True
            raise error or ProcessError("another process of this run failed: see its message")

    def main_first(self, function: Callable[[], T]) -> T:
        """Call a function in the main process, then in the others.

        So the others find what the main process downloaded. Errors are raised in all processes.
        """
        results: list[T] = []
        for turn_of_main in (True, False):
            with self.failing_together():
                if self.is_main == turn_of_main:
                    results.append(function())
        return results[0]


def _is_lost_connection(error: BaseException) -> bool:
    """Whether a collective operation failed because another process is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error)
