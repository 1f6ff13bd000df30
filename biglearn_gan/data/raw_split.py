"""One split of a data set as it is stored, and the fixed permutation that splits train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biglearn_gan.config import DataConfig
from biglearn_gan.data.image_listing import ImagePath
from biglearn_gan.data.stored_images import StoredImages

SPLIT_SEED = 2023

ROOT_OPTION = "--data-root, or data.root in training,"
"""What names the folder of the data, for messages."""


@dataclass(frozen=True)
class RawSplit:
    """The images of a split, as stored.

    Attributes:
        images: files, or images that are stored otherwise; or a uint8 array (N, h, w) or
            (N, h, w, 3), to be resized to the image size; or a float32 array (N, H, W), which is
            used unchanged.
        labels: int64 (N,) class numbers or ``UNKNOWN_LABEL``, or None.
        num_classes: the number of classes, None without labels.
    """

    images: Sequence[ImagePath] | StoredImages | np.ndarray
    labels: np.ndarray | None = None
    num_classes: int | None = None

    def subset(self, indices: np.ndarray | list[int]) -> RawSplit:
        """The images of ``indices`` and their labels."""
        indices = np.asarray(indices, dtype=np.int64)
        labels = None if self.labels is None else self.labels[indices]
        return RawSplit(_select(self.images, indices.tolist()), labels, self.num_classes)

    def in_turns(self) -> RawSplit:
        """The same images; if they are stored class by class, the classes take turns instead.

        So the first images of a folder with class folders are not all of one class.
        """
        if self.labels is None or len(self.labels) == 0:
            return self
        starts = np.flatnonzero(np.diff(self.labels, prepend=self.labels[0] - 1))
        if len(starts) > len(np.unique(self.labels)):
            return self
        position = np.arange(len(self.labels))
        turns = position - starts[np.searchsorted(starts, position, side="right") - 1]
        return self.subset(np.argsort(turns, kind="stable"))


def _select(
    images: Sequence[ImagePath] | StoredImages | np.ndarray, indices: list[int]
) -> Sequence[ImagePath] | StoredImages | np.ndarray:
    if isinstance(images, np.ndarray):
        return images[indices]
    if isinstance(images, StoredImages):
        return images.subset(indices)
    return [images[index] for index in indices]


def split_by_seed(size: int, last_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Split range(size) by a fixed permutation: all but its last ``last_count``, and these.

    Both parts are ascending arrays, of ``size - last_count`` and of ``last_count`` integers. NumPy
    never changes the stream of ``RandomState`` (NEP 19), so all versions give the same split.
    """
    order = np.random.RandomState(SPLIT_SEED).permutation(size)
    return np.sort(order[: size - last_count]), np.sort(order[size - last_count :])


def data_root(config: DataConfig) -> Path:
    """The folder or archive ``data.root``."""
    return Path(config.root).expanduser()
