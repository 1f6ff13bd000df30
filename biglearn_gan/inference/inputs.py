"""What a command line names to be drawn: the sources, their holes and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from biglearn_gan.config import DataConfig, DataSetName, HoleColor
from biglearn_gan.data.image_files import MASK_SUFFIX, DataError, files_at, image_files, load_images
from biglearn_gan.data.loading import SPLITS, load_dataset
from biglearn_gan.data.mask_files import read_hole
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import WITHOUT_LABELS, LabelError
from biglearn_gan.tasks.holes import HoleError, UnknownHole, is_hole_name, named_hole
from biglearn_gan.tasks.patches import tokens_touched

FIRST_ROWS = 16
"""Rows where nobody says how many, but for a user's own files, which are all read."""


@dataclass(frozen=True)
class InputImages:
    """Images to complete, what a user should know about them, and what they are called."""

    images: UInt8[Tensor, "N C H W"]
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def load_input_images(data: DataConfig, images: str | None, num: int | None) -> InputImages:
    """The first ``num`` source images.

    Args:
        data: the model's data, for its size and channels.
        images: an image file, a folder of image files, ``dataset:split`` (such as
            ``mnist:test``), or None for the test images of the model's own data set.
        num: how many at most; where it is None, all files, or 16 images of a data set.

    Raises:
        DataError: they cannot be had or read.
    """
    if images is None or not Path(images).exists():
        name, _, split = (images or f"{data.name}:test").partition(":")
        if name not in get_args(DataSetName):
            raise DataError(
                f"{images} does not exist; name an image file, a folder of image files, or a data "
                f"set and split such as {data.name}:test"
            )
        if split not in SPLITS:
            raise DataError(f"{images}: the splits of a data set are {', '.join(SPLITS)}")
        dataset = load_dataset(
            without_labels_or_missing(data.model_copy(update={"name": name})), split
        )
        count = min(num or FIRST_ROWS, len(dataset))
        notes = _fewer(num, count)
        if num is None and count < len(dataset):
            notes = (f"the first {count} of the {len(dataset):,} images: --num asks for more",)
        if name != data.name:
            notes += (describe_resize(f"images of {name} are", data.image_size),)
        names = tuple(map(str, range(count)))
        return InputImages(dataset.images_uint8(torch.arange(count)), notes, names)
    pixels, resized = load_images(Path(images), data.image_size, data.channels, num)
    notes = _fewer(num, len(pixels))
    if resized:
        what = f"{resized} of {len(pixels)} images had another size and were"
        notes += (describe_resize(what, data.image_size),)
    return InputImages(pixels, notes, tuple(file.name for file in files_at(Path(images))[:num]))


def without_labels_or_missing(data: DataConfig) -> DataConfig:
    """The same data as sources: neither labels nor what was missing in training matter."""
    return data.model_copy(update={"labels": False, "classes": None, "missing": None})


def is_mask_path(mask: str) -> bool:
    """Whether a mask is a file or a folder, there or not, and no pattern's name."""
    if is_hole_name(mask):
        return False
    return Path(mask).exists() or bool(Path(mask).suffix)


def check_hole(mask: str, model: BigLearnGAN, hole_color: HoleColor | None = None) -> None:
    """Whatever can be said of a mask before there are images; see :func:`load_hole`.

    Raises:
        HoleError: it is no usable one, or a folder without image files.
    """
    if not is_mask_path(mask) or not Path(mask).is_dir():
        load_hole(mask, model, 1, 0, hole_color)
    elif not _masks_in(Path(mask)):
        raise HoleError(f"the folder of masks {mask} holds no image files")


def load_hole(
    mask: str,
    model: BigLearnGAN,
    count: int,
    seed: int,
    hole_color: HoleColor | None = None,
    names: Sequence[str] = (),
) -> Bool[Tensor, "N H W"]:
    """Holes for ``count`` rows (True = generate).

    Args:
        mask: a pattern's name, an image file, or a folder with one for each row.
        model: says the size.
        count: N.
        seed: of random patterns.
        hole_color: see :func:`biglearn_gan.data.mask_files.read_hole`.
        names: of the rows, whose masks a folder holds under the same names, whatever the endings
            (``cat.jpg``: ``cat.png`` or ``cat.mask.png``).

    Raises:
        HoleError: neither a name nor a usable file, or the folder lacks a row's mask.
    """
    image_size, patch_size = model.config.data.image_size, model.config.model.patch_size
    if is_mask_path(mask):
        if not Path(mask).exists():
            raise HoleError(f"the mask {mask} does not exist")
        if Path(mask).is_dir():
            files = _masks_of(names, Path(mask), count)
            return torch.stack([read_hole(file, image_size, hole_color) for file in files])
        return read_hole(Path(mask), image_size, hole_color).repeat(count, 1, 1)
    try:
        return named_hole(mask, image_size, patch_size, count, seed)
    except UnknownHole as error:
        raise HoleError(f"{error}, nor an image file or a folder of them") from None


def _masks_of(names: Sequence[str], folder: Path, count: int) -> list[Path]:
    """The one mask in the folder of each of ``count`` rows."""
    if len(names) != count:
        raise HoleError(f"the folder of masks {folder} is for images that have names")
    masks = _masks_in(folder)
    found = [masks.get(Path(name).stem, []) for name in names]
    for name, files in zip(names, found, strict=True):
        if len(files) != 1:
            there = " and ".join(file.name for file in files) or "none"
            raise HoleError(
                f"the folder of masks {folder} must hold one image file named {Path(name).stem} "
                f"(.png, .mask.png, ...), not {there}"
            )
    return [files[0] for files in found]


def _masks_in(folder: Path) -> dict[str, list[Path]]:
    """The image files of a folder by their names without the ending."""
    masks: dict[str, list[Path]] = {}
    for file in [*image_files(folder), *sorted(folder.glob(f"*{MASK_SUFFIX}"))]:
        masks.setdefault(file.name.removesuffix(MASK_SUFFIX).removesuffix(file.suffix), []).append(
            file
        )
    return masks


def describe_hole(hole: Bool[Tensor, "N H W"], model: BigLearnGAN, fate: str) -> str:
    """How large the hole is, and the patches that it touches, if their ``fate`` is another."""
    patch_size = model.config.model.patch_size
    asked = float(hole.float().mean())
    touched = float(tokens_touched(hole, patch_size).float().mean())
    told = f"the hole is {asked:.1%} of the image"
    if touched == asked or model.config.reads_partial_patches:
        return told
    patches = f"patches of {patch_size} x {patch_size} pixels that it touches"
    return f"{told}; the {patches}, {touched:.1%} of the image, are {fate}"


def describe_resize(what: str, image_size: tuple[int, int]) -> str:
    """That images of another size were fitted to the model's."""
    return f"{what} resized and center-cropped to {image_size[0]} x {image_size[1]}"


def parse_labels(text: str, model: BigLearnGAN, count: int) -> Int64[Tensor, " N"]:
    """The class of each of ``count`` rows: one for all, or ``all``, each class in turn.

    Raises:
        LabelError: the model has no labels, or not that one.
    """
    classes = model.config.data.num_classes
    if classes is None:
        raise LabelError(WITHOUT_LABELS)
    if text == "all":
        return torch.arange(count) % classes
    if not (text.isascii() and text.isdecimal()) or int(text) >= classes:
        raise LabelError(f"--label must be 0 to {classes - 1}, or all, not {text!r}")
    return torch.full((count,), int(text))


def _fewer(wanted: int | None, there: int) -> tuple[str, ...]:
    if wanted is None or wanted <= there:
        return ()
    return (f"only {there} images are there of the {wanted} asked for",)
