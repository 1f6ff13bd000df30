"""Signals that ask a run to save and stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C, what schedulers send before they kill a process, a closed terminal, and a warning of
SLURM or another scheduler."""

_MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGUSR1)
"""Signals that stay ignored if the caller ignores them, as ``nohup`` does."""


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Catch signals that stop; yield a function that says whether one has come.

    After the first Ctrl-C its previous handler is back, so that a second one stops immediately.
    Outside the main thread, where Python cannot catch signals, none has ever come.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received = False

    def handle(signum: int, frame: object) -> None:
        nonlocal received
        received = True
        if signum == signal.SIGINT:
            restore(signal.SIGINT)

    def restore(number: signal.Signals) -> None:
        handler = previous[number]  # None if it was not set from Python
        signal.signal(number, signal.SIG_DFL if handler is None else handler)

    caught = [
        number
        for number in STOP_SIGNALS
        if number not in _MAY_BE_IGNORED or signal.getsignal(number) != signal.SIG_IGN
    ]
    previous = {number: signal.signal(number, handle) for number in caught}
    try:
        yield lambda: received
    finally:
        for number in caught:
            restore(number)
