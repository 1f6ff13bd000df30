"""Steps of both phases agree with a plain implementation of the formulas."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from biglearn_gan.config import Config
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.generator import Generator, Noise
from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence
from biglearn_gan.training.adversarial import (
    METRIC_NAMES,
    AdversarialTraining,
    TrainingBatch,
)
from biglearn_gan.training.schedule import StepSettings

B, L, M, P = 7, 16, 11, 4
SETTINGS = StepSettings(
    generator_lr=0.003, discriminator_lr=0.005, penalty_factor=0.6, ema_decay=0.75
)

OPTIONS: dict[str, dict[str, Any]] = {
    "logistic": {"logistic": 1.3, "relativistic": 0.0},
    "relativistic": {"relativistic": 0.7},
    "both": {"logistic": 0.6, "relativistic": 0.7, "energy_score": 2.3},
    "communication": {"logistic": 1.0, "relativistic": 0.0, "communication": 0.8},
    "everything": {
        "logistic": 0.6,
        "relativistic": 0.7,
        "communication": 0.8,
        "fakes_per_real": 3,
        "penalty": {"kind": "finite_difference", "r1": 0.3, "r2": 0.7, "interval": 5},
    },
    "reuse_fake_pass": {"logistic": 0.6, "relativistic": 0.7, "reuse_fake_pass": True},
    "reuse_fake_pass_and_communication": {
        "logistic": 1.3,
        "relativistic": 0.0,
        "communication": 0.8,
        "reuse_fake_pass": True,
    },
    "logit_centering": {"relativistic": 0.7, "logit_centering": 0.9},
    "finite_difference": {"penalty": {"kind": "finite_difference", "sigma": 0.11, "interval": 1}},
    "every_step": {"penalty": {"r1": 0.3, "r2": 0.0, "interval": 1}},
    "lazy": {"penalty": {"r1": 0.0, "r2": 0.3, "interval": 5}},
    "no_energy": {"energy_score": 0.0},
    "half_of_the_discriminator": {"adversarial": 0.5},
    "half_of_the_discriminator_and_reuse_fake_pass": {
        "logistic": 0.6,
        "adversarial": 0.5,
        "reuse_fake_pass": True,
    },
    "one_fake": {"energy_score": 0.0, "fakes_per_real": 1},
    "three_fakes": {"fakes_per_real": 3},
    "partial_patches": {},
    "partial_patches_and_finite_difference": {"penalty": {"kind": "finite_difference"}},
}


def loss_of(option: str) -> dict[str, Any]:
    penalty = {"r1": 0.3, "r2": 0.7, "interval": 3}
    return {"penalty": penalty} | OPTIONS[option]


@pytest.fixture
def make_training(tiny_config: Callable[..., Config]) -> Callable[..., AdversarialTraining]:
    def make(
        loss: dict[str, Any] | None = None, partial_patches: bool = False
    ) -> AdversarialTraining:
        config = tiny_config({"loss": loss or {}, "tasks.partial_patches": 0.5 * partial_patches})
        result = AdversarialTraining(config, Accelerator(cpu=True))
        torch.manual_seed(5)
        # logits far from zero, and an average that differs from the generator
        with torch.no_grad():
            for parameter in result.average.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            result.discriminator.head.weight.mul_(5)
        return result

    return make


@pytest.fixture
def batch(draw_masks: Callable[..., TokenMasks]) -> Callable[..., TrainingBatch]:
    """Real tokens, their tasks, and a second split of the same unions for communication."""

    def make(config: Config) -> TrainingBatch:
        torch.manual_seed(6)
        fakes, generator = config.loss.fakes_per_real, config.model.generator
        masks = draw_masks(B, L, M)
        target = masks.union & (torch.rand(B, L) < 0.5)
        target[torch.arange(B), masks.target.int().argmax(dim=1)] = True
        second = TokenMasks(masks.union & ~target, target).sequence()
        sequence = masks.sequence()
        if config.reads_partial_patches:
            known = sequence.is_target[..., None] & (torch.rand(B, M, P) < 0.4)
            known[..., :2] = False  # so that no norm is near its corner at 0
            sequence = replace(sequence, known_values=known)
        assert torch.equal(sequence.positions, second.positions)
        assert (sequence.is_target != second.is_target).any()
        finite = config.loss.penalty.kind == "finite_difference"
        return TrainingBatch(
            real=torch.randn(B, M, P),
            sequence=sequence,
            noise=Noise(
                torch.randn(fakes * B, generator.latent_dim),
                torch.randn(fakes * B, M, generator.token_noise_dim),
            ),
            perturbation=torch.randn((1 + fakes) * B, M, P) if finite else None,
            second_split=second if config.loss.communication else None,
        )

    return make


def watch(training: AdversarialTraining) -> dict[str, list[Tensor]]:
    """The gradients with which each optimizer steps."""
    seen: dict[str, list[Tensor]] = {}
    for name, optimizer in training.optimizers.items():

        def note(optimizer: torch.optim.Optimizer, *_: Any, name: str = name) -> None:
            assert name not in seen, f"{name} stepped twice"
            parameters = optimizer.param_groups[0]["params"]
            seen[name] = [parameter.grad.clone() for parameter in parameters]

        optimizer.register_step_pre_hook(note)
    return seen


def weights_of(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


class PlainStep:
    """The objectives of one step, by loops over images and fakes with plain operations."""

    def __init__(self, config: Config, batch: TrainingBatch):
        self.loss, self.batch = config.loss, batch
        self.fakes = range(config.loss.fakes_per_real)

    def fake(self, generator: Generator, k: int, b: int, sequence: TokenSequence) -> Tensor:
        """Fake k of image b, (1, M, P)."""
        noise = self.batch.noise.rows(slice(k * B + b, k * B + b + 1))
        return generator(self.batch.real[b : b + 1], sequence.rows(slice(b, b + 1)), noise)

    def score(
        self, discriminator: Discriminator, x: Tensor, b: int, second: bool = False
    ) -> Tensor:
        sequence = self.batch.second_split if second else self.batch.sequence
        assert sequence is not None
        return discriminator(x, sequence.rows(slice(b, b + 1)))[0]

    def penalty(
        self, discriminator: Discriminator, x: Tensor, b: int, draw: Tensor | None
    ) -> Tensor:
        target = self.batch.sequence.is_target[b][:, None].expand(M, P)
        if self.batch.sequence.known_values is not None:
            target = target & ~self.batch.sequence.known_values[b]
        if draw is not None:
            sigma = self.loss.penalty.sigma
            moved = x.clone()
            moved[0, target] += sigma * draw[target]
            slope = (self.score(discriminator, moved, b) - self.score(discriminator, x, b)) / sigma
            return slope**2 / 2
        x = x.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.score(discriminator, x, b), x, create_graph=True)
        return (gradient[0][target] ** 2).sum() / 2

    def communication(self, discriminator: Discriminator, x1: Tensor, x2: Tensor, b: int) -> Tensor:
        """log σ(f(x1; 2) - f(x1; 1)) + log σ(f(x2; 1) - f(x2; 2)), x_i from the task i's model."""
        first = self.score(discriminator, x1, b, second=True) - self.score(discriminator, x1, b)
        second = self.score(discriminator, x2, b) - self.score(discriminator, x2, b, second=True)
        return first.sigmoid().log() + second.sigmoid().log()

    def discriminator_objective(
        self, discriminator: Discriminator, generator: Generator, penalize: bool
    ) -> Tensor:
        loss, batch = self.loss, self.batch
        pairs, real_penalties, fake_penalties = [], [], []
        for b in range(B):
            x = batch.real[b : b + 1]
            real = self.score(discriminator, x, b)
            draws = batch.perturbation
            if penalize:
                draw = None if draws is None else draws[b]
                real_penalties.append(self.penalty(discriminator, x, b, draw))
            for k in self.fakes:
                drawn = self.fake(generator, k, b, batch.sequence).detach()
                fake = self.score(discriminator, drawn, b)
                logistic = -real.sigmoid().log() - (-fake).sigmoid().log()
                relativistic = -(real - fake).sigmoid().log()
                centering = loss.logit_centering * (real + fake) ** 2
                pairs.append(
                    loss.logistic * logistic + loss.relativistic * relativistic + centering
                )
                if penalize:
                    draw = None if draws is None else draws[(1 + k) * B + b]
                    fake_penalties.append(self.penalty(discriminator, drawn, b, draw))
        objective = torch.stack(pairs).mean()
        if penalize:
            strength = loss.penalty.interval * SETTINGS.penalty_factor
            objective = objective + strength * loss.penalty.r1 * torch.stack(real_penalties).mean()
            objective = objective + strength * loss.penalty.r2 * torch.stack(fake_penalties).mean()
        if loss.communication:
            objective = objective - loss.communication * self.agreement(discriminator, generator)
        return objective

    def agreement(self, discriminator: Discriminator, generator: Generator) -> Tensor:
        """The mean value of the communication game on fixed samples."""
        batch, values = self.batch, []
        assert batch.second_split is not None
        for b in range(B):
            x1 = self.fake(generator, 0, b, batch.sequence).detach()
            x2 = self.fake(generator, self.fakes[-1], b, batch.second_split).detach()
            values.append(self.communication(discriminator, x1, x2, b))
        return torch.stack(values).mean()

    def generator_objective(
        self,
        discriminator: Discriminator,
        old_discriminator: Discriminator,
        generator: Generator,
        penalize: bool,
    ) -> Tensor:
        """``discriminator`` has been updated, ``old_discriminator`` has not.

        Real logits are from before the update; fake logits too if their pass is reused, which needs
        a step without a penalty.
        """
        loss, batch = self.loss, self.batch
        judge = old_discriminator if loss.reuse_fake_pass and not penalize else discriminator
        pairs, energies, agreements = [], [], []
        for b in range(B):
            real = self.score(old_discriminator, batch.real[b : b + 1], b).detach()
            drawn = [self.fake(generator, k, b, batch.sequence) for k in self.fakes]
            for x in drawn:
                fake = self.score(judge, x, b)
                logistic, relativistic = -fake.sigmoid().log(), -(fake - real).sigmoid().log()
                pairs.append(loss.logistic * logistic + loss.relativistic * relativistic)
            if loss.energy_score:
                target = batch.sequence.is_target[b]
                x, x1, x2 = (t[target] for t in (batch.real[b], drawn[0][0], drawn[1][0]))
                energies.append((norm(x1 - x) + norm(x2 - x) - norm(x1 - x2)) / 2)
            if batch.second_split is not None:
                x2 = self.fake(generator, self.fakes[-1], b, batch.second_split)
                agreements.append(self.communication(discriminator, drawn[0], x2, b))
        objective = loss.adversarial * torch.stack(pairs).mean()
        if energies:
            objective = objective + loss.energy_score * torch.stack(energies).mean()
        if agreements:
            objective = objective + loss.communication * torch.stack(agreements).mean()
        return objective


