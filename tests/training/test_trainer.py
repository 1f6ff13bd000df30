"""The trainer is reproducible, resumes exactly, and stops if a number is not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from training_tools import (
    MOST_RANDOMNESS,
    SEVERAL_TASKS,
    ThreeProcesses,
    assert_same,
    spoil_loss,
    train,
)

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.training import losses
from biglearn_gan.training.trainer import Trainer, TrainingError


@pytest.mark.parametrize("changes", [{}, MOST_RANDOMNESS], ids=["plain", "most randomness"])
def test_the_seed_determines_the_weights(
    make_trainer: Callable[..., Trainer], changes: dict[str, Any]
) -> None:
    torch.manual_seed(11)
    first = train(make_trainer(changes)).state_dict()
    torch.manual_seed(12)
    assert_same(train(make_trainer(changes)).state_dict(), first)
    other = train(make_trainer(changes | {"train.seed": 1}))
    for name, value in other.adversarial.generator.state_dict().items():
        assert not torch.equal(first["adversarial"]["generator"][name], value), name


@pytest.mark.parametrize("steps", [1, 3, 4, 8], ids=["warm start", "its end", "next", "later"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    make_trainer: Callable[..., Trainer], tmp_path: Path, steps: int
) -> None:
    """Three of the twelve steps are the warm start."""
    uninterrupted = train(make_trainer(MOST_RANDOMNESS))
    assert uninterrupted.images_seen == 48
    torch.save(train(make_trainer(MOST_RANDOMNESS), steps).state_dict(), tmp_path / "state.pt")
    resumed = make_trainer(MOST_RANDOMNESS)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.images_seen == 4 * steps
    assert_same(train(resumed).state_dict(), uninterrupted.state_dict())


def test_the_warm_start_is_transferred_to_the_discriminator_before_adversarial_training(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer()
    before = {name: w.clone() for name, w in trainer.adversarial.discriminator.state_dict().items()}
    for _ in range(3):
        assert trainer.in_warm_start
        trainer.step()
    assert_same(trainer.adversarial.discriminator.state_dict(), before)
    assert not trainer.in_warm_start

    transferred: list[bool] = []
    train_step, penalized = trainer.adversarial.train_step, []

    def watch(batch: Any, settings: Any, penalize: bool) -> Any:
        discriminator = trainer.adversarial.discriminator.embedding.position
        generator = trainer.adversarial.generator.embedding.position
        transferred.append(torch.equal(discriminator, generator))
        penalized.append(penalize)
        return train_step(batch, settings, penalize)

    trainer.adversarial.train_step = watch  # type: ignore[method-assign]
    train(trainer)
    assert transferred == [True] + [False] * 8
    assert penalized == [True, False, False, False] * 2 + [True]


def test_without_a_warm_start_nothing_is_transferred(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer({"train.warm_start.share": 0.0})
    assert not trainer.in_warm_start
    trainer.adversarial.transfer_to_discriminator = (  # type: ignore[method-assign]
        lambda: pytest.fail("transferred")
    )
    trainer.step()


def test_the_model_for_use_has_the_average_and_the_live_discriminator(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = train(make_trainer())
    model, training = trainer.model(), trainer.adversarial
    assert_same(model.generator.state_dict(), training.average.state_dict())
    assert_same(model.discriminator.state_dict(), training.discriminator.state_dict())
    assert not torch.equal(model.generator.head.bias, training.generator.head.bias)
    assert not model.training


def test_metrics_are_means_since_the_last_call(make_trainer: Callable[..., Trainer]) -> None:
    trainer, errors = make_trainer(), []
    warm_start_step = trainer.adversarial.warm_start_step

    def watch(batch: Any, settings: Any) -> Any:
        result = warm_start_step(batch, settings)
        errors.append(result.metrics["warm_start/squared_error"].item())
        return result

    trainer.adversarial.warm_start_step = watch  # type: ignore[method-assign]
    train(trainer, 2)
    metrics = trainer.take_metrics()
    assert metrics["warm_start/squared_error"] == pytest.approx(sum(errors) / 2)
    assert metrics["images_per_second"] == pytest.approx(8 / metrics["seconds"])
    train(trainer, 1)
    assert trainer.take_metrics()["warm_start/squared_error"] == pytest.approx(errors[2])
    train(trainer, 1)
    assert "warm_start/squared_error" not in trainer.take_metrics()


def test_an_indivisible_batch_is_refused(
    tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
) -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(tiny_config(), tiny_dataset, ThreeProcesses(cpu=True), 48)
    message = str(caught.value)
    assert message == "train.batch_size: 4 images do not divide among 3 processes"


def test_a_diverging_warm_start_names_its_task(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warm start has no joint task, so its components have other numbers than later."""
    trainer = train(make_trainer({"tasks": {"components": SEVERAL_TASKS}}), 2)
    spoil_loss(monkeypatch, "squared_error", lambda is_target: is_target.sum(dim=1) == 8)
    with pytest.raises(TrainingError) as caught:
        train(trainer).collect_metrics()
    message = str(caught.value)
    assert "warm_start/squared_error is not finite" in message
    assert "tasks: half)" in message


