"""Read mask files: the holes that a user draws, and the known pixels of incomplete images.

A mask is read as what it shows:

- **Without transparency** (an alpha channel that is opaque everywhere says nothing and is ignored):
  white is the hole. Two values that are not black and white, such as 0 and 1, or the colors of a
  segmentation, count as black (the darker one) and white.
- **A painted layer**, whose opaque pixels all have one color: the paint is the hole.
- **Any other transparency**: what is transparent is the hole, as in a photo that was erased there.

Soft edges, gray or half transparent, are cut at half.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image, ImageOps

from biglearn_gan.argument_checks import check_choice
from biglearn_gan.config import HoleColor
from biglearn_gan.data.image_files import (
    UNREADABLE,
    ImageSource,
    opened,
    reason_of,
)
from biglearn_gan.data.image_listing import MASK_SUFFIX, DataError, ImagePath
from biglearn_gan.orientation import orientation_of, turn_upright
from biglearn_gan.pixel_values import to_convertible
from biglearn_gan.tasks.holes import MAX_SOFT_SHARE, HoleError

GRAY_TOLERANCE = 32
"""Values of 0 to 255 within this distance of 0 count as black, of 255 as white."""


@dataclass(frozen=True)
class MaskFile:
    """A mask as its file shows it.

    Attributes:
        share: how much of each pixel is hole, from 0 to 1; in between at soft edges.
        hole_is: what was read as the hole, such as ``white`` or ``the white paint``.
        values: the two values that were read as black and white, if they are others.
        turned: whether the file has an EXIF orientation, by which ``share`` was turned upright.
    """

    share: Float32[np.ndarray, "h w"]
    hole_is: str
    values: tuple[float, float] | None = None
    turned: bool = False

    @property
    def hole(self) -> Bool[np.ndarray, "h w"]:
        """True = hole. Soft edges are cut at half."""
        return self.share >= 0.5

    @property
    def soft_share(self) -> float:
        """The share of the pixels that are neither clearly hole nor clearly not."""
        return float(_is_soft(self.share).mean())


def opaque_pixels(path: ImagePath, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W), True = the pixel covers opaque pixels of the image file only."""
    with opened(path) as image:
        turn_upright(image)
        alpha = image.convert("RGBA").getchannel("A")
    return _known_pixels(np.asarray(alpha) < 255, image_size)


