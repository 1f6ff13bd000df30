"""Statistics of a data set: what standardizes its images, and the errors of guessing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset

MAX_IMAGES = 4096
"""Images that the statistics are computed from, at most; they are spread evenly."""

BATCH_IMAGES = 512


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of the observed pixels of each channel.

    Attributes:
        mean: mean over pixels and images.
        deviation: standard deviation over pixels and images.
        mean_image_error: mean squared error of the mean image.
    """

    mean: Float[Tensor, " C"]
    deviation: Float[Tensor, " C"]
    mean_image_error: Float[Tensor, " C"]


def channel_statistics(dataset: ImageDataset) -> ChannelStatistics:
    """The statistics of up to ``MAX_IMAGES`` images, in float32 on the CPU; draws nothing."""
    images = min(len(dataset), MAX_IMAGES)
    indices = torch.arange(images) * len(dataset) // images
    shape = (dataset.channels, *dataset.image_size)
    count, total, squares = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    for part in indices.split(BATCH_IMAGES):
        batch = dataset.batch(part)
        observed = batch.observed.cpu()[:, None]  # (B, 1, H, W)
        values = torch.where(observed, batch.images.cpu(), 0.0).double()
        count += observed.sum(dim=0)
        total += values.sum(dim=0)
        squares += values.square().sum(dim=0)
    observations = count.sum(dim=(1, 2))
    mean = total.sum(dim=(1, 2)) / observations
    variance = squares.sum(dim=(1, 2)) / observations - mean.square()
    error_sums = squares - total.square() / count.clamp_min(1)
    error = error_sums.sum(dim=(1, 2)) / observations
    return ChannelStatistics(
        mean.float(), variance.clamp_min(0).sqrt().float(), error.clamp_min(0).float()
    )


def label_entropy(dataset: ImageDataset) -> float | None:
    """The entropy of the known labels in nats, the loss of guessing; None without labels."""
    if dataset.labels is None or dataset.num_classes is None:
        return None
    known = dataset.labels.cpu()[dataset.labeled]
    counts = torch.bincount(known, minlength=dataset.num_classes)
    return float(torch.special.entr(counts / counts.sum()).sum())
