"""Resize photos and their holes to the size of a model, and paste results back.

A :class:`PhotoResizing` knows the box of a photo that becomes the model's image. Photo and hole go
through the same box: the photo by bicubic interpolation, the hole by area. A box that reaches
outside of the photo repeats the photo's edge pixels there, and the hole's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from biglearn_gan.argument_checks import check_choice
from biglearn_gan.config import FitMode

ROUNDING = 1e-6
"""What rounding may add to a length in pixels, or to a share of a pixel."""

HALF = 0.5 - ROUNDING
"""A pixel with at least this share of its area in the hole belongs to the hole."""

KERNEL_RADIUS = 2
"""Pixels that bicubic interpolation reads on either side, times the factor of a reduction."""

MIN_WEIGHT = 0.1
"""The least weight of known pixels that a resized known pixel is divided by."""


@dataclass(frozen=True)
class PhotoResizing:
    """How a photo becomes the model's image.

    Attributes:
        photo_size: (height, width) of the photo in pixels.
        box: (left, top, right, bottom) of the part that the model's image shows, in pixels of the
            photo; it may reach outside.
        image_size: (height, width) of the model's image.
    """

    photo_size: tuple[int, int]
    box: tuple[float, float, float, float]
    image_size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the photo for each pixel of the model's image, along y and x."""
        left, top, right, bottom = self.box
        height, width = self.image_size
        return (bottom - top) / height, (right - left) / width

    @property
    def is_identity(self) -> bool:
        """Whether the model's image has the very pixels of the photo."""
        height, width = self.photo_size
        return self.photo_size == self.image_size and self.box == (0, 0, width, height)

    @property
    def crops(self) -> bool:
        """Whether the model's image shows only a part of the photo."""
        left, top, _, _ = self.box
        return max(left, top) > ROUNDING

    def resize_photo(
        self, photo: UInt8[np.ndarray, "h w C"], hole: Bool[np.ndarray, "h w"] | None = None
    ) -> UInt8[np.ndarray, "H W C"]:
        """The model's image of the photo.

        Args:
            photo: at its own size.
            hole: if given, no known pixel of the result depends on a pixel of the hole: it is the
                weighted mean of the known pixels alone.
        """
        if self.is_identity:
            return photo
        if hole is None or not hole.any():
            return self._resize(photo)
        plain, known = self._resize(photo), (~hole)[..., None]
        weights = self._resize(known.astype(np.float32))
        sums = self._resize(np.where(known, photo, 0).astype(np.float32))
        means = (sums / weights.clip(MIN_WEIGHT)).round().clip(0, 255).astype(np.uint8)
        uses_means = self._kernel_touches(hole) & ~self.resize_hole(hole)
        return np.where(uses_means[..., None], means, plain)

    def resize_hole(self, hole: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "H W"]:
        """The hole of the model's image: pixels of which at least half of the area is hole."""
        area = self.scale[0] * self.scale[1]
        return self._covered(hole, margin=0.0) >= HALF * area

    def enlarge(self, image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "h w C"]:
        """The model's image at the photo's size (bicubic); its edge is repeated around its box."""
        if self.is_identity:
            return image
        left, top, _, _ = self.box
        (down, across), (rows, columns) = self.scale, self.photo_size
        box = (-left / across, -top / down, (columns - left) / across, (rows - top) / down)
        return _resample(image, box, self.photo_size)

    def enlarge_hole(self, hole: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "h w"]:
        """The photo's pixels whose center lies in a pixel of the model's hole."""
        left, top, _, _ = self.box
        y = _nearest(top, self.scale[0], self.photo_size[0], self.image_size[0])
        x = _nearest(left, self.scale[1], self.photo_size[1], self.image_size[1])
        nearest = hole[y.clip(0, self.image_size[0] - 1)][:, x.clip(0, self.image_size[1] - 1)]
        return nearest & self.inside()

    def inside(self) -> Bool[np.ndarray, "h w"]:
        """The photo's pixels whose center the model's image shows."""
        left, top, _, _ = self.box
        (height, width), (rows, columns) = self.image_size, self.photo_size
        y = _nearest(top, self.scale[0], rows, height)
        x = _nearest(left, self.scale[1], columns, width)
        return ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))

    def paste(
        self,
        photo: UInt8[np.ndarray, "h w C"],
        image: UInt8[np.ndarray, "H W C"],
        hole: Bool[np.ndarray, "h w"],
    ) -> UInt8[np.ndarray, "h w C"]:
        """The photo with the model's image, enlarged, in the part of the hole that it shows.

        All other pixels stay exactly as they are.
        """
        return np.where((hole & self.inside())[..., None], self.enlarge(image), photo)

    def _resize(self, pixels: np.ndarray) -> np.ndarray:
        return _resample(pixels, self.box, self.image_size)

    def _kernel_touches(self, hole: np.ndarray) -> np.ndarray:
        """(H, W), True = the bicubic kernel of the pixel may reach a pixel of the hole."""
        margin = KERNEL_RADIUS * max(1.0, *self.scale) + 1
        return self._covered(hole, margin) > 0

    def _covered(self, hole: np.ndarray, margin: float) -> np.ndarray:
        """(H, W), the area of the hole within each pixel and ``margin`` photo pixels around it."""
        left, top, right, bottom = self.box
        (height, width), (rows, columns) = self.image_size, self.photo_size
        down = _overlaps(np.linspace(top, bottom, height + 1), rows, margin)  # (H, h)
        across = _overlaps(np.linspace(left, right, width + 1), columns, margin)  # (W, w)
        return down @ (hole @ across.T)


