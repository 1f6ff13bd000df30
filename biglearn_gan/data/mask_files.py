"""Which pixels of an image file were observed: by its alpha channel, or a mask file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image, ImageOps
from torch import Tensor

from biglearn_gan.config import HoleColor
from biglearn_gan.data.image_files import MASK_SUFFIX, UNREADABLE, DataError
from biglearn_gan.tasks.holes import HoleError


def opaque_pixels(path: Path, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W), True where all that a pixel covers of a file's image is opaque."""
    with Image.open(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        alpha = image.convert("RGBA").getchannel("A")
    return _untouched(np.asarray(alpha) < 255, image_size)


def unmasked_pixels(path: Path, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W), True where nothing that a pixel covers is white in the image's mask file.

    Raises:
        DataError: the file ``mask_file(path)`` is not there, cannot be read, is not black and
            white, or has not the size of the image.
    """
    beside = mask_file(path)
    if not beside.is_file():
        raise DataError(f"{path} has no mask file {beside.name} beside it")
    try:
        hole, _ = read_mask(beside)
    except HoleError as error:
        raise DataError(str(error)) from None
    with Image.open(path) as image:
        width, height = ImageOps.exif_transpose(image).size
    if hole.shape != (height, width):
        raise DataError(
            f"the mask {beside} has {hole.shape[0]} x {hole.shape[1]} pixels (height x width), "
            f"but its image has {height} x {width}"
        )
    return _untouched(hole, image_size)


def mask_file(path: Path) -> Path:
    """Where the mask of an image file is."""
    return path.with_name(path.stem + MASK_SUFFIX)


def _untouched(hole: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """True where a pixel of the fitted image covers nothing of the hole."""
    height, width = image_size
    share = Image.fromarray(hole.astype(np.float32))
    return np.asarray(ImageOps.fit(share, (width, height), Image.Resampling.BOX)) == 0


GRAY_TOLERANCE = 32
"""A mask file's gray values must be within this distance of 0 or of 255."""


def read_hole(
    path: Path, image_size: tuple[int, int], hole_color: HoleColor | None = None
) -> Bool[Tensor, "H W"]:
    """Read a hole from an image file: its ``hole_color`` (None: white) is generated.

    An image with an alpha channel (or a transparent color) is read from that channel alone,
    transparent = generate.

    Raises:
        HoleError: the file cannot be read, has another size, is not black and white, has no hole in
            it, or has an alpha channel beside a ``hole_color``.
    """
    hole, drawn_color = read_mask(path, hole_color)
    if hole.shape != image_size:
        raise HoleError(
            f"the mask {path} has {hole.shape[0]} x {hole.shape[1]} pixels (height x width), "
            f"but the model's images have {image_size[0]} x {image_size[1]}"
        )
    if not hole.any():
        why = ""
        if drawn_color == "transparent":
            why = ", and with an alpha channel colors are not read: remove it to draw in white"
        raise HoleError(f"the mask {path} has no hole: no pixel of it is {drawn_color}{why}")
    return torch.from_numpy(hole)


def read_mask(path: Path, hole_color: HoleColor | None = None) -> tuple[np.ndarray, str]:
    """A bool for each pixel of a mask file, True = hole, and what shows a hole in this file.

    See :func:`read_hole`; the second is a color or, with an alpha channel, ``transparent``.

    Raises:
        HoleError: the file cannot be read, is not black and white, or has an alpha channel beside a
            ``hole_color``.
    """
    try:
        with Image.open(path) as image:
            has_alpha = image.has_transparency_data
            if has_alpha and hole_color is not None:
                raise HoleError(
                    f"the mask {path} has an alpha channel, of which transparent is generated: a "
                    f"color of the hole ({hole_color}) has no meaning"
                )
            gray = _alpha(image) if has_alpha else _gray(image)
    except HoleError:
        raise
    except UNREADABLE as error:
        raise HoleError(f"the mask {path} cannot be read as an image ({error})") from None
    unclear = (gray > GRAY_TOLERANCE) & (gray < 255 - GRAY_TOLERANCE)
    if unclear.any():
        what = "opaque or transparent" if has_alpha else "black and white"
        raise HoleError(
            f"the mask {path} is not {what}: {unclear.mean():.0%} of its values lie "
            f"between {GRAY_TOLERANCE} and {255 - GRAY_TOLERANCE}"
        )
    if has_alpha:
        return gray <= 127, "transparent"
    color = hole_color or "white"
    return (gray > 127) == (color == "white"), color


def _alpha(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA").getchannel("A"))


def _gray(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits to 255, not scale them
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image.convert("L"))
