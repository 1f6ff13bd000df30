"""Images made elsewhere, read from files, with the question that they answer."""

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
from biglearn_gan.data.image_files import DataError, load_images
from biglearn_gan.data.loading import NATIVE_SIZES
from biglearn_gan.evaluation.task import EvaluationTask, ProtocolError, make_sourceless_task
from biglearn_gan.tasks.holes import named_hole

FIXED_HOLES = ("left-half", "right-half", "top-half", "bottom-half", "center", "border")
"""Holes that are the same whatever the seed and the patch."""

SHARE_TOLERANCE = 0.05
"""How far the share that a row hides may be from what the name of a random hole says."""


def load_saved_samples(
    path: Path, dataset: ImageDataset, task: str | None, num: int | None = None
) -> tuple[EvaluationTask, SavedSamples]:
    """Images made elsewhere, with the question that they answer.

    Args:
        path: a folder of image files (joint samples), or an ``.npz`` with the keys that
            ``biglearn-gan sample`` writes: ``images`` (N, K, H, W, C) or (N, H, W, C), uint8; for
            completions also ``masks`` (N, H, W), True = generated, and ``sources`` (N, H, W, C).
            Of a folder that ``sample`` wrote, its ``samples.npz`` is read.
        dataset: its images tell the size, and the labels of the sources that are among them.
        task: what to call the completions in the results; by default ``samples``. Where it is the
            name of a hole, the masks must be such holes: random ones by the share of each row, to
            within 5% of the pixels, and by their blocks; ``inside:SIZE`` with one such square in
            each row, ``outside:SIZE`` with one left.
        num: how many to take: images from nothing, or rows of completions; None for all.

    Returns:
        The question, and its answers: from nothing one for each row, whatever K.

    Raises:
        DataError: nothing usable is there, images of another size, or other holes than ``task``.
        HoleError: ``task`` is a hole that images of this size cannot have.
    """
    archive = _archive(path)
    if archive is None:
        if task not in (None, "joint"):
            raise DataError(f"{path}: a folder holds images from nothing, not completions ({task})")
        images, resized = load_images(path, dataset.image_size, dataset.channels, num)
        if resized:
            raise DataError(
                f"{path}: {resized} of {len(images)} images have another size than "
                f"{dataset.name}'s {dataset.image_size[0]} x {dataset.image_size[1]} pixels"
            )
        return joint_samples(images[:, None], dataset)
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
        _refuse_other_holes(archive, task, holes)
    labels = labels_of(sources, dataset)
    question = EvaluationTask(task or "samples", sources, labels, holes, torch.zeros_like(holes))
    return question, SavedSamples(images[:num])


def data_named_in(path: Path) -> str | None:
    """The data set that images made elsewhere say they imitate, as ``sample`` writes it.

    None where nothing says so: a folder of image files, or an ``.npz`` without the key ``data``.

    Raises:
        DataError: the file cannot be read, or says it otherwise than as a string.
    """
    archive = _archive(path)
    name = None if archive is None else _read_arrays(archive, ("data",)).get("data")
    if name is None:
        return None
    if name.ndim or name.dtype.kind != "U":
        raise DataError(f"{archive}: data must be a string, not {name.dtype} of shape {name.shape}")
    return str(name)


def labels_of(
    images: UInt8[Tensor, "N C H W"], dataset: ImageDataset
) -> Int64[Tensor, " N"] | None:
    """The labels of images that are in a data set pixel by pixel; None if one of them is not."""
    if dataset.labels is None:
        return None
    places = find_images(images, dataset)
    return None if bool((places < 0).any()) else dataset.labels.cpu()[places]


def _refuse_other_holes(path: Path, task: str, holes: Bool[Tensor, "N H W"]) -> None:
    """Raise DataError where the name of a hole promises others than these."""
    size = (holes.shape[1], holes.shape[2])
    blocks = _blocks_of(holes)
    if task in FIXED_HOLES or task == "checkerboard":
        named = [named_hole(task, size, block, len(holes), 0) for block in blocks]
        if not any(torch.equal(holes, hole) for hole in named):
            raise DataError(f"{path}: its masks are not the hole {task}")
    if task.startswith(("inside:", "outside:")):
        inside = task.startswith("inside:")
        example = named_hole(task, size, 1, 1, 0)
        side = math.isqrt(int((example if inside else ~example).sum()))
        if not _are_squares(holes if inside else ~holes, side):
            raise DataError(
                f"{path}: its masks do not {'hide' if inside else 'leave'} one square of {side} x "
                f"{side} pixels in each row, as {task} does"
            )
    if task != "strokes" and not task.startswith("random:"):
        return
    promised = _share_of(named_hole(task, size, 1, 1, 0))
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
            f"image, and {task} hides {promised:.0%}"
        )


