"""Questions, where their answers come from, and the halves of a hole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys import holes, random_images, toy_dataset

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_signed_float
from biglearn_gan.evaluation.saved_samples import SavedSamples
from biglearn_gan.evaluation.task import (
    CompletionModel,
    ModelSamples,
    SampleSource,
    TwoStepSamples,
    halves,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.tasks.holes import HoleError


@pytest.fixture
def dataset() -> ImageDataset:
    return toy_dataset()


# What is asked


def test_a_hole_is_hidden_and_everything_else_observed(dataset: ImageDataset) -> None:
    images = dataset.images_uint8(torch.arange(5))
    question = make_task("right-half", images, dataset.labels[:5], patch_size=2, seed=0)
    assert len(question) == 5
    assert question.hole[:, :, 3:].all() and not question.hole[:, :, :3].any()
    assert not question.absent.any()
    assert torch.equal(question.observed, ~question.hole)


@pytest.mark.parametrize("name", ["center", "random:0.5", "checkerboard"])
def test_of_a_marginal_nothing_is_observed(name: str, dataset: ImageDataset) -> None:
    question = make_sourceless_task(f"marginal:{name}", 5, dataset, patch_size=2, seed=3)
    assert not question.observed.any()
    assert not (question.hole & question.absent).any()
    same = make_task(name, question.images, None, patch_size=2, seed=3)
    assert torch.equal(question.hole, same.hole)
    assert question.images.shape == (5, 3, 4, 6) and not question.images.any()


def test_the_joint_task_asks_for_everything(dataset: ImageDataset) -> None:
    question = make_sourceless_task("joint", 5, dataset, patch_size=2, seed=0)
    assert question.hole.all() and not question.absent.any() and question.labels is None


def test_an_unknown_task_is_an_error(dataset: ImageDataset) -> None:
    for task in ("nonsense", "marginal:nonsense", "marginal:"):
        with pytest.raises(HoleError):
            make_sourceless_task(task, 1, dataset, patch_size=2, seed=0)


def test_rows_are_a_part_of_everything(dataset: ImageDataset) -> None:
    images = dataset.images_uint8(torch.arange(13))
    question = make_task("random:0.5", images, dataset.labels, patch_size=2, seed=0)
    part = question.rows(3, 7)
    assert len(part) == 4 and part.task == question.task
    for field in ("images", "labels", "hole", "absent"):
        assert torch.equal(getattr(part, field), getattr(question, field)[3:7])


# Where answers come from


class Echo:
    """Fills image i, variation k, with a number that tells seed, i and k; remembers its calls."""

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
        whole = images[:, None].repeat(1, variations, 1, 1, 1)
        filled = to_signed_float(filling.to(torch.uint8))[:, :, None, None, None]
        return torch.where(hole[:, None, None], filled, whole)


def test_drawn_answers_do_not_depend_on_how_they_are_read(dataset: ImageDataset) -> None:
    images = dataset.images_uint8(torch.arange(13))
    question = make_task("right-half", images, None, patch_size=2, seed=0)
    answers = ModelSamples(Echo(), question, seed=5)
    assert isinstance(answers, SampleSource) and isinstance(answers.model, CompletionModel)
    whole = answers.read(0, 13, 3)
    assert whole.shape == (13, 3, 3, 4, 6)
    parts = torch.cat([answers.read(0, 4, 3), answers.read(4, 13, 3)])
    assert torch.equal(parts, whole)
    assert whole[7, 2, 0, 0, 5] == 5 + 70 + 2
    assert torch.equal(whole[..., :3], images[:, None, :, :, :3].expand(-1, 3, -1, -1, -1))


def test_the_second_step_is_given_what_the_first_one_drew(dataset: ImageDataset) -> None:
    model, images = Echo(), dataset.images_uint8(torch.arange(13))
    question = make_task("right-half", images, None, patch_size=2, seed=0)
    first = torch.zeros_like(question.hole)
    first[:, :2, 3:] = True
    answers = TwoStepSamples(model, question, first, seeds=(3, 100))
    whole = answers.read(2, 6, 2)
    assert isinstance(answers, SampleSource)
    rest = question.hole & ~first
    half, *second = model.calls
    assert torch.equal(half["hole"], first[2:6])
    assert torch.equal(half["absent"], rest[2:6])
    assert len(second) == 2
    for variation, call in enumerate(second):
        assert torch.equal(call["hole"], rest[2:6])
        assert not call["absent"].any()
        assert (whole[1, variation, :, :2, 3:] == 3 + 10 * 3 + variation).all()
        assert (whole[1, variation, :, 2:, 3:] == 100 + variation + 10 * 3).all()
    assert torch.equal(whole[:, 0, :, :, :3], images[2:6, :, :, :3])


def test_given_answers_are_the_first_ones() -> None:
    images = random_images(5, 4, 3, 4, 6)
    given = SavedSamples(images)
    assert isinstance(given, SampleSource)
    assert given.variations == 4
    assert torch.equal(given.read(1, 3, 2), images[1:3, :2])


# Halves


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in range(count)]


def touched(hole: Tensor) -> Tensor:
    """Which of the 2 x 3 patches of 2 x 2 pixels a hole touches."""
    return hole.unfold(1, 2, 2).unfold(2, 2, 2).any(-1).any(-1)


def test_half_of_the_touched_patches_within_the_hole() -> None:
    hole = torch.cat([holes(11), torch.zeros(2, 4, 6, dtype=torch.bool)])
    hole[11, 0, 0] = True  # one patch, of which half is none
    first = halves(hole, 2, generators(13))
    assert not (first & ~hole).any()
    whole, half = touched(hole), touched(first)
    assert torch.equal(half.flatten(1).sum(1), whole.flatten(1).sum(1) // 2)
    blocks = half.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(first, hole & blocks)  # a patch is taken whole or not at all


def test_halves_are_drawn_row_by_row_and_every_patch_as_often() -> None:
    hole = torch.ones(300, 4, 6, dtype=torch.bool)
    first = halves(hole, 2, generators(300))
    assert torch.equal(first, halves(hole, 2, generators(300)))
    assert torch.equal(first[100:], halves(hole[100:], 2, generators(200, seed=100)))
    shares = touched(first).double().mean(dim=0)
    # 300 draws of a half: a standard error of 0.029.
    torch.testing.assert_close(shares, torch.full_like(shares, 0.5), rtol=0, atol=0.12)