def norm(u: Tensor) -> Tensor:
    """½ ‖u‖ / √(|T| P) + ½ mean of ‖u_t‖ / √P, for u of (|T|, P)."""
    return u.norm() / u.numel() ** 0.5 / 2 + (u.norm(dim=1) / P**0.5).mean() / 2


def gradients(objective: Tensor, network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(objective, list(network.parameters())))


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    scale = max(float(gradient.abs().max()) for gradient in theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5 * scale)


@pytest.mark.parametrize("penalize", [False, True], ids=["plain", "penalized"])
@pytest.mark.parametrize("option", OPTIONS)
def test_an_adversarial_step_follows_the_formulas(
    make_training: Callable[..., AdversarialTraining],
    batch: Callable[..., TrainingBatch],
    option: str,
    penalize: bool,
) -> None:
    training = make_training(loss_of(option), partial_patches=option.startswith("partial_patches"))
    data = batch(training.config)
    discriminator, generator = (
        copy.deepcopy(training.discriminator),
        copy.deepcopy(training.generator),
    )
    seen = watch(training)
    result = training.train_step(data, SETTINGS, penalize)

    plain = PlainStep(training.config, data)
    with sdpa_kernel(SDPBackend.MATH):
        d_objective = plain.discriminator_objective(discriminator, generator, penalize)
        assert_close(seen["discriminator"], gradients(d_objective, discriminator))
        g_objective = plain.generator_objective(
            training.discriminator, discriminator, generator, penalize
        )
        assert_close(seen["generator"], gradients(g_objective, generator))

    loss = training.config.loss
    expected = {"loss/discriminator", "loss/generator", "logits/real", "logits/fake"}
    expected |= {"penalty/real", "penalty/fake"} if penalize else set()
    expected |= {"loss/energy_score"} if loss.energy_score else set()
    expected |= {"loss/communication"} if loss.communication else set()
    assert result.metrics.keys() == expected <= set(METRIC_NAMES)
    assert not any(value.requires_grad for value in result.metrics.values())
    assert result.per_sample.shape == (B,)
    terms = {name: value for name, value in result.metrics.items() if name[:6] != "logits"}
    if penalize:
        terms["penalty/fake"] = loss.fakes_per_real * terms["penalty/fake"]
    total = sum(terms.values())
    if loss.communication:
        total = total - plain.agreement(discriminator, generator)
    torch.testing.assert_close(result.per_sample.mean(), total)


