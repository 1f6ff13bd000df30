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

from biglearn_gan.config import Config, GeneratorConfig, NetworkConfig
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.generator import Generator, Noise
from biglearn_gan.models.transformer import (
    Attention,
    Block,
    rms_norm,
    twice_differentiable_attention,
)
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import gather_tokens, patchify
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


def test_values_at_target_places_do_not_matter_and_those_at_sources_do(networks: Case) -> None:
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


def test_roles_and_places_matter_to_both_networks(networks: Case) -> None:
    drawn, logits = networks.generate(networks.tokens), networks.score(networks.tokens)
    tokens, positions = networks.tokens, networks.sequence.positions
    networks.change_sequence(positions=(positions + 1) % L)
    assert (networks.score(tokens) != logits).all()
    assert (networks.generate(tokens) != drawn)[networks.is_target].all()
    networks.change_sequence(positions=positions, is_target=~networks.is_target)
    assert (networks.score(tokens) != logits).all()


def test_in_a_transformed_domain_a_token_stands_at_a_mixture_of_places(networks: Case) -> None:
    """The identity is no transform, and a permutation of the tokens is one of their positions."""
    drawn, logits = networks.generate(networks.tokens), networks.score(networks.tokens)
    transforms = torch.eye(L)[networks.sequence.positions]
    networks.change_sequence(transforms=transforms)
    torch.testing.assert_close(networks.generate(networks.tokens), drawn)
    torch.testing.assert_close(networks.score(networks.tokens), logits)
    networks.change_sequence(transforms=-transforms)
    assert (networks.score(networks.tokens) != logits).all()
    assert (networks.generate(networks.tokens) != drawn)[networks.is_target].all()


def test_absent_tokens_change_nothing_to_the_bit(networks: Case) -> None:
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


def test_rms_norm_by_hand() -> None:
    x = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
    mean_squares = torch.tensor([[12.5], [0.5]])
    torch.testing.assert_close(rms_norm(x, eps=0.0), x / mean_squares.sqrt())


def test_attention_against_the_formula(float64: None) -> None:
    """Softmax of 1.5 / sqrt(head width) times products of unit-RMS queries and keys, by head."""
    width, heads = 6, 2
    attention = Attention(width, heads)
    x = torch.randn(B, M, width)
    query, key, value = (
        x @ attention.query_key_value.weight.T + attention.query_key_value.bias
    ).split(width, dim=-1)
    mixed = []
    for head in range(heads):
        own = slice(head * 3, head * 3 + 3)
        q = query[..., own] / (query[..., own].square().mean(-1, keepdim=True) + 1e-6).sqrt()
        k = key[..., own] / (key[..., own].square().mean(-1, keepdim=True) + 1e-6).sqrt()
        weights = (1.5 / math.sqrt(3) * q @ k.transpose(1, 2)).softmax(dim=-1)
        mixed.append(weights @ value[..., own])
    expected = torch.cat(mixed, dim=-1) @ attention.out.weight.T + attention.out.bias
    torch.testing.assert_close(attention(x), expected)
    with twice_differentiable_attention():
        torch.testing.assert_close(attention(x), expected)


def test_a_block_whose_modulation_is_zero_is_a_plain_block(float64: None) -> None:
    plain, modulated = Block(8, 2), Block(8, 2, conditioning_dim=3)
    plain.load_state_dict(modulated.state_dict(), strict=False)
    x, conditioning = torch.randn(B, M, 8), torch.randn(B, 3)
    assert (modulated(x, conditioning) != plain(x)).all()
    assert modulated.modulation is not None
    nn.init.zeros_(modulated.modulation.weight)
    torch.testing.assert_close(modulated(x, conditioning), plain(x))


def test_each_modulation_has_its_own_place(float64: None) -> None:
    """scale, shift and gate of the attention, then those of the feed-forward layer."""
    block = Block(2, 1, conditioning_dim=12)
    assert block.modulation is not None
    with torch.no_grad():
        block.modulation.weight.copy_(torch.eye(12))
    x, conditioning = torch.randn(1, M, 2), torch.randn(1, 12)
    scale1, shift1, gate1, scale2, shift2, gate2 = conditioning.view(6, 2)
    x1 = x + (1 + gate1) * block.attention(rms_norm(x) * (1 + scale1) + shift1)
    expected = x1 + (1 + gate2) * block.feed_forward(rms_norm(x1) * (1 + scale2) + shift2)
    torch.testing.assert_close(block(x, conditioning), expected)


EMBEDDING = {
    "embedding.position",
    "embedding.role",
    "embedding.value.weight",
    "embedding.value.bias",
}
BLOCK = {
    f"{layer}.{kind}"
    for layer in (
        "attention.query_key_value",
        "attention.out",
        "feed_forward.0",
        "feed_forward.2",
    )
    for kind in ("weight", "bias")
}


@pytest.mark.parametrize(("generator_depth", "discriminator_depth"), [(3, 2), (2, 3)])
@pytest.mark.parametrize("transfer", ["nothing", "trunk"])
def test_init_from_generator_copies_what_it_says_and_nothing_else(
    transfer: str, generator_depth: int, discriminator_depth: int
) -> None:
    generator = Generator(L, P, GENERATOR.model_copy(update={"depth": generator_depth}))
    discriminator = Discriminator(
        L, P, DISCRIMINATOR.model_copy(update={"depth": discriminator_depth})
    )
    for network in (generator, discriminator):  # no parameter is equal by its initialization
        for parameter in network.parameters():
            nn.init.normal_(parameter)
    theirs = {name: value.clone() for name, value in generator.state_dict().items()}
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    copied = {
        "nothing": set(),
        "trunk": EMBEDDING | {f"trunk.blocks.{block}.{name}" for block in (0, 1) for name in BLOCK},
    }[transfer]

    discriminator.init_from_generator(generator, transfer)

    after = discriminator.state_dict()
    assert after.keys() == before.keys()
    for name, value in after.items():
        assert torch.equal(value, theirs[name] if name in copied else before[name]), name
    for parameter in discriminator.parameters():  # a copy, not the same memory
        nn.init.zeros_(parameter)
    assert all(torch.equal(value, theirs[name]) for name, value in generator.state_dict().items())


