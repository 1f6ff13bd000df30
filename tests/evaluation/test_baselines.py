"""References that are no model: each fill by hand, and the nearest image by brute force."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation import baselines as pasted
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


def question(count: int = 11, channels: int = 3) -> EvaluationTask:
    rng = torch.Generator().manual_seed(1)
    hole = torch.rand(count, 2, 5, generator=rng) < 0.5
    hole[:, 0, 0] = True
    return EvaluationTask(
        "holes", random_images(count, 2, channels), None, hole, torch.zeros_like(hole)
    )


@pytest.mark.parametrize("rows", [1, 7, 2000])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_nearest_is_that_of_brute_force(
    channels: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pasted, "REFERENCE_ROWS", rows)
    asked, pixels = question(channels=channels), random_images(37, 3, channels)
    found = nearest_images(asked, ImageDataset("known:train", pixels))
    for image, hole, index in zip(asked.images, asked.hole, found.tolist(), strict=True):
        seen = (image.int() - pixels.int()).square() * ~hole
        distances = seen.sum(dim=(1, 2, 3))
        assert distances[index] == distances.min()


def test_what_is_hidden_has_no_say() -> None:
    asked, known = question(), ImageDataset("known:train", random_images(37, 3))
    other = torch.where(asked.hole[:, None], 255 - asked.images, asked.images)
    changed = EvaluationTask(asked.task, other, None, asked.hole, asked.absent)
    assert torch.equal(nearest_images(asked, known), nearest_images(changed, known))
    assert torch.equal(nearest_completion(asked, known), nearest_completion(changed, known))


def test_absent_pixels_have_no_say_either() -> None:
    image = torch.tensor([[[[10, 20, 30]]]], dtype=torch.uint8)
    hole, absent = torch.tensor([[[True, False, False]]]), torch.tensor([[[False, True, False]]])
    known = torch.tensor([[[[10, 20, 90]]], [[[0, 200, 31]]]], dtype=torch.uint8)
    asked = EvaluationTask("part", image, None, hole, absent)
    assert nearest_images(asked, ImageDataset("known:train", known)).tolist() == [1]


def test_the_source_itself_completes_to_itself() -> None:
    asked = question()
    known = torch.cat([random_images(5, 4), asked.images])
    completed = nearest_completion(asked, ImageDataset("known:train", known))
    assert torch.equal(completed, asked.images)


def test_every_fill_by_hand() -> None:
    images = torch.tensor([[[[10, 20, 30]]], [[[40, 50, 60]]], [[[70, 80, 90]]]], dtype=torch.uint8)
    hole = torch.tensor([[[True, False, False]], [[False, True, False]], [[False, True, True]]])
    asked = EvaluationTask("hand", images, None, hole, torch.zeros_like(hole))
    known = torch.tensor([[[[1, 22, 33]]], [[[4, 55, 66]]]], dtype=torch.uint8)
    dataset = ImageDataset("known:train", known)
    # Squared distances in what is seen: (13, 2521), (1521 + 729, 1296 + 36), (4761, 4356).
    assert nearest_images(asked, dataset).tolist() == [0, 1, 1]
    assert nearest_completion(asked, dataset)[:, 0, 0].tolist() == [
        [1, 20, 30],
        [40, 55, 60],
        [70, 55, 66],
    ]
    # Means 2.5, 38.5, 49.5; halves are rounded to even.
    assert mean_image(dataset)[0, 0].tolist() == [2, 38, 50]
    assert mean_completion(asked, dataset)[:, 0, 0].tolist() == [
        [2, 20, 30],
        [40, 38, 60],
        [70, 38, 50],
    ]
    assert mismatched_completion(asked)[:, 0, 0].tolist() == [
        [40, 20, 30],
        [40, 80, 60],
        [70, 20, 30],
    ]


@pytest.mark.parametrize("rows", [1, 7, 2000])
def test_the_mean_does_not_depend_on_chunks(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pasted, "REFERENCE_ROWS", rows)
    pixels = random_images(37, 3)
    expected = pixels.double().mean(dim=0).round().to(torch.uint8)
    assert torch.equal(mean_image(ImageDataset("known:train", pixels)), expected)


def test_observed_pixels_stay() -> None:
    asked, known = question(), ImageDataset("known:train", random_images(37, 3))
    kept = ~asked.hole[:, None].expand(asked.images.shape)
    for filled in (
        nearest_completion(asked, known),
        mean_completion(asked, known),
        mismatched_completion(asked),
    ):
        assert torch.equal(filled[kept], asked.images[kept])
        assert not torch.equal(filled, asked.images)
