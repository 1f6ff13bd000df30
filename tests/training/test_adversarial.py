"""One step of the warm start and of the game against the formulas, written out a second time."""

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
    GameBatch,
    StepSizes,
)

B, L, M, P = 7, 16, 11, 4
SIZES = StepSizes(generator=0.003, discriminator=0.005, penalty_factor=0.6, ema_decay=0.75)

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
    "shared_pass_and_communication": {
        "logistic": 1.3,
        "relativistic": 0.0,
        "communication": 0.8,
        "reuse_fake_pass": True,
    },
    "finite_difference": {"penalty": {"kind": "finite_difference", "sigma": 0.11, "interval": 1}},
    "every_step": {"penalty": {"r1": 0.3, "r2": 0.0, "interval": 1}},
    "lazy": {"penalty": {"r1": 0.0, "r2": 0.3, "interval": 5}},
    "no_energy": {"energy_score": 0.0},
    "one_fake": {"energy_score": 0.0, "fakes_per_real": 1},
    "three_fakes": {"fakes_per_real": 3},
    "kept": {},
    "kept_and_finite_difference": {"penalty": {"kind": "finite_difference"}},
}


def loss_of(option: str) -> dict[str, Any]:
    penalty = {"r1": 0.3, "r2": 0.7, "interval": 3}
    return {"penalty": penalty} | OPTIONS[option]


@pytest.fixture
def players(tiny_config: Callable[..., Config]) -> Callable[..., AdversarialTraining]:
    def make(loss: dict[str, Any] | None = None, kept: bool = False) -> AdversarialTraining:
        config = tiny_config({"loss": loss or {}, "tasks.partial_patches": 0.5 * kept})
        result = AdversarialTraining(config, Accelerator(cpu=True))
        torch.manual_seed(5)
        with torch.no_grad():  # a critic that is not near zero, an average of its own
            for parameter in result.average.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            result.discriminator.head.weight.mul_(5)
        return result

    return make


@pytest.fixture
def batch(draw_masks: Callable[..., TokenMasks]) -> Callable[..., GameBatch]:
    """Real tokens, a task for each, a second split of the same unions where it is asked for."""

    def make(config: Config) -> GameBatch:
        torch.manual_seed(6)
        fakes, generator = config.loss.fakes_per_real, config.model.generator
        masks = draw_masks(B, L, M)
        target = masks.union & (torch.rand(B, L) < 0.5)
        target[torch.arange(B), masks.target.int().argmax(dim=1)] = True
        second = TokenMasks(masks.union & ~target, target).sequence()
        sequence = masks.sequence()
        if config.reads_partial_patches:
            known = sequence.is_target[..., None] & (torch.rand(B, M, P) < 0.4)
            known[..., :2] = False  # far from the norms' corner at 0
            sequence = replace(sequence, known_values=known)
        assert torch.equal(sequence.positions, second.positions)
        assert (sequence.is_target != second.is_target).any()
        finite = config.loss.penalty.kind == "finite_difference"
        return GameBatch(
            real=torch.randn(B, M, P),
            sequence=sequence,
            z=torch.randn(fakes, B, generator.latent_dim),
            token_noise=torch.randn(fakes, B, M, generator.token_noise_dim),
            perturbation=torch.randn((1 + fakes) * B, M, P) if finite else None,
            second=second if config.loss.communication else None,
        )

    return make


def watch(players: AdversarialTraining) -> dict[str, list[Tensor]]:
    """The gradients with which each optimizer steps."""
    seen: dict[str, list[Tensor]] = {}
    for name, optimizer in players.optimizers.items():

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


