"""Which pixels of an image file were observed: by its alpha channel, or a mask file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from biglearn_gan.holes import HoleError, read_mask
from biglearn_gan.images import MASK_SUFFIX, DataError


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
