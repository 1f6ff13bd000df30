"""Images, masks and labels that a user names on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from biglearn_gan.config import DataConfig, DataSetName, HoleColor
from biglearn_gan.data.image_files import load_images
from biglearn_gan.data.image_listing import MASK_SUFFIX, DataError, image_tree
from biglearn_gan.data.loading import SPLITS, load_dataset
from biglearn_gan.data.mask_files import read_hole
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import LabelError, require_labels
from biglearn_gan.tasks.holes import HoleError, UnknownHoleError, is_hole_name, named_hole
from biglearn_gan.tasks.patches import tokens_touched

DEFAULT_NUM = 16
"""Images of a data set, or samples from nothing, if the user names no number."""


@dataclass(frozen=True)
class InputImages:
    """Images to complete or to classify.

    Attributes:
        images: in [0, 255].
        notes: sentences that the user should read.
        names: one name per image; empty for images without names.
    """

    images: UInt8[Tensor, "N C H W"]
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def black_images(data: DataConfig, num: int | None) -> InputImages:
    """``num`` images without content (None: 16), to be generated whole."""
    size = (data.channels, *data.image_size)
    return InputImages(torch.zeros(num or DEFAULT_NUM, *size, dtype=torch.uint8))


def load_input_images(
    data: DataConfig, images: str | None, num: int | None, mask: str | None = None
) -> InputImages:
    """The first ``num`` images that the user names.

    Args:
        data: the model's data, for its size and channels.
        images: an image file, a folder of image files, ``dataset:split`` (such as
            ``mnist:test``), or None for the test images of the model's own data set.
        num: how many at most; None for all files, or for 16 images of a data set.
        mask: if it names a folder below the images, its files are not among them.

    Raises:
        DataError: they are missing or cannot be read.
    """
    if images is None or not Path(images).exists():
        return _load_from_dataset(data, images or f"{data.name}:test", num)
    mask_folder = Path(mask) if mask is not None and Path(mask).is_dir() else None
    loaded = load_images(Path(images), data.image_size, data.channels, num, mask_folder)
    count = len(loaded.pixels)
    notes = _note_shortage(num, count)
    if loaded.resized:
        subject = f"{loaded.resized} of {count} images had another size and were"
        notes += (describe_resize(subject, data.image_size),)
    return InputImages(loaded.pixels, notes, loaded.names)


def _load_from_dataset(data: DataConfig, dataset_and_split: str, num: int | None) -> InputImages:
    """The first images of ``dataset:split``, at the size and channels of ``data``."""
    name, _, split = dataset_and_split.partition(":")
    if name not in get_args(DataSetName):
        raise DataError(
            f"{dataset_and_split} does not exist; name an image file, a folder of image files, or "
            f"a data set and split such as {data.name}:test"
        )
    if split not in SPLITS:
        raise DataError(
            f"{dataset_and_split}: a data set has the splits {', '.join(SPLITS)}, not {split!r}"
        )
    dataset = load_dataset(without_labels_or_missing(data.model_copy(update={"name": name})), split)
    count = min(num or DEFAULT_NUM, len(dataset))
    notes = _note_shortage(num, count)
    if num is None and count < len(dataset):
        notes = (f"using the first {count} of {len(dataset):,} images; set --num to use more",)
    if name != data.name:
        notes += (describe_resize(f"images of {name} are", data.image_size),)
    numbers = torch.arange(count)
    return InputImages(dataset.images_uint8(numbers), notes, tuple(map(str, numbers.tolist())))


def _note_shortage(requested: int | None, found: int) -> tuple[str, ...]:
    if requested is None or requested <= found:
        return ()
    return (f"found only {found} of the {requested} images requested by --num",)


def without_labels_or_missing(data: DataConfig) -> DataConfig:
    """The data set as inputs of a model: without labels, and with all pixels of its images."""
    return data.model_copy(update={"labels": False, "classes": None, "missing": None})


def input_folders(mask: str, images: str | None) -> list[Path]:
    """The image files and folders that are read, which must not be written into."""
    folders = [Path(mask)] if is_mask_path(mask) and Path(mask).is_dir() else []
    return folders if images is None else [*folders, Path(images)]


def is_mask_path(mask: str) -> bool:
    """Whether a mask is a file or a folder, existing or not, and not the name of a pattern."""
    if is_hole_name(mask):
        return False
    return Path(mask).exists() or bool(Path(mask).suffix)


def check_hole(mask: str, model: BigLearnGAN, hole_color: HoleColor | None = None) -> None:
    """Check a mask as far as that is possible without images; see :func:`load_hole`.

    Raises:
        HoleError: the mask cannot be used, or it is a folder without image files.
    """
    if not is_mask_path(mask) or not Path(mask).is_dir():
        load_hole(mask, model, 1, 0, hole_color)
    elif not _mask_files(Path(mask)):
        raise HoleError(f"the mask folder {mask} has no image files")


def load_hole(
    mask: str,
    model: BigLearnGAN,
    count: int,
    seed: int,
    hole_color: HoleColor | None = None,
    names: Sequence[str] = (),
) -> Bool[Tensor, "N H W"]:
    """The holes of ``count`` images (True = generate).

    Args:
        mask: a pattern's name, an image file, or a folder with a mask for each image.
        model: gives the size of an image and of a patch.
        count: N.
        seed: of random patterns.
        hole_color: see :func:`biglearn_gan.data.mask_files.read_hole`.
        names: of the images. A folder has a mask of the same name for each, with any ending
            (``cat.jpg``: ``cat.png`` or ``cat.mask.png``; ``a/cat.jpg``: ``a/cat.png``).

    Raises:
        HoleError: the name is unknown, a file cannot be used, or the folder lacks a mask.
    """
    image_size, patch_size = model.config.data.image_size, model.config.model.patch_size
    if is_mask_path(mask):
        if not Path(mask).exists():
            raise HoleError(f"the mask {mask} does not exist")
        if Path(mask).is_dir():
            files = _find_masks(names, Path(mask), count)
            return torch.stack([read_hole(file, image_size, hole_color) for file in files])
        return read_hole(Path(mask), image_size, hole_color).repeat(count, 1, 1)
    try:
        return named_hole(mask, image_size, patch_size, count, seed)
    except UnknownHoleError as error:
        raise HoleError(f"{error}, nor an image file or a folder of them") from None


def _find_masks(names: Sequence[str], folder: Path, count: int) -> list[Path]:
    """The one mask in the folder for each of ``count`` images."""
    if len(names) != count:
        raise HoleError(f"the mask folder {folder} needs named inputs: pass --images")
    masks = _mask_files(folder)
    stems = [str(Path(name).with_suffix("")) for name in names]
    found = [masks.get(stem, []) for stem in stems]
    for stem, files in zip(stems, found, strict=True):
        if len(files) != 1:
            described = " and ".join(file.name for file in files) or "none"
            raise HoleError(
                f"the mask folder {folder} must have one image file named {stem} "
                f"(.png, {MASK_SUFFIX}, ...), not {described}"
            )
    return [file for (file,) in found]


def _mask_files(folder: Path) -> dict[str, list[Path]]:
    """The image files of a folder and of folders below, by their paths without the ending."""
    masks: dict[str, list[Path]] = {}
    for name in image_tree(folder, masks=True):
        stem = str(name).removesuffix(MASK_SUFFIX).removesuffix(name.suffix)
        masks.setdefault(stem, []).append(folder / name)
    return masks


def describe_hole(hole: Bool[Tensor, "N H W"], model: BigLearnGAN, patches_are: str) -> str:
    """How large the hole is, and what happens to the patches that it touches.

    Args:
        hole: True = generate, or hide.
        model: gives the size of a patch. One that reads partial patches has nothing to add.
        patches_are: what happens to touched patches, such as ``generated whole``.
    """
    patch_size = model.config.model.patch_size
    share = float(hole.float().mean())
    touched = float(tokens_touched(hole, patch_size).float().mean())
    sentence = f"the hole is {share:.1%} of the image"
    if touched == share or model.config.reads_partial_patches:
        return sentence
    patches = f"patches of {patch_size} x {patch_size} pixels that it touches"
    return f"{sentence}; the {patches}, {touched:.1%} of the image, are {patches_are}"


def describe_resize(subject: str, image_size: tuple[int, int]) -> str:
    """A sentence that says that images of another size were fitted to the model's."""
    return f"{subject} resized and center-cropped to {image_size[0]} x {image_size[1]}"


def parse_labels(text: str, model: BigLearnGAN, count: int) -> Int64[Tensor, " N"]:
    """The class of each of ``count`` images: one number for all, or ``all`` for each in turn.

    Raises:
        LabelError: the model has no labels, or not this one.
    """
    classes = require_labels(model.config.data)
    if text == "all":
        return torch.arange(count) % classes
    if not (text.isascii() and text.isdecimal()) or int(text) >= classes:
        raise LabelError(f"--label must be 0 to {classes - 1} or all, not {text!r}")
    return torch.full((count,), int(text))