def make_resizing(
    photo_size: tuple[int, int], image_size: tuple[int, int], mode: FitMode
) -> PhotoResizing:
    """The resizing of a photo of one (height, width) to an image of another.

    ``crop`` shows the largest part of the image's aspect ratio around the photo's center, ``pad``
    the whole photo and, around it, its repeated edge, ``stretch`` the whole photo at another aspect
    ratio.

    Raises:
        UsageError: there is no such mode.
    """
    check_choice("fit", mode, get_args(FitMode))
    (rows, columns), (height, width) = photo_size, image_size
    ratio = width / height
    shown: tuple[float, float] = (columns, rows)
    if mode != "stretch" and columns / rows != ratio:
        all_rows = (columns / rows > ratio) == (mode == "crop")
        shown = (ratio * rows, rows) if all_rows else (columns, columns / ratio)
    left, top = (columns - shown[0]) * 0.5, (rows - shown[1]) * 0.5
    return PhotoResizing(photo_size, (left, top, left + shown[0], top + shown[1]), image_size)


def _nearest(start: float, scale: float, count: int, limit: int) -> np.ndarray:
    """Which of ``limit`` image pixels holds the center of each photo pixel; -1 or limit: none."""
    positions = (np.arange(count) + 0.5 - start) / scale
    return np.floor(positions).clip(-1, limit).astype(np.int64)


def _overlaps(edges: np.ndarray, count: int, margin: float) -> np.ndarray:
    """(M, N), the length of each photo pixel within each image pixel and a margin around it.

    The first and the last photo pixel reach to infinity, since the edge is repeated.

    Args:
        edges: of M image pixels, in photo pixels.
        count: N, photo pixels.
        margin: in photo pixels.
    """
    starts, ends = np.arange(count, dtype=np.float64), np.arange(1.0, count + 1)
    starts[0], ends[-1] = -np.inf, np.inf
    low, high = edges[:-1, None] - margin, edges[1:, None] + margin
    return (np.minimum(high, ends) - np.maximum(low, starts)).clip(0)


def _resample(
    pixels: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]
) -> np.ndarray:
    """Resize a box of pixels (h, w, C), uint8 or float32, to a (height, width), bicubic.

    A box that reaches outside repeats the edge.
    """
    left, top, right, bottom = box
    rows, columns, _ = pixels.shape
    spans = ((top, bottom), (left, right))
    outside = [
        _overreach(-low) + _overreach(high - count)
        for (low, high), count in zip(spans, (rows, columns), strict=True)
    ]
    if not any(outside):
        inside = (
            max(left, 0.0),
            max(top, 0.0),
            min(right, float(columns)),
            min(bottom, float(rows)),
        )
        return _resize_inside(pixels, inside, size)
    # One axis at a time, so that padding a panorama makes no square of its longer side.
    for axis in sorted((0, 1), key=lambda axis: outside[axis]):
        pixels = _resample_axis(pixels, axis, spans[axis], size[axis])
    return pixels


def _resample_axis(
    pixels: np.ndarray, axis: int, span: tuple[float, float], length: int
) -> np.ndarray:
    """Resize a span of rows (axis 0) or columns (axis 1), repeating the edge outside of them."""
    before, after = _overreach(-span[0]), _overreach(span[1] - pixels.shape[axis])
    widths = [(0, 0)] * 3
    widths[axis] = (before, after)
    padded = np.pad(pixels, widths, mode="edge")
    rows, columns, _ = padded.shape
    low, high = max(span[0] + before, 0.0), min(span[1] + before, float(padded.shape[axis]))
    if axis == 0:
        return _resize_inside(padded, (0.0, low, float(columns), high), (length, columns))
    return _resize_inside(padded, (low, 0.0, high, float(rows)), (rows, length))


def _overreach(length: float) -> int:
    """Whole pixels that cover a length, which rounding may have made a little more than 0."""
    return max(0, math.ceil(length - ROUNDING))


def _resize_inside(
    pixels: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]
) -> np.ndarray:
    """Resize a box that lies within the pixels."""
    resized = [
        np.asarray(Image.fromarray(channel).resize(size[::-1], Image.Resampling.BICUBIC, box=box))
        for channel in pixels.transpose(2, 0, 1)
    ]
    return np.stack(resized, axis=-1)