class ByTheBook:
    """The objectives of one step by loops over images and fakes, with plain operations."""

    def __init__(self, config: Config, batch: GameBatch):
        self.loss, self.batch = config.loss, batch
        self.fakes = range(config.loss.fakes_per_real)

    def fake(self, generator: Generator, k: int, b: int, sequence: TokenSequence) -> Tensor:
        """(1, M, P)"""
        return generator(
            self.batch.real[b : b + 1],
            sequence.rows(slice(b, b + 1)),
            Noise(self.batch.z[k, b][None], self.batch.token_noise[k, b][None]),
        )

    def score(self, critic: Discriminator, x: Tensor, b: int, second: bool = False) -> Tensor:
        sequence = self.batch.second if second else self.batch.sequence
        assert sequence is not None
        return critic(x, sequence.rows(slice(b, b + 1)))[0]

    def penalty(self, critic: Discriminator, x: Tensor, b: int, draw: Tensor | None) -> Tensor:
        target = self.batch.sequence.is_target[b][:, None].expand(M, P)
        if self.batch.sequence.known_values is not None:
            target = target & ~self.batch.sequence.known_values[b]
        if draw is not None:
            sigma = self.loss.penalty.sigma
            moved = x.clone()
            moved[0, target] += sigma * draw[target]
            slope = (self.score(critic, moved, b) - self.score(critic, x, b)) / sigma
            return slope**2 / 2
        x = x.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.score(critic, x, b), x, create_graph=True)
        return (gradient[0][target] ** 2).sum() / 2

    def communication(self, critic: Discriminator, x1: Tensor, x2: Tensor, b: int) -> Tensor:
        """log σ(f(x1; 2) - f(x1; 1)) + log σ(f(x2; 1) - f(x2; 2)), x_i from the task i's model."""
        first = self.score(critic, x1, b, second=True) - self.score(critic, x1, b)
        second = self.score(critic, x2, b) - self.score(critic, x2, b, second=True)
        return first.sigmoid().log() + second.sigmoid().log()

    def discriminator_objective(
        self, critic: Discriminator, generator: Generator, penalize: bool
    ) -> Tensor:
        loss, batch = self.loss, self.batch
        pairs, real_penalties, fake_penalties = [], [], []
        for b in range(B):
            x = batch.real[b : b + 1]
            real = self.score(critic, x, b)
            draws = batch.perturbation
            if penalize:
                draw = None if draws is None else draws[b]
                real_penalties.append(self.penalty(critic, x, b, draw))
            for k in self.fakes:
                drawn = self.fake(generator, k, b, batch.sequence).detach()
                fake = self.score(critic, drawn, b)
                logistic = -real.sigmoid().log() - (-fake).sigmoid().log()
                relativistic = -(real - fake).sigmoid().log()
                pairs.append(loss.logistic * logistic + loss.relativistic * relativistic)
                if penalize:
                    draw = None if draws is None else draws[(1 + k) * B + b]
                    fake_penalties.append(self.penalty(critic, drawn, b, draw))
        objective = torch.stack(pairs).mean()
        if penalize:
            strength = loss.penalty.interval * SIZES.penalty_factor
            objective = objective + strength * loss.penalty.r1 * torch.stack(real_penalties).mean()
            objective = objective + strength * loss.penalty.r2 * torch.stack(fake_penalties).mean()
        if loss.communication:
            objective = objective - loss.communication * self.agreement(critic, generator)
        return objective

    def agreement(self, critic: Discriminator, generator: Generator) -> Tensor:
        """The mean value of the communication game on fixed samples."""
        batch, values = self.batch, []
        assert batch.second is not None
        for b in range(B):
            x1 = self.fake(generator, 0, b, batch.sequence).detach()
            x2 = self.fake(generator, self.fakes[-1], b, batch.second).detach()
            values.append(self.communication(critic, x1, x2, b))
        return torch.stack(values).mean()

    def generator_objective(
        self,
        critic: Discriminator,
        old_critic: Discriminator,
        generator: Generator,
        penalize: bool,
    ) -> Tensor:
        """``critic`` has made its step; a pair's real logit is the one from before it.

        So is the fakes' logit where one pass serves both players, in steps without a penalty.
        """
        loss, batch = self.loss, self.batch
        judge = old_critic if loss.reuse_fake_pass and not penalize else critic
        pairs, energies, agreements = [], [], []
        for b in range(B):
            real = self.score(old_critic, batch.real[b : b + 1], b).detach()
            drawn = [self.fake(generator, k, b, batch.sequence) for k in self.fakes]
            for x in drawn:
                fake = self.score(judge, x, b)
                logistic, relativistic = -fake.sigmoid().log(), -(fake - real).sigmoid().log()
                pairs.append(loss.logistic * logistic + loss.relativistic * relativistic)
            if loss.energy_score:
                target = batch.sequence.is_target[b]
                x, x1, x2 = (t[target] for t in (batch.real[b], drawn[0][0], drawn[1][0]))
                energies.append((norm(x1 - x) + norm(x2 - x) - norm(x1 - x2)) / 2)
            if batch.second is not None:
                x2 = self.fake(generator, self.fakes[-1], b, batch.second)
                agreements.append(self.communication(critic, drawn[0], x2, b))
        objective = torch.stack(pairs).mean()
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
def test_a_step_of_the_game_follows_the_formulas(
    players: Callable[..., AdversarialTraining],
    batch: Callable[..., GameBatch],
    option: str,
    penalize: bool,
) -> None:
    ours = players(loss_of(option), kept=option.startswith("kept"))
    data = batch(ours.config)
    critic, generator = copy.deepcopy(ours.discriminator), copy.deepcopy(ours.generator)
    seen = watch(ours)
    result = ours.train_step(data, SIZES, penalize)

    book = ByTheBook(ours.config, data)
    with sdpa_kernel(SDPBackend.MATH):
        of_critic = book.discriminator_objective(critic, generator, penalize)
        assert_close(seen["discriminator"], gradients(of_critic, critic))
        of_generator = book.generator_objective(ours.discriminator, critic, generator, penalize)
        assert_close(seen["generator"], gradients(of_generator, generator))

    loss = ours.config.loss
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
        total = total - book.agreement(critic, generator)
    torch.testing.assert_close(result.per_sample.mean(), total)


