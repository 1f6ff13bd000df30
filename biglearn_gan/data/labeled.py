"""Labels for some images only: which ones keep theirs."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


def known_labels(dataset: ImageDataset, config: DataConfig) -> ImageDataset:
    """The training images with the labels that a run knows; all of them unless it says otherwise.

    Raises:
        DataError: ``unlabeled`` names no image of the data set, no image has a label, or the
            classes have too few images for ``labeled_images``.
    """
    count = len(dataset.labeled)
    if config.unlabeled is not None and count == len(dataset):
        raise DataError(
            f"data.unlabeled is {config.unlabeled}, but every image of {dataset.name} is in a "
            "class folder: name the folder of the images without labels, which is next to the "
            "class folders, or remove the key"
        )
    if config.unlabeled is not None and count == 0:
        raise DataError(f"no image of {dataset.name} has a label: add images to the class folders")
    if config.labeled_images is not None:
        return hide_labels(dataset, config.labeled_images, config.labeled_seed)
    return dataset


def hide_labels(dataset: ImageDataset, count: int, seed: int) -> ImageDataset:
    """The same images, of which ``count`` keep their labels; the others get ``UNKNOWN_LABEL``.

    Args:
        dataset: images with labels, at least some.
        count: number of labels to keep, equally many of each class.
        seed: of the choice.

    Raises:
        DataError: the classes do not divide ``count``, or one has too few images.
    """
    assert dataset.labels is not None and dataset.num_classes is not None
    each, rest = divmod(count, dataset.num_classes)
    if rest or each == 0:
        raise DataError(
            f"data.labeled_images must be a multiple of the {dataset.num_classes} classes of "
            f"{dataset.name}, not {count}"
        )
    labels = dataset.labels.cpu()
    kept = torch.full_like(labels, UNKNOWN_LABEL)
    for label in range(dataset.num_classes):
        chosen = _choose((labels == label).nonzero()[:, 0], each, seed)
        if len(chosen) < each:
            raise DataError(
                f"data.labeled_images: {count} needs {each:,} images of each class, but "
                f"{dataset.name} has {len(chosen):,} of class {label}: "
                f"{_advice(labels, dataset.num_classes)}"
            )
        kept[chosen] = label
    return dataset.with_labels(kept.to(dataset.labels.device))


def _advice(labels: Int64[Tensor, " N"], num_classes: int) -> str:
    fewest = int(torch.bincount(labels[labels >= 0], minlength=num_classes).min())
    if fewest == 0:
        return "add images of this class, which may all be held out for testing or validation"
    return f"choose at most {fewest * num_classes:,}"


def _choose(members: Int64[Tensor, " n"], count: int, seed: int) -> Int64[Tensor, " k"]:
    """At most ``count`` of the members, at random.

    NumPy never changes the stream of ``RandomState`` (NEP 19), so all versions choose the same.
    """
    order = np.random.RandomState(seed).permutation(len(members))
    return members[torch.from_numpy(order[:count])]
