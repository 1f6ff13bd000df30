"""The game between the generator and a discriminator of features: ``loss.perceptual.adversarial``.

It is played beside the one in pixels. Its discriminator is only used in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.models.feature_discriminator import FeatureDiscriminator
from biglearn_gan.training import losses
from biglearn_gan.training.label_losses import mismatched_label
from biglearn_gan.training.objectives import Objective, discriminator_loss, generator_loss
from biglearn_gan.training.perceptual import BatchFeatures, PerceptualFeatures
from biglearn_gan.training.training_batch import TrainingBatch


@dataclass(frozen=True)
class FeatureTokens:
    """What the discriminator reads of a batch; the tokens of the fakes have gradients.

    Attributes:
        real: of the B real pictures.
        fakes: of the K B fakes.
    """

    real: Float[Tensor, "B M Q"]
    fakes: Float[Tensor, "KB M Q"]


class FeatureGame:
    """The losses of both players on one batch.

    They are those of the game in pixels, with the weights ``loss.logistic``, ``loss.relativistic``,
    ``loss.logit_centering`` and ``loss.mismatched_label``; augmentation and the communication game
    are left out. The features count as the discriminator's inputs, so its penalties are about them,
    and its step costs no pass of the frozen network. The penalties are always exact, and about all
    tokens: the features at source tokens also see generated pixels near them.

    Args:
        config: with ``loss.perceptual.adversarial``.
        features: of the frozen network.

    Attributes:
        discriminator: its weights.
        weight: of the generator's term.
    """

    def __init__(self, config: Config, features: PerceptualFeatures):
        assert config.loss.perceptual is not None
        settings = config.loss.perceptual.adversarial
        assert settings is not None
        self.weight = settings.weight
        self._loss = config.loss
        self._penalty = settings.penalty * config.loss.penalty.interval
        sizes = config.model.discriminator.model_copy(update={"depth": settings.depth})
        self.discriminator = FeatureDiscriminator(
            config.data.image_size,
            config.grid_size,
            features.map_shapes(),
            sizes,
            config.data.num_classes,
        )

    def tokens(self, batch: TrainingBatch, features: BatchFeatures) -> FeatureTokens:
        """The features of a batch as tokens, in float32 also if the frozen network used less."""
        repeated = batch.sequence.repeat(self._loss.fakes_per_real)
        shift = (0, 0) if batch.view is None else batch.view.shift
        real = self.discriminator.tokens(features.real, batch.sequence, shift)
        fakes = self.discriminator.tokens(features.fakes, repeated, shift)
        return FeatureTokens(real.to(batch.real.dtype), fakes.to(batch.real.dtype))

    def discriminator_objective(
        self, batch: TrainingBatch, tokens: FeatureTokens, penalty_factor: float | None
    ) -> tuple[Objective, Float[Tensor, " B"]]:
        """The discriminator's objective, and its logits of the real pictures.

        Args:
            batch: of B images with K fakes each.
            tokens: of the batch.
            penalty_factor: of the gradient penalties; None without them. They need
                ``transformer.twice_differentiable_attention``.
        """
        rows, k = len(batch.real), self._loss.fakes_per_real
        has_penalty = penalty_factor is not None and self._penalty > 0
        samples = torch.cat([tokens.real, tokens.fakes.detach()]).requires_grad_(has_penalty)
        sequence = batch.sequence.repeat(1 + k)
        logits = self.discriminator(samples, sequence).float()  # ((1 + K) B,)
        real, fake = logits[:rows], logits[rows:]
        pairs = discriminator_loss(self._loss, real.repeat(k), fake)  # (K B,)
        objective = Objective("loss/feature_discriminator", pairs, rows)
        if penalty_factor is not None and has_penalty:
            values = losses.exact_penalty(logits, samples)
            penalties = values[:rows] + values[rows:].view(k, rows).mean(dim=0)  # R1 + R2, (B,)
            objective.add(penalties, self._penalty * penalty_factor, "penalty/features")
        if batch.other_labels is not None:
            score = partial(self.discriminator, tokens.real)
            values = mismatched_label(batch, real, score)
            objective.add(values, self._loss.mismatched_label)
        return objective, real.detach()

    def generator_term(
        self, batch: TrainingBatch, tokens: FeatureTokens, real: Float[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """The generator's loss for each image, the mean over its fakes.

        Args:
            batch: see :meth:`discriminator_objective`.
            tokens: of the batch.
            real: the logits of the real pictures.
        """
        k = self._loss.fakes_per_real
        fake = self.discriminator(tokens.fakes, batch.sequence.repeat(k)).float()  # (K B,)
        return generator_loss(self._loss, real.repeat(k), fake).view(k, -1).mean(dim=0)
