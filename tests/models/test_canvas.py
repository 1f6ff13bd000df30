"""Convolutions across the borders of patches read present pixels only, and keep known ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from biglearn_gan.config import Config, ConfigError, NetworkConfig
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.canvas import CanvasConvolutions, OverlapEmbedding, PatchGrid
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.generator import Noise
from biglearn_gan.models.transformer import twice_differentiable_attention
from biglearn_gan.tasks.patches import gather_tokens, patchify, pixels_of_tokens
from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence

GRID = PatchGrid((2, 3), 2, 2)
"""Images of two channels and 4 x 6 pixels, in 6 tokens of 2 x 2 pixels."""

ACROSS: dict[str, Any] = {
    "tasks.partial_patches": 0.5,
    "model.generator.canvas_channels": 5,
    "model.discriminator.overlap": 1,
}
WITH_FEATURES = ACROSS | {"model.generator.canvas_features": 3}


@pytest.fixture
def masks(draw_masks: Callable[..., TokenMasks]) -> TokenMasks:
    """Two rows with 4 of 6 tokens, in which some pixels of a target may be known."""
    drawn = draw_masks(2, 6, 4)
    known = (torch.rand(2, 6, 4) < 0.5)[..., None, :].expand(-1, -1, 2, -1).flatten(2)
    return TokenMasks(drawn.source, drawn.target, known & drawn.target[..., None])


@pytest.fixture(params=[ACROSS, WITH_FEATURES], ids=["without features", "with features"])
def across(request: pytest.FixtureRequest, tiny_config: Callable[..., Config]) -> Config:
    """A model with convolutions."""
    return tiny_config(request.param)


@pytest.fixture
def model(across: Config) -> BigLearnGAN:
    """A model whose convolutions have random weights."""
    model = BigLearnGAN(across).eval()
    assert model.generator.canvas is not None and model.discriminator.overlap is not None
    randomize(model.generator.canvas)
    randomize(model.discriminator.overlap)
    return model


def randomize(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def test_the_canvas_holds_values_and_roles_of_present_pixels_only(masks: TokenMasks) -> None:
    images = torch.randn(2, 2, 4, 6)
    sequence = masks.sequence()
    canvas = GRID.compose(gather_tokens(patchify(images, 2), sequence.positions), sequence)
    present = pixels_of_tokens(masks.union, (2, 3), 2)
    assert torch.equal(canvas[:, :2], torch.where(present[:, None], images, 0.0))
    assert masks.known_values is not None
    generated = masks.target[..., None] & ~masks.known_values
    pixels = GRID.place(gather_tokens(generated.float(), sequence.positions), sequence)[:, :1]
    assert torch.equal(canvas[:, 3:], pixels)
    assert torch.equal(canvas[:, 2:3], (present[:, None] & (pixels == 0)).float())
    assert (~present).any() and pixels.any()


def test_features_lie_behind_the_roles_at_their_pixels(masks: TokenMasks) -> None:
    sequence, features = masks.sequence(), torch.randn(2, 3, 4, 6)
    tokens = gather_tokens(patchify(features, 2), sequence.positions)
    canvas = GRID.compose(torch.randn(2, 4, 8), sequence, tokens)
    present = pixels_of_tokens(masks.union, (2, 3), 2)
    assert torch.equal(canvas[:, 4:], torch.where(present[:, None], features, 0.0))


def test_an_extended_patch_ends_one_pixel_beyond_its_border() -> None:
    """A pixel changes the embedding of its own patch, and of patches that it touches."""
    embedding = OverlapEmbedding(GRID, 1, 3)
    nn.init.normal_(embedding.conv.weight)
    target = torch.ones(1, 6, dtype=torch.bool)
    sequence = TokenMasks(~target, target).sequence()

    def changed(row: int, column: int) -> list[bool]:
        images = torch.randn(1, 2, 4, 6)
        before = embedding(patchify(images, 2), sequence)
        images[0, :, row, column] += 1
        return (embedding(patchify(images, 2), sequence) != before).any(dim=2)[0].tolist()

    assert changed(0, 0) == [True, False, False, False, False, False]
    assert changed(0, 2) == [True, True, False, False, False, False]
    assert changed(2, 3) == [False, True, True, False, True, True]


def test_both_are_nothing_at_first(masks: TokenMasks) -> None:
    sequence, tokens = masks.sequence(), torch.randn(2, 4, 8)
    convolutions = CanvasConvolutions(GRID, 7, hidden_channels=5, feature_channels=3)
    assert not convolutions(tokens, sequence, torch.randn(2, 4, 7)).any()
    assert not OverlapEmbedding(GRID, 1, 3)(tokens, sequence).any()


def test_a_new_model_computes_what_the_same_model_does_without_convolutions(
    tiny_config: Callable[..., Config], across: Config
) -> None:
    plain = BigLearnGAN(tiny_config({"tasks.partial_patches": 0.5}))
    model = BigLearnGAN(across)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert missing and not unexpected
    images, hole = torch.rand(3, 1, 8, 8) * 2 - 1, torch.rand(3, 8, 8) < 0.5
    assert torch.equal(model.complete(images, hole, seed=1), plain.complete(images, hole, seed=1))
    assert torch.equal(model.rank(images, hole), plain.rank(images, hole))


def test_absent_tokens_change_neither_outputs_nor_gradients(
    model: BigLearnGAN, draw_masks: Callable[..., TokenMasks]
) -> None:
    masks = draw_masks(3, 16, 9)
    sequence, whole = masks.sequence(), torch.randn(3, 16, 4)
    noise = model.generator.draw_noise(3, 9, torch.Generator().manual_seed(1))

    def results(whole: Tensor) -> list[Tensor]:
        model.zero_grad()
        tokens = gather_tokens(whole, sequence.positions)
        drawn = model.generator(tokens, sequence, noise)
        logits = model.discriminator(drawn, sequence)
        (logits.sum() + drawn.square().sum()).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert len(gradients) > 20
        return [drawn, logits, *gradients]

    before = results(whole)
    absent = ~masks.union[..., None]
    for disturbance in (torch.randn(3, 16, 4), torch.full((3, 16, 4), math.nan)):
        after = results(torch.where(absent, disturbance, whole))
        assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_known_pixels_stay_exact_and_what_lies_in_the_hole_does_not_matter(
    model: BigLearnGAN,
) -> None:
    images, hole = torch.rand(5, 1, 8, 8) * 2 - 1, torch.rand(5, 8, 8) < 0.6
    drawn = model.complete(images, hole, variations=2, seed=1)
    known = ~hole[:, None, None].expand_as(drawn)
    assert torch.equal(drawn[known], images[:, None].expand_as(drawn)[known])
    assert drawn.abs().max() < 1
    hidden = images.masked_fill(hole[:, None], math.nan)
    assert torch.equal(model.complete(hidden, hole, variations=2, seed=1), drawn)


def test_known_pixels_of_the_next_patch_reach_a_generated_one_by_convolution(
    model: BigLearnGAN,
) -> None:
    """With a trunk that passes nothing on, only the convolutions can."""
    nn.init.zeros_(model.generator.head.weight)
    assert model.generator.canvas is not None
    if model.generator.canvas.features is not None:
        nn.init.zeros_(model.generator.canvas.features.weight)
    images, hole = torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    hole[:, :, 4:] = True
    drawn = model.complete(images, hole, seed=1)[0, 0, 0]
    images[0, 0, 3, 3] = 0.5
    changed = (model.complete(images, hole, seed=1)[0, 0, 0] != drawn).nonzero().tolist()
    assert [3, 4] in changed
    assert all(1 <= row <= 5 and column <= 5 for row, column in changed)  # two convolutions reach 2


def test_rows_of_a_batch_do_not_mix(
    float64: None, model: BigLearnGAN, draw_masks: Callable[..., TokenMasks]
) -> None:
    sequence, tokens = draw_masks(3, 16, 9).sequence(), torch.randn(3, 9, 4)
    noise = model.generator.draw_noise(3, 9, torch.Generator().manual_seed(1))
    drawn, logits = model.generator(tokens, sequence, noise), model.discriminator(tokens, sequence)
    for row in range(3):
        own = slice(row, row + 1)
        alone = model.generator(tokens[own], sequence.rows(own), noise.rows(own))
        torch.testing.assert_close(alone, drawn[own])
        torch.testing.assert_close(
            model.discriminator(tokens[own], sequence.rows(own)), logits[own]
        )


def test_gradients_against_finite_differences(float64: None, masks: TokenMasks) -> None:
    """Also second derivatives of the discriminator, which a gradient penalty takes."""
    sequence = masks.sequence()
    tokens = torch.randn(2, 4, 8, requires_grad=True)
    convolutions = CanvasConvolutions(GRID, 2, hidden_channels=2, feature_channels=1)
    embedding = OverlapEmbedding(GRID, 1, 3)
    randomize(convolutions)
    randomize(embedding)
    states = torch.randn(2, 4, 2, requires_grad=True)
    assert gradcheck(lambda x, y: convolutions(x, sequence, y), (tokens, states))
    assert gradcheck(lambda x: embedding(x, sequence), tokens)
    network = NetworkConfig(width=4, depth=1, heads=2)
    discriminator = Discriminator(6, 8, network, None, True, GRID, overlap=1)
    assert discriminator.overlap is not None
    randomize(discriminator.overlap)
    with twice_differentiable_attention():
        assert gradgradcheck(lambda x: discriminator(x, sequence), tokens)


def test_every_weight_gets_a_gradient_in_training(
    model: BigLearnGAN, draw_masks: Callable[..., TokenMasks]
) -> None:
    sequence = draw_masks(3, 16, 16).sequence()
    tokens = torch.randn(3, 16, 4)
    noise = Noise(torch.randn(3, 28), torch.randn(3, 16, 8))
    model.discriminator(model.generator(tokens, sequence, noise), sequence).sum().backward()
    for module in (model.generator.canvas, model.discriminator.overlap):
        assert module is not None
        for parameter in module.parameters():
            assert parameter.grad is not None and parameter.grad.any()


def test_a_detached_picture_draws_the_same_and_passes_no_gradient_to_the_transformer(
    draw_masks: Callable[..., TokenMasks], tiny_config: Callable[..., Config]
) -> None:
    """The head's gradient is as if what the convolutions add were a constant."""
    sequence, tokens = draw_masks(3, 16, 9).sequence(), torch.randn(3, 9, 4)
    linear = ACROSS | {"model.generator.output": "linear"}
    attached, detached = (
        BigLearnGAN(tiny_config(linear | {"model.generator.canvas_detached": value})).generator
        for value in (False, True)
    )
    assert attached.canvas is not None
    randomize(attached.canvas)
    detached.load_state_dict(attached.state_dict())
    noise = attached.draw_noise(3, 9, torch.Generator().manual_seed(1))
    weights, gradients = torch.randn(3, 9, 4), []
    generators = (attached, detached)
    drawn = [generator(tokens, sequence, noise) for generator in generators]
    assert torch.equal(*drawn)
    for generator, values in zip(generators, drawn, strict=True):
        (gradient,) = torch.autograd.grad((weights * values).sum(), generator.head.bias)
        gradients.append(gradient)
    expected = (weights * sequence.generated_values).sum(dim=(0, 1))
    torch.testing.assert_close(gradients[1], expected)
    assert not gradients[0].allclose(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [("model.generator.canvas_features", 2), ("model.generator.canvas_detached", True)],
)
def test_options_of_convolutions_without_convolutions_are_refused(
    tiny_config: Callable[..., Config], key: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=f"{key}: the generator has no convolutions; leave it"):
        tiny_config({key: value})


def test_tokens_of_another_domain_have_no_picture(tiny_config: Callable[..., Config]) -> None:
    components = [{"name": "mixed", "weight": 1.0, "domain": "orthogonal"}]
    changes = {
        "tasks": {"components": components},
        "model.generator.output": "linear",
        "train.warm_start.share": 0.0,
    }
    tiny_config(changes)
    for key in ("model.generator.canvas_channels", "model.discriminator.overlap"):
        with pytest.raises(ConfigError, match=r"canvas_channels and model.discriminator.overlap"):
            tiny_config(changes | {key: 1})


def test_a_sequence_of_all_tokens_in_any_order_has_one_canvas() -> None:
    tokens, order = torch.randn(1, 6, 8), torch.tensor([[3, 0, 5, 1, 4, 2]])
    is_target = torch.tensor([[True, False, True, True, False, False]])
    straight = TokenSequence(torch.arange(6)[None], is_target)
    shuffled = TokenSequence(order, is_target.gather(1, order))
    canvas = GRID.compose(gather_tokens(tokens, order), shuffled)
    assert torch.equal(canvas, GRID.compose(tokens, straight))
