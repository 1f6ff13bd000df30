"""What is measured: one task asked of many images, and where its answers come from.

A :class:`Question` holds originals and what is hidden of them; :class:`Answers` are generated
images for any of its rows, drawn by a model or read from a file made elsewhere. Everything is in
8 bits, as images are kept, so both are measured alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.data import ImageDataset
from biglearn_gan.holes import named_hole
from biglearn_gan.images import DataError, load_images, to_uint8, to_unit_range

MARGINAL = "marginal:"
"""Prefix of a task that gives nothing and asks for the tokens of a hole alone, all else absent."""

COMPLETION_TASKS = (
    "random:0.25",
    "random:0.5",
    "random:0.75",
    "center",
    "right-half",
    "strokes",
    "checkerboard",
)
"""The holes that completions are measured on by default."""

FIXED_HOLES = ("left-half", "right-half", "top-half", "bottom-half", "center", "border")
"""Holes that are the same whatever the seed and the patch, so that a file's can be checked."""


@dataclass(frozen=True)
class Question:
    """One task, asked of N images.

    Attributes:
        task: ``joint``, the name of a hole, or ``marginal:`` and the name of a hole.
        images: the originals; the joint task and marginals make no use of them.
        labels: true labels, or None.
        hole: True = generated.
        absent: True = neither given nor generated.
    """

    task: str
    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"] | None
    hole: Bool[Tensor, "N H W"]
    absent: Bool[Tensor, "N H W"]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def observed(self) -> Bool[Tensor, "N H W"]:
        """True = given."""
        return ~(self.hole | self.absent)

    def rows(self, start: int, stop: int) -> Question:
        """The same task for some of the images."""
        labels = None if self.labels is None else self.labels[start:stop]
        part = slice(start, stop)
        return Question(self.task, self.images[part], labels, self.hole[part], self.absent[part])


