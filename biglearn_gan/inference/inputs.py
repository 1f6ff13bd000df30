"""Images, masks and labels that a user names on the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from biglearn_gan.config import DataConfig, DataSetName, FitMode, HoleColor
from biglearn_gan.data.image_listing import (
    DataError,
)
from biglearn_gan.data.loading import NATIVE_SIZES, SPLITS, load_dataset
from biglearn_gan.data.mask_files import read_mask_file
from biglearn_gan.inference.masks import (
    check_mask,
    describe_masks,
    describe_reading,
    fit_mask,
    is_mask_path,
    mask_chooser,
    named_holes,
)
from biglearn_gan.inference.photo_resizing import make_resizing
from biglearn_gan.inference.photos import SIZE_CHANGES, Photo, PhotoReader, describe_photos
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.labels import LabelError, label_number, require_labels
from biglearn_gan.tasks.holes import HoleError
from biglearn_gan.tasks.patches import tokens_touched

DEFAULT_NUM = 16
"""Images of a data set, or samples from nothing, if the user names no number."""

COLORED = ("celeba", *(name for name, (_, channels) in NATIVE_SIZES.items() if channels == 3))
"""Data sets of images with colors."""


@dataclass(frozen=True)
class InputRequest:
    """Images and holes as a user names them.

    Attributes:
        images: an image file, a folder of image files, ``dataset:split`` (such as ``mnist:test``),
            or None for the test images of the model's own data set.
        mask: a pattern's name, an image file, or a folder with a mask for each image. None for no
            hole, or for the transparent part of each photo.
        num: images at most; None for all files, or for 16 images of a data set.
        seed: of random patterns.
        mask_color: see :func:`biglearn_gan.data.mask_files.read_mask_file`.
        fit: how photos of another aspect ratio are fitted.
        erased: whether the transparent part of each photo is its hole; only without ``mask``.
    """

    images: str | None = None
    mask: str | None = None
    num: int | None = None
    seed: int = 0
    mask_color: HoleColor | None = None
    fit: FitMode = "crop"
    erased: bool = False


@dataclass(frozen=True)
class Inputs:
    """Images to complete or to classify, at the model's size, and their holes.

    Attributes:
        images: in [0, 255].
        hole: True = generate, or hide.
        notes: sentences that the user should read.
        names: one name per image; empty for images without names.
        photos: the image files at their own sizes; empty for images of a data set.
        hole_is: what was read as the hole in files, such as ``white``; empty without files.
    """

    images: UInt8[Tensor, "N C H W"]
    hole: Bool[Tensor, "N H W"]
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    photos: tuple[Photo, ...] = ()
    hole_is: str = ""


def load_inputs(model: BigLearnGAN, data: DataConfig, request: InputRequest) -> Inputs:
    """The images that the user names, at the model's size, with their holes.

    Args:
        model: gives the size of a patch.
        data: the model's data set, on this machine.
        request: what the user named. The mask ``joint`` reads no image: all are black.

    Raises:
        DataError: the images are missing or cannot be read.
        HoleError: the mask's name is unknown, a file of it cannot be used, or it has no mask for an
            image.
    """
    if request.mask == "joint":
        return _whole_holes(data, request.num or DEFAULT_NUM)
    if request.mask is not None:
        check_mask(request.mask, model.config)
    inputs = _load_files if request.images and Path(request.images).exists() else _load_split
    loaded = inputs(data, request)
    if request.mask is None or is_mask_path(request.mask):
        return loaded
    hole = named_holes(request.mask, model.config, len(loaded.images), request.seed)
    return replace(loaded, hole=hole)


def _whole_holes(data: DataConfig, num: int) -> Inputs:
    """Images without content, to be generated whole."""
    black = torch.zeros(1, data.channels, *data.image_size, dtype=torch.uint8)
    hole = torch.ones(1, *data.image_size, dtype=torch.bool)
    return Inputs(black.expand(num, -1, -1, -1), hole.expand(num, -1, -1))  # in little memory


def _load_files(data: DataConfig, request: InputRequest) -> Inputs:
    """Photos, with their holes if the mask names files or is their transparent part."""
    masks = mask_chooser(request.mask)
    reader = PhotoReader(
        data, request.fit, "transparent" if request.erased else masks, request.mask_color
    )
    mask_path = Path(request.mask) if request.mask and is_mask_path(request.mask) else None
    photos = reader.read_all(Path(request.images or ""), request.num, leave_out=mask_path)
    reports = [photo.report for photo in photos if photo.report is not None]
    empty = np.zeros(data.image_size, dtype=bool)
    holes = [empty if photo.hole is None else photo.hole for photo in photos]
    notes = _note_shortage(request.num, len(photos))
    notes += describe_photos(photos, request.fit) + describe_masks(reports)
    return Inputs(
        torch.from_numpy(np.stack([photo.image for photo in photos])),
        torch.from_numpy(np.stack(holes)),
        notes,
        tuple(photo.photo.name for photo in photos),
        tuple(photo.photo for photo in photos),
        describe_reading(reports),
    )


def _load_split(data: DataConfig, request: InputRequest) -> Inputs:
    """The first images of ``dataset:split``, with their holes if the mask names files."""
    images = request.images or f"{data.name}:test"
    try:
        pixels, notes = _read_split(data, images, request.num)
    except DataError as error:
        if request.images is not None:
            raise
        raise type(error)(f"{error}; or name images of your own with --images") from None
    names = tuple(map(str, range(len(pixels))))
    if request.erased:
        raise HoleError(
            f"{images} has no transparent part to fill: name what to generate as the mask"
        )
    choose_mask = mask_chooser(request.mask)
    if choose_mask is None:
        return Inputs(pixels, torch.zeros_like(pixels[:, 0], dtype=torch.bool), notes, names)
    resizing = make_resizing(data.image_size, data.image_size, "crop")
    read = lru_cache(1)(lambda file: read_mask_file(file, request.mask_color))
    files = [choose_mask(name) for name in names]
    masks = [fit_mask(file, read(file), resizing) for file in files]
    reports = [mask.report for mask in masks]
    hole = torch.from_numpy(np.stack([mask.hole for mask in masks]))
    notes += describe_masks(reports)
    return Inputs(pixels, hole, notes, names, hole_is=describe_reading(reports))


def _read_split(
    data: DataConfig, dataset_and_split: str, num: int | None
) -> tuple[UInt8[Tensor, "N C H W"], tuple[str, ...]]:
    """The first images of ``dataset:split``, at the size and channels of ``data``, and notes."""
    name, _, split = dataset_and_split.partition(":")
    if name not in get_args(DataSetName):
        raise DataError(
            f"{dataset_and_split} does not exist; name an image file, a folder of image files, or "
            f"a data set and split such as {data.name}:test"
        )
    if not split:
        raise DataError(f"{name} is a data set: name a split of it too, such as {name}:test")
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
        change = SIZE_CHANGES["crop"].format(*data.image_size)
        turned_gray = " and turned gray" if data.channels == 1 and name in COLORED else ""
        notes += (f"images of {name} are {change}{turned_gray}",)
    return dataset.images_uint8(torch.arange(count)), notes


def _note_shortage(requested: int | None, found: int) -> tuple[str, ...]:
    if requested is None or requested <= found:
        return ()
    return (f"found only {found} of the {requested} images requested",)


def without_labels_or_missing(data: DataConfig) -> DataConfig:
    """The data set as inputs of a model: without labels, and with all pixels of its images."""
    return data.model_copy(
        update={"labels": False, "unlabeled": None, "classes": None, "missing": None}
    )


def input_folders(mask: str | None, images: str | None) -> list[Path]:
    """The images and the folder of masks that are read, which must not be written into."""
    folders = [Path(mask)] if mask and is_mask_path(mask) and Path(mask).is_dir() else []
    return folders if images is None else [*folders, Path(images)]


def describe_hole(
    hole: Bool[Tensor, "N H W"], model: BigLearnGAN, patches_are: str, hole_is: str = ""
) -> str:
    """How large the hole is, and what happens to the patches that it touches.

    Args:
        hole: True = generate, or hide.
        model: gives the size of a patch. One that reads partial patches has nothing to add.
        patches_are: what happens to touched patches, such as ``generated whole``.
        hole_is: what was read as the hole in files, such as ``white``.
    """
    patch_size = model.config.model.patch_size
    share = float(hole.float().mean())
    touched = float(tokens_touched(hole, patch_size).float().mean())
    reading = f"read {hole_is} as the hole: " if hole_is else ""
    sentence = f"{reading}the hole is {share:.1%} of the image"
    if touched == share or model.config.reads_partial_patches:
        return sentence
    patches = f"patches of {patch_size} x {patch_size} pixels that it touches"
    return f"{sentence}; the {patches}, {touched:.1%} of the image, are {patches_are}"


def parse_labels(text: str, model: BigLearnGAN, count: int) -> Int64[Tensor, " N"]:
    """The class of each of ``count`` images: one for all, or ``all`` for each class in turn.

    Raises:
        LabelError: the model has no labels, or not this one.
    """
    classes = require_labels(model.config.data)
    if text == "all":
        return torch.arange(count) % classes
    try:
        return torch.full((count,), label_number(text, model.config.data))
    except LabelError as error:
        raise LabelError(f"{error}; all takes each class in turn") from None
