"""Results of a pure function of the images seen, of which the next is computed ahead of time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class DrawnAhead(Generic[T]):
    """Computes a function at a position, and then at the next one in another thread.

    So the result of the next step is there when it begins. Nothing is computed ahead before the
    first :meth:`at`, and another position than the next is computed when it is asked for.

    Args:
        function: a pure function of the position.
        step: the distance between two positions.
    """

    def __init__(self, function: Callable[[int], T], step: int):
        self._function = function
        self._step = step
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[T]] | None = None

    def at(self, position: int) -> T:
        """The result at ``position``; an error of the function is raised here."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="drawn ahead")
        if self._next is not None and self._next[0] == position:
            result = self._next[1].result()
        else:
            result = self._function(position)
        following = position + self._step
        self._next = following, self._thread.submit(self._function, following)
        return result

    def close(self) -> None:
        """End the thread; a later :meth:`at` starts another."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._thread = self._next = None
