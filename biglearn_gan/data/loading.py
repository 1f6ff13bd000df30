"""Image data sets with fixed, named splits, and the order in which training visits them."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import (
    DataError,
    LazyPixels,
    fit_image,
    for_each,
    open_image,
)
from biglearn_gan.data.mask_files import opaque_pixels, unmasked_pixels
from biglearn_gan.data.raw_datasets import (
    READERS,
    SPLITS,
    WITH_OWN_VALIDATION,
    RawSplit,
    split_by_seed,
)
from biglearn_gan.tasks.holes import HoleError, named_hole

NATIVE_SIZES: dict[str, tuple[tuple[int, int], Literal[1, 3]]] = {
    "digits": ((8, 8), 1),
    "mnist": ((28, 28), 1),
    "fashion_mnist": ((28, 28), 1),
    "colored_mnist": ((28, 28), 3),
    "cifar10": ((32, 32), 3),
}
"""(height, width) in pixels and channels of the data sets whose images all have one size."""


def check_missing(config: DataConfig) -> None:
    """What is missing has to be a hole that there is, in images of this size.

    Raises:
        HoleError: it is none.
    """
    if config.missing is None or config.missing.hole is None:
        return
    try:
        named_hole(config.missing.hole, config.image_size, 1, 1, 0)
    except HoleError as error:
        raise HoleError(f"data.missing.hole: {error}") from None


def load_dataset(
    config: DataConfig, split: str, device: torch.device | str = "cpu"
) -> ImageDataset:
    """One split of the configured data set, always the same images in the same order.

    ``validation`` is the last ``validation_share`` of train under a fixed permutation, which train
    then lacks; at share 0 it is the data set's own validation split (CelebA, or a folder with
    ``validation/``). Digits have 1,400 images to train and 397 to test. A folder without ``train/``
    and ``test/`` keeps the last tenth of a fixed permutation of its files for test; its class
    subfolders give labels, numbered in the order of their names in train. CelebA has none.
    Gaussian fields have 50,000 images to train and 5,000 to test, float32, without bounds and drawn
    here from fixed seeds. What ``missing`` says is unobserved in all splits but test.

    A split of at most ``memory_limit_mb`` MiB as uint8 is held on ``device``. Of a larger one, each
    file is decoded once here to find the broken ones, and again by every batch that asks for it.

    Raises:
        DataError: the data are missing or cannot be downloaded, the split is empty, or more than
            ``max_broken_images`` of its files are broken (fewer are skipped with a warning).
        HoleError: ``missing.hole`` is none.
        ValueError: ``split`` is none of ``SPLITS``.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    check_missing(config)
    name = f"{config.name}:{split}"
    held_out = split == "validation" and config.validation_share > 0
    own_split = "train" if held_out else split
    records, size = RawSplit([]), 0
    if own_split != "validation" or config.name in WITH_OWN_VALIDATION:
        records = READERS[config.name](config, own_split)
    if config.validation_share > 0 and split != "test":
        size = len(records.images)
        kept, last = split_by_seed(size, round(config.validation_share * size))
        records = records.subset(last if held_out else kept)
    dataset = _decode(config, name, records)
    if len(dataset) == 0:
        raise DataError(f"{name} is empty: {_what_fills(split, config, size, dataset.skipped)}")
    if config.labels and dataset.num_classes != config.num_classes:
        there = "no labels" if dataset.num_classes is None else f"{dataset.num_classes} classes"
        raise DataError(
            f"{name} has {there}, and data.classes says {config.num_classes}: set it to the number "
            "of class folders, or data.labels to false"
        )
    return dataset.to(device)


def _what_fills(split: str, config: DataConfig, size: int, broken: tuple[str, ...]) -> str:
    """What to do about an empty split of a training split of ``size`` images."""
    share = config.validation_share
    if broken:
        return f"repair {broken[0]} (of {len(broken)} broken image files) or add others"
    if split == "validation":
        return f"set data.validation_share (now {share}) to hold out a part of train"
    if split == "train" and size > 0:
        return f"lower data.validation_share (now {share}) or add images to data.root"
    held_out = " (one of ten, and at least one, is for testing)" if split == "train" else ""
    return f"add images to data.root{held_out}"


def has_validation(config: DataConfig) -> bool:
    """Whether there are validation images: a share of train, or the data set's own split.

    Raises:
        DataError: the data are missing, or a validation folder is empty.
    """
    if config.validation_share > 0:
        return True
    own = config.name in WITH_OWN_VALIDATION
    return own and len(READERS[config.name](config, "validation").images) > 0


def _decode(config: DataConfig, name: str, records: RawSplit) -> ImageDataset:
    """Decode everything once: into memory if it fits, else only to find the broken files."""
    if isinstance(records.images, np.ndarray) and records.images.dtype == np.float32:
        floats = torch.from_numpy(records.images)[:, None]
        return ImageDataset(name, floats, observed=_observed_pixels(config, name, records))
    missing = config.missing
    in_files = missing is not None and (missing.alpha or missing.masks)
    lazy = LazyPixels(
        records.images,
        config.channels,
        config.image_size,
        config.workers,
        resampling=Image.Resampling.BOX if in_files else Image.Resampling.BICUBIC,
    )
    fits = math.prod(lazy.shape) <= config.memory_limit_mb * 2**20
    pixels = np.empty(lazy.shape, dtype=np.uint8) if fits else None
    broken: dict[int, str] = {}

    def decode(position: int, source: Path | np.ndarray) -> None:
        try:
            image = open_image(source, config.channels, check_only=pixels is None)
        except DataError as error:
            broken[position] = str(error)
        else:
            if pixels is not None:
                pixels[position] = fit_image(image, config.image_size, lazy.resampling)

    files = not isinstance(records.images, np.ndarray)
    for_each(decode, list(enumerate(records.images)), config.workers if files else 0)
    skipped = tuple(str(records.images[position]) for position in sorted(broken))
    if broken:
        _report_broken(config, name, [broken[position] for position in sorted(broken)])
        sound = [i for i in range(len(records.images)) if i not in broken]
        records = records.subset(sound)
        lazy = replace(lazy, images=records.images)
        pixels = None if pixels is None else pixels[sound]
    stored = lazy if pixels is None else torch.from_numpy(pixels)
    labels = None if records.labels is None else torch.from_numpy(records.labels)
    observed = _observed_pixels(config, name, records)
    return ImageDataset(name, stored, labels, records.num_classes, skipped, observed)


def _observed_pixels(
    config: DataConfig, name: str, records: RawSplit
) -> Bool[Tensor, "N H W"] | None:
    missing = config.missing
    if missing is None or name.endswith(":test"):
        return None
    if missing.hole is not None:
        count = len(records.images)
        return ~named_hole(missing.hole, config.image_size, 1, count, missing.seed)
    known = np.empty((len(records.images), *config.image_size), dtype=bool)
    pixels_of = opaque_pixels if missing.alpha else unmasked_pixels

    def read(position: int, path: Path) -> None:
        known[position] = pixels_of(path, config.image_size)

    for_each(read, list(enumerate(records.images)), config.workers)
    return torch.from_numpy(known)


def _report_broken(config: DataConfig, name: str, reasons: list[str]) -> None:
    named = "; ".join(reasons[:10]) + ("; ..." if len(reasons) > 10 else "")
    if len(reasons) > config.max_broken_images:
        raise DataError(
            f"{name} has {len(reasons)} broken image files, more than data.max_broken_images "
            f"({config.max_broken_images}); repair or remove them: {named}"
        )
    warnings.warn(f"{name}: skipped {len(reasons)} broken image files: {named}", stacklevel=4)
