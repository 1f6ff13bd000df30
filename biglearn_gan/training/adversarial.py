"""The adversarial game: the players, and one step of the warm start and of the game itself.

Nothing here knows of data sets, files or budgets; a step is a pure function of the players, a batch
of real tokens with their tasks, and the noise that was drawn for it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int64
from torch import Tensor
from torch.optim import Adam

from biglearn_gan.config import Config
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.factory import adapt_state_dict, build_networks, upgrade_state_dict
from biglearn_gan.models.generator import Generator, Noise
from biglearn_gan.models.transformer import twice_differentiable_attention
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import gather_tokens
from biglearn_gan.tasks.token_masks import TokenSequence
from biglearn_gan.training import losses

ADAM_BETAS = (0.0, 0.99)
"""No momentum, as R3GAN ends with (Huang et al. 2024, arXiv 2501.05441)."""

METRIC_NAMES = (
    "warm_start/squared_error",
    "loss/discriminator",
    "loss/generator",
    "loss/energy_score",
    "loss/communication",
    "loss/label",
    "logits/real",
    "logits/fake",
    "penalty/real",
    "penalty/fake",
)
"""Every name that a step's metrics can have."""


@dataclass(frozen=True)
class DrawnTokens:
    """The tokens that are drawn, where these are more than are judged: W tokens, M of them judged.

    The further ones are targets, too, whose values are never looked at: not even in ``real``.
    ``judged`` says where the judged tokens stand among them.
    """

    real: Float[Tensor, "B W P"]
    sequence: TokenSequence
    judged: Int64[Tensor, "B M"]


@dataclass(frozen=True)
class GameBatch:
    """One step's real tokens, tasks and noise; K = ``loss.fakes_per_real`` fakes for each real.

    ``perturbation`` moves real and fake tokens, R = (1 + K) B rows. ``second`` is another split of
    the same unions, for the communication game. ``labels`` are the true classes, of which
    ``sequence`` holds those that are given; None without labels. ``drawn`` is None where exactly
    what is judged is drawn (W = M).
    """

    real: Float[Tensor, "B M P"]
    sequence: TokenSequence
    z: Float[Tensor, "K B Z"]
    token_noise: Float[Tensor, "K B W N"]
    perturbation: Float[Tensor, "R M P"] | None = None
    second: TokenSequence | None = None
    labels: Int64[Tensor, " B"] | None = None
    drawn: DrawnTokens | None = None


@dataclass(frozen=True)
class StepResult:
    """Scalars to log, and for each real image a number that is finite where all its terms are."""

    metrics: dict[str, Tensor]
    per_sample: Float[Tensor, " B"]


@dataclass(frozen=True)
class Objective:
    """One player's objective, a number for each real image that is finite where all its terms are,
    and scalars to log."""

    total: Float[Tensor, ""]
    per_sample: Float[Tensor, " B"]
    metrics: dict[str, Tensor]


@dataclass(frozen=True)
class DiscriminatorOutputs:
    """What the discriminator said of B real images and of their K B fakes before its update.

    ``samples`` are what it judged, the real ones first. ``fake_gradients`` are those of its
    objective with respect to the fakes; None where the updated one has to judge them again.
    """

    samples: Float[Tensor, "R M P"]
    real: Float[Tensor, " B"]
    fake: Float[Tensor, " KB"]
    fake_gradients: Float[Tensor, "KB M P"] | None = None


@dataclass(frozen=True)
class StepSizes:
    """What the schedules say for one step."""

    generator: float
    discriminator: float
    penalty_factor: float
    ema_decay: float


