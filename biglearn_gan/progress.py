"""Progress of long work: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tqdm import tqdm

ImageProgress = Callable[[int, int], None]
"""Called with (images done, all images)."""

TaskProgress = Callable[[str, int, int], None]
"""Called with (name of the task, its images done, all its images)."""

StartProgress = Callable[[str, int], Callable[[int], None]]
"""Called with (unit, all units); what it returns is called with the units that were just done."""


@dataclass(frozen=True)
class TrainingProgress:
    """What training reports after each step.

    Attributes:
        images_seen: images since the start of the run.
        total_images: the budget of the run, in images.
        in_warm_start: the next step belongs to the warm start.
        metrics: means over a logging interval; empty unless one has just ended.
        evaluation: what an evaluation measured; empty unless one has just run.
        evaluation_eta: a sentence on when the next evaluation runs; empty unless it is news.
        warnings: sentences of the diagnostics.
    """

    images_seen: int
    total_images: int
    in_warm_start: bool
    metrics: Mapping[str, float]
    evaluation: Mapping[str, float]
    evaluation_eta: str
    warnings: Sequence[str]


@contextmanager
def unit_bars() -> Iterator[StartProgress]:
    """Yield ``start(unit, total) -> update(n)``, which shows a bar; silent unless on a terminal."""
    with ExitStack() as bars:

        def start(unit: str, total: int) -> Callable[[int], None]:
            hidden = not sys.stderr.isatty()
            bar = bars.enter_context(tqdm(total=total, unit=unit, leave=False, disable=hidden))
            return lambda done: bar.update(done) and None

        yield start


@contextmanager
def task_bars() -> Iterator[TaskProgress]:
    """Yield a callback that shows a bar per task on a terminal, a line per task in a log."""
    bars: dict[str, tqdm] = {}
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
def training_progress() -> Iterator[Callable[[TrainingProgress], None]]:
    """Yield a callback that shows speed and losses: a bar on a terminal, lines in a log."""
    terminal = sys.stderr.isatty()
    bar: tqdm | None = None

    def report(progress: TrainingProgress) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(
                initial=progress.images_seen,
                total=progress.total_images,
                unit="image",
                disable=not terminal,
            )
        bar.desc = "warm start" if progress.in_warm_start else "adversarial training"
        losses = {
            name.rpartition("/")[2]: f"{value:.3f}"
            for name, value in progress.metrics.items()
            if name.startswith(("loss/", "warm_start/"))
        }
        if losses:
            bar.set_postfix(losses, refresh=False)
        bar.update(progress.images_seen - bar.n)
        for line in _messages(progress):
            bar.write(line, file=sys.stderr)
        if progress.metrics and not terminal:
            speed = progress.metrics["images_per_second"]
            listed = "  ".join(f"{name} {value}" for name, value in losses.items())
            print(
                f"{progress.images_seen:>10,} / {progress.total_images:,} images  "
                f"{speed:.0f} images/s  {listed}",
                file=sys.stderr,
                flush=True,
            )

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()


def _messages(progress: TrainingProgress) -> Iterator[str]:
    """The lines to print besides the losses."""
    seen = f"{progress.images_seen:>10,} images seen"
    if progress.evaluation:
        values = "  ".join(
            f"{name.rpartition('/')[2]} {value:.3f}" for name, value in progress.evaluation.items()
        )
        yield f"{seen}, evaluation: {values}"
    if progress.evaluation_eta:
        yield f"{seen}: {progress.evaluation_eta}"
    for warning in progress.warnings:
        yield f"biglearn-gan: {warning}"
