"""What studies of labels share: images for labels, visible parts, and predicted labels."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.inference.batched import draw_samples
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.pixel_values import to_signed_float
from biglearn_gan.tasks.holes import named_hole

BATCH_ROWS = 500


def images_for_labels(model: BigLearnGAN, count: int, seed: int, best_of: int = 1) -> ImageDataset:
    """Images from nothing but a label, equally many of each class.

    Args:
        model: a model with labels.
        count: number of images.
        seed: of the samples.
        best_of: candidates for each image, of which the critic chooses.
    """
    data = model.config.data
    assert data.num_classes is not None
    labels = torch.arange(count) % data.num_classes
    empty = torch.zeros(count, data.channels, *data.image_size, dtype=torch.uint8)
    hole = torch.ones(count, *data.image_size, dtype=torch.bool)
    options = SamplingOptions(labels=labels, seed=seed)
    samples = draw_samples(model, empty, hole, options, batch_size=BATCH_ROWS, best_of=best_of)
    return ImageDataset("generated", samples.images[:, 0], labels, data.num_classes)


def fewest_labels(images: ImageDataset) -> int:
    """The number of images of the smallest class."""
    assert images.labels is not None and images.num_classes is not None
    labels = images.labels[images.labeled]
    return int(torch.bincount(labels, minlength=images.num_classes).min())


def visible_part(
    images: ImageDataset, hidden: str, patch_size: int, seed: int = 0
) -> Bool[Tensor, "N H W"]:
    """True where an image is visible; ``hidden`` is the name of a hole, or ``nothing``."""
    count, size = len(images), images.image_size
    if hidden == "nothing":
        return torch.ones(count, *size, dtype=torch.bool)
    return ~named_hole(hidden, size, patch_size, count, seed)


def predicted_labels(
    model: BigLearnGAN, images: ImageDataset, hidden: str = "nothing"
) -> Int64[Tensor, " N"]:
    """The most likely class of each image, given what is visible."""
    observed = visible_part(images, hidden, model.patch_size)
    parts = torch.arange(len(images)).split(BATCH_ROWS)
    probabilities = [
        model.classify(to_signed_float(images.images_uint8(part)), observed=observed[part])
        for part in parts
    ]
    return torch.cat(probabilities).argmax(dim=1)


def accuracy_of_model(model: BigLearnGAN, images: ImageDataset, hidden: str = "nothing") -> float:
    """The share of labeled images whose label the model predicts from what is visible."""
    known = images.subset(images.labeled)
    assert known.labels is not None
    right = predicted_labels(model, known, hidden) == known.labels
    return float(right.double().mean())
