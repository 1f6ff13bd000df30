"""Read masks: holes that a user draws, and the known pixels of incomplete images.

In memory, True = given or True = generated, as ``tasks/token_masks.py`` defines.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image, ImageOps
from torch import Tensor

from biglearn_gan.config import HoleColor
from biglearn_gan.data.image_files import UNREADABLE, opened, turn_upright
from biglearn_gan.data.image_listing import MASK_SUFFIX, DataError, ImagePath
from biglearn_gan.tasks.holes import HoleError


def opaque_pixels(path: ImagePath, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W), True = the pixel covers opaque pixels of the image file only."""
    with opened(path) as image:
        turn_upright(image)
        alpha = image.convert("RGBA").getchannel("A")
    return _known_pixels(np.asarray(alpha) < 255, image_size)


def unmasked_pixels(path: ImagePath, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W), True = the pixel covers black pixels of the image's mask file only.

    Raises:
        DataError: the file ``mask_path(path)`` is missing, cannot be read, is not black and white,
            or differs in size from the image.
    """
    mask = mask_path(path)
    if not mask.is_file():
        raise DataError(f"{path} has no mask file: {mask.name} is missing in the same folder")
    try:
        hole, _ = read_mask(mask)
    except HoleError as error:
        raise DataError(str(error)) from None
    with opened(path) as image:
        turn_upright(image)
        width, height = image.size
    if hole.shape != (height, width):
        raise DataError(
            f"the mask {mask} has {hole.shape[0]} x {hole.shape[1]} pixels (height x width), "
            f"but its image has {height} x {width}"
        )
    return _known_pixels(hole, image_size)


def mask_path(path: ImagePath) -> ImagePath:
    """The path of the mask of an image file."""
    name = path.stem + MASK_SUFFIX
    if isinstance(path, Path):
        return path.with_name(name)
    return zipfile.Path(path.root, str(PurePosixPath(path.at).with_name(name)))


def _known_pixels(hole: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W), True = the pixel of the fitted image covers nothing of the hole."""
    height, width = image_size
    share = Image.fromarray(hole.astype(np.float32))
    return np.asarray(ImageOps.fit(share, (width, height), Image.Resampling.BOX)) == 0


GRAY_TOLERANCE = 32
"""The gray values of a mask must be within this distance of 0 or 255."""


def read_hole(
    path: Path, image_size: tuple[int, int], hole_color: HoleColor | None = None
) -> Bool[Tensor, "H W"]:
    """Read a hole from an image file (True = generate).

    Args:
        path: a black and white image, or one with an alpha channel or a transparent color. Of the
            latter, only the alpha is read: transparent = generate.
        image_size: (height, width) that the image must have.
        hole_color: ``white`` (also None) or ``black`` = generate.

    Raises:
        HoleError: the file cannot be read, has another size, is not black and white, has no hole,
            or has an alpha channel although ``hole_color`` is given.
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
            why = "; its colors are not read, because it has an alpha channel"
        raise HoleError(f"the mask {path} has no hole: no pixel of it is {drawn_color}{why}")
    return torch.from_numpy(hole)


def read_mask(path: ImagePath, hole_color: HoleColor | None = None) -> tuple[np.ndarray, str]:
    """Read a mask of any size, also one without a hole; see :func:`read_hole`.

    Returns:
        A bool (H, W), True = hole, and the color of the hole: ``white``, ``black`` or
        ``transparent``.

    Raises:
        HoleError: the file cannot be read, is not black and white, or has an alpha channel although
            ``hole_color`` is given.
    """
    try:
        with opened(path) as image:
            has_alpha = image.has_transparency_data
            if has_alpha and hole_color is not None:
                raise HoleError(
                    f"the mask {path} has an alpha channel, whose transparent part is the hole: "
                    f"leave out --mask-color {hole_color}"
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
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits to 255
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image.convert("L"))
