"""Gray digits in two random hues, one on another, which a completion must take from its source.

A color is HSV with saturation 0.8. Digits have value 1 and backgrounds 0.4, so what is digit shows
whatever the hues; strokes blend into the background as they do in gray.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64, UInt8
from torch import Tensor

SATURATION = 0.8
DIGIT_VALUE = 1.0
BACKGROUND_VALUE = 0.4
LEAST_DIFFERENCE = 60.0
"""Degrees between the hue of a digit and of its background, at least."""

DIGIT_FROM = 0.85
BACKGROUND_TO = 0.55
"""HSV values from which a pixel counts as digit, and up to which as background."""


def random_hues(count: int, rng: torch.Generator) -> Float64[Tensor, "N 2"]:
    """Hues of digits and of their backgrounds, in degrees in [0, 360)."""
    uniform = torch.rand(count, 2, generator=rng, dtype=torch.float64)
    between = LEAST_DIFFERENCE + (360 - 2 * LEAST_DIFFERENCE) * uniform[:, 1]
    digit = 360 * uniform[:, 0]
    return torch.stack([digit, (digit + between) % 360], dim=1)


def colored(gray: UInt8[np.ndarray, "N H W"], hues: Float64[Tensor, "N 2"]) -> np.ndarray:
    """Images (N, H, W, 3), uint8: white becomes the digit's color, black the background's."""
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
    """Median deviation from the hues of digit and background, in degrees in [0, 180].

    Of the pixels of ``region`` that count as digit, or as background, by their value; NaN where an
    image has none there.
    """
    from matplotlib.colors import rgb_to_hsv

    hsv = torch.from_numpy(rgb_to_hsv(images.movedim(1, -1).numpy() / 255))
    hue, value = 360 * hsv[..., 0], hsv[..., 2]
    parts = torch.stack([value >= DIGIT_FROM, value <= BACKGROUND_TO], dim=1)  # (N, 2, H, W)
    away = (hue[:, None] - hues[..., None, None] + 180) % 360 - 180
    away = away.where(parts & region[:, None], torch.nan)
    return away.flatten(2).nanmedian(dim=2).values.abs()
