"""The label as one more token: given, asked, predicted, and never seen where it is only asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.config.task_presets import PRESETS
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.data.loading import DataError, load_dataset
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.generator import Noise
from biglearn_gan.models.input_checks import LabelError
from biglearn_gan.models.token_model import CHUNK_ROWS
from biglearn_gan.tasks.sampler import TaskSampler
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenMasks
from biglearn_gan.training.adversarial import AdversarialTraining, GameBatch
from biglearn_gan.training.losses import label_cross_entropy
from biglearn_gan.training.schedule import StepSettings
from biglearn_gan.training.throughput import describe
from biglearn_gan.training.trainer import Trainer

B, L, M, C = 7, 16, 11, 10
SETTINGS = StepSettings(
    generator_lr=0.003, discriminator_lr=0.005, penalty_factor=0.6, ema_decay=0.75
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def labeled(tiny_config: Callable[..., Config]) -> Callable[..., Config]:
    """A tiny configuration with labels, after changes."""
    return lambda changes=None: tiny_config({"data.labels": True} | (changes or {}))


@pytest.fixture
def model(labeled: Callable[..., Config]) -> BigLearnGAN:
    return BigLearnGAN(labeled()).eval()


@pytest.fixture
def halves(tiny_dataset: ImageDataset) -> ImageDataset:
    """Class 0 has a bright upper half, class 1 a bright lower one."""
    labels = torch.arange(len(tiny_dataset)) % 2
    pixels = tiny_dataset.images_uint8(torch.arange(len(tiny_dataset)))
    return ImageDataset("halves:train", pixels, labels, C)


def game_batch(config: Config, masks: TokenMasks, labels: Tensor, is_given: Tensor) -> GameBatch:
    torch.manual_seed(6)
    fakes, generator = config.loss.fakes_per_real, config.model.generator
    shown = torch.where(is_given, labels, UNKNOWN_LABEL)
    return GameBatch(
        real=torch.randn(B, M, config.token_dim),
        sequence=replace(masks.sequence(), labels=shown),
        noise=Noise(
            torch.randn(fakes * B, generator.latent_dim),
            torch.randn(fakes * B, M, generator.token_noise_dim),
        ),
        labels=labels,
    )


# The game


def test_cross_entropy_of_each_row() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(7.0)]])
    expected = torch.tensor([math.log(4 / 3), math.log(8 / 7)])
    torch.testing.assert_close(label_cross_entropy(logits, torch.tensor([0, 1])), expected)


@pytest.mark.parametrize("phase", ["warm", "game"])
def test_a_label_that_is_not_given_reaches_nothing_but_the_cross_entropy(
    phase: str, labeled: Callable[..., Config], draw_masks: Callable[..., TokenMasks]
) -> None:
    config = labeled({"loss.label": 0.0})
    labels, is_given = torch.arange(B) % C, torch.arange(B) < 3

    def weights(labels: Tensor) -> list[Tensor]:
        players = AdversarialTraining(config, Accelerator(cpu=True))
        batch = game_batch(config, draw_masks(B, L, M), labels, is_given)
        if phase == "warm":
            players.warm_start_step(batch, SETTINGS)
        else:
            players.train_step(batch, SETTINGS, penalize=True)
        return [*players.generator.parameters(), *players.discriminator.parameters()]

    first = weights(labels)
    others_hidden = weights(torch.where(is_given, labels, (labels + 1) % C))
    others_given = weights(torch.where(is_given, (labels + 1) % C, labels))
    assert all(map(torch.equal, first, others_hidden))
    assert not all(map(torch.equal, first, others_given))


def test_every_weight_of_both_kinds_of_token_is_trained(
    labeled: Callable[..., Config], draw_masks: Callable[..., TokenMasks]
) -> None:
    config = labeled()
    players = AdversarialTraining(config, Accelerator(cpu=True))
    before = [p.detach().clone() for p in players.generator.parameters()]
    batch = game_batch(config, draw_masks(B, L, M), torch.arange(B), torch.arange(B) < 3)
    result = players.train_step(batch, SETTINGS, penalize=False)
    assert result.metrics["loss/label"] > 0
    moved = [bool((a != b).any()) for a, b in zip(before, players.generator.parameters())]  # noqa: B905
    assert all(moved)


def test_the_discriminator_starts_from_the_generators_labels(model: BigLearnGAN) -> None:
    model.discriminator.init_from_generator(model.generator, "trunk")
    ours, theirs = model.discriminator.label, model.generator.label
    assert ours is not None and theirs is not None
    assert torch.equal(ours.value, theirs.value)


# Tasks and training


def test_a_share_of_the_tasks_is_given_the_label_and_a_resplit_keeps_it() -> None:
    observed = torch.ones(4000, L, dtype=torch.bool)
    sampler = TaskSampler(PRESETS["big"], (4, 4), 0.3)
    draws = seeded(0)
    tasks = sampler.sample(observed, draws)
    assert tasks.label_is_source is not None
    share = tasks.label_is_source.double().mean().item()
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    assert sampler.resplit(tasks, observed, draws).label_is_source is tasks.label_is_source
    conditional = sampler.conditional().sample(observed, draws)
    assert conditional.label_is_source is not None


def test_labels_change_no_other_draw_of_a_task() -> None:
    observed = torch.ones(40, L, dtype=torch.bool)
    with_labels, without = (
        TaskSampler(PRESETS["big"], (4, 4), share).sample(
            observed, torch.Generator().manual_seed(5)
        )
        for share in (0.5, None)
    )
    assert without.label_is_source is None
    assert torch.equal(with_labels.masks.target, without.masks.target)
    assert torch.equal(with_labels.components, without.components)


def test_the_trainer_gives_each_image_its_own_label(
    labeled: Callable[..., Config], halves: ImageDataset
) -> None:
    trainer = Trainer(labeled(), halves, Accelerator(cpu=True), 10**6)
    shown = []
    for images_seen in range(0, 40, 4):
        batch, tasks = trainer.batch_sampler.draw(images_seen)
        assert batch.labels is not None and batch.sequence.labels is not None
        where = EpochOrder(len(halves), 0).indices(images_seen, 4)
        assert halves.labels is not None
        assert torch.equal(batch.labels, halves.labels[where])
        expected = torch.where(tasks.label_is_source, batch.labels, UNKNOWN_LABEL)  # type: ignore[arg-type]
        assert torch.equal(batch.sequence.labels, expected)
        shown += expected.tolist()
    assert set(shown) == {UNKNOWN_LABEL, 0, 1}


def test_it_learns_to_read_labels_and_to_draw_them(
    labeled: Callable[..., Config], halves: ImageDataset
) -> None:
    changes = {"train.max_images": 8_000, "train.batch_size": 16, "loss.label": 1.0}
    config = labeled(changes | {"train.warm_start": {"share": 0.8}})
    trainer = Trainer(config, halves, Accelerator(cpu=True), 8_000)
    while not trainer.finished:
        trainer.step()
    model = trainer.model()
    images = halves.batch(torch.arange(len(halves))).images
    observed = torch.zeros(len(images), 8, 8, dtype=torch.bool)
    observed[:, 2:6, :4] = True
    for probabilities in (model.classify(images), model.classify(images, observed=observed)):
        assert torch.equal(probabilities.argmax(dim=1), halves.labels)
    nothing = torch.zeros_like(observed)
    prior = model.classify(images, observed=nothing)[0, :2]
    torch.testing.assert_close(prior, torch.tensor([0.5, 0.5]), atol=0.1, rtol=0)
    drawn = model.sample(32, labels=torch.arange(32) % 2)
    is_upper = drawn[:, 0, :4].mean(dim=(1, 2)) > drawn[:, 0, 4:].mean(dim=(1, 2))
    assert (is_upper == (torch.arange(32) % 2 == 0)).float().mean() > 0.9


# The model


def test_probabilities_depend_on_nothing_but_the_observed_patches(model: BigLearnGAN) -> None:
    torch.manual_seed(1)
    images, other = torch.rand(2, CHUNK_ROWS + 9, 1, 8, 8)
    observed = torch.rand(len(images), 8, 8) < torch.linspace(0, 1, len(images))[:, None, None]
    whole = observed.view(-1, 4, 2, 4, 2).all(4).all(2).repeat_interleave(2, 1)
    whole = whole.repeat_interleave(2, 2)
    probabilities = model.classify(images, observed=observed)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(images)))
    elsewhere = torch.where(whole[:, None], images, other)
    assert torch.equal(model.classify(elsewhere, observed=observed), probabilities)
    assert torch.equal(model.classify(images[5:8], observed=observed[5:8]), probabilities[5:8])
    assert not torch.equal(model.classify(other, observed=observed), probabilities)
    everything = torch.ones_like(observed)
    assert torch.equal(model.classify(images), model.classify(images, observed=everything))


def test_a_given_label_changes_the_draw_and_an_unknown_one_is_none(model: BigLearnGAN) -> None:
    images = torch.zeros(5, 1, 8, 8)
    hole = torch.zeros(5, 8, 8, dtype=torch.bool)
    hole[:, 3:] = True
    unknown = model.complete(images, hole, seed=4)
    labels = torch.tensor([-1, 0, 1, -1, 9])
    drawn = model.complete(images, hole, labels=labels, seed=4)
    assert torch.equal(drawn[labels < 0], unknown[labels < 0])
    assert (drawn[labels >= 0] != unknown[labels >= 0]).flatten(1).any(dim=1).all()
    alone = model.complete(images[:3], hole[:3], labels=labels[:3], seed=4)
    assert torch.equal(alone, drawn[:3])
    target = TokenMasks(torch.zeros(5, L, dtype=torch.bool), torch.ones(5, L, dtype=torch.bool))
    tokens = torch.zeros(5, L, 4)
    differ = model.critic_logits(tokens, target, labels) != model.critic_logits(tokens, target)
    assert differ.tolist() == (labels >= 0).tolist()


def test_a_drawn_label_depends_on_seed_image_and_variation_alone(model: BigLearnGAN) -> None:
    torch.manual_seed(2)
    images, hole = torch.rand(9, 1, 8, 8), torch.zeros(9, 8, 8, dtype=torch.bool)
    hole[:, 3:] = True
    labels = model.draw_labels(images, hole, variations=5, seed=4)
    assert len(labels.unique()) > 5
    assert torch.equal(
        model.draw_labels(images[3:], hole[3:], variations=4, seed=4, first_image=3), labels[3:, :4]
    )
    assert not torch.equal(model.draw_labels(images, hole, variations=5, seed=5), labels)
    drawn = model.complete(images, hole, variations=5, seed=4)
    assert torch.equal(model.complete(images, hole, labels=labels, variations=5, seed=4), drawn)
    part = model.complete(images[3:], hole[3:], variations=4, seed=4, first_image=3)
    assert torch.equal(part, drawn[3:, :4])
    mixed = labels.clone()
    mixed[:, 1::2] = UNKNOWN_LABEL
    assert torch.equal(model.complete(images, hole, labels=mixed, variations=5, seed=4), drawn)


def test_labels_are_read_as_in_training_with_the_targets_hidden(model: BigLearnGAN) -> None:
    torch.manual_seed(3)
    tokens, source = torch.rand(5, L, 4), torch.rand(5, L) < 0.5
    target = ~source
    target[:, ::3] = False
    rows = [
        model.label_probabilities(tokens[i : i + 1], source[i : i + 1], target[i : i + 1])
        for i in range(5)
    ]
    together = model.label_probabilities(tokens, source, target)
    assert torch.equal(torch.cat(rows), together)
    sequence = TokenMasks(source[:1], target[:1]).sequence()
    present = tokens[:1, sequence.positions[0]]
    logits = model.generator.label_logits(present, sequence)
    torch.testing.assert_close(together[:1], logits.softmax(dim=1), rtol=1e-5, atol=1e-6)
    assert not torch.equal(model.label_probabilities(tokens, source, ~source), together)


def test_an_unknown_label_is_drawn_from_what_the_source_says(model: BigLearnGAN) -> None:
    images, hole = torch.zeros(400, 1, 8, 8), torch.ones(400, 8, 8, dtype=torch.bool)
    head = model.generator.label_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-50.0)
        head.bias[3], head.bias[8] = math.log(0.7), math.log(0.3)
    drawn = model.complete(images, hole, variations=2, seed=4)
    by_label = {
        label: model.complete(images, hole, labels=torch.full((400,), label), variations=2, seed=4)
        for label in (3, 8)
    }
    is_label = {label: (drawn == x).flatten(2).all(dim=2) for label, x in by_label.items()}
    assert torch.equal(is_label[3], ~is_label[8])
    share = is_label[3].double().mean().item()
    assert abs(share - 0.7) < 4 * math.sqrt(0.7 * 0.3 / 800)
    assert (is_label[3][:, 0] != is_label[3][:, 1]).any()


@pytest.mark.usefixtures("unchecked")
def test_images_of_another_size_are_refused_with_both_sizes(model: BigLearnGAN) -> None:
    told = r"images must have the shape \(N, C, H, W\) = \(N, 1, 8, 8\), not \(2, 1, 8, 6\)"
    with pytest.raises(ValueError, match=told):
        model.classify(torch.zeros(2, 1, 8, 6))
    with pytest.raises(ValueError, match=r"observed must have .*\(2, 8, 8\).*\(2, 8, 6\)"):
        model.classify(torch.zeros(2, 1, 8, 8), observed=torch.ones(2, 8, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"images must be torch.float32 .*not torch.uint8"):
        model.classify(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (torch.tensor([3, 10]), "label 10 must be one of this model's 10 classes, 0 to 9"),
        (torch.tensor([-2, 3]), "label -2 must be one of this model's 10 classes, 0 to 9"),
        (torch.tensor([3]), "labels must be 2 integers"),
        (torch.tensor([3.0, 2.0]), "labels must be 2 integers"),
        (10, "label 10 must be"),
        ([3, 2, 1], "labels must be 2 integers"),
        (["3", "4"], r"labels must be 2 integers, not \['3', '4'\]"),
        ([None, 3], "labels must be 2 integers"),
    ],
)
def test_labels_that_a_model_does_not_know(model: BigLearnGAN, labels: Any, told: str) -> None:
    with pytest.raises(LabelError, match=told):
        model.complete(torch.zeros(2, 1, 8, 8), torch.ones(2, 8, 8).bool(), labels=labels)


def test_one_label_is_that_of_all_and_lists_do(model: BigLearnGAN) -> None:
    expected = model.sample(3, labels=torch.tensor([7, 7, 7]))
    for labels in (7, [7, 7, 7], torch.tensor(7), torch.full((3,), 7, dtype=torch.int32)):
        assert torch.equal(model.sample(3, labels=labels), expected)


def test_a_model_without_labels_says_so(tiny_config: Callable[..., Config]) -> None:
    model = BigLearnGAN(tiny_config())
    for ask in (
        lambda: model.sample(2, labels=torch.tensor([1, 2])),
        lambda: model.classify(torch.zeros(2, 1, 8, 8)),
    ):
        with pytest.raises(LabelError, match=r"trained without labels; data\.labels: true"):
            ask()


# Configuration and data


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data.labels": True, "data.name": "celeba"}, "data.labels: celeba has no labels"),
        ({"data.labels": True, "data.name": "folder"}, "data.classes: with data.labels: true"),
        ({"data.classes": 3}, "data.classes: this key is only for a folder"),
        ({"data.labels": True, "data.classes": 3}, "data.classes: this key is only for a folder"),
        ({"tasks.label_conditioning": 1.5}, "tasks.label_conditioning: 1.5 is not allowed"),
    ],
)
def test_impossible_labels(
    changes: dict[str, Any], told: str, tiny_config: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigError, match=told):
        tiny_config(changes)


def test_a_folder_has_as_many_classes_as_the_configuration_says(
    tiny_config: Callable[..., Config], tmp_path: Any
) -> None:
    from PIL import Image

    for name in ("cat", "dog", "owl"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("L", (8, 8), 30 * number).save(tmp_path / name / f"{number}.png")
    folder = {"data.name": "folder", "data.root": str(tmp_path), "data.labels": True}
    right = tiny_config(folder | {"data.classes": 3})
    assert right.data.num_classes == load_dataset(right.data, "train").num_classes == 3
    wrong = tiny_config(folder | {"data.classes": 2}).data
    with pytest.raises(DataError, match=r"has 3 classes, but data\.classes is 2"):
        load_dataset(wrong, "train")


def test_a_dry_run_of_a_labeled_model_needs_no_data(labeled: Callable[..., Config]) -> None:
    plain = list(describe(labeled({"data.labels": False}), "cpu"))
    assert next(describe(labeled(), "cpu")) != plain[0]
