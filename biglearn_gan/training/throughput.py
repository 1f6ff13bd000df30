"""Size, memory and speed of a run, measured by a few of its steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import check_missing_hole
from biglearn_gan.devices import make_accelerator
from biglearn_gan.models.feature_networks import load_feature_network
from biglearn_gan.training.initial_model import load_initial_model
from biglearn_gan.training.schedule import TrainingSchedule
from biglearn_gan.training.trainer import Trainer

ENDLESS = 10**9
"""Images of a budget that no measurement uses up."""
TIMED_SECONDS = 4.0
"""How long each phase is timed, at least."""


def describe(config: Config, device: str = "auto") -> Iterator[str]:
    """Lines on the size of the networks, the tokens and the memory, measured on random images.

    No data are needed. Errors are raised by the call, before the first line is asked for.

    Raises:
        DeviceError: this machine has no such device.
        ConfigError: ``train.initial_model`` has other networks.
        CheckpointError: ``train.initial_model`` cannot be found or read.
        FeatureNetworkError: the network of ``loss.perceptual`` cannot be loaded.
        HoleError: ``data.missing.hole`` is not a hole.
    """
    check_missing_hole(config.data)
    if config.loss.perceptual is not None:
        load_feature_network(config.loss.perceptual.network, config.loss.perceptual.layers)
    load_initial_model(config)
    return _descriptions(config, make_accelerator(device))


def _descriptions(config: Config, accelerator: Accelerator) -> Iterator[str]:
    dataset = random_images(config, config.train.batch_size, accelerator.device)
    trainer = Trainer(config, dataset, accelerator, max_images=ENDLESS)
    networks = trainer.adversarial.networks()
    del networks["average"]
    yield ", ".join(
        f"{name.replace('_', ' ')} {sum(p.numel() for p in network.parameters()):,} parameters"
        for name, network in networks.items()
    )
    yield f"{config.token_count} tokens of {config.token_dim} values per image"
    trainer.images_seen = trainer.schedule.warm_start_images
    with closing(trainer):
        for _ in range(config.loss.penalty.interval):
            trainer.step()
    if accelerator.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(accelerator.device)
    else:
        memory = psutil.Process().memory_info().rss
    yield f"{memory / 2**20:.0f} MiB of memory after the first steps, without the data set"


def random_images(config: Config, count: int, device: torch.device) -> ImageDataset:
    """Noise in the shape of the configured data; with labels, all images are of class 0."""
    shape = (count, config.data.channels, *config.data.image_size)
    rng = torch.Generator(device).manual_seed(0)
    noise = torch.randint(256, shape, generator=rng, dtype=torch.uint8, device=device)
    classes = config.data.num_classes
    labels = torch.zeros(count, dtype=torch.int64, device=device) if classes else None
    return ImageDataset("noise", noise, labels, classes)


def images_in_minutes(config: Config, dataset: ImageDataset, accelerator: Accelerator) -> int:
    """The images that ``train.max_minutes`` allow, from timing both phases on spare trainers.

    All processes get the result of the main process.
    """
    assert config.train.max_minutes is not None
    warm_start_images = TrainingSchedule(config, ENDLESS).warm_start_images
    phases = {0: warm_start_images, warm_start_images: ENDLESS - warm_start_images}
    seconds = sum(
        images / ENDLESS * _seconds_per_image(config, dataset, accelerator, start)
        for start, images in phases.items()
        if images > 0
    )
    budget = [max(1, int(60 * config.train.max_minutes / seconds))]
    broadcast_object_list(budget)
    return budget[0]


def _seconds_per_image(
    config: Config, dataset: ImageDataset, accelerator: Accelerator, start: int
) -> float:
    """Seconds per image of steps from ``start`` on, after a first cycle of penalties."""
    trainer = Trainer(config, dataset, accelerator, max_images=ENDLESS)
    trainer.images_seen = start
    cycle = config.loss.penalty.interval
    with closing(trainer):
        for _ in range(cycle):
            trainer.step()
        images, started = trainer.images_seen, time.perf_counter()
        while True:
            for _ in range(cycle):
                trainer.step()
            elapsed = [time.perf_counter() - started]
            broadcast_object_list(elapsed)
            if elapsed[0] >= TIMED_SECONDS:
                return elapsed[0] / (trainer.images_seen - images)
