"""A budget in minutes becomes one in images, from the measured speed of both phases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from accelerate import Accelerator

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.training import throughput
from biglearn_gan.training.throughput import images_in_minutes
from biglearn_gan.training.trainer import Trainer


def test_the_time_of_steps_is_divided_by_their_images(
    tiny_config: Callable[..., Config], tiny_dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock shows the time that the steps on images from 100 on took: 0.25 s per image."""
    config = tiny_config()
    trained: list[int] = []

    def step(trainer: Trainer) -> None:
        trainer.images_seen += config.train.batch_size
        trained.append(trainer.images_seen)

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: 0.25 * trained[-1])
    seconds = throughput._seconds_per_image(config, tiny_dataset, Accelerator(cpu=True), start=100)
    assert seconds == 0.25
    assert trained[0] == 100 + config.train.batch_size
    timed = len(trained) - config.loss.penalty.interval
    assert timed * config.train.batch_size * 0.25 >= throughput.TIMED_SECONDS


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
