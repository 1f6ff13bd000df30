"""Accuracies are shares of test images, of what is not hidden."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pseudo_labels
import pytest
import torch
from label_tools import accuracy_of_model
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


@pytest.mark.parametrize(("hole", "share"), [("nothing", 5 / 6), ("random:0.5", 3 / 6)])
def test_an_accuracy_is_the_share_of_right_predictions(hole: str, share: float) -> None:
    """The model reads a dark or a bright image, but says 0 unless it sees all of it."""

    def classify(images: Tensor, observed: Tensor) -> Tensor:
        bright = (images.mean((1, 2, 3)) > 0) & observed.all(dim=(1, 2))
        return torch.stack([~bright, bright], dim=1).float()

    model: Any = SimpleNamespace(patch_size=2, classify=classify)
    pixels = torch.tensor([0, 250, 250, 250, 0, 250, 0], dtype=torch.uint8)
    images = pixels[:, None, None, None].expand(-1, 1, 4, 4)
    labels = torch.tensor([0, 1, 1, 1, 0, 0, UNKNOWN_LABEL])
    dataset = ImageDataset("toy:test", images, labels, 2)
    assert accuracy_of_model(model, dataset, hole) == pytest.approx(share)


def test_means_and_deviations_are_in_percent() -> None:
    assert pseudo_labels.percent([0.5]) == "50.0"
    assert pseudo_labels.percent([0.5, 0.6]) == "55.0 ± 7.1"