def test_an_adversarial_step_reports_means_of_logits_and_penalties(
    make_training: Callable[..., AdversarialTraining], batch: Callable[..., TrainingBatch]
) -> None:
    """Penalties are reported without their weights."""
    training = make_training(loss_of("relativistic"))
    data = batch(training.config)
    discriminator, generator = (
        copy.deepcopy(training.discriminator),
        copy.deepcopy(training.generator),
    )
    metrics = training.train_step(data, SETTINGS, penalize=True).metrics
    plain = PlainStep(training.config, data)
    real = [plain.score(discriminator, data.real[b : b + 1], b) for b in range(B)]
    drawn = [(b, plain.fake(generator, k, b, data.sequence)) for k in (0, 1) for b in range(B)]
    torch.testing.assert_close(metrics["logits/real"], torch.stack(real).mean().detach())
    fake = torch.stack([plain.score(discriminator, x, b) for b, x in drawn]).mean()
    torch.testing.assert_close(metrics["logits/fake"], fake.detach())
    with sdpa_kernel(SDPBackend.MATH):
        of_real = [plain.penalty(discriminator, data.real[b : b + 1], b, None) for b in range(B)]
        of_fake = [plain.penalty(discriminator, x, b, None) for b, x in drawn]
    torch.testing.assert_close(metrics["penalty/real"], torch.stack(of_real).mean().detach())
    torch.testing.assert_close(metrics["penalty/fake"], torch.stack(of_fake).mean().detach())


