"""What training on incomplete images is compared with."""

from __future__ import annotations

from pathlib import Path

import torch
from incomplete_images import training_images, with_the_mean

from biglearn_gan.config import load_config
from biglearn_gan.data.dataset import ImageDataset

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_the_mean_is_that_of_the_observed_pixels() -> None:
    pixels = torch.tensor([[10, 200], [30, 100], [90, 60]], dtype=torch.uint8).view(3, 1, 1, 2)
    observed = torch.tensor([[True, False], [True, True], [False, True]]).view(3, 1, 2)
    filled = with_the_mean(ImageDataset("x:train", pixels, observed=observed))
    expected = [[10, 80], [30, 100], [20, 60]]
    assert filled.images_uint8(torch.arange(3)).view(3, 2).tolist() == expected
    assert filled.batch(torch.arange(3)).observed.all()


def test_fewer_complete_images_have_as_many_observed_pixels() -> None:
    config = load_config(
        EXPERIMENTS / "digits.yaml", ["data.missing={hole: 'random:0.25:2', seed: 0}"]
    )
    holes = training_images(config, "as it is")
    fewer = training_images(config, "fewer, complete")
    everything = torch.arange(len(holes))
    observed = int(holes.batch(everything).observed.sum())
    assert len(fewer) == 1050
    assert observed == len(fewer) * 64
    assert torch.equal(fewer.images_uint8(torch.arange(9)), holes.images_uint8(torch.arange(9)))
