"""Evaluation tasks, settings, and the generated images that are evaluated.

An :class:`EvaluationTask` holds images and holes. A :class:`SampleSource` gives generated images
for its rows: a model draws them, or a file holds them. All images are in 8 bits, so both are
measured alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.records import HISTOGRAM_DRAWS
from biglearn_gan.models.input_checks import range_is_known
from biglearn_gan.pixel_values import to_signed_float, to_uint8
from biglearn_gan.progress import TaskProgress
from biglearn_gan.tasks.holes import named_hole
from biglearn_gan.tasks.patches import pixels_of_tokens, tokens_touched

MARGINAL = "marginal:"
"""Prefix of a task that generates the tokens of a hole, with all other tokens absent."""


class ProtocolError(UsageError):
    """The protocol cannot measure this."""


class TooFewImagesError(ProtocolError):
    """There are fewer images than features have dimensions."""


@dataclass(frozen=True)
class EvaluationTask:
    """One task on N images.

    Attributes:
        name: ``joint``, the name of a hole, or ``marginal:`` and the name of a hole.
        images: the original images; the joint task and marginals do not use them.
        labels: true labels or ``UNKNOWN_LABEL``, or None.
        hole: True = generated.
        absent: True = neither known nor generated.
    """

    name: str
    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"] | None
    hole: Bool[Tensor, "N H W"]
    absent: Bool[Tensor, "N H W"]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def known(self) -> Bool[Tensor, "N H W"]:
        """Pixels that the model is given."""
        return ~(self.hole | self.absent)

    def select(self, rows: slice | Int64[Tensor, " M"]) -> EvaluationTask:
        """The same task on some of the images."""
        labels = None if self.labels is None else self.labels[rows]
        return EvaluationTask(
            self.name, self.images[rows], labels, self.hole[rows], self.absent[rows]
        )


def make_task(
    name: str,
    images: UInt8[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"] | None,
    patch_size: int,
    seed: int,
) -> EvaluationTask:
    """The named task on images.

    Random holes depend on the seed and the row. They consist of whole patches.

    Raises:
        HoleError: the hole has an unknown name.
    """
    count, _, height, width = images.shape
    hole = named_hole(name.removeprefix(MARGINAL), (height, width), patch_size, count, seed)
    absent = ~hole if name.startswith(MARGINAL) else torch.zeros_like(hole)
    return EvaluationTask(name, images, labels, hole, absent)


def make_sourceless_task(
    name: str, count: int, dataset: ImageDataset, patch_size: int, seed: int
) -> EvaluationTask:
    """The joint task or a marginal on ``count`` black images of a data set's size.

    Raises:
        HoleError: the hole has an unknown name.
    """
    black = torch.zeros(count, dataset.channels, *dataset.image_size, dtype=torch.uint8)
    return make_task(name, black, None, patch_size, seed)


@dataclass(frozen=True)
class EvaluationSettings:
    """How an evaluation runs, whatever it measures.

    Attributes:
        seed: of everything that is drawn, at least 0.
        cache: folder for the statistics of the reference, or None.
        allow_few: measure distances of fewer images than dimensions; such records have ``few``.
        progress: called with (task, images done, images in all) after every batch.
        label_draws: completions of a source for the label total variation; below 2 leaves it out.
    """

    seed: int = 0
    cache: Path | None = None
    allow_few: bool = False
    progress: TaskProgress = lambda task, done, total: None
    label_draws: int = HISTOGRAM_DRAWS


DEFAULT_SETTINGS = EvaluationSettings()


@runtime_checkable
class CompletionModel(Protocol):
    """A model that completes images; ``BigLearnGAN`` is one."""

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels; random holes consist of whole patches."""

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
    """Generated images for the rows of one task."""

    @property
    def variations(self) -> int | None:
        """Images for each row, or None if there are as many as you ask for."""

    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        """The first ``variations`` images for each of the rows ``start`` to ``stop - 1``."""


@dataclass(frozen=True)
class ModelSamples:
    """Images that a model draws; variation k of row i depends on (seed, i, k) only."""

    model: CompletionModel
    task: EvaluationTask
    seed: int

    @property
    def variations(self) -> None:
        return None

    @range_is_known()
    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        part = self.task.select(slice(start, stop))
        images = self.model.complete(
            to_signed_float(part.images).cpu(),
            part.hole,
            absent=part.absent,
            variations=variations,
            seed=self.seed,
            first_image=start,
        )
        return to_uint8(images)


@dataclass(frozen=True)
class TwoStepSamples:
    """Images that a model draws in two steps: half of each hole, then the rest given that half.

    If the model is consistent, they are distributed like those drawn in one step. Each step has its
    own seed, so that the noise of one is unrelated to that of the other.
    """

    model: CompletionModel
    task: EvaluationTask
    first_half: Bool[Tensor, "N H W"]
    seeds: tuple[int, int]

    @property
    def variations(self) -> None:
        return None

    @range_is_known()
    def read(self, start: int, stop: int, variations: int) -> UInt8[Tensor, "N K C H W"]:
        part, first = self.task.select(slice(start, stop)), self.first_half[start:stop]
        rest = part.hole & ~first
        half_complete = self.model.complete(
            to_signed_float(part.images).cpu(),
            first,
            absent=part.absent | rest,
            variations=variations,
            seed=self.seeds[0],
            first_image=start,
        )
        complete = [
            self.model.complete(
                half_complete[:, variation],
                rest,
                absent=part.absent,
                seed=self.seeds[1] + variation,
                first_image=start,
            )
            for variation in range(variations)
        ]
        return to_uint8(torch.cat(complete, dim=1))


def draw_half_holes(
    hole: Bool[Tensor, "N H W"], patch_size: int, rngs: Sequence[torch.Generator]
) -> Bool[Tensor, "N H W"]:
    """A random half (rounded down) of the patches that each hole touches, within the hole."""
    grid_size = (hole.shape[1] // patch_size, hole.shape[2] // patch_size)
    touched_tokens = tokens_touched(hole, patch_size)
    half = torch.zeros_like(touched_tokens)
    for row, (touched, rng) in enumerate(zip(touched_tokens, rngs, strict=True)):
        tokens = touched.nonzero()[:, 0]
        order = torch.randperm(len(tokens), generator=rng)
        half[row, tokens[order[: len(tokens) // 2]]] = True
    return pixels_of_tokens(half, grid_size, patch_size) & hole
