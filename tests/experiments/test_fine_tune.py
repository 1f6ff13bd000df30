"""Curves begin with the model that a run starts from, and end with its budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fine_tune
import pytest
import torch
from toys import random_images

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


class FirstWeight:
    """Measures the first weight of the generator."""

    def measure(self, model: BigLearnGAN) -> dict[str, float]:
        return {"weight": float(next(model.generator.parameters()).detach().flatten()[0])}


def test_a_curve_begins_with_the_trained_model(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    trained = BigLearnGAN(tiny_config())
    trained.save_pretrained(tmp_path)
    config = tiny_config({"train.initial_model": str(tmp_path), "train.warm_start.share": 0.0})
    images = ImageDataset("toy:train", random_images(13, 1, 8, 8))
    evaluation: Any = FirstWeight()
    curve = list(fine_tune.learning_curve(config, images, evaluation, 3))
    assert [point["images"] for point in curve] == [0, 16, 32, 48]
    weights = [point["weight"] for point in curve]
    assert weights[0] == evaluation.measure(trained)["weight"]
    assert len(set(weights)) == 4
    assert curve[0]["seconds"] <= curve[1]["seconds"] <= curve[3]["seconds"]


def test_some_images_are_equally_many_of_each_class() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    dataset = ImageDataset("toy:train", random_images(7, 1, 4, 4), labels, 2)
    part = fine_tune.some_images(dataset, 4)
    assert part.labels is not None
    assert sorted(part.labels.tolist()) == [0, 0, 1, 1]
    pixels = part.images_uint8(torch.arange(4)).flatten(1).tolist()
    everything = dataset.images_uint8(torch.arange(7)).flatten(1).tolist()
    truth = {tuple(image): int(label) for image, label in zip(everything, labels, strict=True)}
    assert [truth[tuple(image)] for image in pixels] == part.labels.tolist()


@pytest.mark.parametrize("counts", [[10, 5], [14]])
def test_counts_that_the_classes_cannot_share_are_refused(counts: list[int]) -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0, 0, 0, 0, 1, 1, UNKNOWN_LABEL])
    images = ImageDataset("toy:train", random_images(14, 1, 4, 4), labels, 2)
    fine_tune.check_counts(images, [12, 2])
    message = "--counts must be multiples of the 2 classes up to 12, not"
    with pytest.raises(CommandError, match=message):
        fine_tune.check_counts(images, counts)
    unlabeled = ImageDataset("toy:train", random_images(14, 1, 4, 4))
    with pytest.raises(CommandError, match="has no labels; put the images into class folders"):
        fine_tune.check_counts(unlabeled, [2])


def test_the_table_has_the_last_point_of_each_curve() -> None:
    def point(seconds: float) -> dict[str, float]:
        numbers = {"evaluation/completion_distance": 2.5, "evaluation/agreement": 0.75}
        return numbers | {"seconds": seconds, "images": 100}

    text = fine_tune.table({"5000": {"nothing": [point(0.0), point(12.4)]}})
    assert text.splitlines()[-1] == "| 5,000, nothing | 2.50 | 0.750 | 12 |"
