"""Training with labels and with known values in target patches: both are read and learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from training_tools import ThreeProcesses

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.models.generator import Noise
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenMasks
from biglearn_gan.training.adversarial import AdversarialTraining
from biglearn_gan.training.schedule import StepSettings
from biglearn_gan.training.throughput import describe
from biglearn_gan.training.trainer import Trainer
from biglearn_gan.training.training_batch import TrainingBatch

B, L, M, C = 7, 16, 11, 10
SETTINGS = StepSettings(
    generator_lr=0.003, discriminator_lr=0.005, penalty_factor=0.6, ema_decay=0.75
)


@pytest.fixture
def labeled(tiny_config: Callable[..., Config]) -> Callable[..., Config]:
    """A tiny configuration with labels, after changes."""
    return lambda changes=None: tiny_config({"data.labels": True} | (changes or {}))


@pytest.fixture
def halves(tiny_dataset: ImageDataset) -> ImageDataset:
    """Class 0 has a bright upper half, class 1 a bright lower one."""
    labels = torch.arange(len(tiny_dataset)) % 2
    pixels = tiny_dataset.images_uint8(torch.arange(len(tiny_dataset)))
    return ImageDataset("halves:train", pixels, labels, C)


def training_batch(
    config: Config, masks: TokenMasks, labels: Tensor, is_given: Tensor
) -> TrainingBatch:
    torch.manual_seed(6)
    fakes, generator = config.loss.fakes_per_real, config.model.generator
    shown = torch.where(is_given, labels, UNKNOWN_LABEL)
    return TrainingBatch(
        real=torch.randn(B, M, config.token_dim),
        sequence=replace(masks.sequence(), labels=shown),
        noise=Noise(
            torch.randn(fakes * B, generator.latent_dim),
            torch.randn(fakes * B, M, generator.token_noise_dim),
        ),
        labels=labels,
    )


@pytest.mark.parametrize("phase", ["warm_start", "adversarial"])
def test_a_hidden_label_reaches_only_the_cross_entropy(
    phase: str, labeled: Callable[..., Config], draw_masks: Callable[..., TokenMasks]
) -> None:
    config = labeled({"loss.label": 0.0})
    labels, is_given = torch.arange(B) % C, torch.arange(B) < 3

    def weights(labels: Tensor) -> list[Tensor]:
        training = AdversarialTraining(config, Accelerator(cpu=True))
        batch = training_batch(config, draw_masks(B, L, M), labels, is_given)
        if phase == "warm_start":
            training.warm_start_step(batch, SETTINGS)
        else:
            training.train_step(batch, SETTINGS, penalize=True)
        return [*training.generator.parameters(), *training.discriminator.parameters()]

    first = weights(labels)
    others_hidden = weights(torch.where(is_given, labels, (labels + 1) % C))
    others_given = weights(torch.where(is_given, (labels + 1) % C, labels))
    assert all(map(torch.equal, first, others_hidden))
    assert not all(map(torch.equal, first, others_given))


def test_every_weight_of_a_model_with_labels_is_trained(
    labeled: Callable[..., Config], draw_masks: Callable[..., TokenMasks]
) -> None:
    config = labeled()
    training = AdversarialTraining(config, Accelerator(cpu=True))
    before = [p.detach().clone() for p in training.generator.parameters()]
    batch = training_batch(config, draw_masks(B, L, M), torch.arange(B), torch.arange(B) < 3)
    result = training.train_step(batch, SETTINGS, penalize=False)
    assert result.metrics["loss/label"] > 0
    moved = [bool((a != b).any()) for a, b in zip(before, training.generator.parameters())]  # noqa: B905
    assert all(moved)


def test_the_discriminator_tells_an_image_from_itself_with_another_label(
    labeled: Callable[..., Config], draw_masks: Callable[..., TokenMasks]
) -> None:
    config = labeled({"loss.mismatched_label": 0.5})
    labels = torch.tensor([0, 1, 1, 2, 3, 4, 5])
    is_given = torch.arange(B) != 4
    batch = training_batch(config, draw_masks(B, L, M), labels, is_given)
    others = torch.tensor([5, 0, 1, UNKNOWN_LABEL, 2, 3, 4])
    training = AdversarialTraining(config, Accelerator(cpu=True))
    discriminator = training.discriminator
    torch.manual_seed(7)
    for weight in discriminator.parameters():
        torch.nn.init.normal_(weight, std=0.2)

    def score(label: int, row: int) -> Tensor:
        sequence = replace(batch.sequence, labels=torch.full((B,), label))
        return discriminator(batch.real, sequence)[row]

    # Row 2 has the same label twice, row 3 has no other label, and that of row 4 is hidden.
    pairs = [(0, 0, 5), (1, 1, 0), (5, 4, 3), (6, 5, 4)]
    with torch.no_grad():
        values = [(score(other, row) - score(own, row)).exp() for row, own, other in pairs]
        expected = sum(float((1 + value).log()) for value in values) / B
    totals = {}
    update = training.update

    def watched(network: str, objective: Tensor, *rest: Any) -> Tensor | None:
        totals[network] = float(objective.detach())
        return update(network, objective, *rest)

    training.update = watched  # type: ignore[method-assign]
    metrics = training.train_step(replace(batch, other_labels=others), SETTINGS, False).metrics
    assert float(metrics["loss/mismatched_label"]) == pytest.approx(expected, rel=1e-4)
    total = float(metrics["loss/discriminator"]) + 0.5 * expected
    assert totals["discriminator"] == pytest.approx(total, rel=1e-4)


def test_another_label_is_that_of_the_image_before_in_the_batch(
    labeled: Callable[..., Config], halves: ImageDataset
) -> None:
    config = labeled({"loss.mismatched_label": 0.5, "train.warm_start.share": 0.5})
    sampler = Trainer(config, halves, Accelerator(cpu=True), 40).batch_sampler
    assert sampler.draw(0)[0].other_labels is None
    indices = EpochOrder(len(halves), 0).indices(32, 4)
    assert halves.labels is not None
    assert torch.equal(sampler.draw(32)[0].other_labels, halves.labels[indices][[3, 0, 1, 2]])
    unused = Trainer(labeled(), halves, Accelerator(cpu=True), 40).batch_sampler
    assert unused.draw(32)[0].other_labels is None


def test_several_processes_have_the_other_labels_of_one(
    labeled: Callable[..., Config], halves: ImageDataset
) -> None:
    changes = {"loss.mismatched_label": 0.5, "train.warm_start.share": 0.0, "train.batch_size": 9}

    def drawn(accelerator: Accelerator) -> Tensor:
        sampler = Trainer(labeled(changes), halves, accelerator, 18).batch_sampler
        others = sampler.draw(9)[0].other_labels
        assert others is not None
        return others

    whole, parts = drawn(Accelerator(cpu=True)), []
    for index in range(3):
        accelerator = ThreeProcesses(cpu=True)
        accelerator.state.process_index = index
        try:
            parts.append(drawn(accelerator))
        finally:
            accelerator.state.process_index = 0
    assert torch.equal(torch.cat(parts), whole)


def test_a_batch_has_the_label_of_each_image(
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


def test_a_model_learns_to_classify_and_to_generate_by_label(
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


def test_a_dry_run_with_labels_needs_no_data(labeled: Callable[..., Config]) -> None:
    plain = list(describe(labeled({"data.labels": False}), "cpu"))
    assert next(describe(labeled(), "cpu")) != plain[0]


def test_known_values_are_learned_and_their_layer_is_transferred(
    tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
) -> None:
    config = tiny_config({"tasks.partial_patches": 0.7, "train.warm_start.share": 0.5})
    trainer = Trainer(config, tiny_dataset, Accelerator(cpu=True), 48)
    training = trainer.adversarial
    start = training.generator.embedding.known_values.weight.clone()
    while trainer.in_warm_start:
        trainer.step()
    assert not torch.equal(training.generator.embedding.known_values.weight, start)
    training.transfer_to_discriminator()
    discriminator, generator = (
        n.embedding.known_values.weight for n in (training.discriminator, training.generator)
    )
    assert torch.equal(discriminator, generator)
    while not trainer.finished:
        trainer.step()
    assert not torch.equal(discriminator, generator)
