"""Find the mask that a user names, match it with its image, and say how masks were read.

A user names a mask as for ``sample --mask``: a hole's name, such as ``center``, an image file, or a
folder or ZIP archive with a mask for each image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageOps
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.data.image_files import ImageSource
from biglearn_gan.data.image_listing import (
    MASK_SUFFIX,
    ImagePath,
    folder_at,
    image_tree,
    is_archive,
)
from biglearn_gan.data.mask_files import MaskFile
from biglearn_gan.inference.photo_resizing import PhotoResizing, make_resizing
from biglearn_gan.orientation import ORIENTATION
from biglearn_gan.tasks.holes import HoleError, UnknownHoleError, is_hole_name, named_hole


@dataclass(frozen=True)
class MaskReport:
    """How a mask file was read.

    Attributes:
        name: of the file.
        hole_is: what was read as the hole, such as ``white``.
        soft_share: the share of the pixels at soft edges, which were cut at half.
        values: the two values that were read as black and white, if they are others.
        resized: whether it was resized to the size of its image.
        turned: whether it was turned by the EXIF orientation of its photo.
        path: of the file. Reports of one path count as one mask.
    """

    name: str
    hole_is: str
    soft_share: float = 0
    values: tuple[float, float] | None = None
    resized: bool = False
    turned: bool = False
    path: str = ""


@dataclass(frozen=True)
class FittedMask:
    """The hole of one image.

    Attributes:
        hole: at the size of the model's image.
        own_hole: at the size of the photo; None for a mask of the size of the model's image.
        report: how the file was read.
    """

    hole: Bool[np.ndarray, "H W"]
    own_hole: Bool[np.ndarray, "h w"] | None
    report: MaskReport


def is_mask_path(mask: str) -> bool:
    """Whether a mask is a file or a folder, existing or not, and not the name of a hole."""
    if is_hole_name(mask):
        return False
    return Path(mask).exists() or bool(Path(mask).suffix) or "/" in mask


def check_mask(mask: str, config: Config) -> None:
    """Check a mask as far as that is possible without images.

    Raises:
        HoleError: its name is unknown, the file does not exist, or the folder has no image files.
    """
    if not is_mask_path(mask):
        named_holes(mask, config, 1, 0)
    elif not Path(mask).exists():
        raise HoleError(f"the mask {mask} does not exist")
    elif Path(mask).is_dir() and not _mask_files(Path(mask)):
        raise HoleError(f"the mask folder {mask} has no image files")


def named_holes(mask: str, config: Config, count: int, seed: int) -> Bool[Tensor, "N H W"]:
    """Holes of one name for the images of a model.

    Raises:
        HoleError: there is no such name, or its number does not fit the images.
    """
    image_size, patch_size = config.data.image_size, config.model.patch_size
    try:
        return named_hole(mask, image_size, patch_size, count, seed)
    except UnknownHoleError as error:
        raise HoleError(f"{error}, or name an image file or a folder of masks") from None


def mask_chooser(mask: str | None) -> Callable[[str], ImagePath] | None:
    """The mask file for the image of a name, or None if the mask names no files.

    A folder or a ZIP archive has a mask of the same name for each image, with any ending
    (``cat.jpg``: ``cat.png`` or ``cat.mask.png``; ``a/cat.jpg``: ``a/cat.png``). Of files of the
    same name, ``cat.mask.png`` is the mask, and others may be the image itself.
    """
    if mask is None or not is_mask_path(mask):
        return None
    path = Path(mask)
    if not path.is_dir() and not is_archive(path):
        return lambda name: path
    masks = _mask_files(folder_at(path))

    def choose(name: str) -> ImagePath:
        stem = str(Path(name).with_suffix(""))
        files = masks.get(stem, [])
        marked = [file for file in files if file.name.endswith(MASK_SUFFIX)]
        files = marked or files
        if len(files) != 1:
            described = " and ".join(file.name for file in files) or "none"
            raise HoleError(
                f"the mask folder {path} must have one image file named {stem} "
                f"(.png, {MASK_SUFFIX}, ...), not {described}"
            )
        return files[0]

    return choose


def _mask_files(folder: ImagePath) -> dict[str, list[ImagePath]]:
    """The image files of a folder and of folders below, by their paths without the ending."""
    masks: dict[str, list[ImagePath]] = {}
    for name, file in image_tree(folder, masks=True).items():
        stem = str(name).removesuffix(MASK_SUFFIX).removesuffix(name.suffix)
        masks.setdefault(stem, []).append(file)
    return masks


def fit_mask(
    path: ImageSource, mask: MaskFile, resizing: PhotoResizing, orientation: int = 1
) -> FittedMask:
    """The hole of an image, from a mask of the image's size or shape, or of the model's size.

    Args:
        path: of the mask, for messages.
        mask: as it was read.
        resizing: of the image, which the mask goes through as well.
        orientation: the EXIF orientation of the image's file. A mask without one of its own may
            belong to the image as it was before it was turned upright.

    Raises:
        HoleError: the mask has another size, or it has no hole that the model can fill.
    """
    hole, photo_size = mask.hole, resizing.photo_size
    if not hole.any():
        raise HoleError(f"the mask {path} has no hole: no pixel of it is {mask.hole_is}")
    turned = False
    if not mask.turned and hole.shape not in (photo_size, resizing.image_size):
        upright = turn_hole_upright(hole, orientation)
        turned = hole.shape != upright.shape == photo_size
        hole = upright if turned else hole
    report = MaskReport(
        path.name,
        mask.hole_is,
        mask.soft_share,
        mask.values,
        hole.shape not in (photo_size, resizing.image_size),
        turned,
        str(path),
    )
    if hole.shape == resizing.image_size and hole.shape != photo_size:
        return FittedMask(hole, None, report)
    if report.resized:
        if not _same_shape(hole.shape, photo_size):
            raise HoleError(_other_size(path, hole.shape, resizing))
        hole = make_resizing(hole.shape, photo_size, "stretch").resize_hole(hole)
    return FittedMask(fit_hole(f"the mask {path}", hole, resizing), hole, report)


def fit_hole(
    subject: str, hole: Bool[np.ndarray, "h w"], resizing: PhotoResizing
) -> Bool[np.ndarray, "H W"]:
    """The hole at the size of the model's image.

    Raises:
        HoleError: nothing is left of it.
    """
    fitted = resizing.resize_hole(hole)
    if fitted.any():
        return fitted
    if not (hole & resizing.inside()).any():
        raise HoleError(
            f"{subject} has no hole inside of the center crop: choose the fit pad or stretch"
        )
    height, width = resizing.image_size
    raise HoleError(
        f"{subject} has a hole that is too thin: it covers less than half of every pixel of "
        f"the model's {height} x {width}"
    )


def turn_hole_upright(
    hole: Bool[np.ndarray, "h w"], orientation: int
) -> Bool[np.ndarray, "rows columns"]:
    """The hole turned by an EXIF orientation, 1 to 8; 5 to 8 exchange height and width."""
    image = Image.fromarray(hole)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def _same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a size is the other, enlarged or reduced, up to rounding to whole pixels."""
    (rows, columns), (height, width) = size, other
    return rows == round(height * columns / width) or columns == round(width * rows / height)


