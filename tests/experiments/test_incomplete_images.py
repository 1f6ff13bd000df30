"""The training images of each method of the study on incomplete images."""

from __future__ import annotations

from pathlib import Path

import torch
from incomplete_images import AS_IS, FEWER, fill_with_mean, training_images

from biglearn_gan.config import load_config
from biglearn_gan.data.dataset import ImageDataset

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_missing_pixels_get_the_mean_of_the_observed_ones() -> None:
    pixels = torch.tensor([[10, 200], [30, 100], [90, 60]], dtype=torch.uint8).view(3, 1, 1, 2)
    observed = torch.tensor([[True, False], [True, True], [False, True]]).view(3, 1, 2)
    filled = fill_with_mean(ImageDataset("x:train", pixels, observed=observed))
    expected = [[10, 80], [30, 100], [20, 60]]
    assert filled.images_uint8(torch.arange(3)).view(3, 2).tolist() == expected
    assert filled.batch(torch.arange(3)).observed.all()


def test_fewer_complete_images_have_as_many_observed_pixels() -> None:
    config = load_config(
        EXPERIMENTS / "digits.yaml", ["data.missing={hole: 'random:0.25:2', seed: 0}"]
    )
    holes = training_images(config, AS_IS)
    fewer = training_images(config, FEWER)
    everything = torch.arange(len(holes))
    observed = int(holes.batch(everything).observed.sum())
    assert len(fewer) == 1050
    assert observed == len(fewer) * 64
    assert torch.equal(fewer.images_uint8(torch.arange(9)), holes.images_uint8(torch.arange(9)))
