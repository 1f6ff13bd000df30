"""Known pixels of patches that a hole cuts through: a model reads them and returns them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.inference.inputs import describe_hole
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.model_card import card_text
from biglearn_gan.tasks.patches import patchify
from biglearn_gan.tasks.token_masks import TokenMasks

PARTIAL: dict[str, Any] = {"tasks.partial_patches": 0.7, "data.labels": True}


@pytest.fixture
def model(tiny_config: Callable[..., Config]) -> BigLearnGAN:
    return BigLearnGAN(tiny_config(PARTIAL | {"loss.logistic": 1.0})).eval()


def images_and_hole(rows: int) -> tuple[Tensor, Tensor]:
    """Images of 8 x 8 and a hole that covers some patches of 2 x 2 and half of others."""
    rng = torch.Generator().manual_seed(0)
    images = 1.8 * torch.rand(rows, 1, 8, 8, generator=rng) - 0.9
    hole = torch.zeros(rows, 8, 8, dtype=torch.bool)
    hole[:, 1:4, 2:6] = True
    return images, hole


def test_completions_depend_on_known_pixels_and_return_them(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(3)
    drawn = model.complete(images, hole, labels=4, seed=1)[:, 0]
    known = ~hole[:, None]
    assert torch.equal(drawn[known], images[known])
    other = images.clone()
    other[:, :, 0, 2] *= -1  # a known pixel in a patch that the hole touches
    again = model.complete(other, hole, labels=4, seed=1)[:, 0]
    assert (again[:, :, 1, 2] != drawn[:, :, 1, 2]).all()
    hidden = images.masked_fill(hole[:, None], 0.3)
    assert torch.equal(model.complete(hidden, hole, labels=4, seed=1)[:, 0], drawn)


def test_a_model_that_cannot_read_them_says_so(
    model: BigLearnGAN, tiny_config: Callable[..., Config]
) -> None:
    _, hole = images_and_hole(2)
    other_model = BigLearnGAN(tiny_config())
    assert "are generated whole" in describe_hole(hole, other_model, "generated whole")
    assert "whole" not in describe_hole(hole, model, "generated whole")
    assert "is regenerated whole" in card_text(other_model.config)
    assert "partially masked patches supported" in card_text(model.config)
    assert "license" not in card_text(model.config)  # of weights that a user trained


def test_absent_pixels_are_not_known_values(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(2)
    absent = torch.zeros_like(hole)
    absent[:, 0, 2] = True
    drawn = model.complete(images, hole, absent=absent, seed=1)
    other = torch.where(absent[:, None], -images, images)
    again = model.complete(other, hole, absent=absent, seed=1)
    generated = hole[:, None, None].expand_as(drawn)
    assert torch.equal(again[generated], drawn[generated])


def test_labels_are_read_from_partially_observed_patches(model: BigLearnGAN) -> None:
    """Every patch is observed in part, so no token is a source."""
    images, _ = images_and_hole(3)
    observed = torch.zeros(8, 8, dtype=torch.bool)
    observed[::2, ::2] = True
    read = model.classify(images, observed=observed)
    assert len(read.unique(dim=0)) == 3
    other = torch.where(observed, images, -images)
    assert torch.equal(model.classify(other, observed=observed), read)
    nothing = model.classify(images, observed=torch.zeros_like(observed))
    assert len(nothing.unique(dim=0)) == 1


def test_an_empty_mask_of_known_values_equals_none(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(4)
    tokens, target = patchify(images, 2), patchify(hole[:, None], 2).any(-1)
    nothing = torch.zeros(4, 16, 4, dtype=torch.bool)
    for method in (model.generate, model.critic_logits):
        one, two = (method(tokens, TokenMasks(~target, target, k)) for k in (None, nothing))
        torch.testing.assert_close(one, two)


def test_the_discriminator_reads_known_values(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(4)
    target = patchify(hole[:, None], 2).any(-1)
    pixels = ~hole
    whole = model.score(images, pixels & False, hole)
    with_known = model.score(images, pixels, hole)
    assert (whole != with_known).all()
    masks = TokenMasks(~target, target, patchify(pixels[:, None], 2) & target[..., None])
    assert torch.equal(with_known, model.critic_logits(patchify(images, 2), masks))
    assert torch.equal(with_known, model.rank(images, hole))


def test_steps_read_known_values_of_their_part(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(3)
    drawn = model.complete(images, hole, labels=4, seed=1, steps=2, order="raster")
    other = images.clone()
    other[:, :, 0, 2] *= -1
    again = model.complete(other, hole, labels=4, seed=1, steps=2, order="raster")
    assert (again[:, 0, 0, 1, 2] != drawn[:, 0, 0, 1, 2]).all()
