"""``fit`` resumes exactly, and never saves a broken run: signals, crashes, infinite numbers."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from training_tools import (
    MOST_RANDOMNESS,
    ThreeProcesses,
    assert_good_run,
    assert_same,
    load_metrics,
    load_state,
    load_weights,
    press_ctrl_c_at,
    spoil_loss,
    train,
)

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.config.task_presets import task_components
from biglearn_gan.devices import DeviceError
from biglearn_gan.progress import TrainingProgress
from biglearn_gan.training import fit as fit_module
from biglearn_gan.training import throughput
from biglearn_gan.training.adversarial import AdversarialTraining
from biglearn_gan.training.fit import TrainingResult, fit, load_training_images
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.stop_signals import STOP_SIGNALS
from biglearn_gan.training.trainer import Trainer, TrainingError


def test_a_run_stopped_by_ctrl_c_resumes_exactly(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny_config(MOST_RANDOMNESS)
    handler = signal.getsignal(signal.SIGINT)
    uninterrupted = tmp_path / "uninterrupted"
    result = fit(config, uninterrupted, device="cpu")
    assert (result.images_seen, result.total_images, result.interrupted) == (48, 48, False)

    run = tmp_path / "run"
    results: list[TrainingResult] = []
    for images in (8, 16, 40):
        results.append(fit(config, run, device="cpu", on_progress=press_ctrl_c_at(images)))
    results.append(fit(config, run, device="cpu"))

    # The warm start ends at 12; no stop is at the end of a logging interval.
    assert [result.images_seen for result in results] == [12, 20, 44, 48]
    assert [result.interrupted for result in results] == [True, True, True, False]
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same(load_state(run), load_state(uninterrupted))
    assert load_metrics(run) == load_metrics(uninterrupted)
    assert_same(load_weights(run), load_weights(uninterrupted))


def test_metrics_have_one_row_per_interval_and_both_phases(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    fit(tiny_config(), str(tmp_path / "run"), device="cpu")
    rows = load_metrics(tmp_path / "run")
    assert [row["images"] for row in rows] == ["8", "16", "24", "32", "40", "48"]
    warm = [bool(row["warm_start/squared_error"]) for row in rows]
    adversarial = [bool(row["loss/discriminator"]) for row in rows]
    assert warm == [True, True, False, False, False, False]  # three of twelve steps
    assert adversarial == [False, True, True, True, True, True]


def test_a_finished_run_does_not_change(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    first = fit(tiny_config(), tmp_path / "run", device="cpu")
    state = load_state(tmp_path / "run")
    calls: list[TrainingProgress] = []
    again = fit(tiny_config(), tmp_path / "run", device="cpu", on_progress=calls.append)
    assert (again.images_seen, again.interrupted) == (first.images_seen, False)
    assert not calls
    assert_same(load_state(tmp_path / "run"), state)
    assert len(load_metrics(tmp_path / "run")) == 6


def test_a_run_goes_on_with_a_larger_budget(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    share = {"train.warm_start.share": 0.5, "train.learning_rate.hold_share": 0.0}
    run = tmp_path / "run"
    fit(tiny_config(share), run, device="cpu")
    first_state = load_state(run)
    changes = {"train.max_images": 96, "train.learning_rate.generator": 1e-4}
    changes["train.ema_half_life_images"] = 999
    larger = tiny_config(share | changes)
    assert fit(larger, run, device="cpu", on_progress=press_ctrl_c_at(52)).interrupted
    again = fit(larger, run, device="cpu")
    assert (again.images_seen, again.total_images) == (96, 96)
    state = load_state(run)
    assert (state["max_images"], state["original_max_images"]) == (96, 48)

    # A trainer with the larger budget and the warm start of the first one does the same.
    dataset = load_training_images(larger, torch.device("cpu"))
    trainer = Trainer(larger, dataset, Accelerator(cpu=True), 96, 48)
    assert trainer.schedule.warm_start_images == 24
    trainer.load_state_dict(first_state["trainer"])
    train(trainer)
    assert_same(trainer.state_dict()["adversarial"], state["trainer"]["adversarial"])


@pytest.mark.parametrize(
    ("interval", "expected"), [(18, [20, 36, 48]), (12, [12, 24, 36, 48]), (1000, [48])], ids=str
)
def test_grids_are_named_by_the_images_seen(
    tiny_config: Callable[..., Config], tmp_path: Path, interval: int, expected: list[int]
) -> None:
    """One grid per interval that a step of 4 images crosses and one at the end, none for Ctrl-C."""
    config, run = tiny_config({"logging.grid_images": interval}), tmp_path / "run"
    assert fit(config, run, device="cpu", on_progress=press_ctrl_c_at(20)).interrupted
    fit(config, run, device="cpu")
    names = sorted(path.name for path in (run / "grids").iterdir())
    assert names == [f"{images:09d}.png" for images in expected]


def test_a_budget_in_minutes_is_measured_only_once(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The speed is measured and then replaced by 0.003 s per image: 0.12 s are 40 images."""
    monkeypatch.setattr(throughput, "TIMED_SECONDS", 0.01)
    measure = throughput._seconds_per_image
    monkeypatch.setattr(
        throughput,
        "_seconds_per_image",
        lambda *arguments: 0.003 if measure(*arguments) > 0 else 0.0,
    )
    config = tiny_config({"train.max_images": None, "train.max_minutes": 0.002})
    run = tmp_path / "run"
    totals: list[int] = []

    def stop_immediately(progress: TrainingProgress) -> None:
        totals.append(progress.total_images)
        if len(totals) == 1:
            signal.raise_signal(signal.SIGINT)

    first = fit(config, run, device="cpu", on_progress=stop_immediately)
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

    # A run with the same budget in images is the same: the measurement changes nothing.
    in_images = tiny_config({"train.max_images": budget})
    fit(in_images, tmp_path / "images", device="cpu")
    trainers = [load_state(path)["trainer"] for path in (run, tmp_path / "images")]
    assert_same(trainers[0]["adversarial"], trainers[1]["adversarial"])


