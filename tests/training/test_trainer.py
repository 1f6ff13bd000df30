"""Runs are reproducible: from the same seed, after an interruption, and on several processes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from biglearn_gan.config import Config, ConfigError, load_config
from biglearn_gan.config.task_presets import task_components
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.devices import DeviceError, usable_device
from biglearn_gan.progress import TrainingProgress
from biglearn_gan.tasks.patches import patchify
from biglearn_gan.training import fit as fit_module
from biglearn_gan.training import losses, throughput
from biglearn_gan.training.fit import TrainingResult, fit, load_training_images
from biglearn_gan.training.run_folder import RunFolderError
from biglearn_gan.training.throughput import images_in_minutes
from biglearn_gan.training.trainer import Trainer, TrainingError

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

ELSEWHERE: list[dict[str, Any]] = [
    {"name": "from_nothing", "weight": 0.3},
    {
        "name": "scattered",
        "weight": 0.3,
        "union": {"pattern": "iid", "ratio": {"uniform": [0.3, 1.0]}},
        "target": {"pattern": "iid", "ratio": {"uniform": [0.1, 0.9]}},
    },
    {
        "name": "scattered elsewhere",
        "weight": 0.4,
        "union": {"pattern": "iid", "ratio": {"uniform": [0.3, 1.0]}},
        "target": {"pattern": "iid", "ratio": {"uniform": [0.1, 0.9]}},
        "domain": "orthogonal",
    },
]
EVERYTHING: dict[str, Any] = {
    "data.horizontal_flip": True,
    "tasks": {"components": ELSEWHERE},
    "model.generator.output": "linear",
    "loss": {
        "logistic": 1.0,
        "communication": 0.5,
        "fakes_per_real": 2,
        "penalty": {"kind": "finite_difference", "interval": 2},
    },
}
"""Every source of randomness that a step can have."""

TWO_KINDS: list[dict[str, Any]] = [
    {"name": "from_nothing", "weight": 0.5},
    {
        "name": "one_token",
        "weight": 0.5,
        "target": {"pattern": "iid", "ratio": {"count": 1}},
    },
    {
        "name": "half",
        "weight": 0.5,
        "target": {"pattern": "half_plane", "ratio": {"fixed": 0.5}},
    },
]


@pytest.fixture
def start(tiny_config: Callable[..., Config], tiny_dataset: ImageDataset) -> Callable[..., Trainer]:
    """A new trainer of a tiny configuration after changes."""

    def make(changes: dict[str, Any] | None = None) -> Trainer:
        config = tiny_config(changes)
        return Trainer(config, tiny_dataset, Accelerator(cpu=True), config.train.max_images)

    return make


def train(trainer: Trainer, steps: int | None = None) -> Trainer:
    while not trainer.finished and steps != 0:
        trainer.step()
        steps = None if steps is None else steps - 1
    return trainer


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """All leaves of nested dictionaries and lists, but for the times."""
    if isinstance(state, dict):
        items = list(state.items())
    elif isinstance(state, list | tuple):
        items = list(enumerate(state))
    else:
        return {name: state}
    leaves: dict[str, Any] = {}
    for key, value in items:
        if key not in ("seconds", "last_report"):
            leaves |= flat(value, f"{name}/{key}")
    return leaves


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal to the bit, times aside."""
    ours, theirs = flat(ours), flat(theirs)
    assert ours.keys() == theirs.keys()
    assert any(isinstance(value, Tensor) for value in ours.values())
    for name, value in ours.items():
        same = (
            torch.equal(value, theirs[name]) if isinstance(value, Tensor) else value == theirs[name]
        )
        assert same, name


# The trainer


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_the_seed_decides(start: Callable[..., Trainer], changes: dict[str, Any]) -> None:
    torch.manual_seed(11)
    first = train(start(changes)).state_dict()
    torch.manual_seed(12)
    assert_same(train(start(changes)).state_dict(), first)
    others = train(start(changes | {"train.seed": 1})).state_dict()["adversarial"]["generator"]
    for name, value in first["adversarial"]["generator"].items():
        assert not torch.equal(others[name], value), name


