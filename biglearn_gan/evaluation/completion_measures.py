"""Read the completions of a task once, and measure everything that needs their pixels."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.evaluation.task import EvaluationTask, SampleSource
from biglearn_gan.metrics.completion_metrics import changed_fraction, diversity
from biglearn_gan.metrics.image_similarity import psnr, ssim
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.metrics.seams import border_steps
from biglearn_gan.progress import TaskProgress

BATCH_ROWS = 250

FIRST_ONLY = ("psnr", "ssim")
"""Measures of the first completion of each source; all others are of every completion."""


@dataclass(frozen=True)
class MeasuredCompletions:
    """What is read off N sources with K completions each.

    Attributes:
        variations: K.
        features: of the first completion.
        labels: predicted ones, or None.
        pixels: one number per source for each measure of pixels.
        steps: at the borders of patches and elsewhere, for the seams; None without a patch size.
        seconds: time of sampling.
    """

    variations: int
    features: Float[Tensor, "N D"]
    labels: Int64[Tensor, "N K"] | None
    pixels: dict[str, Float[Tensor, " N"]]
    steps: Float[Tensor, "N 4"] | None
    seconds: float


def measure_completions(
    task: EvaluationTask,
    samples: SampleSource,
    variations: int,
    metric_models: MetricModels,
    patch_size: int | None,
    progress: TaskProgress,
) -> MeasuredCompletions:
    """Read ``variations`` completions of each source, in batches to bound memory."""
    rows, variations = len(task), min(variations, samples.variations or variations)
    features, labels, steps, seconds = [], [], [], 0.0
    pixels: defaultdict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, rows, BATCH_ROWS):
        part = task.select(slice(start, start + BATCH_ROWS))
        started = time.perf_counter()
        images = samples.read(start, start + BATCH_ROWS, variations)
        seconds += time.perf_counter() - started
        features.append(metric_models.features(images[:, 0]))
        if metric_models.classifier is not None and task.labels is not None:
            predicted = metric_models.classifier.predict(images.flatten(0, 1))
            labels.append(predicted.view(-1, variations))
        if patch_size is not None:
            steps.append(border_steps(images, part.hole, part.known, patch_size))
        for measure, values in measure_pixels(images, part).items():
            pixels[measure].append(values)
        progress(task.name, start + len(part), rows)
    return MeasuredCompletions(
        variations,
        torch.cat(features),
        torch.cat(labels) if labels else None,
        {measure: torch.cat(values) for measure, values in pixels.items()},
        torch.cat(steps) if steps else None,
        seconds,
    )


def measure_pixels(
    images: UInt8[Tensor, "N K C H W"], task: EvaluationTask
) -> dict[str, Float[Tensor, " N"]]:
    """Diversity, changed known pixels, PSNR and SSIM of each source.

    ``psnr-best`` and ``ssim-best`` are those of the completion with the highest PSNR of its source.
    Measures of several completions are absent if there is one, and SSIM if the images are small.
    """
    several = images.shape[1] > 1
    result = {}
    if several:
        result["diversity"] = diversity(images, task.hole)
    result["changed"] = changed_fraction(images, task.images, task.known)
    ratios = psnr(images, task.images, task.hole)
    chosen = {"": torch.zeros(len(images), dtype=torch.int64)}
    if several:
        chosen["-best"] = ratios.argmax(dim=1)
    for suffix, column in chosen.items():
        result[f"psnr{suffix}"] = ratios.gather(1, column[:, None])[:, 0]
        similarity = ssim(images[torch.arange(len(images)), column], task.images)
        if similarity is not None:
            result[f"ssim{suffix}"] = similarity
    return result
