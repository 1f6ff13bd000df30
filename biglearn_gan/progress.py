"""What long work tells of itself, and what is shown of it: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tqdm import tqdm

ImageProgress = Callable[[int, int], None]
"""Called with (images done, all images)."""

TaskProgress = Callable[[str, int, int], None]
"""Called with (what is done: a task, say; images done; all of its images)."""


@contextmanager
def unit_bars() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Bars, one after another, each of which hears how many more units are done; none in a log.

    What is given starts a bar: it is called with the name of the unit and how many there are.
    """
    with ExitStack() as bars:

        def start(unit: str, total: int) -> Callable[[int], None]:
            hidden = not sys.stderr.isatty()
            bar = bars.enter_context(tqdm(total=total, unit=unit, leave=False, disable=hidden))
            return lambda done: bar.update(done) and None

        yield start


@contextmanager
def task_bars() -> Iterator[TaskProgress]:
    """A bar per task on a terminal, a line per task in a log."""
    bars: dict[str, Any] = {}
    terminal = sys.stderr.isatty()

    def report(task: str, done: int, total: int) -> None:
        if task not in bars:
            bars[task] = tqdm(total=total, desc=task, unit="image", disable=not terminal)
        bars[task].update(done - bars[task].n)
        if not terminal and done >= total:
            print(f"{task}: {done:,} images", file=sys.stderr)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()


@contextmanager
def training_progress() -> Iterator[Callable[[Any], None]]:
    """A bar with speed and losses on a terminal, a line per logging interval in a log."""
    terminal = sys.stderr.isatty()
    bar: Any = None

    def report(progress: Any) -> None:
        nonlocal bar
        if bar is None:
            seen = {"initial": progress.images_seen, "total": progress.total_images}
            bar = tqdm(**seen, unit="image", disable=not terminal)
        bar.desc = "warm start" if progress.warm else "game"
        shown = {
            name.rpartition("/")[2]: f"{value:.3f}"
            for name, value in progress.metrics.items()
            if name.startswith(("loss/", "warm_start/"))
        }
        if shown:
            bar.set_postfix(shown, refresh=False)
        bar.update(progress.images_seen - bar.n)
        if progress.evaluation:
            values = "  ".join(
                f"{name.rpartition('/')[2]} {value:.3f}"
                for name, value in progress.evaluation.items()
            )
            line = f"{progress.images_seen:>10,} images seen, now measured: {values}"
            bar.write(line, file=sys.stderr)
        if progress.outlook:
            line = f"{progress.images_seen:>10,} images seen: {progress.outlook}"
            bar.write(line, file=sys.stderr)
        for warning in progress.warnings:
            bar.write(f"biglearn-gan: {warning}", file=sys.stderr)
        if progress.metrics and not terminal:
            speed = progress.metrics["images_per_second"]
            losses = "  ".join(f"{name} {value}" for name, value in shown.items())
            print(
                f"{progress.images_seen:>10,} / {progress.total_images:,} images  "
                f"{speed:.0f} images/s  {losses}",
                file=sys.stderr,
                flush=True,
            )

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()
