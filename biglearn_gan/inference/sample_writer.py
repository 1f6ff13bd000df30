"""The output folder of `sample`: ``grid.png``, image files of the samples, and ``samples.npz``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from biglearn_gan.files import check_output_folder, make_folder, replacing
from biglearn_gan.image_grid import completion_grid, image_grid
from biglearn_gan.inference.batched import Samples
from biglearn_gan.inference.photos import Photo
from biglearn_gan.pixel_values import to_channels_last

GRID_ROWS = 32
"""Rows of ``grid.png`` at most; the other files have all samples."""

PHOTO_FORMAT: dict[str, Any] = {"format": "PNG", "compress_level": 1}
"""How photos are written: five times as fast as by default, in files larger by a fifth."""

FULL_SIZE = "full_size"
"""The folder of the photos that are completed at their own sizes."""


def sample_grid(samples: Samples) -> Image.Image:
    """A row for each image: input, input with hole, samples. Samples from nothing form a square."""
    images, rows = samples.images, slice(GRID_ROWS)
    if not samples.hole.all():
        return completion_grid(samples.inputs[rows], samples.hole[rows], images[rows])
    variations = images.shape[1]
    if variations > 1:
        return image_grid(images[rows].flatten(0, 1), variations)
    shown = images[: GRID_ROWS**2, 0]
    return image_grid(shown, math.ceil(math.sqrt(len(shown))))


def check_output(output: Path, inputs: Sequence[Path] = ()) -> None:
    """Check that :func:`write_samples` would replace only files of an earlier call.

    Args:
        output: the output folder; it may not exist yet.
        inputs: image files, or folders of them, that are read.

    Raises:
        OutputError: the folder cannot be made, a file would be lost, or samples would be mixed
            with inputs.
    """
    inputs = [path for path in inputs if path.exists()]
    numbered = []
    for folder in (output / "samples", output / FULL_SIZE):
        check_output_folder(folder, written_by="sample", inputs=inputs, recursive=True)
        files = sorted(folder.glob("*.png"))
        numbered += [file for file in files if re.fullmatch(r"\d{5,}_\d{2,}\.png", file.name)]
    check_output_folder(
        output,
        written_by="sample",
        replaces=(output / "samples.npz", output / "grid.png", *numbered),
        ours=_previous_files(output),
        inputs=inputs,
        recursive=True,
    )


def _previous_files(output: Path) -> list[Path]:
    """The files of an earlier call, from the shape of its seeds in ``samples.npz``."""
    path = output / "samples.npz"
    try:
        with np.load(path) as arrays:
            rows, variations, _ = arrays["seeds"].shape
            folders = ("samples", FULL_SIZE) if "full_sizes" in arrays else ("samples",)
    except Exception:  # a damaged archive can raise anything
        return []
    images = [
        output / folder / sample_name(row, variation)
        for folder in folders
        for row in range(rows)
        for variation in range(variations)
    ]
    return [path, output / "grid.png", *images]


def sample_name(row: int, variation: int) -> str:
    """The name of the image file of a sample."""
    return f"{row:05d}_{variation:02d}.png"


def write_samples(
    samples: Samples, output: Path, names: Sequence[str] = (), photos: Sequence[Photo] = ()
) -> None:
    """Write ``grid.png``, ``samples/ROW_VARIATION.png`` and ``samples.npz`` into a folder.

    With ``photos``, also write ``full_size/ROW_VARIATION.png``: the photos at their own sizes, with
    the samples pasted into their holes. Files of an earlier call are replaced.

    ``samples.npz`` has these arrays:

    - ``images`` (N, K, H, W, C) and ``sources`` (N, H, W, C): samples and inputs, uint8;
    - ``masks`` (N, H, W): True = generated;
    - ``seeds`` (N, K, 3): seed, number of the image, number of the candidate;
    - ``data``: the name of the model's data set;
    - ``scores`` (N, K) if candidates were ranked, ``labels`` (N, K) if the model has labels, and
      ``names`` (N,) if the inputs have names;
    - ``full_sizes`` (N, 2): height and width of the photos, if they were written.

    Args:
        samples: to write.
        output: the folder.
        names: of the inputs; empty for samples from nothing.
        photos: of the inputs, to be written at their own sizes; empty to write none.

    Raises:
        DataError: a photo is broken by now.
        WriteError: the folder cannot be written.
    """
    images = to_channels_last(samples.images)  # (N, K, H, W, C)
    previous = _previous_files(output)
    make_folder(output / "samples")
    with replacing(output / "samples.npz") as path:
        np.savez_compressed(path, **_arrays(samples, names, photos))  # type: ignore[arg-type]
        for old in previous[1:]:  # so that files of two calls never stand side by side
            old.unlink(missing_ok=True)
    for row, variations in enumerate(images):
        for variation, image in enumerate(variations):
            with replacing(output / "samples" / sample_name(row, variation)) as path:
                Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    with replacing(output / "grid.png") as path:
        sample_grid(samples).save(path)
    if photos:
        make_folder(output / FULL_SIZE)
    for row, photo in enumerate(photos):
        for variation, image in enumerate(images[row]):
            completed = photo.paste(image, samples.hole[row].numpy())
            with replacing(output / FULL_SIZE / sample_name(row, variation)) as path:
                completed.save(path, **PHOTO_FORMAT)


def _arrays(
    samples: Samples, names: Sequence[str], photos: Sequence[Photo]
) -> dict[str, np.ndarray]:
    """The arrays of ``samples.npz``."""
    candidates = samples.candidate_index.numpy()
    arrays = {
        "images": to_channels_last(samples.images),
        "sources": to_channels_last(samples.inputs),
        "masks": samples.hole.numpy(),
        "seeds": np.stack(
            [np.full_like(candidates, samples.seed), np.indices(candidates.shape)[0], candidates],
            axis=-1,
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
    if photos:
        arrays["full_sizes"] = np.array([photo.resizing.photo_size for photo in photos])
    return arrays