@pytest.mark.parametrize(
    ("name", "block"),
    [("energy_score", 0), ("exact_penalty", 0), ("exact_penalty", 1), ("exact_penalty", 2)],
    ids=["energy score", "penalty of a real", "of its first fake", "of its second fake"],
)
def test_a_row_that_is_not_finite_names_its_task(
    tiny_config: Callable[..., Config],
    tiny_dataset: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    block: int,
) -> None:
    """One row is spoiled in the given block of 4: the real images, their first or second fakes."""
    config = tiny_config(
        {
            "tasks": {"components": SEVERAL_TASKS},
            "train.warm_start.share": 0.0,
            "train.max_images": 400,
            "loss.penalty.interval": 1,
        }
    )
    original, spoiled = getattr(losses, name), False

    def spoil(*arguments: Tensor) -> Tensor:
        nonlocal spoiled
        values = original(*arguments)
        targets = arguments[-1].sum(dim=1)[4 * block : 4 * block + 4]
        halves = (targets == 8).nonzero()[:, 0]
        if spoiled or len(targets.unique()) == 1 or len(halves) == 0:
            return values
        row = 4 * block + halves[0]
        spoiled = True
        return torch.where(torch.arange(len(values)) == row, torch.nan, values)

    monkeypatch.setattr(losses, name, spoil)
    trainer = Trainer(config, tiny_dataset, Accelerator(cpu=True), 400)
    with pytest.raises(TrainingError) as caught:
        train(trainer).collect_metrics()
    message = str(caught.value)
    assert "is not finite" in message
    assert message.partition("tasks: ")[2].partition(")")[0] == "half"


@pytest.mark.parametrize("kind", ["exact", "finite_difference"])
def test_penalties_without_weight_are_not_computed(
    tiny_config: Callable[..., Config],
    tiny_dataset: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    def metrics(r1: float, r2: float) -> dict[str, float]:
        penalty = {"kind": kind, "interval": 1, "r1": r1, "r2": r2}
        config = tiny_config({"loss.penalty": penalty, "train.max_images": 8})
        trainer = Trainer(config, tiny_dataset, Accelerator(cpu=True), 8)
        return train(trainer).take_metrics()

    assert "penalty/real" in metrics(0.3, 0.0)
    assert "penalty/fake" in metrics(0.0, 0.3)
    for name in ("exact_penalty", "finite_difference_penalty", "perturb_targets"):
        monkeypatch.setattr(losses, name, lambda *_: pytest.fail("a penalty was computed"))
    without = metrics(0.0, 0.0)
    assert "loss/discriminator" in without
    assert not [name for name in without if name.startswith("penalty/")]