class AdversarialTraining:
    """Generator, discriminator, the generator's moving average, and both optimizers."""

    def __init__(self, config: Config, accelerator: Accelerator):
        self.config = config
        self.accelerator = accelerator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(make_rng(Stream.WEIGHTS, config.train.seed).initial_seed())
            generator, discriminator = build_networks(config)
        self.generator = generator.to(accelerator.device)
        self.discriminator = discriminator.to(accelerator.device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizers = {
            "generator": Adam(self.generator.parameters(), betas=ADAM_BETAS, fused=True),
            "discriminator": Adam(self.discriminator.parameters(), betas=ADAM_BETAS, fused=True),
        }

    def warm_start_step(self, batch: GameBatch, sizes: StepSizes) -> StepResult:
        """Masked autoencoding: the generator alone, squared error on the targets."""
        with self._autocast():
            predicted = self._fakes(batch, 1)
            error = losses.squared_error(batch.real, predicted.float(), batch.sequence.is_target)
            metrics = {"warm_start/squared_error": error.mean()}
            label = self._label_error(batch)
        if label is not None:
            metrics["loss/label"] = label.mean()
            error = error + self.config.loss.label * label
        self._update("generator", error.mean(), sizes.generator)
        self._move_average(sizes.ema_decay)
        return StepResult({name: value.detach() for name, value in metrics.items()}, error.detach())

    def start_from(self, generator: Generator, discriminator: Discriminator) -> None:
        """Start from trained networks.

        Where they read no kept pixels, that layer starts at 0; where they know no labels, or
        another number of classes, what reads and predicts labels starts at random.
        """
        sources = {
            "generator": generator,
            "discriminator": discriminator,
            "average": generator,
        }
        for name, network in self._networks().items():
            network.load_state_dict(
                adapt_state_dict(sources[name].state_dict(), network.state_dict())
            )

    def hand_over(self) -> None:
        """Start the discriminator from what the warm start taught the generator."""
        transfer = self.config.train.warm_start.transfer
        self.discriminator.init_from_generator(self.generator, transfer)

    def train_step(self, batch: GameBatch, sizes: StepSizes, penalize: bool) -> StepResult:
        """One update of the discriminator, then one of the generator, on the same fakes.

        The generator's relativistic term reuses the real logits from before the discriminator's
        update, which saves a pass. With ``loss.reuse_fake_pass`` it reuses those of the fakes, too,
        and their gradients.
        """
        with self._autocast():
            fakes = self._fakes(batch, self.config.loss.fakes_per_real)  # (K B, M, P)
            second = self._second_fakes(batch)  # (B, M, P) or None

        factor = sizes.penalty_factor if penalize else None
        critic, verdict = self._discriminator_objective(batch, fakes, second, factor)
        if self.config.loss.reuse_fake_pass and not penalize:
            step = critic.total, sizes.discriminator, verdict.samples
            (gradients,) = self._update("discriminator", *step)
            verdict = replace(verdict, fake_gradients=gradients[len(batch.real) :])
        else:
            self._update("discriminator", critic.total, sizes.discriminator)

        with self._autocast():
            label = self._label_error(batch)
            generator = self._generator_objective(batch, fakes, second, verdict, label)
        self._update("generator", generator.total, sizes.generator)
        self._move_average(sizes.ema_decay)

        metrics = critic.metrics | generator.metrics
        return StepResult(
            {name: value.detach() for name, value in metrics.items()},
            # Where the discriminator's is not finite, its update has spoiled the generator's.
            critic.per_sample
            + torch.where(critic.per_sample.isfinite().all(), generator.per_sample, 0.0),
        )

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer states, for :meth:`load_state_dict`."""
        return {
            **{name: network.state_dict() for name, network in self._networks().items()},
            **{f"{name}_optimizer": o.state_dict() for name, o in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken."""
        for name, network in self._networks().items():
            network.load_state_dict(upgrade_state_dict(state[name]))
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[f"{name}_optimizer"])

    def parameters(self) -> Iterator[Tensor]:
        """The weights of all networks."""
        for network in self._networks().values():
            yield from network.parameters()

    def _autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 where the configuration asks for it (accelerate has one for a whole process)."""
        asked = self.config.train.precision == "bfloat16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=asked)

    def _networks(self) -> dict[str, Generator | Discriminator]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }

    def _fakes(self, batch: GameBatch, times: int) -> Float[Tensor, "KB M P"]:
        """``times`` fakes for each real, with what is judged of them."""
        noise = batch.z[:times], batch.token_noise[:times]
        drawn = batch.drawn
        if drawn is None:
            return self._generate(batch.real, batch.sequence, *noise)
        fakes = self._generate(drawn.real, drawn.sequence, *noise)
        return gather_tokens(fakes, drawn.judged.repeat(times, 1))

    def _generate(
        self, real: Tensor, sequence: TokenSequence, z: Tensor, token_noise: Tensor
    ) -> Tensor:
        times = len(z)
        noise = Noise(z.flatten(0, 1), token_noise.flatten(0, 1))
        return self.generator(real.repeat(times, 1, 1), sequence.repeat(times), noise)

    def _second_fakes(self, batch: GameBatch) -> Tensor | None:
        if batch.second is None:
            return None
        token_noise = batch.token_noise[-1:, :, : batch.real.shape[1]]
        return self._generate(batch.real, batch.second, batch.z[-1:], token_noise)

    def _label_error(self, batch: GameBatch) -> Tensor | None:
        """Cross-entropy of p(y | x_S) for each real image, None without labels.

        The label and the image's target factorize: p(y | x_S) here, p(x_T | x_S, y) in the game.
        """
        if batch.labels is None:
            return None
        seen = batch if batch.drawn is None else batch.drawn
        logits = self.generator.label_logits(seen.real, seen.sequence)
        return losses.label_cross_entropy(logits.float(), batch.labels)

    def _discriminator_objective(
        self,
        batch: GameBatch,
        fakes: Float[Tensor, "KB M P"],
        second: Float[Tensor, "B M P"] | None,
        penalty_factor: float | None,
    ) -> tuple[Objective, DiscriminatorOutputs]:
        """What the discriminator minimizes, and what it says of real images and fakes.

        Penalties are taken in float32, whatever the precision of the rest.
        """
        loss = self.config.loss
        rows, k = len(batch.real), loss.fakes_per_real
        penalize = penalty_factor is not None
        exact = penalize and loss.penalty.kind == "exact"
        samples = torch.cat([batch.real, fakes.detach()]).requires_grad_(
            exact or loss.reuse_fake_pass
        )
        sequence = batch.sequence.repeat(1 + k)
        precision = nullcontext() if penalize else self._autocast()
        attention = twice_differentiable_attention() if exact else nullcontext()
        with precision, attention:
            logits = self._score(samples, sequence)
            real, fake = logits[:rows], logits[rows:]
            game = self._discriminator_game(real.repeat(k), fake)
            total = game.mean()
            per_sample = game.detach().view(k, rows).mean(dim=0)
            metrics = {
                "loss/discriminator": game.mean(),
                "logits/real": real.mean(),
                "logits/fake": fake.mean(),
            }
            if penalty_factor is not None:
                penalty = self._penalty(logits, samples, sequence, batch.perturbation)
                r1, r2 = penalty[:rows].mean(), penalty[rows:].mean()
                strength = loss.penalty.interval * penalty_factor
                total = total + strength * (loss.penalty.r1 * r1 + loss.penalty.r2 * r2)
                per_sample = per_sample + penalty.detach().view(1 + k, rows).sum(dim=0)
                metrics |= {"penalty/real": r1, "penalty/fake": r2}
            if second is not None:
                value = self._communication(batch, fakes[:rows].detach(), second.detach())
                total = total - loss.communication * value.mean()
                per_sample = per_sample - value.detach()
        return Objective(total, per_sample, metrics), DiscriminatorOutputs(
            samples, real.detach(), fake.detach()
        )

    def _generator_objective(
        self,
        batch: GameBatch,
        fakes: Float[Tensor, "KB M P"],
        second: Float[Tensor, "B M P"] | None,
        verdict: DiscriminatorOutputs,
        label: Float[Tensor, " B"] | None,
    ) -> Objective:
        """What the generator minimizes."""
        loss = self.config.loss
        rows, k = len(batch.real), loss.fakes_per_real
        real = verdict.real.repeat(k)
        if verdict.fake_gradients is None:
            game = self._generator_game(real, self._score(fakes, batch.sequence.repeat(k)))
            total = game.mean()
        else:
            game = self._generator_game(real, verdict.fake)
            gradients = losses.generator_gradients(
                verdict.fake_gradients,
                partial(self._discriminator_game, real),
                partial(self._generator_game, real),
                verdict.fake,
            )
            total = (gradients * fakes).sum()  # whose gradients with respect to the fakes they are
        per_sample = game.detach().view(k, rows).mean(dim=0)
        metrics = {"loss/generator": game.mean()}
        if loss.energy_score > 0:
            pair = fakes[:rows], fakes[rows : 2 * rows]
            energy = losses.energy_score(batch.real, *pair, batch.sequence.is_target)
            total = total + loss.energy_score * energy.mean()
            per_sample = per_sample + energy.detach()
            metrics["loss/energy_score"] = energy.mean()
        if second is not None:
            value = self._communication(batch, fakes[:rows], second)
            total = total + loss.communication * value.mean()
            per_sample = per_sample + value.detach()
            metrics["loss/communication"] = value.mean()
        if label is not None:
            total = total + loss.label * label.mean()
            per_sample = per_sample + label.detach()
            metrics["loss/label"] = label.mean()
        return Objective(total, per_sample, metrics)

    def _discriminator_game(self, real: Tensor, fake: Tensor) -> Tensor:
        loss = self.config.loss
        logistic = loss.logistic * losses.logistic_discriminator(real, fake)
        return logistic + loss.relativistic * losses.relativistic_discriminator(real, fake)

    def _generator_game(self, real: Tensor, fake: Tensor) -> Tensor:
        loss = self.config.loss
        logistic = loss.logistic * losses.logistic_generator(fake)
        return logistic + loss.relativistic * losses.relativistic_generator(real, fake)

    def _score(self, tokens: Tensor, sequence: TokenSequence) -> Tensor:
        return self.discriminator(tokens, sequence).float()

    def _penalty(
        self, logits: Tensor, samples: Tensor, sequence: TokenSequence, perturbation: Tensor | None
    ) -> Tensor:
        penalty = self.config.loss.penalty
        if perturbation is None:
            return losses.exact_penalty(logits, samples, sequence.generated_values)
        moved = losses.perturb_targets(
            samples, sequence.generated_values, perturbation, penalty.sigma
        )
        return losses.finite_difference_penalty(logits, self._score(moved, sequence), penalty.sigma)

    def _communication(self, batch: GameBatch, first: Tensor, second: Tensor) -> Tensor:
        assert batch.second is not None
        samples = torch.cat([first, second])
        by_first_task = self._score(samples, batch.sequence.repeat(2)).chunk(2)
        by_second_task = self._score(samples, batch.second.repeat(2)).chunk(2)
        return losses.communication(
            by_first_task[0], by_second_task[0], by_first_task[1], by_second_task[1]
        )

    def _update(
        self, player: str, objective: Tensor, learning_rate: float, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        """One Adam step on gradients averaged over all processes; those of inputs are returned."""
        optimizer = self.optimizers[player]
        (group,) = optimizer.param_groups
        weights = group["params"]
        gradients = torch.autograd.grad(objective, [*weights, *inputs])
        gradients, of_inputs = gradients[: len(weights)], gradients[len(weights) :]
        if self.accelerator.num_processes > 1:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            flat = self.accelerator.reduce(flat, reduction="mean")
            pieces = flat.split([gradient.numel() for gradient in gradients])
            gradients = tuple(p.view_as(g) for p, g in zip(pieces, gradients, strict=True))
        for parameter, gradient in zip(weights, gradients, strict=True):
            parameter.grad = gradient
        group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad()
        return of_inputs

    def _move_average(self, decay: float) -> None:
        ours = [parameter.detach() for parameter in self.average.parameters()]
        theirs = [parameter.detach() for parameter in self.generator.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)