def test_what_a_step_of_the_game_reports(
    players: Callable[..., AdversarialTraining], batch: Callable[..., GameBatch]
) -> None:
    """Means of unweighted penalties and logits, image by image and fake by fake."""
    ours = players(loss_of("relativistic"))
    data = batch(ours.config)
    critic, generator = copy.deepcopy(ours.discriminator), copy.deepcopy(ours.generator)
    metrics = ours.train_step(data, SIZES, penalize=True).metrics
    book = ByTheBook(ours.config, data)
    real = [book.score(critic, data.real[b : b + 1], b) for b in range(B)]
    drawn = [(b, book.fake(generator, k, b, data.sequence)) for k in (0, 1) for b in range(B)]
    torch.testing.assert_close(metrics["logits/real"], torch.stack(real).mean().detach())
    fake = torch.stack([book.score(critic, x, b) for b, x in drawn]).mean()
    torch.testing.assert_close(metrics["logits/fake"], fake.detach())
    with sdpa_kernel(SDPBackend.MATH):
        of_real = [book.penalty(critic, data.real[b : b + 1], b, None) for b in range(B)]
        of_fake = [book.penalty(critic, x, b, None) for b, x in drawn]
    torch.testing.assert_close(metrics["penalty/real"], torch.stack(of_real).mean().detach())
    torch.testing.assert_close(metrics["penalty/fake"], torch.stack(of_fake).mean().detach())


def test_each_player_steps_with_its_own_rate(
    players: Callable[..., AdversarialTraining], batch: Callable[..., GameBatch]
) -> None:
    """Adam's first step without momentum is the rate times the sign of the gradient."""
    ours = players(loss_of("relativistic"))
    networks = {"generator": ours.generator, "discriminator": ours.discriminator}
    before = {name: weights_of(network) for name, network in networks.items()}
    seen = watch(ours)
    ours.train_step(batch(ours.config), SIZES, penalize=False)
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
    players: Callable[..., AdversarialTraining], batch: Callable[..., GameBatch], warm: bool
) -> None:
    ours = players()
    data, before = batch(ours.config), weights_of(ours.average)
    _ = ours.warm_start_step(data, SIZES) if warm else ours.train_step(data, SIZES, penalize=False)
    for was, average, live in zip(
        before, weights_of(ours.average), weights_of(ours.generator), strict=True
    ):
        assert torch.equal(average, was.lerp(live, 0.25))
        torch.testing.assert_close(average, 0.75 * was + 0.25 * live)


def test_a_warm_step_trains_the_generator_and_nothing_else(
    players: Callable[..., AdversarialTraining], batch: Callable[..., GameBatch]
) -> None:
    """Mean over images of the mean squared error over the target's values, with the first noise."""
    ours = players()
    data = batch(ours.config)
    critic, generator = weights_of(ours.discriminator), copy.deepcopy(ours.generator)
    average = weights_of(ours.average)
    seen = watch(ours)
    result = ours.warm_start_step(data, SIZES)

    book = ByTheBook(ours.config, data)
    errors = []
    for b in range(B):
        target = data.sequence.is_target[b]
        drawn = book.fake(generator, 0, b, data.sequence)[0]
        errors.append((drawn[target] - data.real[b][target]).square().mean())
    torch.testing.assert_close(result.per_sample.detach(), torch.stack(errors).detach())
    expected = torch.stack(errors).mean()
    assert result.metrics.keys() == {"warm_start/squared_error"}
    torch.testing.assert_close(
        result.metrics["warm_start/squared_error"].detach(), expected.detach()
    )
    assert seen.keys() == {"generator"}
    assert_close(seen["generator"], gradients(expected, generator))

    assert equal(weights_of(ours.discriminator), critic)
    assert not ours.optimizers["discriminator"].state
    assert not equal(weights_of(ours.generator), weights_of(generator))
    assert not equal(weights_of(ours.average), average)


def test_hand_over_starts_the_discriminator_from_the_live_generator(
    players: Callable[..., AdversarialTraining],
) -> None:
    ours = players()
    ours.hand_over()
    own, live = ours.discriminator.state_dict(), ours.generator.state_dict()
    shared = [name for name in own if name in live and not name.startswith("head")]
    assert any(name.startswith("trunk.blocks.0.") for name in shared)
    assert all(torch.equal(own[name], live[name]) for name in shared)


def test_players_start_from_the_seed_alone(tiny_config: Callable[..., Config]) -> None:
    first = AdversarialTraining(tiny_config(), Accelerator(cpu=True))
    torch.manual_seed(123)
    state = torch.get_rng_state()
    second = AdversarialTraining(tiny_config(), Accelerator(cpu=True))
    assert torch.equal(torch.get_rng_state(), state)  # and leave global randomness alone
    assert equal(weights_of(first.generator), weights_of(second.generator))
    assert equal(weights_of(first.discriminator), weights_of(second.discriminator))
    assert equal(weights_of(first.generator), weights_of(first.average))
    other = AdversarialTraining(tiny_config({"train.seed": 1}), Accelerator(cpu=True))
    assert not equal(weights_of(first.generator), weights_of(other.generator))
