"""Read photos of any size with their holes, at the size of a model."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from biglearn_gan.config import DataConfig, FitMode, HoleColor
from biglearn_gan.data.image_files import (
    ImageSource,
    open_image,
    open_upright,
    opened,
    read_named,
)
from biglearn_gan.data.mask_files import read_mask_file
from biglearn_gan.inference.masks import MaskReport, fit_hole, fit_mask
from biglearn_gan.inference.photo_resizing import PhotoResizing, make_resizing
from biglearn_gan.orientation import orientation_of
from biglearn_gan.tasks.holes import HoleError

MaskChoice = Callable[[str], ImageSource] | Literal["transparent"] | None
"""Where the hole of a photo comes from: the mask file that a function names for it, or its
transparent part. None: photos are read without holes."""

ON_WHITE = "transparent pixels are shown on white"

IS_CUT = (
    "the hole reaches outside of the center crop, where nothing is generated (the fits pad "
    "and stretch show the whole photo)"
)

TURNED_GRAY = "colors were turned gray, because the model's images are gray"

GRAY_DIFFERENCE = 16
"""Channels of a photo that differ by less are gray; JPEG makes such differences."""

SIZE_CHANGES: dict[FitMode, str] = {
    "crop": "resized and center-cropped to {} x {}",
    "pad": "resized to {} x {} with repeated edges",
    "stretch": "stretched to {} x {}",
}


@dataclass(frozen=True)
class Photo:
    """A photo and how it was fitted to the model's image.

    Attributes:
        path: its file, or a PIL image.
        name: of the file, or its path from the folder that was named.
        resizing: which part of it the model's image shows, and at what scale.
        packed_hole: its hole at its own size, in little memory; None if the hole has the size of
            the model's image.
        is_erased: whether its transparent part is its hole.
    """

    path: ImageSource
    name: str
    resizing: PhotoResizing
    packed_hole: bytes | None = None
    is_erased: bool = False

    def paste(
        self, image: UInt8[np.ndarray, "H W C"], hole: Bool[np.ndarray, "H W"]
    ) -> Image.Image:
        """The photo at its own size, with the model's image pasted into its hole.

        Pixels outside of the hole keep their values, and so does the alpha channel, except that
        pasted pixels are opaque. An erased photo has no alpha channel any more. A gray photo gets
        colors if the model's image has them.

        Raises:
            DataError: the file is broken.
        """
        stored = open_upright(self.path)
        if self.is_erased:
            stored = _without_alpha(stored)
        has_color = image.shape[2] == 3
        mode = stored.mode.replace("L", "RGB") if has_color else stored.mode
        photo = _pixels(stored.convert(mode))
        pasted = image if has_color or "L" in mode else image.repeat(3, axis=2)
        if "A" in mode:
            opaque = np.full_like(pasted[..., :1], 255)
            pasted = np.concatenate([pasted, opaque], axis=2)
        completed = self.resizing.paste(photo, pasted, self.own_hole(hole))
        result = Image.fromarray(completed.squeeze(2) if mode == "L" else completed)
        if mode == stored.mode and "icc_profile" in stored.info:
            result.info["icc_profile"] = stored.info["icc_profile"]
        return result

    def own_hole(self, hole: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "h w"]:
        """The hole at the photo's size, given that at the size of the model's image."""
        if self.packed_hole is None:
            return self.resizing.enlarge_hole(hole)
        bits = np.frombuffer(zlib.decompress(self.packed_hole), dtype=np.uint8)
        height, width = self.resizing.photo_size
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)


@dataclass(frozen=True)
class FittedPhoto:
    """A photo at the size of a model.

    Attributes:
        photo: its file.
        image: in [0, 255].
        hole: True = generate; None if photos are read without holes.
        report: how the hole was read.
        shown_on_white: whether it has transparent pixels that are not its hole.
        is_cut: whether a part of its hole lies outside of the model's image.
        loses_color: whether it has colors, and the model's images have none.
    """

    photo: Photo
    image: UInt8[np.ndarray, "C H W"]
    hole: Bool[np.ndarray, "H W"] | None = None
    report: MaskReport | None = None
    shown_on_white: bool = False
    is_cut: bool = False
    loses_color: bool = False


class PhotoReader:
    """Reads photos and their holes at the size of a model.

    Args:
        data: the model's data, for its size and channels.
        mode: how photos of another aspect ratio are fitted.
        masks: where the holes come from. A mask has the size of its photo or of the model.
        mask_color: see :func:`biglearn_gan.data.mask_files.read_mask_file`.
    """

    def __init__(
        self,
        data: DataConfig,
        mode: FitMode = "crop",
        masks: MaskChoice = None,
        mask_color: HoleColor | None = None,
    ):
        self._data = data
        self._mode = mode
        self._masks = masks
        self._read_mask = lru_cache(1)(lambda file: read_mask_file(file, mask_color))

    def read_all(
        self, path: Path, limit: int | None, leave_out: Path | None = None
    ) -> list[FittedPhoto]:
        """Read photos; see :func:`~biglearn_gan.data.image_files.read_named`.

        Raises:
            DataError: see there.
            HoleError: see :meth:`read`.
        """
        return read_named(path, self.read, limit, leave_out)

    def read(self, name: str, file: ImageSource) -> FittedPhoto:
        """Read one photo, and the mask that is chosen by its name.

        Raises:
            DataError: the file is broken.
            HoleError: the mask cannot be read or has another size, or there is no hole.
        """
        upright = open_upright(file)
        photo = self._read(name, file, upright)
        return replace(photo, loses_color=self._data.channels == 1 and _has_color(upright))

    def _read(self, name: str, file: ImageSource, upright: Image.Image) -> FittedPhoto:
        resizing = make_resizing(upright.size[::-1], self._data.image_size, self._mode)
        if self._masks == "transparent":
            return self._read_erased(Photo(file, name, resizing, is_erased=True), upright)
        pixels = _pixels(open_image(file, self._data.channels))
        alpha = _alpha(upright)
        on_white = alpha is not None and bool((alpha < 255).any())
        if self._masks is None:
            return _fitted(Photo(file, name, resizing), pixels, shown_on_white=on_white)
        mask_file = self._masks(name)
        with opened(file) as image:
            orientation = orientation_of(image)
        mask = fit_mask(mask_file, self._read_mask(mask_file), resizing, orientation)
        photo = Photo(file, name, resizing, _pack(mask.own_hole))
        return _fitted(photo, pixels, mask.hole, mask.own_hole, mask.report, on_white)

    def _read_erased(self, photo: Photo, upright: Image.Image) -> FittedPhoto:
        alpha = _alpha(upright)
        if alpha is None or (alpha > 127).all():
            raise HoleError(
                f"{photo.path} has no transparent part to fill: name what to generate as the mask"
            )
        own_hole = alpha <= 127
        hole = fit_hole(str(photo.path), own_hole, photo.resizing)
        soft_share = float(((alpha > 0) & (alpha < 255)).mean())
        report = MaskReport(photo.name, "transparent", soft_share, path=str(photo.path))
        colors = _without_alpha(upright).convert("L" if self._data.channels == 1 else "RGB")
        pixels = np.where(own_hole[..., None], np.uint8(255), _pixels(colors))
        photo = replace(photo, packed_hole=_pack(own_hole))
        return _fitted(photo, pixels, hole, own_hole, report)


def _fitted(
    photo: Photo,
    pixels: UInt8[np.ndarray, "h w C"],
    hole: Bool[np.ndarray, "H W"] | None = None,
    own_hole: Bool[np.ndarray, "h w"] | None = None,
    report: MaskReport | None = None,
    shown_on_white: bool = False,
) -> FittedPhoto:
    image = photo.resizing.resize_photo(pixels, own_hole).transpose(2, 0, 1)
    is_cut = own_hole is not None and bool((own_hole & ~photo.resizing.inside()).any())
    return FittedPhoto(photo, image, hole, report, shown_on_white, is_cut)


def describe_photos(photos: Sequence[FittedPhoto], mode: FitMode) -> tuple[str, ...]:
    """Sentences on what was done to photos so that they fit the model."""
    count = len(photos)
    height, width = photos[0].photo.resizing.image_size
    resized = sum(not each.photo.resizing.is_identity for each in photos)
    change = SIZE_CHANGES[mode].format(height, width)
    notes = []
    if resized:
        notes.append(f"{resized} of {count} images had another size and were {change}")
    for fact in (ON_WHITE, IS_CUT, TURNED_GRAY):
        names = [each.photo.name for each in photos if fact in _facts(each)]
        if names:
            subject = names[0] if len(names) == 1 else f"{len(names)} of {count} images"
            notes.append(f"{subject}: {fact}")
    return tuple(notes)


def describe_photo(photo: FittedPhoto, mode: FitMode) -> tuple[str, ...]:
    """The same sentences on a single photo, without its name."""
    if photo.photo.resizing.is_identity:
        return _facts(photo)
    height, width = photo.photo.resizing.image_size
    change = SIZE_CHANGES[mode].format(height, width)
    return (f"the image was {change}", *_facts(photo))


def _facts(photo: FittedPhoto) -> tuple[str, ...]:
    facts = {
        ON_WHITE: photo.shown_on_white,
        IS_CUT: photo.is_cut,
        TURNED_GRAY: photo.loses_color,
    }
    return tuple(fact for fact, holds in facts.items() if holds)


def describe_enlargement(photos: Sequence[Photo]) -> str:
    """By how much samples are enlarged to the sizes of their photos."""
    scales = [scale for photo in photos for scale in photo.resizing.scale]
    low, high = f"{min(scales):.3g}", f"{max(scales):.3g}"
    times = low if low == high else f"{low} to {high}"
    return f"the generated parts are enlarged {times} times (bicubic) to the sizes of the photos"


def _pack(hole: np.ndarray | None) -> bytes | None:
    return None if hole is None else zlib.compress(np.packbits(hole).tobytes(), level=1)


def _has_color(upright: Image.Image) -> bool:
    """Whether the channels of a photo differ somewhere, at a reduced size."""
    if not upright.mode.startswith("RGB"):
        return False
    small = upright.convert("RGBA")
    small.thumbnail((256, 256))
    pixels = np.asarray(small)
    differences = np.ptp(pixels[..., :3], axis=2)
    return bool((differences[pixels[..., 3] > 127] >= GRAY_DIFFERENCE).any())


def _alpha(image: Image.Image) -> UInt8[np.ndarray, "h w"] | None:
    return np.asarray(image.getchannel("A")) if "A" in image.mode else None


def _without_alpha(image: Image.Image) -> Image.Image:
    """The colors as they are stored, also of transparent pixels."""
    return image.convert(image.mode.removesuffix("A"))


def _pixels(image: Image.Image) -> UInt8[np.ndarray, "h w C"]:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
