"""``load_dataset``: one split of a configured data set, decoded and checked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from biglearn_gan.config import Config, ConfigError, DataConfig
from biglearn_gan.config.checks import cross_check
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.folder_datasets import class_folder_names
from biglearn_gan.data.hugging_face import hugging_face_class_names
from biglearn_gan.data.image_files import (
    list_broken,
    open_image,
    parallel_for,
    skipped_files,
)
from biglearn_gan.data.image_listing import DataError, ImagePath
from biglearn_gan.data.lazy_pixels import LazyPixels
from biglearn_gan.data.mask_files import opaque_pixels, unmasked_pixels
from biglearn_gan.data.raw_datasets import (
    READERS,
    SPLITS,
    WITH_OWN_VALIDATION,
)
from biglearn_gan.data.raw_split import RawSplit, split_by_seed
from biglearn_gan.data.stored_images import ArrayImages, store_images
from biglearn_gan.tasks.holes import HoleError, named_hole

NATIVE_SIZES: dict[str, tuple[tuple[int, int], Literal[1, 3]]] = {
    "digits": ((8, 8), 1),
    "mnist": ((28, 28), 1),
    "fashion_mnist": ((28, 28), 1),
    "colored_mnist": ((28, 28), 3),
    "cifar10": ((32, 32), 3),
}
"""(height, width) in pixels and channels, for data sets with images of one size."""


PART_IMAGES = 64
"""Images that are fetched together, which is faster for tables."""


def check_missing_hole(config: DataConfig) -> None:
    """Check that ``data.missing.hole`` names a hole that fits images of this size.

    Raises:
        HoleError: it does not.
    """
    if config.missing is None or config.missing.hole is None:
        return
    try:
        named_hole(config.missing.hole, config.image_size, 1, 1, 0)
    except HoleError as error:
        raise HoleError(f"data.missing.hole: {error}") from None


CLASS_READERS: dict[str, Callable[[DataConfig], tuple[str, ...]]] = {
    "folder": class_folder_names,
    "huggingface": hugging_face_class_names,
}
"""What reads the names of the classes, for data sets that may have any."""


def count_classes(config: Config) -> Config:
    """The configuration with ``data.classes`` and their names, read if the user left them out.

    Only your own images with labels need it; any other configuration is returned unchanged.

    Raises:
        DataError: the images are missing, or they have no classes.
        ConfigError: ``data.labeled_images`` cannot be shared equally by the classes.
    """
    data = config.data
    if not data.labels or data.name not in CLASS_READERS or data.classes is not None:
        return config
    names = CLASS_READERS[data.name](data)
    counted = data.model_copy(update={"classes": len(names), "class_names": names})
    config = config.model_copy(update={"data": counted})
    if problems := list(cross_check(dict(config))):
        raise ConfigError(problems)
    return config


def load_dataset(
    config: DataConfig, split: str, device: torch.device | str = "cpu"
) -> ImageDataset:
    """Load one split of a data set: always the same images in the same order.

    - ``validation`` is a share ``validation_share`` of train, chosen by a fixed permutation and
      removed from train. At share 0 it is the data set's own split (CelebA, or a folder with
      ``validation/``).
    - Digits have 1,400 training and 397 test images.
    - A folder is read with all folders below it. Without ``train/`` and ``test/``, it is split by a
      fixed permutation: a tenth is test. If all images are in class folders, they have labels,
      numbered in the order of the folders' names in train. With ``unlabeled``, only some have.
    - Test images that are stored class by class are reordered, so that the classes take turns.
    - A data set of the Hugging Face library has the labels of its column of classes.
    - CelebA has no labels.
    - Gaussian fields have 50,000 training and 5,000 test images, drawn from fixed seeds; they are
      float32 and unbounded.
    - Pixels are unknown where ``missing`` says so, in all splits but test.

    A split of at most ``memory_limit_mb`` MiB as uint8 is kept in memory on ``device``. The files
    of a larger split are decoded once here, to find broken ones, and again for every batch; see
    :class:`BatchReader` for batches that are decoded ahead of time.

    Args:
        config: the data set.
        split: ``train``, ``validation`` or ``test``.
        device: of the batches.

    Raises:
        DataError: the data are missing or cannot be downloaded, the split is empty, or more than
            ``max_broken_images`` of its files are broken (fewer are skipped with a warning).
        HoleError: ``missing.hole`` does not name a hole.
        ValueError: ``split`` is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    check_missing_hole(config)
    name = f"{config.name}:{split}"
    held_out = split == "validation" and config.validation_share > 0
    stored_split = "train" if held_out else split
    raw, train_size = RawSplit([]), 0
    if stored_split != "validation" or config.name in WITH_OWN_VALIDATION:
        raw = READERS[config.name](config, stored_split)
    if split == "test":
        raw = raw.in_turns()
    if config.validation_share > 0 and split != "test":
        train_size = len(raw.images)
        train, validation = split_by_seed(train_size, round(config.validation_share * train_size))
        raw = raw.subset(validation if held_out else train)
    dataset = _decode(config, name, raw)
    if len(dataset) == 0:
        advice = _how_to_fill(split, config, train_size, dataset.skipped)
        raise DataError(f"{name} is empty: {advice}")
    if config.classes is not None and dataset.num_classes != config.classes:
        kind = "class folders" if config.name == "folder" else "classes"
        raise DataError(
            f"{name} has {dataset.num_classes} {kind}, but data.classes is "
            f"{config.classes}: set it to their number, or leave it out to have them counted"
        )
    return dataset.to(device)


