"""Stand-ins for models of digits, each with a known fault, and their evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.config import DataConfig
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.evaluator import Report
from biglearn_gan.evaluation.protocol import evaluate
from biglearn_gan.evaluation.records import Record
from biglearn_gan.evaluation.task import EvaluationSettings
from biglearn_gan.metrics.metric_models import MetricModels

DIGITS = DataConfig(name="digits", image_size=(8, 8), channels=1)
TRAIN, TEST = (load_dataset(DIGITS, split) for split in ("train", "test"))


def always_predict(model: BigLearnGAN, label: int) -> None:
    """Make a model with labels predict one of them for every image."""
    head = model.generator.label_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-100.0)
        head.bias[label] = 0.0


def draw_training_images(count: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return TRAIN.batch(torch.randint(len(TRAIN), (count,), generator=rng)).images


class Perfect:
    """Returns the originals; without a source, training images."""

    patch_size = 2

    def complete(
        self,
        images: Tensor,
        hole: Tensor,
        *,
        absent: Tensor | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Tensor:
        unknown = hole if absent is None else hole | absent
        if unknown.all():
            images = draw_training_images(len(images), seed + first_image)
        return self.fill(images, hole, variations, seed + first_image)

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        return images[:, None].repeat(1, variations, 1, 1, 1)


class Noise(Perfect):
    """Fills every hole with uniform noise that depends on the seed."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        originals = super().fill(images, hole, variations, seed)
        rng = torch.Generator().manual_seed(seed)
        noise = 2 * torch.rand(originals.shape, generator=rng) - 1
        return torch.where(hole[:, None, None], noise, originals)


class Shuffled(Perfect):
    """Returns the originals in the wrong rows."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        return super().fill(images.roll(1, 0), hole, variations, seed)


class Mismatched(Perfect):
    """Fills the hole from another source."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        filled = torch.where(hole[:, None], images.roll(1, 0), images)
        return super().fill(filled, hole, variations, seed)


class Constant(Perfect):
    """Fills every hole from the same training image."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        image = TRAIN.batch(torch.tensor([0])).images
        return super().fill(torch.where(hole[:, None], image, images), hole, variations, seed)


def measure(model: Any, metric_models: MetricModels, **options: Any) -> Report:
    """Evaluate on 130 images with three completions each, unless the options say otherwise."""
    options = {"num": 130, "variations": 3, "tasks": ["random:0.5"]} | options
    train, test = options.pop("train", TRAIN), options.pop("test", TEST)
    names = ("seed", "cache", "allow_few", "progress", "label_draws")
    settings = {name: options.pop(name) for name in names if name in options}
    return evaluate(
        model, metric_models, train, test, settings=EvaluationSettings(**settings), **options
    )


def by_metric(model: Any, metric_models: MetricModels, **options: Any) -> dict[str, Record]:
    """The records by name; see :func:`measure`."""
    records = measure(model, metric_models, **options).records
    names = [record.metric for record in records]
    assert len(set(names)) == len(names)
    return {record.metric: record for record in records}
