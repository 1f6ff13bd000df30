"""Image data sets with fixed, named splits, and the order in which training visits them."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.holes import HoleError, named_hole
from biglearn_gan.images import (
    DataError,
    LazyPixels,
    fit_image,
    for_each,
    open_image,
    to_uint8,
    to_unit_range,
)
from biglearn_gan.observed import opaque_pixels, unmasked_pixels
from biglearn_gan.patches import tokens_covered
from biglearn_gan.readers import READERS, SPLITS, WITH_OWN_VALIDATION, Records, seeded_parts

NATIVE_SIZES: dict[str, tuple[tuple[int, int], Literal[1, 3]]] = {
    "digits": ((8, 8), 1),
    "mnist": ((28, 28), 1),
    "fashion_mnist": ((28, 28), 1),
    "coloured_mnist": ((28, 28), 3),
    "cifar10": ((32, 32), 3),
}
"""(height, width) in pixels and channels of the data sets whose images all have one size."""


@dataclass(frozen=True)
class Batch:
    """Some images of a data set.

    Attributes:
        images: (B, C, H, W), in [-1, 1], or as they are where they are no uint8 images.
        labels: (B,) class numbers, or None for a data set without labels.
        observed: (B, H, W), True where a pixel is known; all True for complete data.
    """

    images: Float[Tensor, "B C H W"]
    labels: Int64[Tensor, " B"] | None
    observed: Bool[Tensor, "B H W"]


class ImageDataset:
    """The images of one named split, random access by index.

    Args:
        name: data set and split, such as ``digits:train``.
        pixels: (N, C, H, W); uint8, a tensor or files decoded on demand, or a float32 tensor of
            values that need no bounds.
        labels: int64 (N,) class numbers in [0, num_classes), or None.
        num_classes: the number of classes, None without labels.
        skipped: the broken image files that were left out.
        observed: (N, H, W), True where a pixel is known; None for complete images.
    """

    def __init__(
        self,
        name: str,
        pixels: UInt8[Tensor, "N C H W"] | Float32[Tensor, "N C H W"] | LazyPixels,
        labels: Int64[Tensor, " N"] | None = None,
        num_classes: int | None = None,
        skipped: tuple[str, ...] = (),
        observed: Bool[Tensor, "N H W"] | None = None,
    ):
        self.name = name
        self.labels = labels
        self.num_classes = num_classes
        self.skipped = skipped
        self._pixels = pixels
        self._observed = observed

    def __len__(self) -> int:
        return self._pixels.shape[0]

    @property
    def channels(self) -> int:
        return self._pixels.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        _, _, height, width = self._pixels.shape
        return height, width

    @property
    def device(self) -> torch.device:
        """Where batches come out."""
        return torch.device(self._pixels.device)

    def fingerprint(self) -> str:
        """A hash that changes with the images: of their pixels, or of their files' state."""
        if isinstance(self._pixels, Tensor):
            shape = f"{tuple(self._pixels.shape)} {self._pixels.dtype}".encode()
            pixels = self._pixels.cpu().contiguous().numpy().tobytes()
            return hashlib.sha256(shape + pixels).hexdigest()
        return hashlib.sha256(self._pixels.description().encode()).hexdigest()

    def to(self, device: torch.device | str) -> ImageDataset:
        """The same data set, its labels, batches and, where in memory, its pixels on ``device``."""
        labels = None if self.labels is None else self.labels.to(device)
        pixels = self._pixels.to(device)
        observed = None if self._observed is None else self._observed.to(device)
        return ImageDataset(self.name, pixels, labels, self.num_classes, self.skipped, observed)

    @property
    def incomplete(self) -> bool:
        """Whether a pixel of some image may be unobserved."""
        return self._observed is not None

    def with_a_patch(self, patch_size: int) -> ImageDataset:
        """The images of which at least one patch is observed whole."""
        if self._observed is None:
            return self
        kept = tokens_covered(self._observed, patch_size).any(1).nonzero()[:, 0]
        return ImageDataset(
            self.name,
            self._pixels.take(kept) if isinstance(self._pixels, LazyPixels) else self._pixels[kept],
            None if self.labels is None else self.labels[kept],
            self.num_classes,
            self.skipped,
            self._observed[kept],
        )

    def images_uint8(self, indices: Int64[Tensor, " B"]) -> UInt8[Tensor, "B C H W"]:
        """Images in [0, 255]: as stored, or float32 ones clipped to [-1, 1] and rounded.

        ``indices`` may stay on the CPU, whatever the device.

        Raises:
            DataError: a file decoded on demand has gone or broken since it was checked.
        """
        pixels = self._pixels[indices]
        return to_uint8(pixels) if pixels.is_floating_point() else pixels

    def batch(self, indices: Int64[Tensor, " B"], flips: Bool[Tensor, " B"] | None = None) -> Batch:
        """The images of ``indices`` (each in [0, N)), mirrored left to right where ``flips``.

        Raises:
            DataError: a file decoded on demand has gone or broken since it was checked.
            ValueError: ``flips`` is not one bool for every index.
        """
        pixels = self._pixels[indices]
        count, _, height, width = pixels.shape
        if self._observed is None:
            observed = torch.ones(count, height, width, dtype=torch.bool, device=self.device)
        else:
            observed = self._observed[indices]
        if flips is not None:
            if flips.shape != indices.shape or flips.dtype != torch.bool:
                raise ValueError(
                    f"flips must be bool of shape {tuple(indices.shape)}, "
                    f"not {flips.dtype} of shape {tuple(flips.shape)}"
                )
            flipped = flips.to(self.device)[:, None, None]
            pixels = torch.where(flipped[..., None], pixels.flip(-1), pixels)
            observed = torch.where(flipped, observed.flip(-1), observed)
        return Batch(
            images=pixels if pixels.is_floating_point() else to_unit_range(pixels),
            labels=None if self.labels is None else self.labels[indices],
            observed=observed,
        )


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
    records, size = Records([]), 0
    if own_split != "validation" or config.name in WITH_OWN_VALIDATION:
        records = READERS[config.name](config, own_split)
    if config.validation_share > 0 and split != "test":
        size = len(records.images)
        kept, last = seeded_parts(size, round(config.validation_share * size))
        records = records.take(last if held_out else kept)
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


