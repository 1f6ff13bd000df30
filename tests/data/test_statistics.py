"""Statistics of images and labels, against values computed in another way."""

from __future__ import annotations

import math

import pytest
import torch

from biglearn_gan.data import statistics
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.statistics import channel_statistics, label_entropy


def test_mean_deviation_and_error_of_the_mean_image_of_each_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "BATCH_IMAGES", 4)
    pixels = torch.randn(11, 3, 2, 5) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    found = channel_statistics(ImageDataset("toy:train", pixels))
    torch.testing.assert_close(found.mean, pixels.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(found.deviation, pixels.std(dim=(0, 2, 3), correction=0))
    error = (pixels - pixels.mean(dim=0)).square().mean(dim=(0, 2, 3))
    torch.testing.assert_close(found.mean_image_error, error)


def test_pixels_that_were_not_observed_do_not_count() -> None:
    pixels = torch.tensor([1.0, 3.0, 99.0, 5.0]).view(2, 1, 1, 2)
    observed = torch.tensor([[[True, True]], [[False, True]]])
    found = channel_statistics(ImageDataset("toy:train", pixels, observed=observed))
    assert found.mean.tolist() == [3.0]
    assert found.deviation.tolist() == [pytest.approx(math.sqrt(8 / 3))]
    assert found.mean_image_error.tolist() == [pytest.approx(2 / 3)]  # from means 1 and 4


def test_many_images_are_represented_by_some_that_are_spread_evenly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "MAX_IMAGES", 3)
    pixels = torch.arange(9.0).view(9, 1, 1, 1)
    assert channel_statistics(ImageDataset("toy:train", pixels)).mean.tolist() == [3.0]  # 0, 3, 6


def test_the_entropy_of_the_labels() -> None:
    pixels = torch.zeros(4, 1, 1, 1)
    labels = torch.tensor([0, 2, 0, 2])
    assert label_entropy(ImageDataset("toy:train", pixels)) is None
    assert label_entropy(ImageDataset("toy:train", pixels, labels, 3)) == pytest.approx(math.log(2))
