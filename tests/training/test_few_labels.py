"""Training with labels for some images only, and with pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from training_tools import ThreeProcesses, assert_same, load_state, press_ctrl_c_at, train

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.labeled import hide_labels
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL
from biglearn_gan.training import fit
from biglearn_gan.training.fit import load_training_images
from biglearn_gan.training.label_losses import add_label_losses, with_pseudo_labels
from biglearn_gan.training.objectives import Objective
from biglearn_gan.training.trainer import Trainer
from biglearn_gan.training.training_batch import TrainingBatch

C = 10
PSEUDO_LABELS = {"loss.pseudo_labels": {"weight": 0.5, "threshold": 0.9}}


@pytest.fixture
def images(tiny_dataset: ImageDataset) -> ImageDataset:
    """Twenty images of ten classes."""
    pixels = tiny_dataset.images_uint8(torch.arange(20) % len(tiny_dataset))
    return ImageDataset("tiny:train", pixels, torch.arange(20) % C, C)


HIDDEN = {"data.labels": True, "data.labeled_images": C}
IN_A_FOLDER = {
    "data.name": "folder",
    "data.labels": True,
    "data.classes": C,
    "data.unlabeled": "more",
}
"""Both ways to have labels for some images only."""


@pytest.fixture(params=[HIDDEN, IN_A_FOLDER], ids=["labeled_images", "unlabeled"])
def trainer_of(
    request: pytest.FixtureRequest, tiny_config: Callable[..., Config], images: ImageDataset
) -> Callable[..., Trainer]:
    def make(changes: dict[str, object] | None = None, accelerator: Accelerator | None = None):  # type: ignore[no-untyped-def]
        config = tiny_config(request.param | (changes or {}))
        accelerator = accelerator or Accelerator(cpu=True)
        dataset = hide_labels(images, config.data.labeled_images or C, seed=0)
        return Trainer(config, dataset, accelerator, 1600)

    return make


def adversarial_batch(trainer: Trainer) -> TrainingBatch:
    return trainer.batch_sampler.draw(trainer.schedule.warm_start_images)[0]


def weights_after(trainer: Trainer, batch: TrainingBatch) -> list[Tensor]:
    settings = trainer.schedule.at(trainer.schedule.warm_start_images)
    trainer.adversarial.warm_start_step(batch, settings)
    trainer.adversarial.train_step(batch, settings, penalize=True)
    return list(trainer.adversarial.parameters())


def predict_class(trainer: Trainer, label: int, confidence: float) -> None:
    """Let the averaged generator predict one class with this probability for every image."""
    head = trainer.adversarial.average.label_head
    assert isinstance(head, torch.nn.Linear)
    head.weight.zero_()
    head.bias.fill_(0.0)
    others = torch.tensor((1 - confidence) / (C - 1))
    head.bias[label] = torch.tensor(confidence).log() - others.log()


def test_an_unlabeled_image_plays_with_its_label_unknown(
    trainer_of: Callable[..., Trainer],
) -> None:
    """It is never the target of the cross-entropy either, so its label changes no weight."""
    batch = adversarial_batch(trainer_of())
    assert batch.labels is not None and batch.sequence.labels is not None
    assert (batch.labels == UNKNOWN_LABEL).any()
    assert (batch.sequence.labels[batch.labels == UNKNOWN_LABEL] == UNKNOWN_LABEL).all()
    changed = replace(batch, labels=(batch.labels + 1) % C)
    one, other = weights_after(trainer_of(), batch), weights_after(trainer_of(), changed)
    assert all(map(torch.equal, one, other))


def test_labels_are_learned_from_labeled_images_alone(trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of()
    dataset = trainer.dataset
    assert dataset.labels is not None
    labeled = (dataset.labels != UNKNOWN_LABEL).nonzero()[:, 0]
    seen: list[int] = []
    for images_seen in range(0, 40, 4):
        batch, _ = trainer.batch_sampler.draw(images_seen)
        assert batch.labeled is not None
        assert batch.labeled.real.shape == batch.real.shape
        seen += batch.labeled.labels.tolist()
    assert sorted(seen) == sorted(dataset.labels[labeled].tolist() * 4)  # whole epochs
    other = replace(batch, labeled=replace(batch.labeled, labels=(batch.labeled.labels + 1) % C))
    one, two = weights_after(trainer_of(), batch), weights_after(trainer_of(), other)
    assert not all(map(torch.equal, one, two))


def test_an_image_that_is_labeled_has_the_tokens_of_its_task(
    trainer_of: Callable[..., Trainer],
) -> None:
    """If all images are labeled, both orders are the same, and so are the tokens."""
    every = {"data.labeled_images": 20, "data.horizontal_flip": True}
    batch = adversarial_batch(trainer_of(every))
    assert batch.labeled is not None and batch.labels is not None
    assert torch.equal(batch.labeled.real, batch.real)
    assert torch.equal(batch.labeled.unlabeled, batch.real)
    assert torch.equal(batch.labeled.labels, batch.labels)


def test_several_processes_share_the_labeled_images(trainer_of: Callable[..., Trainer]) -> None:
    changes = {"train.batch_size": 9, "data.horizontal_flip": True} | {
        "loss.pseudo_labels": {"shift": 1}
    }
    whole = adversarial_batch(trainer_of(changes)).labeled
    assert whole is not None
    for index in range(3):
        accelerator = ThreeProcesses(cpu=True)
        accelerator.state.process_index = index
        try:
            part = adversarial_batch(trainer_of(changes, accelerator)).labeled
        finally:
            accelerator.state.process_index = 0
        rows = slice(3 * index, 3 * index + 3)
        assert part is not None
        assert torch.equal(part.real, whole.real[rows])
        assert torch.equal(part.labels, whole.labels[rows])
        assert torch.equal(part.unlabeled, whole.unlabeled[rows])


@pytest.mark.parametrize(("confidence", "counts"), [(0.91, True), (0.89, False)])
def test_confident_predictions_stand_for_unknown_labels(
    confidence: float, counts: bool, trainer_of: Callable[..., Trainer]
) -> None:
    trainer = trainer_of(PSEUDO_LABELS | {"tasks.label_conditioning": 0.5, "train.batch_size": 18})
    predict_class(trainer, 3, confidence)
    batch = adversarial_batch(trainer)
    assert batch.labels is not None and batch.label_is_source is not None
    assert 0 < batch.label_is_source.sum() < 18
    known = with_pseudo_labels(batch, trainer.adversarial.average, threshold=0.9)
    predicted = 3 if counts else UNKNOWN_LABEL
    expected = torch.where(batch.labels == UNKNOWN_LABEL, predicted, batch.labels)
    assert known.labels is not None and known.sequence.labels is not None
    assert torch.equal(known.labels, expected)
    given = torch.where(batch.label_is_source, expected, UNKNOWN_LABEL)
    assert torch.equal(known.sequence.labels, given)
    split = replace(batch, second_split=replace(batch.sequence, is_target=batch.sequence.is_target))
    other = with_pseudo_labels(split, trainer.adversarial.average, threshold=0.9).second_split
    assert other is not None and other.labels is not None
    assert torch.equal(other.labels, given)


def test_the_generator_learns_what_the_averaged_one_predicts(
    trainer_of: Callable[..., Trainer],
) -> None:
    trainer = trainer_of(PSEUDO_LABELS)
    predict_class(trainer, 3, 0.99)
    batch = adversarial_batch(trainer)
    assert batch.labels is not None
    generator = trainer.adversarial.generator
    targets = torch.where(batch.labels == UNKNOWN_LABEL, 3, batch.labels)
    expected = F.cross_entropy(generator.label_logits(batch.real, batch.sequence), targets)
    settings = trainer.schedule.at(trainer.schedule.warm_start_images)
    metrics = trainer.adversarial.warm_start_step(batch, settings).metrics
    torch.testing.assert_close(metrics["loss/pseudo_label"], expected.detach())
    assert metrics["labels/known"] == 1


def test_predictions_read_the_whole_image(trainer_of: Callable[..., Trainer]) -> None:
    """Other targets of the same tokens change no pseudo-label."""
    trainer = trainer_of(PSEUDO_LABELS | {"train.batch_size": 16})
    average, rng = trainer.adversarial.average, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng))  # the head starts at 0
    batch = adversarial_batch(trainer)
    no_target = torch.zeros_like(batch.sequence.is_target)
    of_whole = average.label_logits(batch.real, replace(batch.sequence, is_target=no_target))
    of_source = average.label_logits(batch.real, batch.sequence)
    assert not torch.equal(of_whole.argmax(dim=1), of_source.argmax(dim=1))
    found = with_pseudo_labels(batch, average, threshold=0.0).labels
    assert found is not None and batch.labels is not None
    unknown = batch.labels == UNKNOWN_LABEL
    assert torch.equal(found[unknown], of_whole.argmax(dim=1)[unknown])


def test_labels_and_pseudo_labels_have_weights_of_their_own(
    trainer_of: Callable[..., Trainer],
) -> None:
    trainer = trainer_of(PSEUDO_LABELS | {"loss.label": 3.0})
    loss, generator = trainer.config.loss, trainer.adversarial.generator
    batch = with_pseudo_labels(
        adversarial_batch(trainer), trainer.adversarial.average, threshold=0.0
    )
    assert batch.labeled is not None and batch.labels is not None
    objective = Objective("other", torch.ones(len(batch.real)), len(batch.real))
    add_label_losses(objective, generator, batch, loss)
    labeled, own = (
        F.cross_entropy(generator.label_logits(tokens, batch.sequence), labels)
        for tokens, labels in (
            (batch.labeled.real, batch.labeled.labels),
            (batch.labeled.unlabeled, batch.labels),
        )
    )
    torch.testing.assert_close(objective.total, 1 + 3.0 * labeled + 0.5 * own)
    torch.testing.assert_close(objective.metrics["loss/label"], labeled)
    torch.testing.assert_close(objective.metrics["loss/pseudo_label"], own)


def test_a_resumed_run_equals_an_uninterrupted_one(trainer_of: Callable[..., Trainer]) -> None:
    changes = PSEUDO_LABELS | {"train.warm_start.share": 0.01}
    whole = train(trainer_of(changes), 12)
    half = train(trainer_of(changes), 5)
    resumed = trainer_of(changes)
    resumed.load_state_dict(half.state_dict())
    assert_same(train(resumed, 7).state_dict(), whole.state_dict())


def test_images_are_moved_where_labels_are_learned(trainer_of: Callable[..., Trainer]) -> None:
    """The rest of the game, and the predictions, see them as they are."""
    still = adversarial_batch(trainer_of(PSEUDO_LABELS))
    changes = {"loss.pseudo_labels": {"threshold": 0.9, "shift": 2}}
    moved = adversarial_batch(trainer_of(changes))
    assert still.labeled is not None and moved.labeled is not None
    assert torch.equal(moved.real, still.real)
    assert not torch.equal(moved.labeled.real, still.labeled.real)
    assert not torch.equal(moved.labeled.unlabeled, still.labeled.unlabeled)
    again = adversarial_batch(trainer_of(changes)).labeled
    assert again is not None
    assert torch.equal(again.real, moved.labeled.real)
    assert torch.equal(again.unlabeled, moved.labeled.unlabeled)


def test_a_run_knows_only_the_labels_that_it_is_given(
    tiny_config: Callable[..., Config], images: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "load_dataset", lambda *_: images)
    config = tiny_config({"data.labels": True, "data.labeled_images": C, "data.labeled_seed": 1})
    labels = load_training_images(config, torch.device("cpu")).labels
    expected = hide_labels(images, C, seed=1).labels
    assert labels is not None and expected is not None
    assert torch.equal(labels, expected)
    assert (labels == UNKNOWN_LABEL).sum() == len(images) - C


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images with a label and eight without."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (14, 8, 8), dtype=np.uint8)
    folders = ["cat"] * 2 + ["owl"] * 3 + ["more"] * 5 + ["."] * 3
    names = [f"train/{name}/{number}.png" for number, name in enumerate(folders)]
    for name, image in zip([*names, "test/cat/0.png"], pixels, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


def test_a_run_on_folders_resumes_exactly_in_memory_and_from_files(
    tiny_config: Callable[..., Config], photos: Path, tmp_path: Path
) -> None:
    def run(folder: Path, limit: int, stop: int = -1) -> object:
        data = {"data.name": "folder", "data.root": str(photos), "data.memory_limit_mb": limit}
        changes = {"data.labels": True, "data.unlabeled": "more", "train.max_images": 16}
        config = tiny_config(PSEUDO_LABELS | data | changes | {"data.workers": 0})
        result = fit.fit(config, folder, device="cpu", on_progress=press_ctrl_c_at(stop))
        assert result.interrupted == (stop > 0)
        return load_state(folder)

    whole = run(tmp_path / "whole", limit=4096)
    run(tmp_path / "parts", limit=4096, stop=8)
    assert_same(run(tmp_path / "parts", limit=0), whole)