class EpochOrder:
    """The endless order in which training visits ``size`` images, a pure function of the seed.

    Epoch ``e`` is a permutation drawn from (seed, e); position ``p`` lies in epoch ``p // size``. A
    run resumes by asking for the position where it stopped.

    Raises:
        ValueError: ``size`` is below 1 or ``seed`` below 0.
    """

    def __init__(self, size: int, seed: int):
        if size < 1 or seed < 0:
            raise ValueError(f"size must be above 0 and seed not below 0, not {size} and {seed}")
        self.size = size
        self.seed = seed

    def indices(self, start: int, count: int) -> Int64[Tensor, " count"]:
        """Image numbers at the global positions start, ..., start + count - 1, on the CPU.

        Raises:
            ValueError: ``start`` or ``count`` is below 0.
        """
        if start < 0 or count < 0:
            raise ValueError(f"start and count must not be below 0, not {start} and {count}")
        parts = [torch.empty(0, dtype=torch.int64)]
        while count > 0:
            epoch, offset = divmod(start, self.size)
            part = _permutation(self.size, self.seed, epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)


@lru_cache(maxsize=4)
def _permutation(size: int, seed: int, epoch: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(size))


def _decode(config: DataConfig, name: str, records: Records) -> ImageDataset:
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
        records = records.take(sound)
        lazy = replace(lazy, images=records.images)
        pixels = None if pixels is None else pixels[sound]
    stored = lazy if pixels is None else torch.from_numpy(pixels)
    labels = None if records.labels is None else torch.from_numpy(records.labels)
    observed = _observed_pixels(config, name, records)
    return ImageDataset(name, stored, labels, records.num_classes, skipped, observed)


def _observed_pixels(
    config: DataConfig, name: str, records: Records
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
