"""What is measured: one task asked of many images, and where its answers come from.

A :class:`EvaluationTask` holds originals and what is hidden of them; :class:`SampleSource` are generated
images for any of its rows, drawn by a model or read from a file made elsewhere. Everything is in
8 bits, as images are kept, so both are measured alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_signed_float, to_uint8
from biglearn_gan.errors import UsageError
from biglearn_gan.tasks.holes import named_hole
from biglearn_gan.tasks.patches import pixels_of_tokens, tokens_touched

MARGINAL = "marginal:"
"""Prefix of a task that gives nothing and asks for the tokens of a hole alone, all else absent."""


@dataclass(frozen=True)
class EvaluationTask:
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

    def rows(self, start: int, stop: int) -> EvaluationTask:
        """The same task for some of the images."""
        labels = None if self.labels is None else self.labels[start:stop]
        part = slice(start, stop)
        return EvaluationTask(
            self.task, self.images[part], labels, self.hole[part], self.absent[part]
        )


def make_task(
    task: str,
    images: UInt8[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"] | None,
    patch_size: int,
    seed: int,
) -> EvaluationTask:
    """Put a named task to images; random holes are drawn by (seed, row), on blocks of the patch.

    Raises:
        HoleError: an unknown name.
    """
    count, _, height, width = images.shape
    name = task.removeprefix(MARGINAL)
    hole = named_hole(name, (height, width), patch_size, count, seed)
    absent = ~hole if task.startswith(MARGINAL) else torch.zeros_like(hole)
    return EvaluationTask(task, images, labels, hole, absent)


def make_sourceless_task(
    task: str, count: int, dataset: ImageDataset, patch_size: int, seed: int
) -> EvaluationTask:
    """The joint task or a marginal, ``count`` times, for images like those of a data set.

    Raises:
        HoleError: an unknown name.
    """
    black = torch.zeros(count, dataset.channels, *dataset.image_size, dtype=torch.uint8)
    return make_task(task, black, None, patch_size, seed)


@runtime_checkable
class CompletionModel(Protocol):
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
class SampleSource(Protocol):
    """Generated images for the rows of one question."""

    @property
    def variations(self) -> int | None:
        """How many there are for each row; None if as many as one asks for."""

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        """The first ``variations`` answers for the rows from ``start`` to before ``stop``."""


@dataclass(frozen=True)
class ModelSamples:
    """Answers drawn by a model; answer k of row i depends on (seed, i, k) alone."""

    model: CompletionModel
    question: EvaluationTask
    seed: int

    @property
    def variations(self) -> None:
        return None

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        asked = self.question.rows(start, stop)
        drawn = self.model.complete(
            to_signed_float(asked.images),
            asked.hole,
            absent=asked.absent,
            variations=variations,
            seed=self.seed,
            first_image=start,
        )
        return to_uint8(drawn)


@dataclass(frozen=True)
class TwoStepSamples:
    """Answers drawn half by half: a random half of the hole's blocks, then the rest given it.

    Where a model agrees with itself they are distributed as those drawn at once. Both steps have
    seeds of their own, so that their noise is unrelated.
    """

    model: CompletionModel
    question: EvaluationTask
    first_half: Bool[Tensor, "N H W"]
    seeds: tuple[int, int]

    @property
    def variations(self) -> None:
        return None

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        asked, first = self.question.rows(start, stop), self.first_half[start:stop]
        rest = asked.hole & ~first
        images = to_signed_float(asked.images)
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


def halves(
    hole: Bool[Tensor, "N H W"], patch_size: int, rngs: Sequence[torch.Generator]
) -> Bool[Tensor, "N H W"]:
    """A random half of the patches that each hole touches (rounded down), within the hole."""
    grid_size = (hole.shape[1] // patch_size, hole.shape[2] // patch_size)
    cells = tokens_touched(hole, patch_size)
    first = torch.zeros_like(cells)
    for row, (touched, rng) in enumerate(zip(cells, rngs, strict=True)):
        places = touched.nonzero()[:, 0]
        order = torch.randperm(len(places), generator=rng)
        first[row, places[order[: len(places) // 2]]] = True
    return pixels_of_tokens(first, grid_size, patch_size) & hole


class ProtocolError(UsageError):
    """Something is asked that the protocol cannot measure, in one sentence."""
