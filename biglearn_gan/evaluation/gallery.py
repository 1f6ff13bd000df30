"""The best, median and worst completions of a task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from biglearn_gan.evaluation.task import EvaluationTask, SampleSource

GALLERY_ROWS = 4
"""Rows of a gallery that show the best completions; as many show the median and the worst."""

GALLERY_VARIATIONS = 6


@dataclass(frozen=True)
class CompletionGallery:
    """Sources and completions, sorted by the distance in features between original and completion.

    Attributes:
        task: the sources.
        completions: K for each source; the first of them is the one that was sorted by.
    """

    task: EvaluationTask
    completions: UInt8[Tensor, "N K C H W"]


def make_gallery(
    task: EvaluationTask,
    samples: SampleSource,
    features: Float[Tensor, "N D"],
    originals: Float[Tensor, "N D"],
) -> CompletionGallery:
    """The gallery of a task, by the features of the first completions and of the originals."""
    order = (features - originals).square().sum(dim=1).argsort(stable=True)
    middle = max(0, len(order) // 2 - GALLERY_ROWS // 2)
    central = order[middle : middle + GALLERY_ROWS]
    rows = torch.cat([order[:GALLERY_ROWS], central, order[-GALLERY_ROWS:]])
    count = min(GALLERY_VARIATIONS, samples.variations or GALLERY_VARIATIONS)
    completions = torch.cat([samples.read(row, row + 1, count) for row in rows.tolist()])
    return CompletionGallery(task.select(rows), completions)
