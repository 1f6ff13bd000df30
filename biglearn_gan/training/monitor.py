"""Watching a model while it trains: sample grids, and evaluations as often as time allows."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

import torch
from PIL import Image

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.image_grid import completion_grid
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import range_is_known
from biglearn_gan.pixel_values import to_uint8
from biglearn_gan.tasks.holes import named_hole
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.trainer import Trainer

GRID_HOLES = ("joint", "random:0.5", "right-half", "center")
GRID_ROWS_PER_HOLE = 3
GRID_VARIATIONS = 6


@runtime_checkable
class Evaluation(Protocol):
    """What measures a model during training."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that :meth:`measure` may return."""

    @property
    def fingerprint(self) -> str:
        """Scores with the same fingerprint can be compared."""

    def measure(self, model: BigLearnGAN) -> dict[str, float]:
        """Measurements by name; changes neither the model nor any global state."""

    def score(self, measured: dict[str, float]) -> float | None:
        """The score of a model, lower is better; None if no model should count as the best."""


class PeriodicEvaluation:
    """Evaluates a model within its share of the training time, and saves the best state.

    Args:
        evaluation: measures the model.
        trainer: trains it.
        folder: receives measurements and the best state.
        setup_seconds: time spent on making ``evaluation``, which counts as time of evaluation.
    """

    def __init__(
        self, evaluation: Evaluation, trainer: Trainer, folder: RunFolder, setup_seconds: float
    ):
        self._evaluation = evaluation
        self._trainer = trainer
        self._folder = folder
        self._share = trainer.config.logging.evaluation_time_share
        self._images_at_start = trainer.images_seen
        self._seconds_at_start = trainer.seconds
        self._best_score = (
            folder.best_score(evaluation.fingerprint) if trainer.images_seen else None
        )
        self._seconds_spent = setup_seconds
        self._seconds_of_last: float | None = None
        self._images_at_last = 0
        self._eta_reported = False

    def maybe_evaluate(self) -> dict[str, float]:
        """Evaluate if it is the first call or time allows, at most once in a logging interval.

        The final state is evaluated if there is time, even shortly after the previous evaluation.

        Returns:
            The measurements, or an empty dictionary.
        """
        if self._seconds_of_last is not None and not self._is_due(self._seconds_of_last):
            return {}
        self._images_at_last, self._eta_reported = self._trainer.images_seen, False
        return self._evaluate()

    def eta_message(self) -> str:
        """When the next evaluation runs at the present speed; empty if it was already reported.

        There is no estimate during the warm start, whose speed differs.
        """
        trainer = self._trainer
        elapsed, total = self._training_seconds()
        if (
            self._seconds_of_last is None
            or self._eta_reported
            or elapsed == 0
            or trainer.in_warm_start
            or trainer.finished
        ):
            return ""
        self._eta_reported = True
        cost, left = self._seconds_spent + self._seconds_of_last, total - elapsed
        if cost > self._share * total:
            return "no time for another evaluation"
        wait = cost / self._share - elapsed
        if cost + self._seconds_of_last > self._share * total or wait >= left:
            return "next evaluation at the end, if time allows"
        images = wait / left * (trainer.schedule.total_images - trainer.images_seen)
        soonest = self._images_at_last + trainer.config.logging.log_images - trainer.images_seen
        return f"next evaluation in about {max(round(images), soonest):,} images"

    def _is_due(self, seconds: float) -> bool:
        """Whether an evaluation that takes ``seconds`` may run now.

        Time for one more, of the final state, is held back.
        """
        trainer, cost = self._trainer, self._seconds_spent + seconds
        elapsed, total = self._training_seconds()
        if cost > self._share * elapsed:
            return False
        if trainer.finished:
            return True
        too_soon = trainer.images_seen - self._images_at_last < trainer.config.logging.log_images
        return not too_soon and cost + seconds <= self._share * total

    def _training_seconds(self) -> tuple[float, float]:
        """Seconds of training so far, and in total at the same speed; both since the start."""
        elapsed = self._trainer.seconds - self._seconds_at_start
        seen = self._trainer.images_seen - self._images_at_start
        total = self._trainer.schedule.total_images - self._images_at_start
        return elapsed, elapsed * total / seen if seen else 0.0

    def _evaluate(self) -> dict[str, float]:
        started = time.perf_counter()
        trainer = self._trainer
        model = trainer.model().to(trainer.accelerator.device)
        measured = self._evaluation.measure(model)
        self._folder.log({"images": trainer.images_seen, **measured})
        score = self._evaluation.score(measured)
        if score is not None and (self._best_score is None or score < self._best_score):
            self._best_score = score
            self._folder.save_best(
                model.cpu(),
                training_grid(model, trainer.dataset),
                measured,
                score,
                self._evaluation.fingerprint,
                images_seen=trainer.images_seen,
                seconds=trainer.seconds,
            )
        self._seconds_of_last = time.perf_counter() - started
        self._seconds_spent += self._seconds_of_last
        return measured


@range_is_known()
def training_grid(model: BigLearnGAN, dataset: ImageDataset) -> Image.Image:
    """Joint samples and completions of the first images of the data set, with their inputs."""
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
