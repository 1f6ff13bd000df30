"""Labels for some images only: as many of each class, by the seed."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.data.labeled import hide_labels
from biglearn_gan.data.statistics import label_entropy
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


def dataset(classes: int = 3, each: int = 20) -> ImageDataset:
    labels = torch.arange(classes * each) % classes
    pixels = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    return ImageDataset("toy:train", pixels, labels, classes)


def test_each_class_keeps_as_many_labels() -> None:
    whole = dataset()
    hidden = hide_labels(whole, 12, seed=0)
    assert whole.labels is not None and hidden.labels is not None
    known = hidden.labels != UNKNOWN_LABEL
    assert torch.equal(hidden.labels[known], whole.labels[known])
    assert torch.bincount(hidden.labels[known]).tolist() == [4, 4, 4]
    assert torch.equal(hidden.labeled, known.nonzero()[:, 0])
    assert torch.equal(whole.labeled, torch.arange(60))
    assert hidden.num_classes == 3


def test_the_seed_chooses() -> None:
    def chosen(seed: int) -> list[int]:
        labels = hide_labels(dataset(), 12, seed).labels
        assert labels is not None
        return (labels != UNKNOWN_LABEL).nonzero()[:, 0].tolist()

    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)


def test_labels_of_all_images_are_all_of_them() -> None:
    whole = dataset()
    every = hide_labels(whole, len(whole), seed=5).labels
    assert every is not None and whole.labels is not None
    assert torch.equal(every, whole.labels)


def test_a_class_without_images_needs_some() -> None:
    whole = dataset()
    empty = ImageDataset("toy:train", torch.zeros(60, 1, 2, 2).byte(), whole.labels, 4)
    with pytest.raises(DataError, match=r"has 0 of class 3: add images of this class"):
        hide_labels(empty, 4, seed=0)


def test_guessing_counts_known_labels_only() -> None:
    hidden = hide_labels(dataset(), 3, seed=0)
    assert label_entropy(hidden) == pytest.approx(torch.tensor(3.0).log().item())


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (10, "data.labeled_images must be a multiple of the 3 classes of toy:train, not 10"),
        (
            63,
            "data.labeled_images: 63 needs 21 images of each class, but toy:train has 20 ",
        ),
    ],
)
def test_a_number_that_cannot_be_shared_is_refused(count: int, message: str) -> None:
    with pytest.raises(DataError) as caught:
        hide_labels(dataset(), count, seed=0)
    assert str(caught.value).startswith(message)
