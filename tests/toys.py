"""Small images and holes, and files of them, that tests of several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.records import Record

Run = Callable[..., tuple[int, str, str]]
"""Runs the command line with some arguments: exit code, standard output, standard error."""


def random_images(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=rng, dtype=torch.uint8)


def toy_dataset() -> ImageDataset:
    """13 RGB images of 4 x 6 pixels with labels."""
    labels = torch.arange(13) % 5
    return ImageDataset("toy:test", random_images(13, 3, 4, 6), labels, num_classes=5)


def holes(count: int) -> Tensor:
    """Other pixels in each row, never all and never none."""
    rng = torch.Generator().manual_seed(1)
    hole = torch.rand(count, 4, 6, generator=rng) < 0.5
    hole[:, 0, 0], hole[:, 3, 5] = True, False
    return hole


def save_gray(path: Path, array: np.ndarray) -> Path:
    """Write values in [0, 255], (H, W), as a gray image."""
    Image.fromarray(array.astype(np.uint8)).save(path)
    return path


def toy_record(seed: int = 0) -> Record:
    """A Fréchet distance of four images."""
    return Record(
        measure="fd",
        features="classifier",
        count=4,
        split=None,
        task="joint",
        subject=None,
        value=1.0,
        error=None,
        floor=None,
        ceiling=None,
        samples=4,
        seed=seed,
    )
