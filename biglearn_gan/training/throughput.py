"""How fast and how large a run is, measured by a few steps of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import check_missing_hole
from biglearn_gan.devices import make_accelerator
from biglearn_gan.training.initial_model import load_initial
from biglearn_gan.training.schedule import Schedule
from biglearn_gan.training.trainer import Trainer

LONG = 10**9
"""Images of a budget that no measurement of speed comes to the end of."""
CALIBRATION_SECONDS = 4.0
"""How long each phase is timed to turn a budget in minutes into one in images."""


def describe(config: Config, device: str = "auto") -> Iterator[str]:
    """Sizes of a run and, measured by a few steps on random images, its memory: a line each.

    No data are needed. What is wrong is told at once, before the first line is asked for.

    Raises:
        ConfigError: the device is not there, or ``train.initial_model`` has other networks.
        CheckpointError: ``train.initial_model`` cannot be had.
        HoleError: ``data.missing.hole`` is none.
    """
    check_missing_hole(config.data)
    load_initial(config)
    return _described(config, make_accelerator(device))


def _described(config: Config, accelerator: Accelerator) -> Iterator[str]:
    dataset = random_images(config, config.train.batch_size, accelerator.device)
    trainer = Trainer(config, dataset, accelerator, max_images=LONG)
    players = trainer.players
    generator, discriminator = (
        sum(p.numel() for p in network.parameters())
        for network in (players.generator, players.discriminator)
    )
    yield f"generator {generator:,} parameters, discriminator {discriminator:,} parameters"
    yield f"{config.token_count} tokens of {config.token_dim} values an image"
    trainer.images_seen = trainer.schedule.warm_images
    for _ in range(config.loss.penalty.interval):
        trainer.step()
    if accelerator.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(accelerator.device)
    else:
        memory = psutil.Process().memory_info().rss
    yield f"{memory / 2**20:.0f} MiB of memory after the first steps, data set not counted"


def random_images(config: Config, count: int, device: torch.device) -> ImageDataset:
    """Noise in the shape of the configured data, all of class 0 where it has labels."""
    shape = (count, config.data.channels, *config.data.image_size)
    rng = torch.Generator(device).manual_seed(0)
    noise = torch.randint(256, shape, generator=rng, dtype=torch.uint8, device=device)
    classes = config.data.num_classes
    labels = torch.zeros(count, dtype=torch.int64, device=device) if classes else None
    return ImageDataset("noise", noise, labels, classes)


def images_in_minutes(config: Config, dataset: ImageDataset, accelerator: Accelerator) -> int:
    """Turn ``train.max_minutes`` into images by timing every phase on a throw-away trainer.

    All processes get the main process's answer.
    """
    assert config.train.max_minutes is not None
    plan = Schedule(config, LONG)
    starts = 0, plan.warm_images
    shares = [(end - start) / LONG for start, end in pairwise((*starts, LONG))]
    cost = sum(
        share * _seconds_per_image(config, dataset, accelerator, start)
        for share, start in zip(shares, starts, strict=True)
        if share > 0
    )
    images = [max(1, int(60 * config.train.max_minutes / cost))]
    broadcast_object_list(images)
    return images[0]


def _seconds_per_image(
    config: Config, dataset: ImageDataset, accelerator: Accelerator, start: int
) -> float:
    trainer = Trainer(config, dataset, accelerator, max_images=LONG)
    trainer.images_seen = start
    cycle = config.loss.penalty.interval
    for _ in range(cycle):
        trainer.step()
    images, started = trainer.images_seen, time.perf_counter()
    while True:
        for _ in range(cycle):
            trainer.step()
        elapsed = [time.perf_counter() - started]
        broadcast_object_list(elapsed)
        if elapsed[0] >= CALIBRATION_SECONDS:
            return elapsed[0] / (trainer.images_seen - images)
