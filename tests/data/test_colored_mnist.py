"""Colored MNIST: the distribution of hues, the colors, and the deviation of a hue."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from color_consistency import error_quantiles, kept_shares
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.data.colored_mnist import (
    BACKGROUND_VALUE,
    DIGIT_VALUE,
    MIN_HUE_DIFFERENCE,
    SATURATION,
    colorize,
    hue_errors,
    random_hues,
)


def hues(count: int, seed: int = 0) -> Tensor:
    return random_hues(count, torch.Generator().manual_seed(seed))


def as_tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).movedim(-1, 1)


def test_hues_are_uniform_and_differ_enough() -> None:
    drawn = hues(40_000)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 360
    difference = (drawn[:, 1] - drawn[:, 0]) % 360
    assert float(difference.min()) >= MIN_HUE_DIFFERENCE - 1e-9
    assert float(difference.max()) <= 360 - MIN_HUE_DIFFERENCE + 1e-9
    for hue in drawn.T:
        counts = torch.histc(hue, 12, 0, 360)
        assert float((counts / 40_000 - 1 / 12).abs().max()) < 0.006  # four standard errors


def test_white_is_the_digit_black_the_background_and_gray_a_mixture() -> None:
    gray = np.asarray([[[255, 0, 51]], [[0, 255, 255]]], dtype=np.uint8)
    drawn = hues(2)
    images = colorize(gray, drawn)
    assert images.shape == (2, 1, 3, 3)
    for row, (digit, background) in enumerate(drawn.tolist()):
        ends = [
            255 * np.asarray(colorsys.hsv_to_rgb(hue / 360, SATURATION, value))
            for hue, value in ((digit, DIGIT_VALUE), (background, BACKGROUND_VALUE))
        ]
        for column, share in enumerate(gray[row, 0] / 255):
            expected = share * ends[0] + (1 - share) * ends[1]
            assert np.abs(images[row, 0, column] - expected).max() <= 0.5 + 1e-9


def test_colored_digits_have_their_hues_up_to_rounding() -> None:
    gray = np.zeros((50, 6, 6), dtype=np.uint8)
    gray[:, 2:4] = 255
    drawn = hues(50)
    everywhere = torch.ones(50, 6, 6, dtype=torch.bool)
    assert float(hue_errors(as_tensor(colorize(gray, drawn)), drawn, everywhere).max()) < 1


@pytest.mark.parametrize("turn", [25.0, -25.0, 180.0])
def test_a_deviation_is_the_angle_between_hues_in_either_direction(turn: float) -> None:
    gray = np.zeros((20, 4, 4), dtype=np.uint8)
    gray[:, 1] = 255
    drawn = hues(20)
    turned = colorize(gray, (drawn + torch.tensor([turn, 0.0])) % 360)
    errors = hue_errors(as_tensor(turned), drawn, torch.ones(20, 4, 4, dtype=torch.bool))
    assert float((errors[:, 0] - abs(turn)).abs().max()) < 1
    assert float(errors[:, 1].max()) < 1


def test_only_the_region_counts_and_a_part_without_pixels_is_nan() -> None:
    gray = np.zeros((1, 2, 4), dtype=np.uint8)
    gray[:, :, :2] = 255
    drawn = torch.tensor([[0.0, 120.0]], dtype=torch.float64)
    images = as_tensor(colorize(gray, drawn))
    region = torch.zeros(1, 2, 4, dtype=torch.bool)
    region[:, :, 2:] = True
    digit, background = hue_errors(images, drawn + 40, region)[0].tolist()
    assert np.isnan(digit)
    assert background == pytest.approx(40, abs=1)


def test_hues_are_kept_within_ten_degrees_where_their_part_is() -> None:
    nan = float("nan")
    errors = torch.tensor([[5.0, 20], [nan, 30], [11, nan], [10, 10]], dtype=torch.float64)
    expected = {"digit": 2 / 3, "background": 1 / 3, "both": 1 / 4}
    assert kept_shares(errors) == pytest.approx(expected, rel=1e-6)


def test_half_and_nearly_all_digits_deviate_by_no_more() -> None:
    """Of 0, 1, ..., 100 degrees, in any order, and of images whose digit was not drawn."""
    errors = torch.full((110, 2), float("nan"), dtype=torch.float64)
    errors[:101, 0] = torch.arange(100.0, -1, -1, dtype=torch.float64)
    assert error_quantiles(errors) == {"digit_degrees_50": 50, "digit_degrees_95": 95}


def test_a_gray_model_of_colored_digits_is_refused(tiny_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_config({"data.name": "colored_mnist"})
    assert caught.value.problems == ("data.channels: colored_mnist has 3 channels, not 1",)
