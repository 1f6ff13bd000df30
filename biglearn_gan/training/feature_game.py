"""The game between the generator and a discriminator of features: ``loss.perceptual.adversarial``.

It is played beside the one in pixels. Its discriminator is only used in training.
"""

from __future__ import annotations

from dataclasses import replace

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


class FeatureGame:
    """The losses of both players on one batch.

    The features count as the discriminator's inputs, so its penalties are about them, and its step
    costs no pass of the frozen network.

    Args:
        config: with ``loss.perceptual.adversarial``.
        features: of the frozen network.

    Attributes:
        discriminator: its weights.
    """

    def __init__(self, config: Config, features: PerceptualFeatures):
        assert config.loss.perceptual is not None
        settings = config.loss.perceptual.adversarial
        assert settings is not None
        self._loss = config.loss
        self._penalty = settings.penalty * config.loss.penalty.interval
        sizes = config.model.discriminator.model_copy(update={"depth": settings.depth})
        self.discriminator = FeatureDiscriminator(
            config.grid_size, features.map_shapes(), sizes, config.data.num_classes
        )

    def discriminator_objective(
        self, batch: TrainingBatch, features: BatchFeatures, penalty_factor: float | None
    ) -> tuple[Objective, Float[Tensor, " B"]]:
        """The discriminator's objective, and its logits of the real pictures.

        Args:
            batch: of B images with K fakes each.
            features: of the batch.
            penalty_factor: of the gradient penalties; None without them. They need
                ``transformer.twice_differentiable_attention``.
        """
        rows, k = len(batch.real), self._loss.fakes_per_real
        real_tokens = self.discriminator.tokens(features.real, batch.sequence)
        fake_tokens = self.discriminator.tokens(features.fakes, batch.sequence.repeat(k))
        tokens = torch.cat([real_tokens, fake_tokens.detach()])  # ((1 + K) B, M, Q)
        tokens.requires_grad_(penalty_factor is not None)
        sequence = batch.sequence.repeat(1 + k)
        logits = self.discriminator(tokens, sequence).float()  # ((1 + K) B,)
        real, fake = logits[:rows], logits[rows:]
        pairs = discriminator_loss(self._loss, real.repeat(k), fake)  # (K B,)
        objective = Objective("loss/feature_discriminator", pairs, rows)
        if penalty_factor is not None:
            values = losses.exact_penalty(logits, tokens, sequence.is_target[..., None])
            penalties = values[:rows] + values[rows:].view(k, rows).mean(dim=0)  # R1 + R2, (B,)
            objective.add(penalties, self._penalty * penalty_factor, "penalty/features")
        if batch.other_labels is not None:
            mismatched = replace(batch.sequence, labels=batch.other_labels)
            values = mismatched_label(
                batch, real, self.discriminator(real_tokens, mismatched).float()
            )
            objective.add(values, self._loss.mismatched_label)
        return objective, real.detach()

    def generator_term(
        self, batch: TrainingBatch, features: BatchFeatures, real: Float[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """The generator's loss for each image, the mean over its fakes.

        Args:
            batch: see :meth:`discriminator_objective`.
            features: of the batch.
            real: the logits of the real pictures.
        """
        k = self._loss.fakes_per_real
        sequence = batch.sequence.repeat(k)
        tokens = self.discriminator.tokens(features.fakes, sequence)
        fake = self.discriminator(tokens, sequence).float()  # (K B,)
        return generator_loss(self._loss, real.repeat(k), fake).view(k, -1).mean(dim=0)
