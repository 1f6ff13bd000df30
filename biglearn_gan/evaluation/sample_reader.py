"""Samples of any system, read from files, and the evaluation task that they belong to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from biglearn_gan.config import DataConfig, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import load_images
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.data.loading import NATIVE_SIZES
from biglearn_gan.evaluation.task import EvaluationTask, ProtocolError, make_sourceless_task
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import named_hole

FIXED_HOLES = ("left-half", "right-half", "top-half", "bottom-half", "center", "border")
"""Holes that depend on neither the seed nor the patch size."""

SHARE_TOLERANCE = 0.05
"""How far the hidden share of a row may be from the share in the name of a random hole."""


@dataclass(frozen=True)
class SavedSamples:
    """Generated images from a file; a :class:`~biglearn_gan.evaluation.task.SampleSource`."""

    images: UInt8[Tensor, "N K C H W"]

    @property
    def variations(self) -> int:
        return self.images.shape[1]

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        return self.images[start:stop, :variations]


def load_saved_samples(
    path: Path, dataset: ImageDataset, task: str | None, num: int | None = None
) -> tuple[EvaluationTask, SavedSamples]:
    """Load samples, and the task that they belong to.

    Args:
        path: a folder of image files (joint samples, in a random order that is always the same), or
            an ``.npz`` with the keys that
            ``biglearn-gan sample`` writes: ``images`` (N, K, H, W, C) or (N, H, W, C), uint8; for
            completions also ``masks`` (N, H, W), True = generated, and ``sources`` (N, H, W, C).
            In a folder that ``sample`` wrote, ``samples.npz`` is read.
        dataset: defines the image size, and the labels of those sources that it holds.
        task: name of the completions in the records; ``samples`` by default. If it is the name of a
            hole, the masks must be such holes. Random holes are checked by the hidden share of each
            row (within 5% of the pixels) and by their blocks, ``inside:SIZE`` and ``outside:SIZE``
            by the square in each row.
        num: maximum number of joint samples or of rows of completions; None for all.

    Returns:
        The task and its samples. Joint samples have one row each, whatever K is.

    Raises:
        DataError: the file is unusable, its images have another size, or its holes do not match
            ``task``.
        HoleError: ``task`` is a hole that does not fit images of this size.
    """
    archive = _find_archive(path)
    if archive is None:
        if task not in (None, "joint"):
            raise DataError(f"{path}: a folder holds joint samples, not completions ({task})")
        return joint_samples(_load_folder(path, dataset, num), dataset)
    arrays = _read_arrays(archive, ("images", "sources", "masks"))
    images = _channels_first(archive, "images", arrays, dataset)
    hole = arrays.get("masks")
    shape = (len(images), *dataset.image_size)
    if hole is not None and (hole.dtype != bool or hole.shape != shape):
        raise DataError(
            f"{archive}: masks must be bool of shape {shape}, not {hole.dtype} of shape "
            f"{hole.shape}"
        )
    if hole is None or hole.all():
        if task not in (None, "joint"):
            raise DataError(f"{archive}: its samples are joint, not completions ({task})")
        return joint_samples(images, dataset, num)
    empty = np.flatnonzero(~hole.any(axis=(1, 2)))
    if len(empty):
        raise DataError(f"{archive}: row {empty[0]} of masks has no hole")
    if "sources" not in arrays:
        raise DataError(f"{archive}: completions need the key sources, and it holds {list(arrays)}")
    sources = _channels_first(archive, "sources", arrays, dataset)[:, 0]
    if len(sources) != len(images):
        raise DataError(f"{archive}: {len(images)} rows of images and {len(sources)} of sources")
    holes, sources = torch.from_numpy(hole)[:num], sources[:num]
    if task is not None:
        _check_holes(archive, task, holes)
    labels = find_labels(sources, dataset)
    absent = torch.zeros_like(holes)
    return (
        EvaluationTask(task or "samples", sources, labels, holes, absent),
        SavedSamples(images[:num]),
    )


def joint_samples(
    images: UInt8[Tensor, "N K C H W"], dataset: ImageDataset, num: int | None = None
) -> tuple[EvaluationTask, SavedSamples]:
    """The joint task of the first ``num`` images (None: all), one row for each.

    Joint samples of one row share no source, so all variations are rows of their own.
    """
    flat = images.flatten(0, 1)[:num]
    task = make_sourceless_task("joint", len(flat), dataset, patch_size=1, seed=0)
    return task, SavedSamples(flat[:, None])


def find_labels(
    images: UInt8[Tensor, "N C H W"], dataset: ImageDataset
) -> Int64[Tensor, " N"] | None:
    """The labels of images that a data set holds; None unless it holds all of them."""
    if dataset.labels is None:
        return None
    indices = find_images(images, dataset)
    return None if bool((indices < 0).any()) else dataset.labels.cpu()[indices]


def find_images(images: UInt8[Tensor, "N C H W"], dataset: ImageDataset) -> Int64[Tensor, " N"]:
    """The index of each image in a data set with exactly the same pixels, else -1."""
    known: dict[bytes, int] = {}
    for indices in torch.arange(len(dataset)).split(1000):
        pixels = dataset.images_uint8(indices).cpu()
        known |= {p.numpy().tobytes(): i for p, i in zip(pixels, indices.tolist(), strict=True)}
    return torch.tensor([known.get(image.numpy().tobytes(), -1) for image in images.contiguous()])


def choose_data_config(samples: Path, name: str | None) -> DataConfig:
    """The data set that samples imitate: the named one, else the one that their file names.

    Args:
        samples: as in :func:`load_saved_samples`.
        name: name of a data set of one size, path of a YAML file, or None.

    Raises:
        ProtocolError: neither names a data set whose images all have one size.
        ConfigError: the YAML file is not a configuration.
        DataError: the samples cannot be read.
    """
    if name is not None and name.endswith((".yaml", ".yml")):
        return load_config(name).data
    names = ", ".join(NATIVE_SIZES)
    if name is not None and name not in NATIVE_SIZES:
        raise ProtocolError(
            f"no data set {name!r}: name a YAML file as in experiments/, or one of {names}"
        )
    stored = name or read_data_name(samples)
    if stored not in NATIVE_SIZES:
        reason = "names no data set" if stored is None else f"names {stored!r}"
        raise ProtocolError(
            f"{samples} {reason}: name the data set that the samples imitate ({names}, or a YAML "
            "file as in experiments/)"
        )
    image_size, channels = NATIVE_SIZES[stored]
    return DataConfig.model_validate(
        {"name": stored, "image_size": image_size, "channels": channels}
    )


def read_data_name(samples: Path) -> str | None:
    """The name of the data set in a file that ``sample`` wrote.

    None for a folder of image files, and for an ``.npz`` without the key ``data``.

    Raises:
        DataError: the file cannot be read, or ``data`` is not a string.
    """
    archive = _find_archive(samples)
    name = None if archive is None else _read_arrays(archive, ("data",)).get("data")
    if name is None:
        return None
    if name.ndim or name.dtype.kind != "U":
        raise DataError(f"{archive}: data must be a string, not {name.dtype} of shape {name.shape}")
    return str(name)


def _check_holes(path: Path, task: str, holes: Bool[Tensor, "N H W"]) -> None:
    """Raise DataError if the name of a hole does not fit these holes."""
    size = (holes.shape[1], holes.shape[2])
    blocks = _block_sizes(holes)
    if task in FIXED_HOLES or task == "checkerboard":
        named = [named_hole(task, size, block, len(holes), 0) for block in blocks]
        if not any(torch.equal(holes, hole) for hole in named):
            raise DataError(f"{path}: its masks are not the hole {task}")
    elif task.startswith(("inside:", "outside:")):
        inside = task.startswith("inside:")
        example = named_hole(task, size, 1, 1, 0)
        side = math.isqrt(int((example if inside else ~example).sum()))
        if not _are_squares(holes if inside else ~holes, side):
            raise DataError(
                f"{path}: its masks do not {'hide' if inside else 'leave'} one square of {side} x "
                f"{side} pixels in each row, as {task} does"
            )
    elif task == "strokes" or task.startswith("random:"):
        _check_random_holes(path, task, holes, blocks)


def _check_random_holes(
    path: Path, task: str, holes: Bool[Tensor, "N H W"], blocks: Sequence[int]
) -> None:
    size = (holes.shape[1], holes.shape[2])
    expected = _share_of(named_hole(task, size, 1, 1, 0))
    *_, block = task.split(":")
    if task.count(":") == 2 and int(block) not in blocks:
        raise DataError(
            f"{path}: its masks are not made of whole blocks of {block} x {block} pixels, as "
            f"{task} has them"
        )
    shares = holes.double().mean(dim=(1, 2))
    possible = [_share_of(named_hole(task, size, block, 1, 0)) for block in blocks]
    if not any(bool(((shares - share).abs() <= SHARE_TOLERANCE).all()) for share in possible):
        raise DataError(
            f"{path}: its masks hide {float(shares.min()):.0%} to {float(shares.max()):.0%} of an "
            f"image, and {task} hides {expected:.0%}"
        )


def _share_of(hole: Bool[Tensor, "N H W"]) -> float:
    return float(hole.double().mean())


def _are_squares(pixels: Bool[Tensor, "N H W"], side: int) -> bool:
    """Whether each row is one square with this side in pixels, and nothing else."""
    for axis in (1, 2):
        line = pixels.any(dim=axis).int()  # (N, W), then (N, H)
        extent = line.shape[1] - line.argmax(dim=1) - line.flip(1).argmax(dim=1)
        if bool((extent != side).any()):
            return False
    return bool((pixels.sum(dim=(1, 2)) == side**2).all())


def _block_sizes(holes: Bool[Tensor, "N H W"]) -> list[int]:
    """The sizes in pixels of square blocks of which all holes consist."""
    _, height, width = holes.shape
    sizes = []
    for size in range(1, math.gcd(height, width) + 1):
        if height % size == 0 and width % size == 0:
            blocks = holes.view(-1, height // size, size, width // size, size)
            if torch.equal(blocks.any(4).any(2), blocks.all(4).all(2)):
                sizes.append(size)
    return sizes


def _load_folder(path: Path, dataset: ImageDataset, num: int | None) -> UInt8[Tensor, "N 1 C H W"]:
    """The images in a random order: files may be sorted by class, and measures compare parts."""
    loaded = load_images(path, dataset.image_size, dataset.channels, num)
    if loaded.resized:
        raise DataError(
            f"{path}: {loaded.resized} of {len(loaded.pixels)} images have another size than "
            f"{dataset.name}'s {dataset.image_size[0]} x {dataset.image_size[1]} pixels"
        )
    order = torch.randperm(len(loaded.pixels), generator=make_rng(Stream.SOURCES, 0))
    return loaded.pixels[order][:, None]


def _find_archive(path: Path) -> Path | None:
    """The ``.npz`` of a path, or None for a folder of image files."""
    if (path / "samples.npz").is_file():
        return path / "samples.npz"
    return path if path.suffix == ".npz" else None


def _read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays, except those that the file lacks."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in names if name in file}
    except FileNotFoundError:
        raise DataError(f"{path}: cannot be read as an .npz file (it does not exist)") from None
    except Exception as error:  # a damaged archive can raise anything
        kind = type(error).__name__
        raise DataError(f"{path}: cannot be read as an .npz file of arrays ({kind})") from None
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise DataError(f"{path}: {name} is not an array")
    return found


def _channels_first(
    path: Path, key: str, arrays: dict[str, np.ndarray], dataset: ImageDataset
) -> UInt8[Tensor, "N K C H W"]:
    if key not in arrays:
        raise DataError(f"{path}: has no array named {key}")
    array = arrays[key]
    expected = (*dataset.image_size, dataset.channels)
    if array.dtype != np.uint8 or array.ndim not in (4, 5) or array.shape[-3:] != expected:
        raise DataError(
            f"{path}: {key} must be uint8 of shape (N, K, {', '.join(map(str, expected))}) or "
            f"without K, as {dataset.name} is, not {array.dtype} of shape {array.shape}"
        )
    if array.ndim == 4:
        array = array[:, None]
    if array.size == 0:
        raise DataError(f"{path}: {key} is empty, of shape {array.shape}")
    return torch.from_numpy(array).movedim(-1, -3).contiguous()
