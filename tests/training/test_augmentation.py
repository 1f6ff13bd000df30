"""The discriminator sees a real image and its fakes changed alike, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from task_tools import assert_follows, seeded_rng
from torch import Tensor
from toys import random_images
from training_tools import ThreeProcesses, assert_same, train

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.config.schema_training import AugmentationConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.models.canvas import PatchGrid
from biglearn_gan.models.transformer import twice_differentiable_attention
from biglearn_gan.tasks.patches import gather_tokens, patchify
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training import losses
from biglearn_gan.training.augmentation import Augmentation
from biglearn_gan.training.trainer import Trainer
from biglearn_gan.training.training_batch import TrainingBatch

SQUARE = PatchGrid((3, 3), 2, 3)
OBLONG = PatchGrid((3, 5), 2, 1)
ALWAYS: dict[str, Any] = {"flip_rotate": 1.0, "translation": 1.0, "color": 1.0}
COLORED: dict[str, Any] = {
    "data": {"name": "cifar10", "image_size": 8, "channels": 3},
    "tasks.partial_patches": 0.5,
    "model.discriminator.overlap": 1,
    "loss.augmentation": ALWAYS,
}


def draw(grid: PatchGrid, count: int, **probabilities: float) -> Augmentation:
    """Changes of ``count`` images; what is not named never happens."""
    never = dict.fromkeys(ALWAYS, 0.0)
    config = AugmentationConfig(**never | probabilities)
    return Augmentation.draw(config, grid, count, seeded_rng())


def moved_pictures(
    picture: Tensor, grid: PatchGrid, *, turned: bool, shifted: bool
) -> list[Tensor]:
    """The picture (C, H, W) in each symmetry, shifted cyclically by whole patches."""
    symmetries = [picture]
    if turned:
        symmetries += [picture.flip(2), picture.flip(1), picture.flip(1, 2)]
        if grid.size[0] == grid.size[1]:
            symmetries += [one.transpose(1, 2) for one in symmetries]
    rows, columns = grid.size if shifted else (1, 1)
    shifts = [
        (y * grid.patch_size, x * grid.patch_size) for y, x in product(range(rows), range(columns))
    ]
    return [one.roll(shift, (1, 2)) for one in symmetries for shift in shifts]


@pytest.mark.parametrize("grid", [SQUARE, OBLONG])
@pytest.mark.parametrize(("turned", "shifted"), [(True, False), (False, True), (True, True)])
def test_pixels_and_their_roles_move_as_one_picture(
    grid: PatchGrid, turned: bool, shifted: bool, draw_masks: Callable[..., TokenMasks]
) -> None:
    """Every move is one of the pictures that a person would draw, and all of them occur."""
    count, length = 2000, grid.size[0] * grid.size[1]
    masks = draw_masks(1, length, length - 2).rows(torch.zeros(count, dtype=torch.int64))
    known = torch.rand(length, 4, generator=seeded_rng()) < 0.5
    known = known.repeat(1, grid.channels) & masks.target[..., None]
    sequence = replace(masks, known_values=known).sequence()
    tokens = torch.rand(length, 4 * grid.channels).expand(count, -1, -1)
    tokens = gather_tokens(tokens, sequence.positions)
    before = grid.compose(tokens[:1], sequence.rows(slice(1)))[0]
    augmentation = draw(grid, count, flip_rotate=float(turned), translation=float(shifted))
    after = grid.compose(*augmentation(tokens, sequence))
    expected = moved_pictures(before, grid, turned=turned, shifted=shifted)
    which = torch.stack([(after == one).flatten(1).all(dim=1) for one in expected])
    assert (which.sum(dim=0) == 1).all()
    assert_follows(which.sum(dim=1).tolist(), [1 / len(expected)] * len(expected))


def test_each_change_happens_with_its_probability() -> None:
    count = 20_000
    for name, share in (("flip_rotate", 0.3 * 7 / 8), ("translation", 0.3 * 8 / 9), ("color", 0.3)):
        changes = draw(SQUARE, count, **{name: 0.3})
        plain = draw(SQUARE, count)
        different = (
            (changes.positions != plain.positions).any(dim=1)
            | (changes.values != plain.values).any(dim=1)
            | (changes.color != plain.color).flatten(1).any(dim=1)
            | (changes.brightness != plain.brightness)
        )
        assert different.float().mean() == pytest.approx(share, abs=0.02)


def test_a_color_changes_every_pixel_by_the_same_map(draw_masks: Callable[..., TokenMasks]) -> None:
    """Grays stay gray, hue and saturation keep the mean of a pixel, and distances grow alike."""
    augmentation = draw(SQUARE, 500, color=1.0)
    sequence = draw_masks(500, 9, 9).sequence()
    gray = torch.rand(500, 9, 1, 4)
    hue = torch.randn(500, 9, 3, 4)
    hue = hue - hue.mean(dim=2, keepdim=True)

    def changed(pixels: Tensor) -> Tensor:
        return augmentation(pixels.flatten(2), sequence)[0].unflatten(2, (3, 4))

    contrast = augmentation.color.sum(dim=2)[:, :1, None, None]  # of (1, 1, 1)
    offset = augmentation.brightness.view(-1, 1, 1, 1)
    torch.testing.assert_close(
        changed(gray.expand(-1, -1, 3, -1)), (contrast * gray + offset).expand(-1, -1, 3, -1)
    )
    both = changed(gray + hue) - contrast * gray - offset
    torch.testing.assert_close(both.mean(dim=2), torch.zeros(500, 9, 4), atol=2e-5, rtol=0)
    growth = both.norm(dim=2) / hue.norm(dim=2)
    torch.testing.assert_close(growth, growth[:, :1, :1].expand_as(growth), rtol=1e-3, atol=0)
    for logarithm, deviation in (
        (contrast.log2().flatten(), 0.5),
        ((growth[:, 0, 0] / contrast.flatten()).log2(), 1.0),
        (offset.flatten(), 0.2),
    ):
        assert logarithm.std() == pytest.approx(deviation, rel=0.15)
        assert logarithm.mean() == pytest.approx(0, abs=5 * deviation / 500**0.5)


def test_a_gray_image_has_another_contrast_and_brightness(
    draw_masks: Callable[..., TokenMasks],
) -> None:
    augmentation = draw(OBLONG, 300, color=1.0)
    tokens = torch.randn(300, 15, 4)
    changed, _ = augmentation(tokens, draw_masks(300, 15, 15).sequence())
    contrast, brightness = augmentation.color, augmentation.brightness[:, None, None]
    torch.testing.assert_close(changed, contrast * tokens + brightness)
    assert contrast.log2().std() == pytest.approx(0.5, rel=0.15)


@pytest.fixture
def dataset() -> ImageDataset:
    return ImageDataset("toy:train", random_images(13, 3, 8, 8))


@pytest.fixture
def config(tiny_config: Callable[..., Config]) -> Config:
    return tiny_config(COLORED)


def game_batch(trainer: Trainer) -> TrainingBatch:
    """The first batch of the game."""
    return trainer.batch_sampler.draw(trainer.schedule.warm_start_images)[0]


def first_step(trainer: Trainer, batch: TrainingBatch, penalize: bool = False) -> dict[str, Tensor]:
    """What the first step of the game reports, of networks that have not changed yet."""
    settings = trainer.schedule.at(trainer.schedule.warm_start_images)
    return trainer.adversarial.train_step(batch, settings, penalize).metrics


def test_the_score_is_that_of_the_changed_picture(config: Config, dataset: ImageDataset) -> None:
    """By hand: whole pictures, turned and shifted, with other colors."""
    trainer = Trainer(config, dataset, Accelerator(cpu=True), 24)
    everything = TokenMasks(
        torch.zeros(4, 16, dtype=torch.bool),
        torch.ones(4, 16, dtype=torch.bool),
        torch.zeros(4, 16, 12, dtype=torch.bool),
    ).sequence()
    batch = replace(game_batch(trainer), real=torch.rand(4, 16, 12), sequence=everything)
    changed = batch.augmentation
    assert changed is not None
    grid = PatchGrid.of(config)
    moved = grid.place(
        *replace(changed, color=torch.eye(3).expand(4, 3, 3), brightness=torch.zeros(4))(
            batch.real, everything
        )
    )
    for picture, result in zip(grid.place(batch.real, everything), moved, strict=True):
        options = moved_pictures(picture, grid, turned=True, shifted=True)
        assert any(torch.equal(result, option) for option in options)
    colored = torch.einsum("ndc,nchw->ndhw", changed.color, moved)
    by_hand = colored + changed.brightness[:, None, None, None]
    expected = trainer.adversarial.discriminator(patchify(by_hand, 2), everything).mean()
    logit = first_step(trainer, batch)["logits/real"]
    torch.testing.assert_close(logit, expected.detach(), rtol=1e-4, atol=1e-5)


def test_penalties_are_taken_before_the_changes(config: Config, dataset: ImageDataset) -> None:
    """A doubled contrast makes the squared gradient four times as large."""
    trainer = Trainer(config, dataset, Accelerator(cpu=True), 24)
    batch = game_batch(trainer)
    plain = draw(PatchGrid.of(config), 4)
    doubled = replace(batch, augmentation=replace(plain, color=2 * plain.color))
    twice = (2 * batch.real).requires_grad_()
    with twice_differentiable_attention():
        logits = trainer.adversarial.discriminator(twice, batch.sequence)
        direct = losses.exact_penalty(logits, twice, batch.sequence.generated_values).mean()
    penalty = first_step(trainer, doubled, penalize=True)["penalty/real"]
    torch.testing.assert_close(penalty, 4 * direct.detach())


def test_a_resumed_run_equals_an_uninterrupted_one(config: Config, dataset: ImageDataset) -> None:
    def trainer() -> Trainer:
        return Trainer(config, dataset, Accelerator(cpu=True), 24)

    whole = train(trainer())
    resumed = trainer()
    resumed.load_state_dict(train(trainer(), steps=3).state_dict())
    assert_same(train(resumed).state_dict(), whole.state_dict())


def test_several_processes_draw_the_same_changes(
    tiny_config: Callable[..., Config], dataset: ImageDataset
) -> None:
    config = tiny_config(COLORED | {"train.batch_size": 9})
    whole = game_batch(Trainer(config, dataset, Accelerator(cpu=True), 24)).augmentation
    assert whole is not None
    for index in range(3):
        accelerator = ThreeProcesses(cpu=True)
        accelerator.state.process_index = index
        try:
            part = game_batch(Trainer(config, dataset, accelerator, 24)).augmentation
        finally:
            accelerator.state.process_index = 0
        assert part is not None
        expected = whole.rows(slice(3 * index, 3 * index + 3))
        for name in ("positions", "values", "color", "brightness"):
            assert torch.equal(getattr(part, name), getattr(expected, name))


def test_domains_without_pixels_are_refused(tiny_config: Callable[..., Config]) -> None:
    changes: dict[str, Any] = {
        "tasks": {"components": [{"name": "x", "weight": 1, "domain": "orthogonal"}]},
        "model.generator.output": "linear",
        "train.warm_start.share": 0.0,
        "loss.augmentation": {},
    }
    with pytest.raises(ConfigError, match=r"loss.augmentation: a token of an 'orthogonal' domain"):
        tiny_config(changes)
