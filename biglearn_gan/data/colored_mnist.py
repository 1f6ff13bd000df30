"""Colored MNIST: digits in a random hue on a background of another random hue.

A completion must take both hues from the known pixels. Colors are HSV with saturation 0.8. Digits
have value 1 and backgrounds 0.4, so a digit is visible whatever the hues; strokes blend into the
background as they do in gray.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64, UInt8
from torch import Tensor

SATURATION = 0.8
DIGIT_VALUE = 1.0
BACKGROUND_VALUE = 0.4
MIN_HUE_DIFFERENCE = 60.0
"""The hues of a digit and of its background differ by at least this many degrees."""

MIN_DIGIT_VALUE = 0.85
MAX_BACKGROUND_VALUE = 0.55
"""A pixel is digit from the first HSV value up, background up to the second, else neither."""


def random_hues(count: int, rng: torch.Generator) -> Float64[Tensor, "N 2"]:
    """Hues of ``count`` digits and of their backgrounds, in degrees in [0, 360)."""
    uniform = torch.rand(count, 2, generator=rng, dtype=torch.float64)
    difference = MIN_HUE_DIFFERENCE + (360 - 2 * MIN_HUE_DIFFERENCE) * uniform[:, 1]
    digit = 360 * uniform[:, 0]
    return torch.stack([digit, (digit + difference) % 360], dim=1)


def colorize(
    gray: UInt8[np.ndarray, "N H W"], hues: Float64[Tensor, "N 2"]
) -> UInt8[np.ndarray, "N H W 3"]:
    """Color gray digits: white becomes the hue of the digit, black the hue of the background."""
    from matplotlib.colors import hsv_to_rgb

    values = np.asarray([DIGIT_VALUE, BACKGROUND_VALUE])
    hsv = np.stack(np.broadcast_arrays(hues.numpy() / 360, SATURATION, values), axis=-1)
    digit, background = np.moveaxis(255 * hsv_to_rgb(hsv), 1, 0)[:, :, None, None]  # (N, 1, 1, 3)
    images = np.empty((*gray.shape, 3), dtype=np.uint8)
    for row, image in enumerate(gray):
        share = image[..., None] / 255
        images[row] = np.rint(background[row] + share * (digit[row] - background[row]))
    return images


def hue_errors(
    images: UInt8[Tensor, "N 3 H W"],
    hues: Float64[Tensor, "N 2"],
    region: Bool[Tensor, "N H W"],
) -> Float64[Tensor, "N 2"]:
    """Median deviation from the true hues of digit and background, in degrees in [0, 180].

    Args:
        images: RGB, in [0, 255].
        hues: the true hues of digit and background, in degrees.
        region: the pixels to look at. Their HSV value says which are digit and which background.

    Returns:
        The deviations of digit and background; NaN if the region of an image has no such pixel.
    """
    from matplotlib.colors import rgb_to_hsv

    hsv = torch.from_numpy(rgb_to_hsv(images.movedim(1, -1).numpy() / 255))
    hue, value = 360 * hsv[..., 0], hsv[..., 2]
    parts = torch.stack(
        [value >= MIN_DIGIT_VALUE, value <= MAX_BACKGROUND_VALUE], dim=1
    )  # (N, 2, H, W)
    deviation = (hue[:, None] - hues[..., None, None] + 180) % 360 - 180
    deviation = deviation.where(parts & region[:, None], torch.nan)
    return deviation.flatten(2).nanmedian(dim=2).values.abs()