def _share_of(hole: Bool[Tensor, "N H W"]) -> float:
    return float(hole.double().mean())


def _are_squares(pixels: Bool[Tensor, "N H W"], side: int) -> bool:
    """Whether each row is one square of so many pixels on a side, and nothing else."""
    for crossed in (1, 2):
        line = pixels.any(dim=crossed).int()  # (N, W), then (N, H)
        extent = line.shape[1] - line.argmax(dim=1) - line.flip(1).argmax(dim=1)
        if bool((extent != side).any()):
            return False
    return bool((pixels.sum(dim=(1, 2)) == side**2).all())


def _blocks_of(holes: Bool[Tensor, "N H W"]) -> list[int]:
    """The sizes, in pixels, of square blocks that all holes take whole or not at all."""
    _, height, width = holes.shape
    sizes = []
    for size in range(1, math.gcd(height, width) + 1):
        if height % size == 0 and width % size == 0:
            blocks = holes.view(-1, height // size, size, width // size, size)
            if torch.equal(blocks.any(4).any(2), blocks.all(4).all(2)):
                sizes.append(size)
    return sizes


def _archive(path: Path) -> Path | None:
    """The ``.npz`` that is meant, None where it is a folder of image files."""
    if (path / "samples.npz").is_file():
        return path / "samples.npz"
    return path if path.suffix == ".npz" else None


def _read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that are there."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in names if name in file}
    except FileNotFoundError:
        raise DataError(f"{path}: cannot be read as an .npz file (there is none)") from None
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


@dataclass(frozen=True)
class SavedSamples:
    """Answers that were made elsewhere."""

    images: UInt8[Tensor, "N K C H W"]

    @property
    def variations(self) -> int:
        return self.images.shape[1]

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        return self.images[start:stop, :variations]


def joint_samples(
    images: UInt8[Tensor, "N K C H W"], dataset: ImageDataset, num: int | None = None
) -> tuple[EvaluationTask, SavedSamples]:
    """The first ``num`` (None: all) images of the joint task, each the answer of a row of its own.

    What was drawn from nothing shares no source with its neighbors, whatever K.
    """
    flat = images.flatten(0, 1)[:num]
    question = make_sourceless_task("joint", len(flat), dataset, patch_size=1, seed=0)
    return question, SavedSamples(flat[:, None])


def find_images(images: UInt8[Tensor, "N C H W"], dataset: ImageDataset) -> Int64[Tensor, " N"]:
    """Where in a data set each image is, pixel by pixel; -1 where it is not."""
    known: dict[bytes, int] = {}
    for indices in torch.arange(len(dataset)).split(1000):
        pixels = dataset.images_uint8(indices).cpu()
        known |= {p.numpy().tobytes(): i for p, i in zip(pixels, indices.tolist(), strict=True)}
    return torch.tensor([known.get(image.numpy().tobytes(), -1) for image in images.contiguous()])


def data_of_samples(samples: Path, name: str | None) -> DataConfig:
    """The data set that images made elsewhere imitate: as it is named, or as their file says.

    Raises:
        ProtocolError: neither names one, or not one whose images all have one size.
        ConfigError, DataError: a file cannot be read.
    """
    said = name or data_named_in(samples)
    if name is None and said not in NATIVE_SIZES:
        why = "says" if said is None else f"says {said!r} and"
        raise ProtocolError(
            f"--samples needs --data, the data set that they imitate (a name, or a YAML file as in "
            f"experiments/): {samples} {why} none of {', '.join(NATIVE_SIZES)}"
        )
    assert said is not None
    return data_named(said)


def data_named(name: str) -> DataConfig:
    """A data set in its own size, or that of a YAML file.

    Raises:
        ProtocolError: the name is neither.
        ConfigError: the file is no configuration.
    """
    if name.endswith((".yaml", ".yml")):
        return load_config(name).data
    if name not in NATIVE_SIZES:
        raise ProtocolError(
            f"--data: {name!r} is none of {', '.join(NATIVE_SIZES)}, nor a YAML file as in "
            "experiments/"
        )
    image_size, channels = NATIVE_SIZES[name]
    return DataConfig.model_validate({"name": name, "image_size": image_size, "channels": channels})
