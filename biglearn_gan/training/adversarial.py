"""Adversarial training: the networks with their optimizers, and one step of training.

Nothing here knows data sets, files or budgets. A step depends only on the networks and on a batch
of real tokens, their tasks and the noise for it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam

from biglearn_gan.config import Config
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.factory import adapt_state_dict, build_networks, upgrade_state_dict
from biglearn_gan.models.generator import Generator, Noise
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.models.transformer import twice_differentiable_attention
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import gather_tokens
from biglearn_gan.tasks.token_masks import TokenSequence
from biglearn_gan.training import losses
from biglearn_gan.training.ema import update_ema
from biglearn_gan.training.feature_game import FeatureGame
from biglearn_gan.training.gradient_averaging import average_over_processes
from biglearn_gan.training.initial_model import replaces_convolutions
from biglearn_gan.training.label_losses import (
    add_label_losses,
    mismatched_label,
    with_pseudo_labels,
)
from biglearn_gan.training.objectives import Objective, discriminator_loss, generator_loss
from biglearn_gan.training.perceptual import PerceptualFeatures
from biglearn_gan.training.schedule import StepSettings
from biglearn_gan.training.training_batch import TrainingBatch

ADAM_BETAS = (0.0, 0.99)
"""No momentum, as in the final recipe of R3GAN (Huang et al. 2024, arXiv 2501.05441)."""

METRIC_NAMES = (
    "warm_start/squared_error",
    "loss/discriminator",
    "loss/generator",
    "loss/energy_score",
    "loss/perceptual",
    "loss/feature_discriminator",
    "loss/feature_generator",
    "loss/communication",
    "loss/mismatched_label",
    "loss/label",
    "loss/pseudo_label",
    "labels/known",
    "logits/real",
    "logits/fake",
    "penalty/real",
    "penalty/fake",
    "penalty/features",
)
"""Every name that the metrics of a step can have."""


@dataclass(frozen=True)
class StepResult:
    """What a step reports.

    Attributes:
        metrics: scalars to log.
        per_sample: (B,), finite for the images of which all terms are finite.
    """

    metrics: dict[str, Tensor]
    per_sample: Float[Tensor, " B"]


class AdversarialTraining:
    """Generator, discriminators, the generator's moving average, and the optimizers.

    Args:
        config: of the run.
        accelerator: device, precision and processes.
        standardization: maps the networks' tokens to pixel values, for ``loss.perceptual``.

    Raises:
        FeatureNetworkError: see :func:`load_feature_network`, for ``loss.perceptual``.
    """

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        standardization: Standardization | None = None,
    ):
        self.config = config
        self.accelerator = accelerator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(make_rng(Stream.WEIGHTS, config.train.seed).initial_seed())
            generator, discriminator = build_networks(config)
            self.perceptual, self.feature_game = None, None
            if (perceptual := config.loss.perceptual) is not None:
                standardization = standardization or Standardization(config)
                self.perceptual = PerceptualFeatures(config, standardization, accelerator.device)
                if perceptual.adversarial is not None:
                    self.feature_game = FeatureGame(config, self.perceptual)
        self.generator = generator.to(accelerator.device)
        self.discriminator = discriminator.to(accelerator.device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        trained: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        if self.feature_game is not None:
            self.feature_game.discriminator.to(accelerator.device)
            trained["feature_discriminator"] = self.feature_game.discriminator
        self.optimizers = {
            name: Adam(network.parameters(), betas=ADAM_BETAS, fused=True)
            for name, network in trained.items()
        }

    def warm_start_step(self, batch: TrainingBatch, settings: StepSettings) -> StepResult:
        """Update the generator as a masked autoencoder: squared error on the targets."""
        batch = self._with_pseudo_labels(batch)
        with self._autocast():
            predicted = self._generate_fakes(batch, repeats=1)  # (B, M, P)
            error = losses.squared_error(batch.real, predicted.float(), batch.sequence.is_target)
            objective = Objective("warm_start/squared_error", error, len(batch.real))
            add_label_losses(objective, self.generator, batch, self.config.loss)
        self.update("generator", objective.total, settings.generator_lr)
        self.update_average(settings.ema_decay)
        metrics = {name: value.detach() for name, value in objective.metrics.items()}
        return StepResult(metrics, objective.per_sample)

    def train_step(
        self, batch: TrainingBatch, settings: StepSettings, penalize: bool
    ) -> StepResult:
        """Update the discriminator, then the generator, on the same fakes.

        The generator's loss uses the real logits from before the discriminator's update, which
        saves a pass.
        """
        loss, rows, k = self.config.loss, len(batch.real), self.config.loss.fakes_per_real
        batch = self._with_pseudo_labels(batch)
        with self._autocast():
            fakes = self._generate_fakes(batch, repeats=k)  # (K B, M, P)
            second_fakes = self._generate_second_split(batch)  # (B, M, P), or None

        reuse = loss.reuse_fake_pass and not penalize
        samples = torch.cat([batch.real, fakes.detach()]).requires_grad_(reuse or penalize)
        with self._discriminator_context(penalize):
            logits = self._score(batch, samples, batch.sequence)  # ((1 + K) B,)
            real, fake = logits[:rows], logits[rows:]  # (B,), (K B,)
            pairs = discriminator_loss(loss, real.repeat(k), fake)  # (K B,)
            d_objective = Objective("loss/discriminator", pairs, rows)
            d_objective.metrics |= {"logits/real": real.mean(), "logits/fake": fake.mean()}
            if penalize:
                penalties = self._penalties(batch, samples, logits)  # ((1 + K) B,)
                d_objective.add_penalties(penalties, loss.penalty, settings.penalty_factor)
            if second_fakes is not None:
                value = self._communication(batch, fakes.detach(), second_fakes.detach())
                d_objective.add(-value, loss.communication)
            if batch.other_labels is not None:
                values = mismatched_label(batch, real, partial(self._score, batch, batch.real))
                d_objective.add(values, loss.mismatched_label, "loss/mismatched_label")
        inputs = samples if reuse else None
        gradients = self.update(
            "discriminator", d_objective.total, settings.discriminator_lr, inputs
        )

        feature_objectives, perceptual_terms = self._perceptual_step(
            batch, fakes, settings, penalize
        )

        with self._autocast():
            real = real.detach().repeat(k)  # (K B,)
            if gradients is not None:
                g_objective = self._reuse_fake_pass(real, fake, fakes, gradients[rows:])
            else:
                pairs = generator_loss(loss, real, self._score(batch, fakes, batch.sequence))
                g_objective = Objective("loss/generator", pairs, rows, loss.adversarial)
            if loss.energy_score > 0:
                energy = self._energy_score(batch, fakes)
                g_objective.add(energy, loss.energy_score, "loss/energy_score")
            for term in perceptual_terms:
                g_objective.add(*term)
            if second_fakes is not None:
                value = self._communication(batch, fakes, second_fakes)
                g_objective.add(value, loss.communication, "loss/communication")
            add_label_losses(g_objective, self.generator, batch, loss)
        self.update("generator", g_objective.total, settings.generator_lr)
        self.update_average(settings.ema_decay)
        return _combine([d_objective, *feature_objectives], g_objective)

    def init_from(self, generator: Generator, discriminator: Discriminator) -> None:
        """Start from trained networks; the moving average starts from ``generator``.

        A discriminator of features stays as it is. See :func:`adapt_state_dict` for weights that
        these networks do not have, and :func:`replaces_convolutions`.
        """
        weights = generator.state_dict()
        if replaces_convolutions(generator.config, self.generator.config):
            weights = {name: w for name, w in weights.items() if not name.startswith("canvas.")}
        sources = {
            "generator": weights,
            "discriminator": discriminator.state_dict(),
            "average": weights,
        }
        for name, trained in sources.items():
            network = self.networks()[name]
            network.load_state_dict(adapt_state_dict(trained, network.state_dict()))

    def transfer_to_discriminator(self) -> None:
        """Start the discriminator from what the generator learned in the warm start."""
        transfer = self.config.train.warm_start.transfer
        self.discriminator.init_from_generator(self.generator, transfer)

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer states."""
        return {
            **{name: network.state_dict() for name, network in self.networks().items()},
            **{f"{name}_optimizer": o.state_dict() for name, o in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from a :meth:`state_dict`."""
        for name, network in self.networks().items():
            network.load_state_dict(upgrade_state_dict(state[name]))
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[f"{name}_optimizer"])

    def parameters(self) -> Iterator[Tensor]:
        """The weights of all networks."""
        for network in self.networks().values():
            yield from network.parameters()

    def networks(self) -> dict[str, nn.Module]:
        """All networks by name: the averaged generator is not trained itself."""
        networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }
        if self.feature_game is not None:
            networks["feature_discriminator"] = self.feature_game.discriminator
        return networks

    def _autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 if configured (accelerate can only set it for the whole process)."""
        enabled = self.config.train.precision == "bfloat16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=enabled)

    def _discriminator_context(self, penalize: bool) -> AbstractContextManager[Any]:
        """Penalties need float32; exact ones also need attention with a second derivative."""
        if not penalize:
            return self._autocast()
        exact = self.config.loss.penalty.kind == "exact"
        return twice_differentiable_attention() if exact else nullcontext()

    def _generate_fakes(self, batch: TrainingBatch, repeats: int) -> Float[Tensor, "RB M P"]:
        """``repeats`` fakes per image, with the tokens that are scored."""
        noise = batch.noise.rows(slice(repeats * len(batch.real)))
        superset = batch.superset
        if superset is None:
            return self._generate(batch.real, batch.sequence, noise)
        fakes = self._generate(superset.real, superset.sequence, noise)  # (R B, W, P)
        return gather_tokens(fakes, superset.scored.repeat(repeats, 1))

    def _generate_second_split(self, batch: TrainingBatch) -> Float[Tensor, "B M P"] | None:
        """One fake per image for the second split of the communication game, if there is one."""
        if batch.second_split is None:
            return None
        rows, length, _ = batch.real.shape
        noise = batch.noise.rows(slice(-rows, None))
        noise = replace(noise, token_noise=noise.token_noise[:, :length])
        return self._generate(batch.real, batch.second_split, noise)

    def _generate(
        self, real: Float[Tensor, "B M P"], sequence: TokenSequence, noise: Noise
    ) -> Float[Tensor, "RB M P"]:
        repeats = len(noise.z) // len(real)
        return self.generator(real.repeat(repeats, 1, 1), sequence.repeat(repeats), noise)

    def _score(
        self, batch: TrainingBatch, tokens: Float[Tensor, "RB M P"], sequence: TokenSequence
    ) -> Float[Tensor, " RB"]:
        """The logits of some tokens for each image of the batch, with the roles ``sequence``."""
        sequence = sequence.repeat(len(tokens) // len(batch.real))
        if batch.augmentation is not None:
            tokens, sequence = batch.augmentation(tokens, sequence)
        return self.discriminator(tokens, sequence).float()

    def _penalties(
        self, batch: TrainingBatch, samples: Tensor, logits: Tensor
    ) -> Float[Tensor, " R"]:
        """½ ‖∇ f‖² over the generated pixels of the samples, whose logits are ``logits``."""
        sequence = batch.sequence.repeat(len(samples) // len(batch.real))
        if batch.perturbation is None:
            return losses.exact_penalty(logits, samples, sequence.generated_values)
        sigma = self.config.loss.penalty.sigma
        perturbed = losses.perturb_targets(
            samples, sequence.generated_values, batch.perturbation, sigma
        )
        return losses.finite_difference_penalty(
            logits, self._score(batch, perturbed, batch.sequence), sigma
        )

    def _perceptual_step(
        self, batch: TrainingBatch, fakes: Tensor, settings: StepSettings, penalize: bool
    ) -> tuple[list[Objective], list[tuple[Tensor, float, str]]]:
        """Update the discriminator of features, if there is one.

        Returns:
            Its objective, and values, weights and names of the generator's terms in features, of
            the second against the updated discriminator. Both are empty without
            ``loss.perceptual``.
        """
        loss, game = self.config.loss.perceptual, self.feature_game
        if loss is None or self.perceptual is None:
            return [], []
        shown = fakes[: 2 * len(batch.real)] if game is None else fakes
        with self._autocast():
            features = self.perceptual(batch.real, shown, batch.sequence, batch.view)
        terms = [(features.energy_score(), loss.weight, "loss/perceptual")]
        if game is None:
            return [], terms
        tokens = game.tokens(batch, features)
        with twice_differentiable_attention() if penalize else self._autocast():
            factor = settings.penalty_factor if penalize else None
            objective, real = game.discriminator_objective(batch, tokens, factor)
        self.update("feature_discriminator", objective.total, settings.discriminator_lr)
        with self._autocast():
            value = game.generator_term(batch, tokens, real)
        return [objective], [*terms, (value, game.weight, "loss/feature_generator")]

    def _energy_score(self, batch: TrainingBatch, fakes: Tensor) -> Float[Tensor, " B"]:
        """Energy score of the first two fakes of each image."""
        rows = len(batch.real)
        pair = fakes[:rows], fakes[rows : 2 * rows]
        return losses.energy_score(batch.real, *pair, batch.sequence.is_target)

    def _communication(
        self, batch: TrainingBatch, fakes: Tensor, second_fakes: Tensor
    ) -> Float[Tensor, " B"]:
        """Value of the communication game between both splits, on the first fake of each image."""
        assert batch.second_split is not None
        samples = torch.cat([fakes[: len(batch.real)], second_fakes])
        by_first = self._score(batch, samples, batch.sequence).chunk(2)
        by_second = self._score(batch, samples, batch.second_split).chunk(2)
        return losses.communication(by_first[0], by_second[0], by_first[1], by_second[1])

    def _with_pseudo_labels(self, batch: TrainingBatch) -> TrainingBatch:
        config = self.config.loss.pseudo_labels
        if config is None:
            return batch
        with self._autocast():
            return with_pseudo_labels(batch, self.average, config.threshold)

    def _reuse_fake_pass(
        self, real: Tensor, fake: Tensor, fakes: Tensor, fake_gradients: Tensor
    ) -> Objective:
        """The generator's objective without another pass of the discriminator.

        Args:
            real, fake: logits (K B,) from before the discriminator's update.
            fakes: (K B, M, P).
            fake_gradients: (K B, M, P), of the discriminator's objective with respect to them.
        """
        loss, fake = self.config.loss, fake.detach()
        rows = len(fake) // loss.fakes_per_real
        objective = Objective("loss/generator", generator_loss(loss, real, fake), rows)
        gradients = losses.generator_gradients(
            fake_gradients,
            partial(discriminator_loss, loss, real),
            partial(generator_loss, loss, real),
            fake,
        )
        # Not the loss itself, but a scalar with its gradient.
        objective.total = loss.adversarial * (gradients * fakes).sum()
        return objective

    def update(
        self, network: str, objective: Tensor, learning_rate: float, inputs: Tensor | None = None
    ) -> Tensor | None:
        """One Adam step on gradients averaged over all processes.

        Returns:
            The gradients of the objective by ``inputs``, of this process alone.
        """
        optimizer = self.optimizers[network]
        (group,) = optimizer.param_groups
        weights = group["params"]
        wanted = weights if inputs is None else [*weights, inputs]
        gradients = torch.autograd.grad(objective, wanted)
        gradients, of_inputs = gradients[: len(weights)], gradients[len(weights) :]
        gradients = average_over_processes(gradients, self.accelerator)
        for parameter, gradient in zip(weights, gradients, strict=True):
            parameter.grad = gradient
        group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad()
        return of_inputs[0] if of_inputs else None

    def update_average(self, decay: float) -> None:
        """Move the averaged generator towards the live one."""
        update_ema(self.average.parameters(), self.generator.parameters(), decay)


def _combine(discriminators: Sequence[Objective], generator: Objective) -> StepResult:
    """What all objectives report.

    If a term of a discriminator is not finite, its update has spoiled the generator's terms, so
    only the discriminators' show which images are the cause.
    """
    metrics: dict[str, Tensor] = {}
    for objective in (*discriminators, generator):
        metrics |= objective.metrics
    per_sample = torch.stack([objective.per_sample for objective in discriminators]).sum(dim=0)
    intact = per_sample.isfinite().all()
    return StepResult(
        {name: value.detach() for name, value in metrics.items()},
        per_sample + torch.where(intact, generator.per_sample, 0.0),
    )