@pytest.mark.parametrize("budget", [{"max_images": 48}, {"max_minutes": 0.002}], ids=str)
def test_an_indivisible_batch_is_refused_before_the_data_are_loaded(
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget: dict[str, Any],
) -> None:
    limits: dict[str, Any] = {"train.max_images": None, "train.max_minutes": None}
    limits |= {f"train.{name}": value for name, value in budget.items()}
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "make_accelerator", lambda *_, **__: ThreeProcesses(cpu=True))
        patch.setattr(fit_module, "load_dataset", lambda *_, **__: pytest.fail("data were loaded"))
        with pytest.raises(ConfigError) as caught:
            fit(tiny_config(limits), run, device="cpu")
    assert str(caught.value) == "train.batch_size: 4 images do not divide among 3 processes"
    corrected = tiny_config({"train.batch_size": 6})
    assert fit(corrected, run, device="cpu").images_seen == 48


def test_an_unknown_device_is_refused(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no device 'abacus': choose one of auto, cpu"):
        fit(tiny_config(), tmp_path / "run", device="abacus")
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_state_starts_again_with_any_configuration(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """A crash before the first checkpoint leaves nothing that could be lost."""
    run, fresh = tmp_path / "run", tmp_path / "fresh"

    def crash(progress: TrainingProgress) -> None:
        if progress.images_seen == 20:
            raise MemoryError("a crash")

    with pytest.raises(MemoryError, match="a crash"):
        fit(tiny_config(), run, device="cpu", on_progress=crash)
    assert (run / "config.yaml").exists()
    assert not (run / "state.pt").exists()

    another = tiny_config({"train.learning_rate.generator": 0.007, "train.max_images": 24})
    assert fit(another, run, device="cpu").images_seen == 24
    assert yaml.safe_load((run / "config.yaml").read_text()) == another.to_dict()
    fit(another, fresh, device="cpu")
    assert load_metrics(run) == load_metrics(fresh)
    assert_same(load_weights(run), load_weights(fresh))


# Numbers that are not finite


@contextmanager
def spoiled_weights(step: int, value: float) -> Iterator[None]:
    """The ``step``-th update of the generator sets one of its weights to ``value``."""
    update, steps = AdversarialTraining.update, 0

    def spoil(self: AdversarialTraining, network: str, *arguments: Any) -> Any:
        nonlocal steps
        result = update(self, network, *arguments)
        steps += network == "generator"
        if network == "generator" and steps == step:
            with torch.no_grad():
                self.generator.head.weight[1, 2] = value
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdversarialTraining, "update", spoil)
        yield


@pytest.mark.parametrize(
    ("step", "pressed", "value"),
    [
        (8, None, torch.nan),
        (8, None, -torch.inf),
        (12, None, torch.nan),
        (7, 24, torch.nan),
    ],
    ids=["interval", "infinite", "end", "ctrl-c"],
)
def test_weights_that_are_not_finite_are_never_saved(
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    step: int,
    pressed: int | None,
    value: float,
) -> None:
    """The losses of the step are finite, because they belong to the weights before it."""
    interval, good = (16, 16) if step < 12 else (31, 32)
    config = tiny_config({"logging.checkpoint_images": interval, "logging.log_images": 1000})
    run = tmp_path / "run"
    on_progress = press_ctrl_c_at(pressed) if pressed else lambda progress: None
    with spoiled_weights(step, value), pytest.raises(TrainingError) as caught:
        fit(config, run, device="cpu", on_progress=on_progress)
    message = str(caught.value)
    assert "\n" not in message
    assert "not finite" in message
    _, _, last_good_state = message.partition("last good state: ")
    assert last_good_state == f"{run} at {good} images"
    assert_good_run(run, good)
    assert fit(config, run, device="cpu").images_seen == 48
    assert_good_run(run, 48)


def test_the_message_says_if_there_is_no_good_state(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = tiny_config({"logging.checkpoint_images": 8})
    with spoiled_weights(2, torch.nan), pytest.raises(TrainingError) as caught:
        fit(config, run, device="cpu")
    assert "not finite" in str(caught.value)
    assert str(caught.value).endswith("; last good state: none yet")
    assert not (run / "state.pt").exists()
    assert not (run / "checkpoint").exists()


def test_a_loss_that_is_not_finite_names_step_tasks_and_folder(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config({"loss.logistic": 1.0, "logging.checkpoint_images": 20})
    run, uninterrupted = tmp_path / "run", tmp_path / "uninterrupted"

    def spoil_later(progress: TrainingProgress) -> None:
        if progress.images_seen == 28:  # after a line of the log at 24, and a state at 20
            spoil_loss(monkeypatch, "logistic_generator", lambda fake: torch.arange(len(fake)) == 0)

    with pytest.raises(TrainingError) as caught:
        fit(config, run, device="cpu", on_progress=spoil_later)
    message = str(caught.value)
    assert "\n" not in message
    assert "loss/generator is not finite at 28 images (step 7;" in message
    task = message.partition("tasks: ")[2].partition(")")[0]
    assert task in (component.name for component in task_components(config.tasks))
    assert message.endswith(f"; last good state: {run} at 20 images")
    monkeypatch.undo()
    assert load_state(run)["trainer"]["images_seen"] == 20
    assert [row["images"] for row in load_metrics(run)] == ["8", "16", "24"]
    fit(config, run, device="cpu")  # from the last good state
    fit(config, uninterrupted, device="cpu")
    assert_same(load_state(run), load_state(uninterrupted))
    assert load_metrics(run) == load_metrics(uninterrupted)


# Signals


@pytest.fixture
def handler() -> Iterator[Any]:
    """The handler of all signals before the run, which raises and does not kill the test."""
    before = [signal.signal(number, signal.default_int_handler) for number in STOP_SIGNALS]
    yield signal.default_int_handler
    for number, previous in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(number, previous)


def test_the_first_ctrl_c_restores_the_previous_handler(
    tiny_config: Callable[..., Config], tmp_path: Path, handler: Any
) -> None:
    handlers: dict[int, Any] = {}

    def on_progress(progress: TrainingProgress) -> None:
        if progress.images_seen == 8:
            signal.raise_signal(signal.SIGINT)
        handlers[progress.images_seen] = signal.getsignal(signal.SIGINT)

    result = fit(tiny_config(), tmp_path / "run", device="cpu", on_progress=on_progress)
    assert (result.interrupted, result.images_seen) == (True, 12)
    assert handlers[4] is not handler
    assert handlers[8] is handlers[12] is handler
    assert signal.getsignal(signal.SIGINT) is handler
    assert_good_run(tmp_path / "run", 12)


def test_a_thread_trains_as_the_main_thread_does(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """Only the main thread of a process can catch signals."""
    fit(tiny_config(), tmp_path / "main", device="cpu")
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(fit, tiny_config(), tmp_path / "other", device="cpu").result()
    assert not result.interrupted
    assert_same(load_weights(tmp_path / "other"), load_weights(tmp_path / "main"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_of_schedulers_and_terminals_save_the_run(
    tiny_config: Callable[..., Config], tmp_path: Path, handler: Any, number: signal.Signals
) -> None:
    """Even if they come twice: a worker may get one from the scheduler and from its launcher."""

    def on_progress(progress: TrainingProgress) -> None:
        if progress.images_seen == 8:
            signal.raise_signal(number)
            signal.raise_signal(number)

    config, run = tiny_config({"train.max_images": 24}), tmp_path / "run"
    result = fit(config, run, device="cpu", on_progress=on_progress)
    assert (result.interrupted, result.images_seen) == (True, 12)
    assert signal.getsignal(number) is handler
    assert_good_run(run, 12)
    assert fit(config, run, device="cpu").images_seen == 24
    fit(config, tmp_path / "uninterrupted", device="cpu")
    assert_same(load_state(run), load_state(tmp_path / "uninterrupted"))
    assert_same(load_weights(run), load_weights(tmp_path / "uninterrupted"))


def test_an_ignored_hangup_stays_ignored(
    tiny_config: Callable[..., Config], tmp_path: Path, handler: Any
) -> None:
    """``nohup`` starts a command that continues after its terminal was closed."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handlers: list[Any] = []

    def on_progress(progress: TrainingProgress) -> None:
        signal.raise_signal(signal.SIGHUP)
        handlers.append(signal.getsignal(signal.SIGHUP))

    config = tiny_config({"train.max_images": 8})
    assert not fit(config, tmp_path / "run", device="cpu", on_progress=on_progress).interrupted
    assert set(handlers) == {signal.SIG_IGN}


def test_a_second_ctrl_c_while_saving_stops_immediately(
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    handler: Any,
) -> None:
    """The same call then resumes from the state that was saved before."""
    config, run = tiny_config({"logging.checkpoint_images": 16}), tmp_path / "run"
    save_state = RunFolder.save_state

    def press_again(self: RunFolder, state: dict[str, Any]) -> None:
        if self.has_state:
            signal.raise_signal(signal.SIGINT)
        save_state(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_state", press_again)
        with pytest.raises(KeyboardInterrupt):
            fit(config, run, device="cpu", on_progress=press_ctrl_c_at(20))
    assert signal.getsignal(signal.SIGINT) is handler
    assert_good_run(run, 16)
    assert fit(config, run, device="cpu").images_seen == 48
