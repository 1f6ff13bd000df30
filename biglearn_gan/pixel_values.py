"""Values of pixels: floats in [-1, 1], uint8 in [0, 255], and PIL images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, uint8

DEEP_FORMATS = ("PNG", "PPM")
"""Formats whose gray images of mode "I" have 16 bits; those of TIFF may have 32."""

CONVERTIBLE_MODES = {"LAB": "RGB", "La": "LA"}
"""Modes that PIL converts to a single other mode, and this mode."""


def to_signed_float(images: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Convert uint8 in [0, 255] to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Round floats in [-1, 1] (others are clipped) to uint8: the inverse of `to_signed_float`."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(uint8)


def to_8_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits per channel (of 16 bits, the upper ones), of a mode that converts.

    PIL converts the result to gray, to RGB, and to RGBA.

    Raises:
        ValueError: the range of its pixels is not known.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in DEEP_FORMATS):
        # Pillow's own conversion clips at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"pixels of mode {image.mode} have no known range: save 8 or 16 bits per channel"
        )
    return to_convertible(image)


def to_convertible(image: Image.Image) -> Image.Image:
    """The image, or its LAB as RGB: of a mode that PIL converts to gray, to RGB, and to RGBA."""
    if image.mode not in CONVERTIBLE_MODES:
        return image
    return image.convert(CONVERTIBLE_MODES[image.mode])


def to_channels_last(images: UInt8[Tensor, "*N C H W"]) -> UInt8[np.ndarray, "*N H W C"]:
    """The same pixels as a contiguous array on the CPU."""
    return images.movedim(-3, -1).contiguous().cpu().numpy()


def to_pil(image: UInt8[Tensor, "C H W"]) -> Image.Image:
    """A PIL image of mode L for one channel, or RGB for three."""
    array = to_channels_last(image)
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