# Ragged masks, through the model: rows that differ in their number of absent tokens.


@pytest.fixture
def ragged(oblong_config: Config) -> tuple[TokenMasks, Tensor]:
    """Five images of 15 tokens with 15, 9, 9, 1 and 4 present tokens; (5, 15, 12) values."""
    rng = torch.Generator().manual_seed(1)
    order = torch.rand(5, 15, generator=rng).argsort(dim=1)
    union = order < torch.tensor([15, 9, 9, 1, 4])[:, None]
    target = order < torch.tensor([6, 9, 2, 1, 3])[:, None]
    return TokenMasks(union & ~target, target), torch.randn(5, 15, 12, generator=rng)


def test_a_ragged_batch_equals_one_image_at_a_time(
    float64: None, oblong_config: Config, ragged: tuple[TokenMasks, Tensor]
) -> None:
    masks, tokens = ragged
    tokens = tokens.double()
    model = BigLearnGAN(oblong_config)
    drawn = model.generate(tokens, masks, variations=2, seed=7)  # (5, 2, 15, 12)
    assert drawn.dtype == torch.float64
    for image in range(5):
        own = TokenMasks(
            masks.source[image : image + 1], masks.target[image : image + 1]
        ).sequence()
        present = tokens[image, own.positions[0]][None]
        for variation in range(2):
            numbers = make_rng(Stream.SAMPLE, 7, image, variation)
            noise = model.generator.draw_noise(1, present.shape[1], numbers)
            alone = model.generator(present, own, noise)
            expected = tokens[image].clone()
            expected[own.positions[0]] = alone[0].detach()
            torch.testing.assert_close(drawn[image, variation], expected)


def test_absent_tokens_change_nothing_of_what_the_model_generates(
    oblong_config: Config, ragged: tuple[TokenMasks, Tensor]
) -> None:
    masks, tokens = ragged
    model = BigLearnGAN(oblong_config)
    drawn = model.generate(tokens, masks, seed=7)[:, 0]
    absent = ~masks.union
    disturbed = torch.where(absent[..., None], torch.full_like(tokens, math.nan), tokens)
    again = model.generate(disturbed, masks, seed=7)[:, 0]
    assert torch.equal(again[~absent], drawn[~absent])
    assert torch.equal(drawn[absent], tokens[absent])


def test_absent_pixels_change_nothing_of_a_completion(oblong_config: Config) -> None:
    model = BigLearnGAN(oblong_config)
    images = 2 * torch.rand(3, 3, 6, 10) - 1
    hole, absent = torch.zeros(2, 3, 6, 10, dtype=torch.bool)
    hole[0, :3, :3] = hole[1, 5] = hole[2, :, 4:6] = True
    absent[0, 4:] = absent[1, 0, 9] = absent[2, 2:, :2] = True
    completed = model.complete(images, hole, absent=absent, seed=3)[:, 0]
    # All of a patch that absent touches is absent (unless the hole touches it, too).
    whole_patches = patches_touching(absent) & ~patches_touching(hole)
    assert whole_patches.flatten(1).sum(dim=1).tolist() == [20, 4, 8]
    disturbed = torch.where(whole_patches[:, None], -images, images)
    again = model.complete(disturbed, hole, absent=absent, seed=3)[:, 0]
    inside = hole[:, None].expand_as(images)
    assert torch.equal(again[inside], completed[inside])
    assert torch.equal(again[~inside], disturbed[~inside])
    given = model.complete(images, hole, seed=3)[:, 0]
    assert (given[inside] != completed[inside]).all()  # while given pixels do matter


def test_a_completion_does_not_depend_on_the_holes_beside_it(oblong_config: Config) -> None:
    """Bit for bit, though rows with other numbers of absent tokens run in other chunks."""
    rng = torch.Generator().manual_seed(2)
    model = BigLearnGAN(oblong_config)
    images = 2 * torch.rand(5, 3, 6, 10, generator=rng) - 1
    hole = torch.rand(5, 6, 10, generator=rng) < 0.1
    hole[:, 0, 0] = True
    absent = torch.rand(5, 6, 10, generator=rng) < torch.tensor([0.0, 0.05, 0.1, 0.2, 0.5]).view(
        5, 1, 1
    )
    completed = model.complete(images, hole, absent=absent, seed=3)
    counts = (
        patchify((patches_touching(absent) & ~patches_touching(hole))[:, None], 2).any(-1).sum(1)
    )
    assert sorted(counts.tolist()) == [0, 1, 3, 3, 9]
    for image in range(5):
        others = torch.arange(5) != image
        alone = hole.clone(), absent.clone()
        alone[0][others] = True
        alone[1][others] = False
        again = model.complete(images, alone[0], absent=alone[1], seed=3)
        assert torch.equal(again[image], completed[image])


def patches_touching(pixels: Tensor) -> Tensor:
    """Every pixel of every 2 x 2 patch in which a pixel (B, H, W) is True."""
    touched = nn.functional.max_pool2d(pixels.float(), 2)
    return touched.repeat_interleave(2, -1).repeat_interleave(2, -2).bool()