def test_each_network_steps_with_its_own_learning_rate(
    make_training: Callable[..., AdversarialTraining], batch: Callable[..., TrainingBatch]
) -> None:
    """Adam's first step without momentum is the rate times the sign of the gradient."""
    training = make_training(loss_of("relativistic"))
    networks = {"generator": training.generator, "discriminator": training.discriminator}
    before = {name: weights_of(network) for name, network in networks.items()}
    seen = watch(training)
    training.train_step(batch(training.config), SETTINGS, penalize=False)
    for name, rate in (("generator", 0.003), ("discriminator", 0.005)):
        for was, now, gradient in zip(
            before[name], weights_of(networks[name]), seen[name], strict=True
        ):
            clear = gradient.abs() > 1e-5
            torch.testing.assert_close(
                (now - was)[clear], -rate * gradient[clear].sign(), rtol=2e-3, atol=1e-6
            )


@pytest.mark.parametrize("warm", [True, False])
def test_the_average_moves_by_one_minus_its_decay(
    make_training: Callable[..., AdversarialTraining],
    batch: Callable[..., TrainingBatch],
    warm: bool,
) -> None:
    training = make_training()
    data, before = batch(training.config), weights_of(training.average)
    _ = (
        training.warm_start_step(data, SETTINGS)
        if warm
        else training.train_step(data, SETTINGS, penalize=False)
    )
    for was, average, live in zip(
        before, weights_of(training.average), weights_of(training.generator), strict=True
    ):
        assert torch.equal(average, was.lerp(live, 0.25))
        torch.testing.assert_close(average, 0.75 * was + 0.25 * live)


def test_a_warm_start_step_trains_the_generator_only(
    make_training: Callable[..., AdversarialTraining], batch: Callable[..., TrainingBatch]
) -> None:
    """Mean over images of the mean squared error over the target's values, with the first noise."""
    training = make_training()
    data = batch(training.config)
    discriminator, generator = weights_of(training.discriminator), copy.deepcopy(training.generator)
    average = weights_of(training.average)
    seen = watch(training)
    result = training.warm_start_step(data, SETTINGS)

    plain = PlainStep(training.config, data)
    errors = []
    for b in range(B):
        target = data.sequence.is_target[b]
        drawn = plain.fake(generator, 0, b, data.sequence)[0]
        errors.append((drawn[target] - data.real[b][target]).square().mean())
    torch.testing.assert_close(result.per_sample.detach(), torch.stack(errors).detach())
    expected = torch.stack(errors).mean()
    assert result.metrics.keys() == {"warm_start/squared_error"}
    torch.testing.assert_close(
        result.metrics["warm_start/squared_error"].detach(), expected.detach()
    )
    assert seen.keys() == {"generator"}
    assert_close(seen["generator"], gradients(expected, generator))

    assert equal(weights_of(training.discriminator), discriminator)
    assert not training.optimizers["discriminator"].state
    assert not equal(weights_of(training.generator), weights_of(generator))
    assert not equal(weights_of(training.average), average)


def test_transfer_starts_the_discriminator_from_the_live_generator(
    make_training: Callable[..., AdversarialTraining],
) -> None:
    training = make_training()
    training.transfer_to_discriminator()
    own, live = training.discriminator.state_dict(), training.generator.state_dict()
    shared = [name for name in own if name in live and not name.startswith("head")]
    assert any(name.startswith("trunk.blocks.0.") for name in shared)
    assert all(torch.equal(own[name], live[name]) for name in shared)


def test_initial_weights_depend_only_on_the_seed(tiny_config: Callable[..., Config]) -> None:
    first = AdversarialTraining(tiny_config(), Accelerator(cpu=True))
    torch.manual_seed(123)
    state = torch.get_rng_state()
    second = AdversarialTraining(tiny_config(), Accelerator(cpu=True))
    assert torch.equal(torch.get_rng_state(), state)  # global randomness is untouched
    assert equal(weights_of(first.generator), weights_of(second.generator))
    assert equal(weights_of(first.discriminator), weights_of(second.discriminator))
    assert equal(weights_of(first.generator), weights_of(first.average))
    other = AdversarialTraining(tiny_config({"train.seed": 1}), Accelerator(cpu=True))
    assert not equal(weights_of(first.generator), weights_of(other.generator))