def _how_to_fill(split: str, config: DataConfig, train_size: int, broken: tuple[str, ...]) -> str:
    """What the user can do about an empty split; the training split has ``train_size`` images."""
    share = config.validation_share
    if broken:
        return f"repair {broken[0]} (of {len(broken)} broken image files) or add others"
    if split == "validation":
        return f"set data.validation_share (now {share}) to hold out a part of train"
    if split == "train" and train_size > 0:
        return f"lower data.validation_share (now {share}) or add images to data.root"
    held_out = " (a tenth, and at least one, is kept for test)" if split == "train" else ""
    return f"add images to data.root{held_out}"


def has_validation(config: DataConfig) -> bool:
    """Whether there are validation images: a share of train, or the data set's own split.

    Raises:
        DataError: the data are missing, or a validation folder is empty.
    """
    if config.validation_share > 0:
        return True
    may_have = config.name in WITH_OWN_VALIDATION
    return may_have and len(READERS[config.name](config, "validation").images) > 0


def _decode(config: DataConfig, name: str, raw: RawSplit) -> ImageDataset:
    """Decode all images once: into memory if they fit, else only to find broken files."""
    if isinstance(raw.images, np.ndarray) and raw.images.dtype == np.float32:
        floats = torch.from_numpy(raw.images)[:, None]
        return ImageDataset(name, floats, observed=_observed_pixels(config, name, raw))
    missing = config.missing
    missing_in_files = missing is not None and (missing.alpha or missing.masks)
    lazy = LazyPixels(
        store_images(raw.images),
        config.channels,
        config.image_size,
        config.workers,
        resampling=Image.Resampling.BOX if missing_in_files else Image.Resampling.BICUBIC,
    )
    fits = math.prod(lazy.shape) <= config.memory_limit_mb * 2**20
    pixels = np.empty(lazy.shape, dtype=np.uint8) if fits else None
    broken = _read_all(lazy, pixels)
    skipped = tuple(broken[position][0] for position in sorted(broken))
    if broken:
        _report_broken(config, name, [broken[position][1] for position in sorted(broken)])
        readable = [i for i in range(len(lazy.images)) if i not in broken]
        raw = raw.subset(readable)
        lazy = lazy.subset(torch.tensor(readable, dtype=torch.int64))
        pixels = None if pixels is None else pixels[readable]
    stored = lazy if pixels is None else torch.from_numpy(pixels)
    labels = None if raw.labels is None else torch.from_numpy(raw.labels)
    observed = _observed_pixels(config, name, raw)
    return ImageDataset(name, stored, labels, raw.num_classes, skipped, observed)


def _read_all(
    lazy: LazyPixels, pixels: UInt8[np.ndarray, "N C H W"] | None
) -> dict[int, tuple[str, str]]:
    """Decode all images into ``pixels``, or only to find broken ones if it is None.

    Returns:
        The name of each broken image and what is wrong with it, by its index.
    """
    broken: dict[int, tuple[str, str]] = {}

    def read(indices: range) -> None:
        for index, image in zip(indices, lazy.images.fetch(indices), strict=True):
            try:
                if pixels is None:
                    open_image(image, lazy.channels, check_only=True)
                else:
                    pixels[index] = lazy.decode(image)
            except DataError as error:
                broken[index] = str(image), str(error)

    in_files = not isinstance(lazy.images, ArrayImages)
    count = len(lazy.images)
    parts = [(range(i, min(i + PART_IMAGES, count)),) for i in range(0, count, PART_IMAGES)]
    parallel_for(read, parts, lazy.workers if in_files else 0)
    return broken


def _observed_pixels(config: DataConfig, name: str, raw: RawSplit) -> Bool[Tensor, "N H W"] | None:
    """The known pixels of each image; None if all are known."""
    missing = config.missing
    if missing is None or name.endswith(":test"):
        return None
    if missing.hole is not None:
        count = len(raw.images)
        return ~named_hole(missing.hole, config.image_size, 1, count, missing.seed)
    observed = np.empty((len(raw.images), *config.image_size), dtype=bool)
    read_pixels = opaque_pixels if missing.alpha else unmasked_pixels

    def read(position: int, path: ImagePath) -> None:
        observed[position] = read_pixels(path, config.image_size)

    files = raw.images
    assert isinstance(files, Sequence)  # of a folder
    parallel_for(read, list(enumerate(files)), config.workers)
    return torch.from_numpy(observed)


def _report_broken(config: DataConfig, name: str, reasons: list[str]) -> None:
    """Warn of broken files; refuse more than ``data.max_broken_images``."""
    if len(reasons) > config.max_broken_images:
        raise DataError(
            f"{name} has {len(reasons)} broken image files, more than data.max_broken_images "
            f"({config.max_broken_images}); repair or remove them: {list_broken(reasons)}"
        )
    warnings.warn(skipped_files(name, reasons), stacklevel=4)