def ask(
    task: str,
    images: UInt8[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"] | None,
    patch_size: int,
    seed: int,
) -> Question:
    """Put a named task to images; random holes are drawn by (seed, row), on blocks of the patch.

    Raises:
        HoleError: an unknown name.
    """
    count, _, height, width = images.shape
    name = task.removeprefix(MARGINAL)
    hole = named_hole(name, (height, width), patch_size, count, seed)
    absent = ~hole if task.startswith(MARGINAL) else torch.zeros_like(hole)
    return Question(task, images, labels, hole, absent)


def ask_from_nothing(
    task: str, count: int, dataset: ImageDataset, patch_size: int, seed: int
) -> Question:
    """The joint task or a marginal, ``count`` times, for images like those of a data set.

    Raises:
        HoleError: an unknown name.
    """
    black = torch.zeros(count, dataset.channels, *dataset.image_size, dtype=torch.uint8)
    return ask(task, black, None, patch_size, seed)


@runtime_checkable
class Sampler(Protocol):
    """A model that completes images; ``BigLearnGAN`` is one."""

    def complete(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        *,
        absent: Bool[Tensor, "N H W"] | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Float[Tensor, "N K C H W"]: ...


@runtime_checkable
class Answers(Protocol):
    """Generated images for the rows of one question."""

    @property
    def variations(self) -> int | None:
        """How many there are for each row; None if as many as one asks for."""

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        """The first ``variations`` answers for the rows from ``start`` to before ``stop``."""


@dataclass(frozen=True)
class Drawn:
    """Answers drawn by a model; answer k of row i depends on (seed, i, k) alone."""

    model: Sampler
    question: Question
    seed: int

    @property
    def variations(self) -> None:
        return None

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        asked = self.question.rows(start, stop)
        drawn = self.model.complete(
            to_unit_range(asked.images),
            asked.hole,
            absent=asked.absent,
            variations=variations,
            seed=self.seed,
            first_image=start,
        )
        return to_uint8(drawn)


@dataclass(frozen=True)
class DrawnInTwoSteps:
    """Answers drawn half by half: a random half of the hole's blocks, then the rest given it.

    Where a model agrees with itself they are distributed as those drawn at once. Both steps have
    seeds of their own, so that their noise is unrelated.
    """

    model: Sampler
    question: Question
    first_half: Bool[Tensor, "N H W"]
    seeds: tuple[int, int]

    @property
    def variations(self) -> None:
        return None

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        asked, first = self.question.rows(start, stop), self.first_half[start:stop]
        rest = asked.hole & ~first
        images = to_unit_range(asked.images)
        half = self.model.complete(
            images,
            first,
            absent=asked.absent | rest,
            variations=variations,
            seed=self.seeds[0],
            first_image=start,
        )
        whole = [
            self.model.complete(
                half[:, variation],
                rest,
                absent=asked.absent,
                seed=self.seeds[1] + variation,
                first_image=start,
            )
            for variation in range(variations)
        ]
        return to_uint8(torch.cat(whole, dim=1))


@dataclass(frozen=True)
class Given:
    """Answers that were made elsewhere."""

    images: UInt8[Tensor, "N K C H W"]

    @property
    def variations(self) -> int:
        return self.images.shape[1]

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        return self.images[start:stop, :variations]


def load_given(path: Path, dataset: ImageDataset, task: str | None) -> tuple[Question, Given]:
    """Images made elsewhere, with the question that they answer.

    Args:
        path: a folder of image files (joint samples), or an ``.npz`` with the keys that
            ``biglearn-gan sample`` writes: ``images`` (N, K, H, W, C) or (N, H, W, C), uint8; for
            completions also ``masks`` (N, H, W), True = generated, and ``sources`` (N, H, W, C).
            Of a folder that ``sample`` wrote, its ``samples.npz`` is read.
        dataset: its images tell the size, and the labels of the sources that are among them.
        task: what to call the completions in the results; by default ``samples``.

    Raises:
        DataError: nothing usable is there, or images of another size.
    """
    if (path / "samples.npz").is_file():
        path = path / "samples.npz"
    if path.suffix != ".npz":
        if task not in (None, "joint"):
            raise DataError(f"{path}: a folder holds images from nothing, not completions ({task})")
        limit = 10**9
        images, resized = load_images(path, dataset.image_size, dataset.channels, limit)
        if resized:
            raise DataError(
                f"{path}: {resized} of {len(images)} images have another size than "
                f"{dataset.name}'s {dataset.image_size[0]} x {dataset.image_size[1]} pixels"
            )
        return _joint(len(images), dataset), Given(images[:, None])
    arrays = _read_arrays(path)
    images = _channels_first(path, "images", arrays, dataset)
    hole = arrays.get("masks")
    shape = (len(images), *dataset.image_size)
    if hole is not None and (hole.dtype != bool or hole.shape != shape):
        raise DataError(
            f"{path}: masks must be bool of shape {shape}, not {hole.dtype} of shape {hole.shape}"
        )
    if hole is None or hole.all():
        return _joint(len(images), dataset), Given(images)
    empty = np.flatnonzero(~hole.any(axis=(1, 2)))
    if len(empty):
        raise DataError(f"{path}: row {empty[0]} of masks has no hole")
    if "sources" not in arrays:
        raise DataError(f"{path}: completions need the key sources, and it holds {list(arrays)}")
    sources = _channels_first(path, "sources", arrays, dataset)[:, 0]
    if len(sources) != len(images):
        raise DataError(f"{path}: {len(images)} rows of images and {len(sources)} of sources")
    holes = torch.from_numpy(hole)
    if task in FIXED_HOLES:
        expected = named_hole(task, dataset.image_size, 1, len(holes), 0)
        if not torch.equal(holes, expected):
            raise DataError(f"{path}: its masks are not the hole {task}")
    labels = labels_of(sources, dataset)
    absent = torch.zeros_like(holes)
    return Question(task or "samples", sources, labels, holes, absent), Given(images)


def labels_of(
    images: UInt8[Tensor, "N C H W"], dataset: ImageDataset
) -> Int64[Tensor, " N"] | None:
    """The labels of images that are in a data set pixel by pixel; None if one of them is not."""
    if dataset.labels is None:
        return None
    places = places_in(images, dataset)
    return None if bool((places < 0).any()) else dataset.labels.cpu()[places]


def places_in(images: UInt8[Tensor, "N C H W"], dataset: ImageDataset) -> Int64[Tensor, " N"]:
    """Where in a data set each image is, pixel by pixel; -1 where it is not."""
    known: dict[bytes, int] = {}
    for indices in torch.arange(len(dataset)).split(1000):
        pixels = dataset.images_uint8(indices).cpu()
        known |= {p.numpy().tobytes(): i for p, i in zip(pixels, indices.tolist(), strict=True)}
    return torch.tensor([known.get(image.numpy().tobytes(), -1) for image in images.contiguous()])


def halves(
    hole: Bool[Tensor, "N H W"], patch_size: int, generators: Sequence[torch.Generator]
) -> Bool[Tensor, "N H W"]:
    """A random half of the patches that each hole touches (rounded down), within the hole."""
    first = torch.zeros_like(hole)
    rows, columns = hole.shape[1] // patch_size, hole.shape[2] // patch_size
    cells = hole.view(-1, rows, patch_size, columns, patch_size).any(4).any(2).flatten(1)
    for row, (touched, generator) in enumerate(zip(cells, generators, strict=True)):
        places = touched.nonzero()[:, 0]
        order = torch.randperm(len(places), generator=generator)
        chosen = torch.zeros(rows * columns, dtype=torch.bool)
        chosen[places[order[: len(places) // 2]]] = True
        grid = chosen.view(rows, columns)
        first[row] = grid.repeat_interleave(patch_size, 0).repeat_interleave(patch_size, 1)
    return first & hole


def _joint(count: int, dataset: ImageDataset) -> Question:
    return ask_from_nothing("joint", count, dataset, patch_size=1, seed=0)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ("images", "sources", "masks") if name in file}
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
