"""Generator and discriminator: roles, places, what they must not see, and their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from biglearn_gan.config import GeneratorConfig, NetworkConfig
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.generator import Generator, Noise
from biglearn_gan.models.transformer import (
    twice_differentiable_attention,
)
from biglearn_gan.tasks.patches import gather_tokens
from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence

B, L, M, P, Z, N = 3, 13, 7, 5, 11, 2
GENERATOR = GeneratorConfig(width=8, depth=2, heads=2, latent_dim=Z, token_noise_dim=N)
DISCRIMINATOR = NetworkConfig(width=8, depth=2, heads=2)


@dataclass
class Case:
    """A generator, a discriminator and one batch for them."""

    generator: Generator
    discriminator: Discriminator
    masks: TokenMasks
    whole: Tensor  # (B, L, P)
    sequence: TokenSequence  # (B, M)
    noise: Noise

    @property
    def tokens(self) -> Tensor:
        return gather_tokens(self.whole, self.sequence.positions)

    @property
    def is_target(self) -> Tensor:
        return self.sequence.is_target

    def generate(self, tokens: Tensor) -> Tensor:
        return self.generator(tokens, self.sequence, self.noise)

    def score(self, tokens: Tensor) -> Tensor:
        return self.discriminator(tokens, self.sequence)

    def change_sequence(self, **changes: Tensor) -> None:
        self.sequence = replace(self.sequence, **changes)

    def change_noise(self, **changes: Tensor) -> None:
        self.noise = replace(self.noise, **changes)


def case(masks: TokenMasks) -> Case:
    sequence = masks.sequence()
    rows, present = sequence.positions.shape
    length = masks.source.shape[1]
    return Case(
        Generator(length, P, GENERATOR),
        Discriminator(length, P, DISCRIMINATOR),
        masks,
        torch.randn(rows, length, P),
        sequence,
        Noise(torch.randn(rows, Z), torch.randn(rows, present, N)),
    )


@pytest.fixture
def networks(draw_masks: Callable[..., TokenMasks]) -> Case:
    return case(draw_masks(B, L, M))


def test_shapes(networks: Case) -> None:
    assert networks.generate(networks.tokens).shape == (B, M, P)
    assert networks.score(networks.tokens).shape == (B,)
    noise = networks.generator.draw_noise(B, M, torch.Generator().manual_seed(0))
    assert noise.z.shape == (B, Z)
    assert noise.token_noise.shape == (B, M, N)


def test_source_tokens_are_returned_untouched_and_targets_are_generated(networks: Case) -> None:
    tokens = 3 * networks.tokens  # beyond the range of tanh, too
    drawn = networks.generate(tokens)
    target = networks.is_target
    assert torch.equal(drawn[~target], tokens[~target])
    assert (drawn[target] != tokens[target]).all()
    assert (drawn[target].abs() < 1).all()


def test_linear_output_is_the_inverse_hyperbolic_tangent_of_the_other(networks: Case) -> None:
    bounded = networks.generate(networks.tokens)[networks.is_target]
    networks.generator.config = GENERATOR.model_copy(update={"output": "linear"})
    unbounded = networks.generate(networks.tokens)[networks.is_target]
    torch.testing.assert_close(unbounded.tanh(), bounded)


def test_source_values_matter_to_the_generator_and_target_values_do_not(networks: Case) -> None:
    tokens, target = networks.tokens, networks.is_target
    drawn = networks.generate(tokens)
    elsewhere = torch.where(target[..., None], torch.randn(B, M, P), tokens)
    assert torch.equal(networks.generate(elsewhere), drawn)
    other_source = torch.where(target[..., None], tokens, torch.randn(B, M, P))
    assert (networks.generate(other_source)[target] != drawn[target]).all()
    assert (networks.score(elsewhere) != networks.score(tokens)).all()


def test_each_noise_reaches_every_target(networks: Case) -> None:
    target = networks.is_target
    drawn = networks.generate(networks.tokens)[target]
    z, token_noise = networks.noise.z, networks.noise.token_noise
    networks.change_noise(z=-z)
    other_latent = networks.generate(networks.tokens)[target]
    networks.change_noise(z=z, token_noise=-token_noise)
    other_noise = networks.generate(networks.tokens)[target]
    assert (other_latent != drawn).all()
    assert (other_noise != drawn).all()


def test_noise_of_source_tokens_does_not_matter(networks: Case) -> None:
    drawn = networks.generate(networks.tokens)
    hidden = networks.is_target[..., None]
    others = torch.where(hidden, networks.noise.token_noise, torch.randn(B, M, N))
    networks.change_noise(token_noise=others)
    assert torch.equal(networks.generate(networks.tokens), drawn)


def test_roles_and_positions_matter_to_both_networks(networks: Case) -> None:
    drawn, logits = networks.generate(networks.tokens), networks.score(networks.tokens)
    tokens, positions = networks.tokens, networks.sequence.positions
    networks.change_sequence(positions=(positions + 1) % L)
    assert (networks.score(tokens) != logits).all()
    assert (networks.generate(tokens) != drawn)[networks.is_target].all()
    networks.change_sequence(positions=positions, is_target=~networks.is_target)
    assert (networks.score(tokens) != logits).all()


def test_in_a_transformed_domain_a_position_is_a_mixture_of_positions(networks: Case) -> None:
    """The identity is no transform, and a permutation of the tokens is one of their positions."""
    drawn, logits = networks.generate(networks.tokens), networks.score(networks.tokens)
    transforms = torch.eye(L)[networks.sequence.positions]
    networks.change_sequence(transforms=transforms)
    torch.testing.assert_close(networks.generate(networks.tokens), drawn)
    torch.testing.assert_close(networks.score(networks.tokens), logits)
    networks.change_sequence(transforms=-transforms)
    assert (networks.score(networks.tokens) != logits).all()
    assert (networks.generate(networks.tokens) != drawn)[networks.is_target].all()


def test_absent_tokens_change_nothing_exactly(networks: Case) -> None:
    """Through ``TokenMasks.sequence`` and ``gather_tokens``, as in training."""
    drawn, logits = networks.generate(networks.tokens), networks.score(networks.tokens)
    absent = ~networks.masks.union
    assert absent.sum(dim=1).tolist() == [L - M] * B
    for disturbance in (torch.randn(B, L, P), torch.full((B, L, P), math.nan)):
        networks.whole = torch.where(absent[..., None], disturbance, networks.whole)
        assert torch.equal(networks.generate(networks.tokens), drawn)
        assert torch.equal(networks.score(networks.tokens), logits)


def test_the_order_of_the_tokens_does_not_matter(
    float64: None, draw_masks: Callable[..., TokenMasks]
) -> None:
    """It permutes what the generator returns, and leaves the logit alone."""
    networks = case(draw_masks(B, L, M))
    tokens = networks.tokens
    drawn, logits = networks.generate(tokens), networks.score(tokens)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    networks.change_sequence(
        positions=networks.sequence.positions[:, order], is_target=networks.is_target[:, order]
    )
    networks.change_noise(token_noise=networks.noise.token_noise[:, order])
    torch.testing.assert_close(networks.generate(tokens[:, order]), drawn[:, order])
    torch.testing.assert_close(networks.score(tokens[:, order]), logits)


def test_rows_of_a_batch_do_not_mix(float64: None, draw_masks: Callable[..., TokenMasks]) -> None:
    networks = case(draw_masks(B, L, M))
    drawn, logits = networks.generate(networks.tokens), networks.score(networks.tokens)
    for row in range(B):
        own = slice(row, row + 1)
        tokens, sequence = networks.tokens[own], networks.sequence.rows(own)
        alone = networks.generator(tokens, sequence, networks.noise.rows(own))
        torch.testing.assert_close(alone, drawn[own])
        torch.testing.assert_close(networks.discriminator(tokens, sequence), logits[own])


def test_gradients_reach_every_element_of_every_parameter(
    float64: None, draw_masks: Callable[..., TokenMasks]
) -> None:
    networks = case(draw_masks(B, L, L))  # all tokens, so that every position is there
    weights = torch.randn(B, L, P)
    (networks.generate(networks.tokens) * weights).sum().backward()
    networks.score(networks.tokens).sum().backward()
    for network in (networks.generator, networks.discriminator):
        names = [name for name, _ in network.named_parameters()]
        assert names
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert (parameter.grad != 0).all(), name


def test_gradients_of_both_networks_against_finite_differences(float64: None) -> None:
    """First derivatives with respect to every float that goes in, and to every parameter."""
    source = torch.tensor([[True, False, False, False], [False, False, True, False]])
    target = torch.tensor([[False, True, False, True], [True, False, False, True]])
    networks = case(TokenMasks(source, target))
    small = GENERATOR.model_copy(update={"width": 4, "depth": 1, "latent_dim": 3})
    generator = Generator(4, 2, small)
    discriminator = Discriminator(4, 2, NetworkConfig(width=4, depth=1, heads=2))
    tokens, z, noise = torch.randn(2, 3, 2), torch.randn(2, 3), torch.randn(2, 3, N)
    sequence = networks.sequence

    generate = as_function(generator, lambda x, u, e: (x, sequence, Noise(u, e)), inputs=3)
    assert gradcheck(generate, (*leaves(tokens, z, noise), *parameters(generator)))
    score = as_function(discriminator, lambda x: (x, sequence), inputs=1)
    assert gradcheck(score, (*leaves(tokens), *parameters(discriminator)))


def test_second_derivatives_of_the_discriminator_against_finite_differences(float64: None) -> None:
    """As an exact gradient penalty takes them, inside ``twice_differentiable_attention``."""
    discriminator = Discriminator(3, 2, NetworkConfig(width=4, depth=1, heads=2))
    sequence = TokenSequence(
        positions=torch.tensor([[0, 1, 2], [2, 0, 1]]),
        is_target=torch.tensor([[True, False, True], [False, True, True]]),
    )
    score = as_function(discriminator, lambda x: (x, sequence), inputs=1)
    with twice_differentiable_attention():
        assert gradgradcheck(score, (*leaves(torch.randn(2, 3, 2)), *parameters(discriminator)))


def as_function(network: nn.Module, arrange: Callable, inputs: int) -> Callable[..., Tensor]:
    """The network as a function of ``inputs`` tensors and then all of its parameters."""
    names = [name for name, _ in network.named_parameters()]

    def function(*tensors: Tensor) -> Tensor:
        weights = dict(zip(names, tensors[inputs:], strict=True))
        return functional_call(network, weights, arrange(*tensors[:inputs]))

    return function


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def parameters(network: nn.Module) -> list[Tensor]:
    return leaves(*network.parameters())
