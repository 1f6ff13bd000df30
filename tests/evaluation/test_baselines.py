"""Baselines: every completion computed by hand, and the nearest image by brute force."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation import baselines
from biglearn_gan.evaluation.baselines import (
    mean_completion,
    mean_image,
    mismatched_completion,
    nearest_completion,
    nearest_images,
)
from biglearn_gan.evaluation.task import EvaluationTask


def random_images(count: int, seed: int, channels: int = 3) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, 2, 5), generator=rng, dtype=torch.uint8)


def random_task(count: int = 11, channels: int = 3) -> EvaluationTask:
    rng = torch.Generator().manual_seed(1)
    hole = torch.rand(count, 2, 5, generator=rng) < 0.5
    hole[:, 0, 0] = True
    return EvaluationTask(
        "holes", random_images(count, 2, channels), None, hole, torch.zeros_like(hole)
    )


@pytest.mark.parametrize("rows", [1, 7, 2000])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_nearest_image_is_that_of_brute_force(
    channels: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "BATCH_ROWS", rows)
    task, pixels = random_task(channels=channels), random_images(37, 3, channels)
    found = nearest_images(task, ImageDataset("known:train", pixels))
    for image, hole, index in zip(task.images, task.hole, found.tolist(), strict=True):
        squares = (image.int() - pixels.int()).square() * ~hole
        distances = squares.sum(dim=(1, 2, 3))
        assert distances[index] == distances.min()


def test_hidden_pixels_do_not_matter() -> None:
    task, known = random_task(), ImageDataset("known:train", random_images(37, 3))
    other = torch.where(task.hole[:, None], 255 - task.images, task.images)
    changed = EvaluationTask(task.name, other, None, task.hole, task.absent)
    assert torch.equal(nearest_images(task, known), nearest_images(changed, known))
    assert torch.equal(nearest_completion(task, known), nearest_completion(changed, known))


def test_absent_pixels_do_not_matter() -> None:
    image = torch.tensor([[[[10, 20, 30]]]], dtype=torch.uint8)
    hole, absent = torch.tensor([[[True, False, False]]]), torch.tensor([[[False, True, False]]])
    known = torch.tensor([[[[10, 20, 90]]], [[[0, 200, 31]]]], dtype=torch.uint8)
    task = EvaluationTask("part", image, None, hole, absent)
    assert nearest_images(task, ImageDataset("known:train", known)).tolist() == [1]


def test_a_source_in_the_training_data_completes_to_itself() -> None:
    task = random_task()
    known = torch.cat([random_images(5, 4), task.images])
    completed = nearest_completion(task, ImageDataset("known:train", known))
    assert torch.equal(completed, task.images)


def test_completions_computed_by_hand() -> None:
    images = torch.tensor([[[[10, 20, 30]]], [[[40, 50, 60]]], [[[70, 80, 90]]]], dtype=torch.uint8)
    hole = torch.tensor([[[True, False, False]], [[False, True, False]], [[False, True, True]]])
    task = EvaluationTask("hand", images, None, hole, torch.zeros_like(hole))
    known = torch.tensor([[[[1, 22, 33]]], [[[4, 55, 66]]]], dtype=torch.uint8)
    dataset = ImageDataset("known:train", known)
    # Squared distances in the known pixels: (13, 2521), (1521 + 729, 1296 + 36), (4761, 4356).
    assert nearest_images(task, dataset).tolist() == [0, 1, 1]
    assert nearest_completion(task, dataset)[:, 0, 0].tolist() == [
        [1, 20, 30],
        [40, 55, 60],
        [70, 55, 66],
    ]
    # Means 2.5, 38.5, 49.5; halves are rounded to even.
    assert mean_image(dataset)[0, 0].tolist() == [2, 38, 50]
    assert mean_completion(task, dataset)[:, 0, 0].tolist() == [
        [2, 20, 30],
        [40, 38, 60],
        [70, 38, 50],
    ]
    assert mismatched_completion(task)[:, 0, 0].tolist() == [
        [40, 20, 30],
        [40, 80, 60],
        [70, 20, 30],
    ]


@pytest.mark.parametrize("rows", [1, 7, 2000])
def test_the_mean_does_not_depend_on_the_batch_size(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "BATCH_ROWS", rows)
    pixels = random_images(37, 3)
    expected = pixels.double().mean(dim=0).round().to(torch.uint8)
    assert torch.equal(mean_image(ImageDataset("known:train", pixels)), expected)


def test_known_pixels_stay() -> None:
    task, known = random_task(), ImageDataset("known:train", random_images(37, 3))
    known_pixels = ~task.hole[:, None].expand(task.images.shape)
    for filled in (
        nearest_completion(task, known),
        mean_completion(task, known),
        mismatched_completion(task),
    ):
        assert torch.equal(filled[known_pixels], task.images[known_pixels])
        assert not torch.equal(filled, task.images)
