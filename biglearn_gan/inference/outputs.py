"""The folder that samples are written into: a grid, the images, and all of them as arrays."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from biglearn_gan.files import refuse_foreign, refuse_input_among, replacing
from biglearn_gan.image_grid import completion_grid, image_grid
from biglearn_gan.inference.batched import Samples

GRID_ROWS = 32
"""Rows shown in ``grid.png``; the other files hold all."""


def sample_grid(samples: Samples) -> Image.Image:
    """Input, masked input and variations per row; joint samples alone, in a square."""
    images, rows = samples.images, slice(GRID_ROWS)
    if not samples.hole.all():
        return completion_grid(samples.sources[rows], samples.hole[rows], images[rows])
    variations = images.shape[1]
    if variations > 1:
        return image_grid(images[rows].flatten(0, 1), variations)
    shown = images[: GRID_ROWS**2, 0]
    return image_grid(shown, math.ceil(math.sqrt(len(shown))))


def check_output(output: Path, inputs: Sequence[Path] = ()) -> None:
    """Make sure that :func:`write_samples` would replace nothing but what it wrote there.

    Args:
        output: the folder, there or not.
        inputs: image files, or folders of them, that are read.

    Raises:
        OutputError: it would, or it would be mixed up with what is read.
    """
    for given in inputs:
        if given.exists():
            refuse_input_among((output, output / "samples"), given)
    numbered = sorted((output / "samples").glob("*.png"))
    numbered = [file for file in numbered if re.fullmatch(r"\d{5,}_\d{2,}\.png", file.name)]
    ours = _written_before(output)
    files = (output / "samples.npz", output / "grid.png", *numbered)
    refuse_foreign((file for file in files if file not in ours), output, "`sample`")


def _written_before(output: Path) -> list[Path]:
    """The files of an earlier call, as the shape of its seeds in ``samples.npz`` tells them."""
    path = output / "samples.npz"
    try:
        with np.load(path) as arrays:
            rows, variations, _ = arrays["seeds"].shape
    except Exception:  # a damaged archive can raise anything
        return []
    images = [
        output / "samples" / image_name(row, variation)
        for row in range(rows)
        for variation in range(variations)
    ]
    return [path, output / "grid.png", *images]


def image_name(row: int, variation: int) -> str:
    """What a sample's file is called."""
    return f"{row:05d}_{variation:02d}.png"


def write_samples(samples: Samples, output: Path, names: Sequence[str] = ()) -> None:
    """Write ``grid.png``, ``samples/ROW_VARIATION.png`` and ``samples.npz`` into a folder.

    What another call has written there is replaced. ``samples.npz`` has ``scores`` too where
    candidates were ranked, ``labels`` where the model has some, ``names`` of sources, and ``data``,
    the name of the model's data set.

    Args:
        samples: to write.
        output: the folder.
        names: of the rows' sources, none for images from nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    (output / "samples").mkdir(parents=True, exist_ok=True)
    images = _channels_last(samples.images)  # (N, K, H, W, C)
    numbers = samples.numbers.numpy()
    arrays = {
        "images": images,
        "sources": _channels_last(samples.sources),
        "masks": samples.hole.numpy(),
        "seeds": np.stack(
            [np.full_like(numbers, samples.seed), np.indices(numbers.shape)[0], numbers], axis=-1
        ),
    }
    if names:
        arrays["names"] = np.array(names)
    if samples.scores is not None:
        arrays["scores"] = samples.scores.numpy()
    if samples.labels is not None:
        arrays["labels"] = samples.labels.numpy()
    if samples.data is not None:
        arrays["data"] = np.array(samples.data)
    before = _written_before(output)
    with replacing(output / "samples.npz") as path:
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    for old in before:
        if old.parent.name == "samples":
            old.unlink(missing_ok=True)
    for row, variations in enumerate(images):
        for variation, image in enumerate(variations):
            with replacing(output / "samples" / image_name(row, variation)) as path:
                Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    with replacing(output / "grid.png") as path:
        sample_grid(samples).save(path)


def _channels_last(images: Tensor) -> np.ndarray:
    return images.movedim(-3, -1).contiguous().numpy()
