"""Evaluation tasks, the sources of samples, and random halves of holes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys import holes, random_images, toy_dataset

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.sample_reader import SavedSamples
from biglearn_gan.evaluation.task import (
    CompletionModel,
    ModelSamples,
    SampleSource,
    TwoStepSamples,
    draw_half_holes,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.pixel_values import to_signed_float
from biglearn_gan.tasks.holes import HoleError


@pytest.fixture
def dataset() -> ImageDataset:
    return toy_dataset()


# Tasks


def test_a_hole_is_hidden_and_the_rest_is_known(dataset: ImageDataset) -> None:
    images = dataset.images_uint8(torch.arange(5))
    task = make_task("right-half", images, dataset.labels[:5], patch_size=2, seed=0)
    assert len(task) == 5
    assert task.hole[:, :, 3:].all() and not task.hole[:, :, :3].any()
    assert not task.absent.any()
    assert torch.equal(task.known, ~task.hole)


@pytest.mark.parametrize("name", ["center", "random:0.5", "checkerboard"])
def test_a_marginal_has_no_known_pixels(name: str, dataset: ImageDataset) -> None:
    task = make_sourceless_task(f"marginal:{name}", 5, dataset, patch_size=2, seed=3)
    assert not task.known.any()
    assert not (task.hole & task.absent).any()
    same = make_task(name, task.images, None, patch_size=2, seed=3)
    assert torch.equal(task.hole, same.hole)
    assert task.images.shape == (5, 3, 4, 6) and not task.images.any()


def test_the_joint_task_generates_everything(dataset: ImageDataset) -> None:
    task = make_sourceless_task("joint", 5, dataset, patch_size=2, seed=0)
    assert task.hole.all() and not task.absent.any() and task.labels is None


def test_an_unknown_task_is_an_error(dataset: ImageDataset) -> None:
    for name in ("nonsense", "marginal:nonsense", "marginal:"):
        with pytest.raises(HoleError):
            make_sourceless_task(name, 1, dataset, patch_size=2, seed=0)


def test_rows_are_selected_from_every_field(dataset: ImageDataset) -> None:
    images = dataset.images_uint8(torch.arange(13))
    task = make_task("random:0.5", images, dataset.labels, patch_size=2, seed=0)
    part = task.select(slice(3, 7))
    assert len(part) == 4 and part.name == task.name
    for field in ("images", "labels", "hole", "absent"):
        assert torch.equal(getattr(part, field), getattr(task, field)[3:7])


# Samples


class Echo:
    """Fills image i, variation k, with a number made of seed, i and k; records its calls."""

    patch_size = 2

    def __init__(self) -> None:
        self.calls: list[dict[str, Tensor]] = []

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
        self.calls.append({"images": images, "hole": hole, "absent": absent})
        row = torch.arange(first_image, first_image + len(images))[:, None]
        filling = seed + 10 * row + torch.arange(variations)
        originals = images[:, None].repeat(1, variations, 1, 1, 1)
        filled = to_signed_float(filling.to(torch.uint8))[:, :, None, None, None]
        return torch.where(hole[:, None, None], filled, originals)


def test_samples_do_not_depend_on_how_they_are_read(dataset: ImageDataset) -> None:
    images = dataset.images_uint8(torch.arange(13))
    task = make_task("right-half", images, None, patch_size=2, seed=0)
    samples = ModelSamples(Echo(), task, seed=5)
    assert isinstance(samples, SampleSource) and isinstance(samples.model, CompletionModel)
    read = samples.read(0, 13, 3)
    assert read.shape == (13, 3, 3, 4, 6)
    parts = torch.cat([samples.read(0, 4, 3), samples.read(4, 13, 3)])
    assert torch.equal(parts, read)
    assert read[7, 2, 0, 0, 5] == 5 + 70 + 2
    assert torch.equal(read[..., :3], images[:, None, :, :, :3].expand(-1, 3, -1, -1, -1))


def test_the_second_step_knows_the_first_half(dataset: ImageDataset) -> None:
    model, images = Echo(), dataset.images_uint8(torch.arange(13))
    task = make_task("right-half", images, None, patch_size=2, seed=0)
    first = torch.zeros_like(task.hole)
    first[:, :2, 3:] = True
    samples = TwoStepSamples(model, task, first, seeds=(3, 100))
    read = samples.read(2, 6, 2)
    assert isinstance(samples, SampleSource)
    rest = task.hole & ~first
    half, *second = model.calls
    assert torch.equal(half["hole"], first[2:6])
    assert torch.equal(half["absent"], rest[2:6])
    assert len(second) == 2
    for variation, call in enumerate(second):
        assert torch.equal(call["hole"], rest[2:6])
        assert not call["absent"].any()
        assert (read[1, variation, :, :2, 3:] == 3 + 10 * 3 + variation).all()
        assert (read[1, variation, :, 2:, 3:] == 100 + variation + 10 * 3).all()
    assert torch.equal(read[:, 0, :, :, :3], images[2:6, :, :, :3])


def test_saved_samples_are_read_in_order() -> None:
    images = random_images(5, 4, 3, 4, 6)
    samples = SavedSamples(images)
    assert isinstance(samples, SampleSource)
    assert samples.variations == 4
    assert torch.equal(samples.read(1, 3, 2), images[1:3, :2])


# Halves of holes


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in range(count)]


def touched(hole: Tensor) -> Tensor:
    """Which of the 2 x 3 patches of 2 x 2 pixels a hole touches."""
    return hole.unfold(1, 2, 2).unfold(2, 2, 2).any(-1).any(-1)


def test_half_of_the_touched_patches_are_drawn_within_the_hole() -> None:
    hole = torch.cat([holes(11), torch.zeros(2, 4, 6, dtype=torch.bool)])
    hole[11, 0, 0] = True  # one patch; its rounded half is empty
    first = draw_half_holes(hole, 2, generators(13))
    assert not (first & ~hole).any()
    whole, half = touched(hole), touched(first)
    assert torch.equal(half.flatten(1).sum(1), whole.flatten(1).sum(1) // 2)
    blocks = half.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(first, hole & blocks)  # every patch is drawn as a whole or not at all


def test_rows_are_independent_and_patches_equally_likely() -> None:
    hole = torch.ones(300, 4, 6, dtype=torch.bool)
    first = draw_half_holes(hole, 2, generators(300))
    assert torch.equal(first, draw_half_holes(hole, 2, generators(300)))
    assert torch.equal(first[100:], draw_half_holes(hole[100:], 2, generators(200, seed=100)))
    shares = touched(first).double().mean(dim=0)
    # 300 draws have a standard error of 0.029.
    torch.testing.assert_close(shares, torch.full_like(shares, 0.5), rtol=0, atol=0.12)
