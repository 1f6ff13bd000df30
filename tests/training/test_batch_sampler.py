"""Every step draws new images, tasks and noise, and reads observed pixels only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from training_tools import (
    MOST_RANDOMNESS,
    SEVERAL_TASKS,
)

from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.tasks.patches import patchify
from biglearn_gan.training.trainer import Trainer


def test_every_step_draws_new_values(make_trainer: Callable[..., Trainer]) -> None:
    """Images, flips, tasks, noise and perturbations differ between steps and within a step."""
    changes = {"train.batch_size": 17, "train.max_images": 170, "loss.penalty.interval": 1}
    trainer = make_trainer(MOST_RANDOMNESS | changes)
    flips: list[Tensor] = []
    read_batch = trainer.dataset.batch

    def watch(indices: Tensor, flipped: Tensor) -> Any:
        flips.append(flipped)
        return read_batch(indices, flipped)

    trainer.dataset.batch = watch  # type: ignore[method-assign]
    first, second = (trainer.batch_sampler.draw(images)[0] for images in (51, 68))
    assert (flips[0] != flips[1]).any()
    for draws_of in (
        lambda batch: batch.noise.z,
        lambda batch: batch.noise.token_noise[:, :1],
        lambda batch: batch.perturbation[:, :1],
        lambda batch: batch.real[:, :1],
    ):
        draws, later_draws = draws_of(first), draws_of(second)
        assert draws.shape == later_draws.shape
        assert not torch.isclose(draws, later_draws).flatten(1).all(dim=1).any()
        values = draws.flatten(0, -2)
        assert len(values.unique(dim=0)) > 0.9 * len(values)
    lengths = first.sequence.positions.shape[1], second.sequence.positions.shape[1]
    assert lengths[0] != lengths[1] or (first.sequence.is_target != second.sequence.is_target).any()
    for batch in (first, second):
        assert torch.equal(batch.second_split.positions, batch.sequence.positions)
        assert (batch.second_split.is_target != batch.sequence.is_target).any()


def test_adversarial_training_draws_a_second_split_for_communication(
    make_trainer: Callable[..., Trainer],
) -> None:
    sampler = make_trainer(MOST_RANDOMNESS).batch_sampler
    has_split = [sampler.draw(images)[0].second_split is not None for images in range(0, 48, 4)]
    assert has_split == [False] * 3 + [True] * 9


def test_tasks_of_the_warm_start_have_a_source(make_trainer: Callable[..., Trainer]) -> None:
    sampler = make_trainer(
        {"tasks": {"components": SEVERAL_TASKS}, "train.max_images": 1600}
    ).batch_sampler
    for first, without_source in ((0, False), (400, True)):  # the warm start, adversarial training
        batches = [sampler.draw(images)[0] for images in range(first, first + 400, 4)]
        is_target = torch.cat([batch.sequence.is_target.all(dim=1) for batch in batches])
        assert bool(is_target.any()) is without_source


def test_a_task_in_another_domain_reads_mixtures_of_tokens(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer(MOST_RANDOMNESS | {"data.horizontal_flip": False})
    indices = EpochOrder(len(trainer.dataset), 0).indices(12, 4)
    tokens = patchify(trainer.dataset.batch(indices).images, trainer.config.model.patch_size)
    batch, tasks = trainer.batch_sampler.draw(12)
    assert tasks.transforms is not None
    for row, positions in enumerate(batch.sequence.positions.tolist()):
        transform = tasks.transforms[row]
        mixed = torch.stack([transform[place] @ tokens[row] for place in positions])
        torch.testing.assert_close(batch.real[row], mixed)
        assert batch.sequence.transforms is not None
        assert torch.equal(batch.sequence.transforms[row], transform[positions])


def test_unobserved_pixels_never_enter_a_batch(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks use only tokens of which every pixel is observed."""
    trainer = make_trainer()
    read_batch = trainer.dataset.batch

    def hide_upper_rows(indices: Tensor, flips: Tensor | None = None) -> Any:
        batch = read_batch(indices, flips)
        observed = batch.observed.clone()
        observed[:, :3] = False  # the first row of tokens, and half of the second
        return replace(batch, observed=observed)

    monkeypatch.setattr(trainer.dataset, "batch", hide_upper_rows)
    monkeypatch.setattr(ImageDataset, "incomplete", True)
    for images in range(0, 120, 4):
        batch, tasks = trainer.batch_sampler.draw(images)
        assert not tasks.masks.union[:, :8].any()
        assert batch.sequence.positions.min() >= 8
