"""``ImageDataset``: images of one split by index; ``EpochOrder``: the order of training images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from biglearn_gan.data.lazy_pixels import LazyPixels
from biglearn_gan.devices import copy_to
from biglearn_gan.pixel_values import to_signed_float, to_uint8
from biglearn_gan.tasks.patches import tokens_covered
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

HASHED_IMAGES = 64
"""Images that tell a data set from others, evenly spaced in it."""


@dataclass(frozen=True)
class Batch:
    """Some images of a data set.

    Attributes:
        images: (B, C, H, W), in [-1, 1]; float images, such as those of Gaussian fields, unbounded.
        labels: (B,) class numbers or ``UNKNOWN_LABEL``; None for a data set without labels.
        observed: (B, H, W), True = the pixel is known; all True for complete images.
    """

    images: Float[Tensor, "B C H W"]
    labels: Int64[Tensor, " B"] | None
    observed: Bool[Tensor, "B H W"]


class ImageDataset:
    """The images of one split, by index.

    Args:
        name: data set and split, such as ``digits:train``.
        pixels: (N, C, H, W); a uint8 tensor, files that are decoded on demand, or a float32 tensor
            of unbounded values.
        labels: int64 (N,) class numbers in [0, num_classes) or ``UNKNOWN_LABEL``, or None.
        num_classes: the number of classes, None without labels.
        skipped: the broken image files that were left out.
        observed: (N, H, W), True = the pixel is known; None for complete images.
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
        """The device of batches."""
        return torch.device(self._pixels.device)

    def summary(self, with_labels: bool) -> str:
        """The number of images in one line; with labels, also of classes and labeled images."""
        text = f"{len(self):,} images of {self.name}"
        if not with_labels or self.labels is None:
            return text
        labeled = len(self.labeled)
        some = f" ({labeled:,} labeled)" if labeled < len(self) else ""
        return f"{text}{some}, {self.num_classes} classes"

    def fingerprint(self) -> str:
        """A hash of the pixels in memory, or of the names, sizes and times of the files."""
        if isinstance(self._pixels, Tensor):
            shape = f"{tuple(self._pixels.shape)} {self._pixels.dtype}".encode()
            pixels = self._pixels.cpu().contiguous().numpy().tobytes()
            return hashlib.sha256(shape + pixels).hexdigest()
        return hashlib.sha256(self._pixels.state().encode()).hexdigest()

    def content_hash(self) -> str:
        """A hash of the number of images, and of up to 64 of them with their labels.

        It is the same for images in memory and in files, wherever these are.
        """
        count = len(self)
        indices = torch.arange(0, count, max(1, count // HASHED_IMAGES))[:HASHED_IMAGES]
        digest = hashlib.sha256(str(count).encode())
        digest.update(self.images_uint8(indices).cpu().contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update(self.labels.cpu()[indices].numpy().tobytes())
        return digest.hexdigest()

    @property
    def labeled(self) -> Int64[Tensor, " M"]:
        """The indices of the images whose label is known, ascending and on the CPU."""
        if self.labels is None:
            return torch.empty(0, dtype=torch.int64)
        return (self.labels != UNKNOWN_LABEL).nonzero()[:, 0].cpu()

    def to(self, device: torch.device | str) -> ImageDataset:
        """The same data set with its labels, its batches and its pixels in memory on ``device``."""
        labels = None if self.labels is None else self.labels.to(device)
        pixels = self._pixels.to(device)
        observed = None if self._observed is None else self._observed.to(device)
        return ImageDataset(self.name, pixels, labels, self.num_classes, self.skipped, observed)

    def with_labels(self, labels: Int64[Tensor, " N"]) -> ImageDataset:
        """The same images with other labels of the same classes."""
        return ImageDataset(
            self.name, self._pixels, labels, self.num_classes, self.skipped, self._observed
        )

    @property
    def lazy_pixels(self) -> LazyPixels | None:
        """The images as they are stored, if they are decoded on demand; None in memory."""
        return self._pixels if isinstance(self._pixels, LazyPixels) else None

    @property
    def incomplete(self) -> bool:
        """Whether some pixels may be unknown."""
        return self._observed is not None

    def with_observed_patch(self, patch_size: int) -> ImageDataset:
        """The images with at least one patch whose pixels are all known."""
        if self._observed is None:
            return self
        return self.subset(tokens_covered(self._observed, patch_size).any(1).nonzero()[:, 0])

    def subset(self, indices: Int64[Tensor, " M"]) -> ImageDataset:
        """The images of ``indices``, which may be on any device."""
        pixels, places = self._pixels, indices.to(self.device)
        return ImageDataset(
            self.name,
            pixels.subset(indices) if isinstance(pixels, LazyPixels) else pixels[places],
            None if self.labels is None else self.labels[places],
            self.num_classes,
            self.skipped,
            None if self._observed is None else self._observed[places],
        )

    def images_uint8(self, indices: Int64[Tensor, " B"]) -> UInt8[Tensor, "B C H W"]:
        """Images in [0, 255]; float32 ones are clipped to [-1, 1], scaled and rounded.

        ``indices`` may be on the CPU, whatever the device.

        Raises:
            DataError: a file that is decoded on demand was removed or broken since it was checked.
        """
        pixels = self._pixels[indices]
        return to_uint8(pixels) if pixels.is_floating_point() else pixels

    def batch(
        self,
        indices: Int64[Tensor, " B"],
        flips: Bool[Tensor, " B"] | None = None,
        pixels: UInt8[Tensor, "B C H W"] | None = None,
    ) -> Batch:
        """The images of ``indices`` (each in [0, N)), mirrored left to right if ``flips`` says so.

        Args:
            indices: on the CPU.
            flips: on the CPU; None mirrors none.
            pixels: the stored pixels of ``indices``, if they were read before.

        Raises:
            DataError: a file that is decoded on demand was removed or broken since it was checked.
            ValueError: ``flips`` is not one bool for every index.
        """
        places = copy_to(indices, self.device)
        if pixels is None:
            pixels = self._pixels[places if isinstance(self._pixels, Tensor) else indices]
        count, _, height, width = pixels.shape
        if self._observed is None:
            observed = torch.ones(count, height, width, dtype=torch.bool, device=self.device)
        else:
            observed = self._observed[places]
        if flips is not None:
            if flips.shape != indices.shape or flips.dtype != torch.bool:
                raise ValueError(
                    f"flips must be bool of shape {tuple(indices.shape)}, "
                    f"not {flips.dtype} of shape {tuple(flips.shape)}"
                )
            flipped = copy_to(flips, self.device)[:, None, None]
            pixels = torch.where(flipped[..., None], pixels.flip(-1), pixels)
            observed = torch.where(flipped, observed.flip(-1), observed)
        return Batch(
            images=pixels if pixels.is_floating_point() else to_signed_float(pixels),
            labels=None if self.labels is None else self.labels[places],
            observed=observed,
        )


class EpochOrder:
    """The endless order of ``size`` training images, a pure function of the seed.

    Epoch ``e`` is a permutation drawn from (seed, e), and position ``p`` lies in epoch
    ``p // size``. A run resumes at the position where it stopped. NumPy may change the stream of
    ``default_rng`` in a new version (NEP 19), so another NumPy may give another order.

    Raises:
        ValueError: ``size`` is below 1 or ``seed`` below 0.
    """

    def __init__(self, size: int, seed: int):
        if size < 1 or seed < 0:
            raise ValueError(f"size must be at least 1 and seed at least 0, not {size} and {seed}")
        self.size = size
        self.seed = seed

    def indices(self, start: int, count: int) -> Int64[Tensor, " count"]:
        """Indices of the images at positions start, ..., start + count - 1, on the CPU.

        Raises:
            ValueError: ``start`` or ``count`` is below 0.
        """
        if start < 0 or count < 0:
            raise ValueError(f"start and count must be at least 0, not {start} and {count}")
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
