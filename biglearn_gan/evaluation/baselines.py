"""References for completions that are no model: what stands beside every model's numbers.

The nearest image is strong, and no distribution: its agreement may pass the ceiling, and it has no
diversity, as the mean has none. Glued images ignore the source and still score better than the mean
in a distance: only agreement tells them from broken images.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_signed_float
from biglearn_gan.evaluation.task import EvaluationTask
from biglearn_gan.progress import ImageProgress

REFERENCE_ROWS = 2000
"""Training images compared with all sources at once, which bounds memory."""


def nearest_completion(
    question: EvaluationTask,
    train_data: ImageDataset,
    progress: ImageProgress = lambda done, total: None,
) -> UInt8[Tensor, "N C H W"]:
    """The hole filled from the training image that is nearest in the observed pixels."""
    nearest = nearest_images(question, train_data, progress)
    return _fill(question, train_data.images_uint8(nearest).cpu())


def mean_completion(question: EvaluationTask, train_data: ImageDataset) -> UInt8[Tensor, "N C H W"]:
    """The hole filled from the mean of the training images, rounded to 8 bits."""
    mean = mean_image(train_data)
    return _fill(question, mean.expand_as(question.images))


def mismatched_completion(question: EvaluationTask) -> UInt8[Tensor, "N C H W"]:
    """The hole filled from another source's original, the next row's."""
    return _fill(question, question.images.roll(-1, 0))


def nearest_images(
    question: EvaluationTask,
    train_data: ImageDataset,
    progress: ImageProgress = lambda done, total: None,
) -> Int64[Tensor, " N"]:
    """For each row, the training image with the least squared distance in the observed pixels.

    ``progress`` hears of (training images compared, all of them).
    """
    observed = question.observed[:, None].expand(question.images.shape).flatten(1).float()
    sources = to_signed_float(question.images).flatten(1) * observed  # (N, D)
    least = torch.full((len(question),), torch.inf)
    nearest = torch.zeros(len(question), dtype=torch.int64)
    for indices in torch.arange(len(train_data)).split(REFERENCE_ROWS):
        known = to_signed_float(train_data.images_uint8(indices).cpu()).flatten(1)  # (M, D)
        distances = observed @ known.square().T - 2 * sources @ known.T  # (N, M), up to ‖x_S‖²
        values, places = distances.min(dim=1)
        nearest = torch.where(values < least, indices[places], nearest)
        least = torch.minimum(least, values)
        progress(int(indices[-1]) + 1, len(train_data))
    return nearest


def mean_image(dataset: ImageDataset) -> UInt8[Tensor, "C H W"]:
    """The mean of a data set's images, rounded to 8 bits."""
    total = torch.zeros(dataset.channels, *dataset.image_size, dtype=torch.float64)
    for indices in torch.arange(len(dataset)).split(REFERENCE_ROWS):
        total += dataset.images_uint8(indices).cpu().double().sum(dim=0)
    return (total / len(dataset)).round().to(torch.uint8)


def _fill(question: EvaluationTask, filling: UInt8[Tensor, "N C H W"]) -> UInt8[Tensor, "N C H W"]:
    return torch.where(question.hole[:, None], filling, question.images)
