"""Completions without a model: the baselines of every completion task.

The nearest training image is a strong baseline, but a deterministic one: it has no diversity, and
its agreement may exceed the ceiling. The mean is a blurred guess. The mismatched image ignores the
source and still often has a smaller distance than the mean; only its agreement shows that it is
wrong.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.task import EvaluationTask
from biglearn_gan.pixel_values import to_signed_float
from biglearn_gan.progress import ImageProgress

BATCH_ROWS = 2000
"""Training images that are compared with all sources in one step."""


def nearest_completion(
    task: EvaluationTask,
    train_data: ImageDataset,
    progress: ImageProgress = lambda done, total: None,
) -> UInt8[Tensor, "N C H W"]:
    """Fill the hole from the training image that is nearest in the known pixels."""
    nearest = nearest_images(task, train_data, progress)
    return _fill(task, train_data.images_uint8(nearest).cpu())


def mean_completion(task: EvaluationTask, train_data: ImageDataset) -> UInt8[Tensor, "N C H W"]:
    """Fill the hole from the mean training image."""
    mean = mean_image(train_data)
    return _fill(task, mean.expand_as(task.images))


def mismatched_completion(task: EvaluationTask) -> UInt8[Tensor, "N C H W"]:
    """Fill the hole from another source: the original of the next row."""
    return _fill(task, task.images.roll(-1, 0))


def nearest_images(
    task: EvaluationTask,
    train_data: ImageDataset,
    progress: ImageProgress = lambda done, total: None,
) -> Int64[Tensor, " N"]:
    """The index of each row's nearest training image, by squared distance in the known pixels.

    ``progress`` is called with (training images compared, all training images).
    """
    known = task.known[:, None].expand(task.images.shape).flatten(1).float()
    sources = to_signed_float(task.images).flatten(1) * known  # (N, D)
    smallest = torch.full((len(task),), torch.inf)
    nearest = torch.zeros(len(task), dtype=torch.int64)
    for indices in torch.arange(len(train_data)).split(BATCH_ROWS):
        images = to_signed_float(train_data.images_uint8(indices).cpu()).flatten(1)  # (M, D)
        distances = known @ images.square().T - 2 * sources @ images.T  # (N, M), up to ‖x_S‖²
        values, columns = distances.min(dim=1)
        nearest = torch.where(values < smallest, indices[columns], nearest)
        smallest = torch.minimum(smallest, values)
        progress(int(indices[-1]) + 1, len(train_data))
    return nearest


def mean_image(dataset: ImageDataset) -> UInt8[Tensor, "C H W"]:
    """The mean image of a data set, rounded to 8 bits."""
    total = torch.zeros(dataset.channels, *dataset.image_size, dtype=torch.float64)
    for indices in torch.arange(len(dataset)).split(BATCH_ROWS):
        total += dataset.images_uint8(indices).cpu().double().sum(dim=0)
    return (total / len(dataset)).round().to(torch.uint8)


def _fill(task: EvaluationTask, filling: UInt8[Tensor, "N C H W"]) -> UInt8[Tensor, "N C H W"]:
    return torch.where(task.hole[:, None], filling, task.images)