def _other_size(path: ImageSource, size: tuple[int, int], resizing: PhotoResizing) -> str:
    (rows, columns), (height, width) = resizing.photo_size, resizing.image_size
    expected = f"the model's images have {height} x {width}"
    if resizing.photo_size != resizing.image_size:
        expected = f"its photo has {rows} x {columns} and {expected}"
    return f"the mask {path} has {size[0]} x {size[1]} pixels (height x width), but {expected}"


def describe_masks(reports: Sequence[MaskReport]) -> tuple[str, ...]:
    """Sentences on masks that were not simply read as they are."""
    facts = {
        "gray or half transparent pixels were cut at half": [r for r in reports if r.soft_share],
        "resized to the size of the image": [r for r in reports if r.resized],
        "turned by the EXIF orientation of the photo": [r for r in reports if r.turned],
    }
    for values in dict.fromkeys(report.values for report in reports if report.values is not None):
        fact = f"the values {values[0]:g} and {values[1]:g} were read as black and white"
        facts[fact] = [report for report in reports if report.values == values]
    names = _names_of_files(reports)
    return tuple(f"{_subject(found, names)}: {fact}" for fact, found in facts.items() if found)


def describe_reading(reports: Sequence[MaskReport]) -> str:
    """What was read as the hole, such as ``white``, or ``white in 3 masks, transparent in 1``."""
    readings = {_file_of(report): report.hole_is for report in reports}
    counts = Counter(readings.values()).most_common()
    if len(counts) == 1:
        return counts[0][0]
    if not counts:
        return ""
    (first, number), *others = counts
    rest = "".join(f", {hole_is} in {count}" for hole_is, count in others)
    return f"{first} in {number} masks{rest}"


def _file_of(report: MaskReport) -> str:
    return report.path or report.name


def _names_of_files(reports: Sequence[MaskReport]) -> dict[str, str]:
    """A name for each mask file: its own, or its path if another file has the same name."""
    names = {_file_of(report): report.name for report in reports}
    counts = Counter(names.values())
    return {file: name if counts[name] == 1 else file for file, name in names.items()}


def _subject(found: Sequence[MaskReport], names: dict[str, str]) -> str:
    files = {_file_of(report) for report in found}
    return names[files.pop()] if len(files) == 1 else f"{len(files)} of {len(names)} masks"