@pytest.mark.parametrize("steps", [1, 3, 4, 8], ids=["warm", "border", "game", "later"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    start: Callable[..., Trainer], tmp_path: Path, steps: int
) -> None:
    """Of twelve steps, three are the warm start; only files pass from one trainer to the next."""
    whole = train(start(EVERYTHING))
    assert whole.images_seen == 48
    torch.save(train(start(EVERYTHING), steps).state_dict(), tmp_path / "state.pt")
    resumed = start(EVERYTHING)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.images_seen == 4 * steps
    assert_same(train(resumed).state_dict(), whole.state_dict())


def test_every_step_draws_anew(start: Callable[..., Trainer]) -> None:
    """Images, flips, tasks, noise and perturbations; within a step, no two draws are the same."""
    changes = {"train.batch_size": 17, "train.max_images": 170, "loss.penalty.interval": 1}
    trainer = start(EVERYTHING | changes)
    flips: list[Tensor] = []
    whole = trainer.dataset.batch

    def watch(indices: Tensor, given: Tensor) -> Any:
        flips.append(given)
        return whole(indices, given)

    trainer.dataset.batch = watch  # type: ignore[method-assign]
    batches = []
    for images in (51, 68):  # both steps of the game
        batches.append(trainer.batch_sampler.draw(images)[0])
    first, second = batches
    assert (flips[0] != flips[1]).any()
    for of_batch in (
        lambda batch: batch.noise.z,
        lambda batch: batch.noise.token_noise[:, :1],
        lambda batch: batch.perturbation[:, :1],
        lambda batch: batch.real[:, :1],
    ):
        ours, theirs = of_batch(first), of_batch(second)
        assert ours.shape == theirs.shape
        assert not torch.isclose(ours, theirs).flatten(1).all(dim=1).any()
        if ours is not first.real:
            values = ours.flatten(0, -2)
            assert len(values.unique(dim=0)) > 0.9 * len(values)
    lengths = first.sequence.positions.shape[1], second.sequence.positions.shape[1]
    assert lengths[0] != lengths[1] or (first.sequence.is_target != second.sequence.is_target).any()
    for batch in batches:
        assert torch.equal(batch.second_split.positions, batch.sequence.positions)
        assert (batch.second_split.is_target != batch.sequence.is_target).any()


def test_the_game_draws_a_second_split_for_communication(start: Callable[..., Trainer]) -> None:
    sampler = start(EVERYTHING).batch_sampler
    has_split = [sampler.draw(images)[0].second_split is not None for images in range(0, 48, 4)]
    assert has_split == [False] * 3 + [True] * 9


def test_the_warm_start_is_transferred_to_the_discriminator_before_the_game(
    start: Callable[..., Trainer],
) -> None:
    trainer = start()
    before = {name: w.clone() for name, w in trainer.adversarial.discriminator.state_dict().items()}
    for _ in range(3):
        assert trainer.in_warm_start
        trainer.step()
    for name, weight in trainer.adversarial.discriminator.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert not trainer.in_warm_start

    transferred: list[bool] = []
    train_step, penalized = trainer.adversarial.train_step, []

    def watch(batch: Any, settings: Any, penalize: bool) -> Any:
        own = trainer.adversarial.discriminator.state_dict()
        theirs = trainer.adversarial.generator.state_dict()
        transferred.append(torch.equal(own["embedding.position"], theirs["embedding.position"]))
        penalized.append(penalize)
        return train_step(batch, settings, penalize)

    trainer.adversarial.train_step = watch  # type: ignore[method-assign]
    train(trainer)
    assert transferred == [True] + [False] * 8
    assert penalized == [True, False, False, False] * 2 + [True]


def test_without_a_warm_start_nothing_is_transferred(start: Callable[..., Trainer]) -> None:
    trainer = start({"train.warm_start.share": 0.0})
    assert not trainer.in_warm_start
    trainer.adversarial.transfer_to_discriminator = (  # type: ignore[method-assign]
        lambda: pytest.fail("transferred")
    )
    trainer.step()


def test_tasks_of_the_warm_start_have_a_source(start: Callable[..., Trainer]) -> None:
    sampler = start({"tasks": {"components": TWO_KINDS}, "train.max_images": 1600}).batch_sampler
    for first, without_source in ((0, False), (400, True)):  # the warm start, the game
        batches = [sampler.draw(images)[0] for images in range(first, first + 400, 4)]
        is_target = torch.cat([batch.sequence.is_target.all(dim=1) for batch in batches])
        assert bool(is_target.any()) is without_source


def test_a_task_in_another_domain_reads_mixtures_of_tokens(start: Callable[..., Trainer]) -> None:
    trainer = start(EVERYTHING | {"data.horizontal_flip": False})
    indices = EpochOrder(len(trainer.dataset), 0).indices(12, 4)
    own = patchify(trainer.dataset.batch(indices).images, trainer.config.model.patch_size)
    batch, tasks = trainer.batch_sampler.draw(12)
    assert tasks.transforms is not None
    for row, positions in enumerate(batch.sequence.positions.tolist()):
        transform = tasks.transforms[row]
        mixed = torch.stack([transform[place] @ own[row] for place in positions])
        torch.testing.assert_close(batch.real[row], mixed)
        assert batch.sequence.transforms is not None
        assert torch.equal(batch.sequence.transforms[row], transform[positions])


def test_absent_and_unobserved_pixels_never_enter_a_batch(
    start: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks lie inside the tokens whose every pixel is observed."""
    trainer = start()
    whole = trainer.dataset.batch

    def half(indices: Tensor, flips: Tensor | None = None) -> Any:
        batch = whole(indices, flips)
        observed = batch.observed.clone()
        observed[:, :3] = False  # the first row of tokens, and half of the second
        return replace(batch, observed=observed)

    monkeypatch.setattr(trainer.dataset, "batch", half)
    for images in range(0, 120, 4):
        batch, tasks = trainer.batch_sampler.draw(images)
        assert not tasks.masks.union[:, :8].any()
        assert batch.sequence.positions.min() >= 8


def test_the_model_for_use_has_the_average_and_the_live_discriminator(
    start: Callable[..., Trainer],
) -> None:
    trainer = train(start())
    model, players = trainer.model(), trainer.adversarial
    for ours, theirs in (
        (model.generator, players.average),
        (model.discriminator, players.discriminator),
    ):
        state = theirs.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    live = players.generator.state_dict()
    assert not torch.equal(model.generator.state_dict()["head.bias"], live["head.bias"])
    assert not model.training


def test_metrics_are_means_since_they_were_last_taken(start: Callable[..., Trainer]) -> None:
    trainer, seen = start(), []
    warm_start_step = trainer.adversarial.warm_start_step

    def watch(batch: Any, sizes: Any) -> Any:
        result = warm_start_step(batch, sizes)
        seen.append(result.metrics["warm_start/squared_error"].item())
        return result

    trainer.adversarial.warm_start_step = watch  # type: ignore[method-assign]
    train(trainer, 2)
    metrics = trainer.take_metrics()
    assert metrics["warm_start/squared_error"] == pytest.approx(sum(seen) / 2)
    assert metrics["images_per_second"] == pytest.approx(8 / metrics["seconds"])
    train(trainer, 1)
    assert trainer.take_metrics()["warm_start/squared_error"] == pytest.approx(seen[2])
    train(trainer, 1)
    assert "warm_start/squared_error" not in trainer.take_metrics()


def test_an_indivisible_batch_is_refused(
    tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
) -> None:
    class OfThree(Accelerator):
        num_processes = 3  # type: ignore[assignment]

    with pytest.raises(ConfigError) as caught:
        Trainer(tiny_config(), tiny_dataset, OfThree(cpu=True), 48)
    message = str(caught.value)
    assert message == "train.batch_size: 4 images do not divide among 3 processes"


# A loss that is not finite


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[[Tensor], Tensor]) -> None:
    """Make a loss NaN for the rows in which ``when`` holds for its last argument."""
    original = getattr(losses, name)

    def spoiled(*arguments: Tensor) -> Tensor:
        return original(*arguments).masked_fill(when(arguments[-1]), torch.nan)

    monkeypatch.setattr(losses, name, spoiled)


def test_a_diverging_warm_start_names_its_task(
    start: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no tasks from nothing, so its components have other numbers than the game's."""
    trainer = train(start({"tasks": {"components": TWO_KINDS}}), 2)
    spoil(monkeypatch, "squared_error", lambda is_target: is_target.sum(dim=1) == 8)
    with pytest.raises(TrainingError) as caught:
        train(trainer)
    message = str(caught.value)
    assert "warm_start/squared_error is not finite" in message
    assert "tasks: half)" in message


def test_a_diverging_game_names_step_tasks_and_folder(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config({"loss.logistic": 1.0, "logging.checkpoint_images": 16})
    run, whole = tmp_path / "run", tmp_path / "whole"

    def spoil_later(progress: TrainingProgress) -> None:
        if progress.images_seen == 28:  # 24 stands in metrics.csv, the last good state is of 16
            spoil(monkeypatch, "logistic_generator", lambda fake: torch.arange(len(fake)) == 0)

    with pytest.raises(TrainingError) as caught:
        fit(config, run, device="cpu", on_progress=spoil_later)
    message = str(caught.value)
    assert "\n" not in message
    assert "loss/generator is not finite at 28 images (step 7;" in message
    named = message.partition("tasks: ")[2].partition(")")[0]
    assert named in (component.name for component in task_components(config.tasks))
    assert str(run) in message
    monkeypatch.undo()
    assert load_state(run)["trainer"]["images_seen"] == 16
    assert [row["images"] for row in metrics_of(run)] == ["8", "16", "24"]
    fit(config, run, device="cpu")  # goes on from the last good state
    fit(config, whole, device="cpu")
    assert_same(load_state(run), load_state(whole))
    assert metrics_of(run) == metrics_of(whole)


# fit


def load_state(run: Path) -> dict[str, Any]:
    return torch.load(run / "state.pt", weights_only=True)


def metrics_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: v for name, v in row.items() if name not in ("seconds", "images_per_second")}
        for row in rows
    ]


def interrupt_at(images: int) -> Callable[[TrainingProgress], None]:
    """Press Ctrl-C after the step that reaches ``images``; it is answered after the next one."""

    def on_progress(progress: TrainingProgress) -> None:
        if progress.images_seen == images:
            signal.raise_signal(signal.SIGINT)

    return on_progress


def test_ctrl_c_and_the_same_call_again_equal_an_uninterrupted_run(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny_config(EVERYTHING)
    handler = signal.getsignal(signal.SIGINT)
    whole_run = tmp_path / "whole"
    whole = fit(config, whole_run, device="cpu")
    assert (whole.images_seen, whole.total_images, whole.interrupted) == (48, 48, False)

    run = tmp_path / "run"
    outcomes: list[TrainingResult] = []
    for images in (8, 16, 40):
        outcomes.append(fit(config, run, device="cpu", on_progress=interrupt_at(images)))
    outcomes.append(fit(config, run, device="cpu"))

    # 12 is the border of the warm start; none of the three ends an interval of the log.
    assert [outcome.images_seen for outcome in outcomes] == [12, 20, 44, 48]
    assert [outcome.interrupted for outcome in outcomes] == [True, True, True, False]
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same(load_state(run), load_state(whole_run))
    assert metrics_of(run) == metrics_of(whole_run)
    assert_same(*(load_file(r / "checkpoint" / "model.safetensors") for r in (run, whole_run)))


def test_metrics_have_one_row_per_interval_and_both_phases(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    fit(tiny_config(), tmp_path / "run", device="cpu")
    rows = metrics_of(tmp_path / "run")
    assert [row["images"] for row in rows] == ["8", "16", "24", "32", "40", "48"]
    warm = [bool(row["warm_start/squared_error"]) for row in rows]
    game = [bool(row["loss/discriminator"]) for row in rows]
    assert warm == [True, True, False, False, False, False]  # the third of twelve steps is warm
    assert game == [False, True, True, True, True, True]


def test_a_finished_run_stays_as_it_is(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    first = fit(tiny_config(), tmp_path / "run", device="cpu")
    state = load_state(tmp_path / "run")
    calls: list[TrainingProgress] = []
    again = fit(tiny_config(), tmp_path / "run", device="cpu", on_progress=calls.append)
    assert (again.images_seen, again.interrupted) == (first.images_seen, False)
    assert not calls
    assert_same(load_state(tmp_path / "run"), state)
    assert len(metrics_of(tmp_path / "run")) == 6


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "train.learning_rate.generator",
            0.007,
            "train.learning_rate.generator = 0.002, not 0.007: choose another output folder or the "
            "same configuration (it may differ with a larger train.max_images)",
        ),
        ("model.generator.depth", 2, "model.generator.depth = 1, not 2"),
        ("train.max_images", 24, "train.max_images = 48, not 24: choose another output folder"),
        ("tasks.preset", "mae", "tasks.preset = big, not mae"),
    ],
)
def test_another_configuration_is_refused(
    tiny_config: Callable[..., Config], tmp_path: Path, key: str, value: Any, told: str
) -> None:
    run = tmp_path / "run"
    fit(tiny_config(), run, device="cpu", on_progress=interrupt_at(4))
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(RunFolderError) as caught:
        fit(tiny_config({key: value}), run, device="cpu")
    assert told in str(caught.value)
    assert str(run) in str(caught.value)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_larger_budget_goes_on_from_what_is_there(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    share = {"train.warm_start.share": 0.5, "train.learning_rate.hold_share": 0.0}
    run = tmp_path / "run"
    fit(tiny_config(share), run, device="cpu")
    spent = load_state(run)
    finer = {"train.max_images": 96, "train.learning_rate.generator": 1e-4}
    finer["train.ema_half_life_images"] = 999
    larger = tiny_config(share | finer)
    assert fit(larger, run, device="cpu", on_progress=interrupt_at(52)).interrupted
    again = fit(larger, run, device="cpu")
    assert (again.images_seen, again.total_images) == (96, 96)
    state = load_state(run)
    assert (state["max_images"], state["original_max_images"]) == (96, 48)

    # The same as a trainer of the larger budget and the first warm start, from that state.
    dataset = load_training_images(larger, torch.device("cpu"))
    trainer = Trainer(larger, dataset, Accelerator(cpu=True), 96, 48)
    assert trainer.schedule.warm_start_images == 24
    trainer.load_state_dict(spent["trainer"])
    while not trainer.finished:
        trainer.step()
    assert_same(trainer.state_dict()["adversarial"], state["trainer"]["adversarial"])


def test_what_is_logged_and_where_the_data_are_may_change(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(tiny_config(), run, device="cpu", on_progress=interrupt_at(4))
    changed = tiny_config({"logging.log_images": 12, "data.root": "elsewhere"})
    assert fit(changed, run, device="cpu").images_seen == 48


def test_a_broken_state_is_one_sentence(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(tiny_config(), run, device="cpu", on_progress=interrupt_at(4))
    whole = (run / "state.pt").read_bytes()
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.pt")
    for damaged in (whole[:1000], b"a text", b"", (tmp_path / "other.pt").read_bytes()):
        (run / "state.pt").write_bytes(damaged)
        with pytest.raises(RunFolderError, match=r"state\.pt: cannot be read") as caught:
            fit(tiny_config(), run, device="cpu")
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)


def test_unknown_and_missing_devices_are_refused(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match="no device 'abacus': choose one of auto, cpu"):
        fit(tiny_config(), tmp_path / "run", device="abacus")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("there", "best"), [((), "cpu"), (("mps",), "mps"), (("mps", "cuda"), "cuda")]
)
def test_auto_is_the_best_device_here(
    there: tuple[str, ...], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    monkeypatch.setattr(torch, "zeros", lambda *_, device: torch.empty(1))
    assert usable_device("auto") == torch.device(best)
    with pytest.raises(DeviceError, match=f"choose one of {', '.join(('auto', 'cpu', *there))}$"):
        usable_device("abacus")


# A budget in minutes


def test_minutes_are_turned_into_images_by_the_cost_of_every_phase(
    tiny_config: Callable[..., Config],
    tiny_dataset: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter at 0.01 s and three quarters at 0.03 s are 0.025 s: 1,200 images in 30 s."""
    monkeypatch.setattr(
        throughput,
        "_seconds_per_image",
        lambda *arguments: 0.01 if arguments[-1] == 0 else 0.03,
    )
    config = tiny_config({"train.max_images": None, "train.max_minutes": 0.5})
    assert images_in_minutes(config, tiny_dataset, Accelerator(cpu=True)) == 1200
    monkeypatch.setattr(throughput, "_seconds_per_image", lambda *_: 0.03)
    cold = tiny_config(
        {"train.max_images": None, "train.max_minutes": 0.5, "train.warm_start.share": 0.0}
    )
    assert images_in_minutes(cold, tiny_dataset, Accelerator(cpu=True)) == 1000


def test_a_budget_in_minutes_is_measured_once_and_kept(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.12 s at a cost that is measured, and then said to be 0.003 s an image, are 40 images."""
    monkeypatch.setattr(throughput, "TIMED_SECONDS", 0.01)
    measure = throughput._seconds_per_image
    monkeypatch.setattr(
        throughput,
        "_seconds_per_image",
        lambda *given, **named: 0.003 if measure(*given, **named) > 0 else 0.0,
    )
    config = tiny_config({"train.max_images": None, "train.max_minutes": 0.002})
    run = tmp_path / "run"
    totals: list[int] = []

    def stop_at_once(progress: TrainingProgress) -> None:
        totals.append(progress.total_images)
        if len(totals) == 1:
            signal.raise_signal(signal.SIGINT)

    first = fit(config, run, device="cpu", on_progress=stop_at_once)
    assert first.interrupted
    budget = load_state(run)["max_images"]
    assert 39 <= budget <= 40
    assert first.total_images == 40

    monkeypatch.setattr(
        fit_module, "images_in_minutes", lambda *_: pytest.fail("measured a second time")
    )
    second = fit(config, run, device="cpu")
    assert second.images_seen == second.total_images == first.total_images
    assert load_state(run)["max_images"] == budget
    assert set(totals) == {first.total_images}

    # The measurement leaves no trace: a run of that many images from the start is the same.
    in_images = tiny_config({"train.max_images": budget})
    fit(in_images, tmp_path / "images", device="cpu")
    ours, theirs = load_state(run), load_state(tmp_path / "images")
    assert_same(ours["trainer"]["adversarial"], theirs["trainer"]["adversarial"])


# Several processes


def torchrun(processes: int, arguments: list[str]) -> tuple[int, str]:
    """Exit code and stderr of ``biglearn-gan`` in several gloo processes, on a free port."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc_per_node", str(processes), "-m", "biglearn_gan"]
    with subprocess.Popen(
        launcher + arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as launched:
        try:
            _, errors = launched.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            launched.terminate()  # the launcher ends its workers
            raise
    return launched.returncode, errors


def test_two_processes_equal_one(
    tiny_values: Callable[..., dict[str, Any]], tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """Six steps with everything random, to float32 tolerance; no process leaves with a warning."""
    changes = EVERYTHING | {"train.max_images": 24}
    fit(tiny_config(changes), tmp_path / "one", device="cpu")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_values(changes)))
    command = ["--device", "cpu", "--config", str(tmp_path / "tiny.yaml")]
    code, errors = torchrun(2, ["train", *command, "--output", str(tmp_path / "two")])
    assert code == 0, errors
    for words in ("process group", "ProcessGroup", "destroy", "leak", "Traceback"):
        assert words not in errors
    one, two = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-4, msg=name)
    ours, theirs = metrics_of(tmp_path / "two"), metrics_of(tmp_path / "one")
    assert [row["images"] for row in ours] == ["8", "16", "24"]
    for our_row, their_row in zip(ours, theirs, strict=True):
        for name, value in their_row.items():
            assert bool(our_row[name]) == bool(value)
            if value:
                assert float(our_row[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4)


def test_several_threads_sum_in_the_same_order_every_time() -> None:
    """At the sizes of the shipped digits, where gradients are summed by all threads at once."""
    config = load_config(EXPERIMENTS / "digits.yaml", ["train.warm_start.share=0.0"])
    dataset = load_dataset(config.data, "train")
    weights = []
    torch.set_num_threads(max(2, os.cpu_count() or 1))
    for _ in range(2):
        trainer = Trainer(config, dataset, Accelerator(cpu=True), max_images=10**6)
        for _ in range(30):
            trainer.step()
        weights.append([p.detach().clone() for p in trainer.adversarial.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
