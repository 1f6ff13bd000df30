"""What changes over a run, as pure functions of the images seen."""

from __future__ import annotations

from dataclasses import dataclass

from biglearn_gan.config import Config
from biglearn_gan.training.adversarial import StepSizes


@dataclass(frozen=True)
class Schedule:
    """The plan of a run: a warm start, then the game, whole batches both.

    Attributes:
        config: of the run.
        max_images: the budget in images, warm start included.
        first_budget: the budget that the warm start is a share of, where it was raised since.
    """

    config: Config
    max_images: int
    first_budget: int | None = None

    @property
    def total_images(self) -> int:
        """The budget, rounded up to whole batches."""
        return self._whole_batches(self.max_images)

    @property
    def warm_images(self) -> int:
        """Images of the warm start, in whole batches and short of the budget."""
        batch_size = self.config.train.batch_size
        total = self._whole_batches(self.first_budget or self.max_images)
        steps = round(self.config.train.warm_start.share * total / batch_size)
        return min(steps * batch_size, total - batch_size)

    def at(self, images_seen: int) -> StepSizes:
        """Step sizes of the step that begins at ``images_seen``.

        In the game: a linear rise over ``warmup_images``, flat until ``hold_share`` of the game's
        images, then a linear fall to the final factors. The average's decay has the configured
        half-life, shorter at first, to forget random weights: (1 + n) / (10 + n) after n steps (as
        TensorFlow's moving average does with ``num_updates``). A run from a trained model, most of
        whose weights are not random, has it whole from the start.
        """
        train = self.config.train
        steps = images_seen // train.batch_size
        decay = 0.5 ** (train.batch_size / train.ema_half_life_images)
        if train.initial_model is None:
            decay = min(decay, (1 + steps) / (10 + steps))
        rates = train.learning_rate
        if images_seen < self.warm_images:
            rise = _rise(images_seen + train.batch_size, rates.warmup_images)
            return StepSizes(train.warm_start.learning_rate * rise, 0.0, 0.0, decay)
        played = images_seen - self.warm_images
        rise = _rise(played + train.batch_size, rates.warmup_images)
        share = played / (self.total_images - self.warm_images)
        fall = min(1.0, (1 - share) / (1 - rates.hold_share)) if rates.hold_share < 1 else 1.0
        factor = rise * _between(rates.final_factor, fall)
        return StepSizes(
            rates.generator * factor,
            rates.discriminator * factor,
            _between(self.config.loss.penalty.final_factor, fall),
            decay,
        )

    def _whole_batches(self, images: int) -> int:
        batch_size = self.config.train.batch_size
        return -(-images // batch_size) * batch_size


def _rise(images: int, warmup_images: int) -> float:
    return min(1.0, images / warmup_images) if warmup_images else 1.0


def _between(final: float, share: float) -> float:
    """1 at a share of 1, ``final`` at a share of 0, linear in between."""
    return final + (1 - final) * share
