"""A budget in minutes becomes one in images, from the measured speed of both phases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from accelerate import Accelerator

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.training import throughput
from biglearn_gan.training.throughput import images_in_minutes


def test_minutes_become_images_by_the_speed_of_both_phases(
    tiny_config: Callable[..., Config],
    tiny_dataset: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter at 0.01 s per image and the rest at 0.03 s: 0.025 s, so 1,200 images in 30 s."""
    monkeypatch.setattr(
        throughput,
        "_seconds_per_image",
        lambda *arguments: 0.01 if arguments[-1] == 0 else 0.03,
    )
    config = tiny_config({"train.max_images": None, "train.max_minutes": 0.5})
    assert images_in_minutes(config, tiny_dataset, Accelerator(cpu=True)) == 1200
    monkeypatch.setattr(throughput, "_seconds_per_image", lambda *_: 0.03)
    without_warm_start = tiny_config(
        {"train.max_images": None, "train.max_minutes": 0.5, "train.warm_start.share": 0.0}
    )
    assert images_in_minutes(without_warm_start, tiny_dataset, Accelerator(cpu=True)) == 1000
