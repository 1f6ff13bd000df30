"""Networks work on standardized tokens; images stay in [-1, 1] at the border of the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from biglearn_gan.config import Config
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.standardization import MIN_DEVIATION, Standardization
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.tasks.patches import patchify
from biglearn_gan.tasks.token_masks import TokenMasks

ON: dict[str, Any] = {"data.standardize": True, "tasks.partial_patches": 0.5}
MEAN, DEVIATION = torch.tensor([0.9]), torch.tensor([0.2])


@pytest.fixture
def bright(tiny_config: Callable[..., Config]) -> BigLearnGAN:
    """A model of bright images of little contrast."""
    model = BigLearnGAN(tiny_config(ON)).eval()
    model.standardization.set_statistics(MEAN, DEVIATION)
    return model


def bright_images(count: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    return (MEAN + DEVIATION * torch.randn(count, 1, 8, 8, generator=rng)).clamp(-1, 1)


def test_each_channel_gets_mean_0_and_deviation_1_and_comes_back(
    oblong_config: Config, float64: None
) -> None:
    data = oblong_config.data.model_copy(update={"standardize": True})
    config = oblong_config.model_copy(update={"data": data})
    standardization = Standardization(config)
    mean, deviation = torch.tensor([-0.5, 0.0, 0.25]), torch.tensor([0.1, 0.5, 2.0])
    standardization.set_statistics(mean, deviation)
    images = torch.rand(7, 3, 6, 10) * 2 - 1
    tokens = patchify(images, 2)
    expected = (images - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    torch.testing.assert_close(standardization(tokens), patchify(expected, 2))
    torch.testing.assert_close(standardization.restore(standardization(tokens)), tokens)
    assert standardization.restore(9 * torch.ones(1, 1, 12)).flatten()[0] == 0.4
    assert standardization.restore(9 * torch.ones(1, 1, 12)).flatten()[-1] == 1.0  # clamped


def test_a_constant_channel_does_not_divide_by_0(bright: BigLearnGAN) -> None:
    bright.standardization.set_statistics(torch.zeros(1), torch.zeros(1))
    assert bright.standardization.deviation.tolist() == [pytest.approx(MIN_DEVIATION)]


def test_without_standardization_there_is_no_statistic_and_tokens_stay_the_same_object(
    tiny_config: Callable[..., Config],
) -> None:
    model = BigLearnGAN(tiny_config())
    assert not [name for name in model.state_dict() if name.startswith("standardization")]
    tokens = torch.randn(2, 3, 4)
    assert model.standardization(tokens) is tokens
    assert model.standardization.restore(tokens) is tokens


def test_known_pixels_stay_exact_and_generated_ones_lie_around_the_mean(
    bright: BigLearnGAN,
) -> None:
    images = bright_images(5)
    hole = torch.zeros(5, 8, 8, dtype=torch.bool)
    hole[:, 1:5, 2:7] = True  # cuts through patches
    for steps in (1, 3):
        drawn = bright.complete(images, hole, variations=2, seed=1, steps=steps)
        known = ~hole[:, None, None].expand_as(drawn)
        assert torch.equal(drawn[known], images[:, None].expand_as(drawn)[known])
        assert drawn.abs().max() <= 1
        assert abs(float(drawn[~known].mean()) - 0.9) < 0.2
    masked = torch.where(hole[:, None], math.nan, images)
    assert torch.equal(bright.complete(masked, hole, seed=1, variations=2, steps=3), drawn)


def test_tokens_that_are_given_or_absent_come_back_exactly(bright: BigLearnGAN) -> None:
    images = bright_images(3)
    tokens = patchify(images, 2)
    source, target = torch.zeros(2, 3, 16, dtype=torch.bool)
    source[:, ::3], target[:, 1::3] = True, True
    drawn = bright.generate(tokens, TokenMasks(source, target), SamplingOptions(seed=2))[:, 0]
    assert torch.equal(drawn[~target], tokens[~target])
    assert (drawn[target] != tokens[target]).any()


def test_a_contrast_that_is_standardized_away_changes_no_logit(bright: BigLearnGAN) -> None:
    """The discriminator of dark images of high contrast reads the same numbers."""
    images = bright_images(4).clamp(0.6, 1)
    hole = torch.ones(4, 8, 8, dtype=torch.bool)
    logits = bright.rank(images, hole)
    bright.standardization.set_statistics(torch.tensor([-0.2]), torch.tensor([0.4]))
    torch.testing.assert_close(bright.rank((images - 0.9) * 2 - 0.2, hole), logits)


def test_the_statistics_are_part_of_the_checkpoint(bright: BigLearnGAN, tmp_path: Path) -> None:
    bright.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert torch.equal(weights["standardization.mean"], MEAN)
    assert torch.equal(weights["standardization.deviation"], DEVIATION)
    again = BigLearnGAN.from_pretrained(tmp_path)
    assert torch.equal(again.sample(3, seed=1), bright.sample(3, seed=1))