def unmasked_pixels(path: ImagePath, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W), True = the pixel covers black pixels of the image's mask file only.

    What is not black is unknown, soft edges too. In a painted layer, black paint is known, and
    paint of any other color is unknown.

    Raises:
        DataError: the file ``mask_path(path)`` is missing, cannot be read, is not black and white,
            or differs in size from the image.
    """
    mask = mask_path(path)
    if not mask.is_file():
        raise DataError(f"{path} has no mask file: {mask.name} is missing in the same folder")
    try:
        share = read_mask_file(mask, black_paint="known").share
    except HoleError as error:
        raise DataError(str(error)) from None
    with opened(path) as image:
        turn_upright(image)
        width, height = image.size
    if share.shape != (height, width):
        raise DataError(
            f"the mask {mask} has {share.shape[0]} x {share.shape[1]} pixels (height x width), "
            f"but its image has {height} x {width}"
        )
    return _known_pixels(share > GRAY_TOLERANCE / 255, image_size)


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


def read_mask_file(
    path: ImageSource,
    hole_color: HoleColor | None = None,
    *,
    black_paint: Literal["hole", "known"] = "hole",
) -> MaskFile:
    """Read a mask of any size, also one without a hole.

    Args:
        path: an image file or a PIL image, read as this module's docstring says.
        hole_color: the color of the hole; None for white, or for what a layer with transparency
            says by itself. Of a layer painted in black or white, what is not painted counts as the
            other color.
        black_paint: what black paint on a transparent layer is without ``hole_color``.

    Raises:
        HoleError: the file cannot be read; it is not black and white; it is transparent everywhere;
            or ``hole_color`` is given for a layer of other colors.
        UsageError: there is no such color.
    """
    if hole_color is not None:
        check_choice("mask_color", hole_color, get_args(HoleColor))
    try:
        with opened(path) as image:
            is_jpeg = image.format == "JPEG"
            turned = orientation_of(image) != 1
            turn_upright(image)
            upright = to_convertible(image)
            rgba = np.asarray(upright.convert("RGBA")) if upright.has_transparency_data else None
            if rgba is not None and (rgba[..., 3] > 127).all():
                rgba = None
            values, white = _gray_values(upright)
    except UNREADABLE as error:
        reason = reason_of(error)
        raise HoleError(f"the mask {path} cannot be read as an image ({reason})") from None
    if rgba is not None:
        share, hole_is = _share_of_layer(path, rgba, hole_color, black_paint)
        return MaskFile(share, hole_is, None, turned)
    pair = None if is_jpeg else _other_pair(values, white)  # in a JPEG, 0 and 1 may be noise
    if pair is not None:
        values, white = values == pair[1], 1
    color = hole_color or "white"
    return MaskFile(_share_of_color(path, values / white, color), color, pair, turned)


def _gray_values(image: Image.Image) -> tuple[np.ndarray, int]:
    """The gray values of an image of any mode, and the value of white.

    Raises:
        ValueError: the values have no known range.
    """
    if image.mode != "F" and not image.mode.startswith("I"):
        return np.asarray(image.convert("L")), 255
    values = np.asarray(image)
    for white in (1, 255, 65_535) if image.mode == "F" else (255, 65_535):
        if values.min() >= 0 and values.max() <= white:
            return values, white
    raise ValueError(f"its values from {values.min()} to {values.max()} have no known range")


def _other_pair(values: np.ndarray, white: int) -> tuple[float, float] | None:
    """The only two values of a mask, unless they are black and white, or both white."""
    low, high = float(values.min()), float(values.max())
    if low == high or not ((values == low) | (values == high)).all():
        return None
    tolerance = GRAY_TOLERANCE / 255 * white
    is_plain = low <= tolerance and high >= white - tolerance
    return None if is_plain or low >= white - tolerance else (low, high)


def _share_of_color(path: ImageSource, white: np.ndarray, color: HoleColor) -> np.ndarray:
    """How much of each pixel has the color; ``white`` is 0 for black and 1 for white pixels.

    Raises:
        HoleError: most pixels are neither.
    """
    _refuse_mostly_soft(path, white, "black and white")
    return _as_share(white if color == "white" else 1 - white)


def _share_of_layer(
    path: ImageSource,
    rgba: np.ndarray,
    hole_color: HoleColor | None,
    black_paint: Literal["hole", "known"],
) -> tuple[np.ndarray, str]:
    """The share of hole of a layer with transparent pixels, and what is the hole.

    The most opaque pixel counts as opaque, so that a pale brush paints as well as a strong one.

    Raises:
        HoleError: most pixels are half transparent, or the layer has no such color.
    """
    opaque = rgba[..., 3] / max(int(rgba[..., 3].max()), 1)
    _refuse_mostly_soft(path, opaque, "opaque or transparent")
    colors = rgba[..., :3][opaque > 0.5].reshape(-1, 3)
    paint = _single_color(colors)
    if hole_color is None:
        if paint is None or (paint == "black" and black_paint == "known"):
            return _as_share(1 - opaque), "transparent"
        return _as_share(opaque), "the paint" if paint == "colored" else f"the {paint} paint"
    if paint == hole_color:
        return _as_share(opaque), f"the {paint} paint"
    if paint in ("white", "black"):
        return _as_share(1 - opaque), "what is not painted"
    gray = np.asarray(Image.fromarray(rgba[..., :3]).convert("L")) / 255
    if paint == "colored" or _is_soft(gray[opaque > 0.5]).mean() > MAX_SOFT_SHARE:
        raise HoleError(
            f"the mask {path} has transparent pixels and colors other than black and white: leave "
            f"out the mask color {hole_color}"
        )
    return _as_share(opaque * (gray if hole_color == "white" else 1 - gray)), hole_color


def _single_color(colors: np.ndarray) -> Literal["white", "black", "colored"] | None:
    """The color of pixels (N, 3) that all have the same one, up to a tolerance."""
    if len(colors) == 0 or int((np.ptp(colors, axis=0)).max()) > GRAY_TOLERANCE:
        return None
    if colors.max() <= GRAY_TOLERANCE:
        return "black"
    return "white" if colors.min() >= 255 - GRAY_TOLERANCE else "colored"


def _is_soft(share: np.ndarray) -> np.ndarray:
    """Whether values of 0 to 1 are near neither of the two."""
    tolerance = GRAY_TOLERANCE / 255
    return (share > tolerance) & (share < 1 - tolerance)


def _refuse_mostly_soft(path: ImageSource, share: np.ndarray, expected: str) -> None:
    soft = float(_is_soft(share).mean())
    if soft > MAX_SOFT_SHARE:
        raise HoleError(
            f"the mask {path} is not {expected}: {soft:.0%} of its values lie between "
            f"{GRAY_TOLERANCE} and {255 - GRAY_TOLERANCE} (of 0 to 255)"
        )


def _as_share(values: np.ndarray) -> Float32[np.ndarray, "h w"]:
    return values.astype(np.float32)
