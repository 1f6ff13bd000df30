"""Rows with different numbers of present tokens are independent of each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from biglearn_gan.config import Config
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import patchify
from biglearn_gan.tasks.token_masks import TokenMasks


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
    drawn = model.generate(tokens, masks, SamplingOptions(variations=2, seed=7))  # (5, 2, 15, 12)
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


def test_absent_tokens_do_not_change_generated_tokens(
    oblong_config: Config, ragged: tuple[TokenMasks, Tensor]
) -> None:
    masks, tokens = ragged
    model = BigLearnGAN(oblong_config)
    drawn = model.generate(tokens, masks, SamplingOptions(seed=7))[:, 0]
    absent = ~masks.union
    disturbed = torch.where(absent[..., None], torch.full_like(tokens, math.nan), tokens)
    again = model.generate(disturbed, masks, SamplingOptions(seed=7))[:, 0]
    assert torch.equal(again[~absent], drawn[~absent])
    assert torch.equal(drawn[absent], tokens[absent])


def test_absent_pixels_do_not_change_a_completion(oblong_config: Config) -> None:
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


def test_a_completion_does_not_depend_on_the_other_holes(oblong_config: Config) -> None:
    """Exactly, though rows with other numbers of absent tokens run in other chunks."""
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
