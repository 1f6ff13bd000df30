"""Values of pixels: floats in [-1, 1], uint8 in [0, 255], and PIL images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, uint8


def to_signed_float(images: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Convert uint8 in [0, 255] to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Round floats in [-1, 1] (others are clipped) to uint8: the inverse of `to_signed_float`."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(uint8)


def to_channels_last(images: UInt8[Tensor, "*N C H W"]) -> UInt8[np.ndarray, "*N H W C"]:
    """The same pixels as a contiguous array on the CPU."""
    return images.movedim(-3, -1).contiguous().cpu().numpy()


def to_pil(image: UInt8[Tensor, "C H W"]) -> Image.Image:
    """A PIL image of mode L for one channel, or RGB for three."""
    array = to_channels_last(image)
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
