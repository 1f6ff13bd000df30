"""Step sizes and phases of a run, as pure functions of the images seen."""

from __future__ import annotations

from dataclasses import dataclass

from biglearn_gan.config import Config


@dataclass(frozen=True)
class StepSettings:
    """What changes from step to step.

    Attributes:
        generator_lr: learning rate of the generator.
        discriminator_lr: learning rate of the discriminator; 0 in the warm start.
        penalty_factor: factor of the gradient penalties; 0 in the warm start.
        ema_decay: weight of the old moving average in the new one.
    """

    generator_lr: float
    discriminator_lr: float
    penalty_factor: float
    ema_decay: float


@dataclass(frozen=True)
class TrainingSchedule:
    """The plan of a run: first the warm start, then adversarial training, in whole batches.

    Attributes:
        config: of the run.
        max_images: the budget in images, warm start included.
        original_max_images: the budget that the run began with, if it was raised later. The length
            of the warm start is a share of this one.
    """

    config: Config
    max_images: int
    original_max_images: int | None = None

    @property
    def total_images(self) -> int:
        """The budget, rounded up to whole batches."""
        return self._whole_batches(self.max_images)

    @property
    def warm_start_images(self) -> int:
        """Images of the warm start, which leaves at least one batch of the budget."""
        batch_size = self.config.train.batch_size
        total = self._whole_batches(self.original_max_images or self.max_images)
        steps = round(self.config.train.warm_start.share * total / batch_size)
        return min(steps * batch_size, total - batch_size)

    def at(self, images_seen: int) -> StepSettings:
        """Settings of the step that begins at ``images_seen``.

        Learning rates rise linearly over ``warmup_images``, in the warm start and once more after
        it. After the rise they are constant until ``hold_share`` of the images of adversarial
        training, then fall linearly to ``final_factor`` times their value.

        The decay of the moving average gives it the configured half-life. Unless the run starts
        from a trained model, the decay is at most (1 + n) / (10 + n) after n steps, so that the
        average forgets the random initial weights (as TensorFlow's ``num_updates`` does).
        """
        train = self.config.train
        steps = images_seen // train.batch_size
        decay = 0.5 ** (train.batch_size / train.ema_half_life_images)
        if train.initial_model is None:
            decay = min(decay, (1 + steps) / (10 + steps))
        rates = train.learning_rate
        if images_seen < self.warm_start_images:
            rise = _rise(images_seen + train.batch_size, rates.warmup_images)
            return StepSettings(train.warm_start.learning_rate * rise, 0.0, 0.0, decay)
        images = images_seen - self.warm_start_images
        rise = _rise(images + train.batch_size, rates.warmup_images)
        share = images / (self.total_images - self.warm_start_images)
        fall = min(1.0, (1 - share) / (1 - rates.hold_share)) if rates.hold_share < 1 else 1.0
        factor = rise * _interpolate(rates.final_factor, fall)
        return StepSettings(
            rates.generator * factor,
            rates.discriminator * factor,
            _interpolate(self.config.loss.penalty.final_factor, fall),
            decay,
        )

    def has_penalty(self, images_seen: int) -> bool:
        """Whether the step that begins at ``images_seen`` takes gradient penalties."""
        images = images_seen - self.warm_start_images
        step = images // self.config.train.batch_size
        penalty = self.config.loss.penalty
        return images >= 0 and max(penalty.r1, penalty.r2) > 0 and step % penalty.interval == 0

    def has_communication(self, images_seen: int) -> bool:
        """Whether the step that begins at ``images_seen`` plays the communication game."""
        return self.config.loss.communication > 0 and images_seen >= self.warm_start_images

    def _whole_batches(self, images: int) -> int:
        batch_size = self.config.train.batch_size
        return -(-images // batch_size) * batch_size


def _rise(images: int, warmup_images: int) -> float:
    return min(1.0, images / warmup_images) if warmup_images else 1.0


def _interpolate(final: float, share: float) -> float:
    """1 at a share of 1, ``final`` at a share of 0, linear in between."""
    return final + (1 - final) * share
