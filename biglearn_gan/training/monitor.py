"""What is looked at of a model while it trains: grids, and measurements as often as time allows."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

import torch
from PIL import Image

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_uint8
from biglearn_gan.image_grid import completion_grid
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.tasks.holes import named_hole
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.trainer import Trainer

GRID_HOLES = ("joint", "random:0.5", "right-half", "center")
GRID_ROWS_PER_HOLE = 3
GRID_VARIATIONS = 6


@runtime_checkable
class Evaluation(Protocol):
    """Measures the model alongside training."""

    @property
    def names(self) -> tuple[str, ...]:
        """What :meth:`measure` may give."""

    @property
    def fingerprint(self) -> str:
        """Tells scores that can be compared from others."""

    def measure(self, model: BigLearnGAN) -> dict[str, float]:
        """Numbers to log; changes neither the model nor anything global."""

    def score(self, measured: dict[str, float]) -> float | None:
        """What the best state has the least of; None to name no best state."""


class PeriodicEvaluation:
    """Evaluates the model as often as its share of the time allows, and keeps the best state.

    Args:
        evaluation: what measures.
        trainer: of the model.
        folder: where records and the best state go.
        spent: seconds that the making of the evaluation took, which count as its own.
    """

    def __init__(self, evaluation: Evaluation, trainer: Trainer, folder: RunFolder, spent: float):
        self._evaluation = evaluation
        self._trainer = trainer
        self._folder = folder
        self._share = trainer.config.logging.evaluation_time_share
        self._start = trainer.images_seen, trainer.seconds
        self._best = folder.best_score(evaluation.fingerprint) if trainer.images_seen else None
        self._spent = spent
        self._last: float | None = None
        self._seen = 0
        self._told = False

    def maybe_evaluate(self) -> dict[str, float]:
        """Evaluate the first time, then as time allows, at most once in a logging interval.

        The last state is evaluated however recent the one before it, if there is time.

        Returns:
            What was measured, or nothing.
        """
        if self._last is not None and not self._is_time(self._last):
            return {}
        self._seen, self._told = self._trainer.images_seen, False
        return self._evaluate()

    def eta_message(self) -> str:
        """When the next evaluation comes at the present speed; once after each, else empty.

        The warm start, which is faster than the game, foretells nothing.
        """
        trainer = self._trainer
        elapsed, at_end = self._seconds()
        if self._last is None or self._told or elapsed == 0 or trainer.warm or trainer.finished:
            return ""
        self._told = True
        cost, left = self._spent + self._last, at_end - elapsed
        if cost > self._share * at_end:
            return "no time for another evaluation"
        wait = cost / self._share - elapsed
        if cost + self._last > self._share * at_end or wait >= left:
            return "next evaluation at the end, if time allows"
        images = wait / left * (trainer.schedule.total_images - trainer.images_seen)
        soonest = self._seen + trainer.config.logging.log_images - trainer.images_seen
        return f"next evaluation in about {max(round(images), soonest):,} images"

    def _is_time(self, last: float) -> bool:
        """Whether an evaluation that takes as long as the last one may run now."""
        trainer, cost = self._trainer, self._spent + last
        elapsed, at_end = self._seconds()
        if cost > self._share * elapsed:
            return False
        if trainer.finished:
            return True
        soon = trainer.images_seen - self._seen < trainer.config.logging.log_images
        return not soon and cost + last <= self._share * at_end

    def _seconds(self) -> tuple[float, float]:
        """Of training since this began, and what they will be at the end at the same speed."""
        images, seconds = self._start
        elapsed, seen = self._trainer.seconds - seconds, self._trainer.images_seen - images
        total = self._trainer.schedule.total_images - images
        return elapsed, elapsed * total / seen if seen else 0.0

    def _evaluate(self) -> dict[str, float]:
        started = time.perf_counter()
        trainer = self._trainer
        model = trainer.model().to(trainer.accelerator.device)
        measured = self._evaluation.measure(model)
        self._folder.log({"images": trainer.images_seen, **measured})
        score = self._evaluation.score(measured)
        if score is not None and (self._best is None or score < self._best):
            self._best = score
            self._folder.save_best(
                model.cpu(),
                training_grid(model, trainer.dataset),
                measured,
                score,
                self._evaluation.fingerprint,
                images_seen=trainer.images_seen,
                seconds=trainer.seconds,
            )
        self._last = time.perf_counter() - started
        self._spent += self._last
        return measured


def training_grid(model: BigLearnGAN, dataset: ImageDataset) -> Image.Image:
    """Joint samples and completions of the data set's first images, with their input columns."""
    indices = torch.arange(GRID_ROWS_PER_HOLE) % len(dataset)
    batch = dataset.batch(indices)
    images, absent = batch.images.cpu(), ~batch.observed.cpu()
    data, patch_size = model.config.data, model.config.model.patch_size
    holes = torch.cat(
        [named_hole(name, data.image_size, patch_size, len(images), 0) for name in GRID_HOLES]
    )
    images = images.masked_fill(absent[:, None], 0).repeat(len(GRID_HOLES), 1, 1, 1)
    absent = absent.repeat(len(GRID_HOLES), 1, 1)
    completions = model.complete(images, holes, absent=absent, variations=GRID_VARIATIONS, seed=0)
    return completion_grid(to_uint8(images), holes, to_uint8(completions))
