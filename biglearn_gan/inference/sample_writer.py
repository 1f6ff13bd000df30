"""The output folder of `sample`: ``grid.png``, image files of the samples, and ``samples.npz``."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
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
    for folder in (output / "samples", output / FULL_SIZE):
        check_output_folder(folder, written_by="sample", inputs=inputs, recursive=True)
    files = sorted((output / "samples").glob("*.png"))
    numbered = [file for file in files if re.fullmatch(r"\d{5,}_\d{2,}\.png", file.name)]
    photos = sorted((output / FULL_SIZE).rglob("*.png"))
    check_output_folder(
        output,
        written_by="sample",
        replaces=(output / "samples.npz", output / "grid.png", *numbered, *photos),
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
            names = arrays["names"].tolist() if "full_sizes" in arrays else []
    except Exception:  # a damaged archive can raise anything
        return []
    numbered = [sample_name(*each) for each in itertools.product(range(rows), range(variations))]
    images = [output / "samples" / name for name in numbered]
    if names:
        images += [output / FULL_SIZE / name for name in numbered]  # of earlier versions
    for row in full_size_names(names, variations):
        images += [output / FULL_SIZE / name for name in row]
    return [path, output / "grid.png", *images]


def sample_name(row: int, variation: int) -> str:
    """The name of the image file of a sample."""
    return f"{row:05d}_{variation:02d}.png"


def full_size_names(names: Sequence[str], variations: int) -> list[list[str]]:
    """The image files of photos completed at their own sizes, ``variations`` for each photo.

    ``beach.jpg`` becomes ``beach.png``, or ``beach_1.png``, ``beach_2.png``, ... if there are
    several. A photo of a subfolder stays there: ``a/beach.png``. Photos whose names differ only in
    their endings, or in capital letters, keep the endings: ``beach.jpg.png``.

    Args:
        names: of the photos, all different: paths from the folder that was named.
        variations: completions of each photo.
    """
    paths = [PurePosixPath(name.lstrip("/")) for name in names]  # a root may stand in an archive
    stems = [str(path.with_suffix("")) for path in paths]
    while True:
        counts = Counter(stem.casefold() for stem in stems)
        new = [
            str(path) if counts[stem.casefold()] > 1 else stem
            for path, stem in zip(paths, stems, strict=True)
        ]
        if new == stems:
            break
        stems = new
    endings = [f"_{number}.png" for number in range(1, variations + 1)]
    return [[stem + end for end in (endings if variations > 1 else [".png"])] for stem in stems]


def write_samples(
    samples: Samples, output: Path, names: Sequence[str] = (), photos: Sequence[Photo] = ()
) -> None:
    """Write ``grid.png``, ``samples/ROW_VARIATION.png`` and ``samples.npz`` into a folder.

    With ``photos``, also write the photos at their own sizes into ``full_size/``, with the samples
    pasted into their holes, named by :func:`full_size_names`. Files of an earlier call are
    replaced.

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
        _remove_empty_folders(output / FULL_SIZE)
    for row, variations in enumerate(images):
        for variation, image in enumerate(variations):
            with replacing(output / "samples" / sample_name(row, variation)) as path:
                Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    with replacing(output / "grid.png") as path:
        sample_grid(samples).save(path)
    file_names = full_size_names([photo.name for photo in photos], images.shape[1])
    for row, photo in enumerate(photos):
        for name, image in zip(file_names[row], images[row], strict=True):
            file = output / FULL_SIZE / name
            make_folder(file.parent)
            completed = photo.paste(image, samples.hole[row].numpy())
            with replacing(file) as path:
                completed.save(path, **PHOTO_FORMAT)


def _remove_empty_folders(folder: Path) -> None:
    """Remove a folder and those below it, unless they hold files."""
    for path in sorted((folder, *folder.rglob("*/")), reverse=True):
        with suppress(OSError):
            path.rmdir()


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
