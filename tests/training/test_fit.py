"""What ``fit`` refuses, saves and survives: bad batches and weights, Ctrl-C, several processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.progress import TrainingProgress
from biglearn_gan.training import fit as fit_module
from biglearn_gan.training import losses
from biglearn_gan.training.adversarial import AdversarialTraining
from biglearn_gan.training.fit import fit
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.trainer import Trainer, TrainingError

ROOT = Path(__file__).parents[2]

THREE_KINDS: list[dict[str, Any]] = [
    {"name": "from_nothing", "weight": 0.3},
    {"name": "one_token", "weight": 0.3, "target": {"pattern": "iid", "ratio": {"count": 1}}},
    {"name": "half", "weight": 0.4, "target": {"pattern": "half_plane", "ratio": {"fixed": 0.5}}},
]
"""Components that the number of targets (16, 1 and 8 of 16 tokens) tells apart."""


def load_state(run: Path) -> dict[str, Any]:
    return torch.load(run / "state.pt", weights_only=True)


def tensors_of(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, list | tuple):
        return [tensor for value in state for tensor in tensors_of(value)]
    return []


def assert_finite(state: Any) -> None:
    tensors = tensors_of(state)
    assert tensors
    assert all(bool(tensor.isfinite().all()) for tensor in tensors)


def assert_good_run(run: Path, images_seen: int) -> None:
    """Both the state and the model for use are there, of finite numbers."""
    state = load_state(run)
    assert state["trainer"]["images_seen"] == images_seen
    assert_finite(state)
    assert_finite(load_file(run / "checkpoint" / "model.safetensors"))


def metrics_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: v for name, v in row.items() if name not in ("seconds", "images_per_second")}
        for row in rows
    ]


def press_at(images: int) -> Callable[[TrainingProgress], None]:
    """Press Ctrl-C after the step that reaches ``images``; it is answered after the next one."""

    def on_progress(progress: TrainingProgress) -> None:
        if progress.images_seen == images:
            signal.raise_signal(signal.SIGINT)

    return on_progress


# A refused run, and one that crashed early


@pytest.mark.parametrize("budget", [{"max_images": 48}, {"max_minutes": 0.002}], ids=str)
def test_an_indivisible_batch_is_refused_before_anything_is_done(
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget: dict[str, Any],
) -> None:
    class OfThree(Accelerator):
        num_processes = 3  # type: ignore[assignment]

    limits: dict[str, Any] = {"train.max_images": None, "train.max_minutes": None}
    limits |= {f"train.{name}": value for name, value in budget.items()}
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "make_accelerator", lambda *_, **__: OfThree(cpu=True))
        patch.setattr(fit_module, "load_dataset", lambda *_, **__: pytest.fail("data were loaded"))
        with pytest.raises(ConfigError) as caught:
            fit(tiny_config(limits), run, device="cpu")
    assert str(caught.value) == "train.batch_size: 4 images do not divide among 3 processes"
    corrected = tiny_config({"train.batch_size": 6})
    assert fit(corrected, run, device="cpu").images_seen == 48


def test_a_run_without_a_state_gives_way_to_another_configuration(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """After a crash before the first checkpoint, nothing is there that could be lost."""
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
    assert metrics_of(run) == metrics_of(fresh)
    ours, theirs = (load_file(r / "checkpoint" / "model.safetensors") for r in (run, fresh))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


# Numbers that are not finite


@contextmanager
def spoiled_weights(step: int, value: float) -> Iterator[None]:
    """One of the generator's weights becomes ``value`` by its ``step``-th update."""
    update, steps = AdversarialTraining._update, 0

    def spoil(self: AdversarialTraining, player: str, *given: Any, **named: Any) -> Any:
        nonlocal steps
        result = update(self, player, *given, **named)
        steps += player == "generator"
        if player == "generator" and steps == step:
            with torch.no_grad():
                self.generator.head.weight[1, 2] = value
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdversarialTraining, "_update", spoil)
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
    """The step's losses are of the weights before it, so they are finite."""
    interval, good = (16, 16) if step < 12 else (31, 32)
    config = tiny_config({"logging.checkpoint_images": interval, "logging.log_images": 1000})
    run = tmp_path / "run"
    on_progress = press_at(pressed) if pressed else lambda progress: None
    with spoiled_weights(step, value), pytest.raises(TrainingError) as caught:
        fit(config, run, device="cpu", on_progress=on_progress)
    message = str(caught.value)
    assert "\n" not in message
    assert "not finite" in message
    _, named, where = message.partition("last good state")
    assert named
    assert str(run) in where
    assert f"{good} images" in where
    assert_good_run(run, good)
    assert fit(config, run, device="cpu").images_seen == 48
    assert_good_run(run, 48)


def test_no_good_state_is_named_where_there_is_none(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = tiny_config({"logging.checkpoint_images": 8})
    with spoiled_weights(2, torch.nan), pytest.raises(TrainingError) as caught:
        fit(config, run, device="cpu")
    assert "not finite" in str(caught.value)
    where = str(caught.value).partition("last good state")[2]
    assert str(run) not in where
    assert "images" not in where
    assert not (run / "state.pt").exists()
    assert not (run / "checkpoint").exists()


@pytest.mark.parametrize(
    ("name", "block"),
    [("energy_score", 0), ("exact_penalty", 0), ("exact_penalty", 1), ("exact_penalty", 2)],
    ids=["energy", "penalty of a real", "of its first fake", "of its second fake"],
)
def test_a_row_that_is_not_finite_names_its_task(
    tiny_config: Callable[..., Config],
    tiny_dataset: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    block: int,
) -> None:
    """A single row of a batch of several components, of 4 images (and their fakes, in blocks)."""
    config = tiny_config(
        {
            "tasks": {"components": THREE_KINDS},
            "train.warm_start.share": 0.0,
            "train.max_images": 400,
            "loss.penalty.interval": 1,
        }
    )
    original, spoiled = getattr(losses, name), []

    def spoil(*given: Tensor) -> Tensor:
        values, targets = original(*given), given[-1].sum(dim=1)[4 * block : 4 * block + 4]
        halves = (targets == 8).nonzero()[:, 0]
        if len(targets.unique()) == 1 or len(halves) == 0:
            return values
        row = 4 * block + halves[0]
        spoiled.append(row)
        return torch.where(torch.arange(len(values)) == row, torch.nan, values)

    monkeypatch.setattr(losses, name, spoil)
    trainer = Trainer(config, tiny_dataset, Accelerator(cpu=True), 400)
    with pytest.raises(TrainingError) as caught:
        while not trainer.finished:
            trainer.step()
    assert len(spoiled) == 1
    message = str(caught.value)
    assert "is not finite" in message
    assert message.partition("tasks: ")[2].partition(")")[0] == "half"


# What is written, and what is computed


@pytest.mark.parametrize(
    ("interval", "expected"), [(18, [20, 36, 48]), (12, [12, 24, 36, 48]), (1000, [48])], ids=str
)
def test_grids_are_named_by_the_images_seen(
    tiny_config: Callable[..., Config], tmp_path: Path, interval: int, expected: list[int]
) -> None:
    """One per interval that a step of 4 images crosses, and one of the end; Ctrl-C adds none."""
    config, run = tiny_config({"logging.grid_images": interval}), tmp_path / "run"
    assert fit(config, run, device="cpu", on_progress=press_at(20)).interrupted
    fit(config, run, device="cpu")
    names = sorted(path.name for path in (run / "grids").iterdir())
    assert names == [f"{images:09d}.png" for images in expected]


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
        while not trainer.finished:
            trainer.step()
        return trainer.take_metrics()

    assert "penalty/real" in metrics(0.3, 0.0)
    assert "penalty/fake" in metrics(0.0, 0.3)
    for name in ("exact_penalty", "finite_difference_penalty", "perturb_targets"):
        monkeypatch.setattr(losses, name, lambda *_: pytest.fail("a penalty was computed"))
    free = metrics(0.0, 0.0)
    assert "loss/discriminator" in free
    assert not [name for name in free if name.startswith("penalty/")]


# Ctrl-C twice


@pytest.fixture
def handler() -> Iterator[Any]:
    """The handler of both signals before the run: Python's own of Ctrl-C, which kills no test."""
    stopping = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in stopping]
    yield signal.default_int_handler
    for number, theirs in zip(stopping, before, strict=True):
        signal.signal(number, theirs)


def test_a_first_ctrl_c_gives_the_previous_handler_back(
    tiny_config: Callable[..., Config], tmp_path: Path, handler: Any
) -> None:
    handlers: dict[int, Any] = {}

    def on_progress(progress: TrainingProgress) -> None:
        if progress.images_seen == 8:
            signal.raise_signal(signal.SIGINT)
        handlers[progress.images_seen] = signal.getsignal(signal.SIGINT)

    outcome = fit(tiny_config(), tmp_path / "run", device="cpu", on_progress=on_progress)
    assert (outcome.interrupted, outcome.images_seen) == (True, 12)
    assert handlers[4] is not handler
    assert handlers[8] is handlers[12] is handler
    assert signal.getsignal(signal.SIGINT) is handler
    assert_good_run(tmp_path / "run", 12)


def test_sigterm_saves_however_often_it_comes(
    tiny_config: Callable[..., Config], tmp_path: Path, handler: Any
) -> None:
    """A launcher hands on to its workers what a scheduler has sent to all of them."""

    def on_progress(progress: TrainingProgress) -> None:
        if progress.images_seen == 8:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    outcome = fit(tiny_config(), tmp_path / "run", device="cpu", on_progress=on_progress)
    assert (outcome.interrupted, outcome.images_seen) == (True, 12)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert_good_run(tmp_path / "run", 12)


def test_a_second_ctrl_c_while_saving_stops_at_once(
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    handler: Any,
) -> None:
    """It leaves the state that was saved before, and the same call goes on from that."""
    config, run = tiny_config({"logging.checkpoint_images": 16}), tmp_path / "run"
    save_state = RunFolder.save_state

    def press_again(self: RunFolder, *given: Any, **named: Any) -> None:
        if self.has_state:
            signal.raise_signal(signal.SIGINT)
        save_state(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_state", press_again)
        with pytest.raises(KeyboardInterrupt):
            fit(config, run, device="cpu", on_progress=press_at(20))
    assert signal.getsignal(signal.SIGINT) is handler
    assert_good_run(run, 16)
    assert fit(config, run, device="cpu").images_seen == 48


# The shipped model, on all threads of the machine


def test_a_shipped_model_draws_the_same_however_many_are_asked_for() -> None:
    model = BigLearnGAN.from_pretrained(ROOT / "checkpoints" / "digits")
    images = 2 * torch.rand(70, 1, 8, 8) - 1
    hole = torch.zeros(70, 8, 8, dtype=torch.bool)
    hole[:, :, 4:] = True
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, os.cpu_count() or 1))
    try:
        many, few = model.sample(100, seed=5), model.sample(3, seed=5)
        of_many = model.complete(images, hole, seed=5)
        of_few = model.complete(images[:3], hole[:3], seed=5)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(many[:3], few)
    assert torch.equal(of_many[:3], of_few)
    assert len(many.flatten(1).unique(dim=0)) == 100


# Processes of their own: bfloat16 and several processes


def environment(**changes: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | changes


def free_ports(count: int) -> list[str]:
    """Different ports that nothing listens on."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.socket()) for _ in range(count)]
        for server in servers:
            server.bind(("127.0.0.1", 0))
        return [str(server.getsockname()[1]) for server in servers]


HALF_PRECISION = """
import json, sys
from pathlib import Path
import torch
from biglearn_gan.training import losses
from biglearn_gan.config import load_config
from biglearn_gan.training.fit import fit
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.generator import Generator

torch.set_num_threads(1)
layers = []  # dtypes of linear layers in the latest pass
seen = {"Generator": [], "Discriminator": [], "penalty": [], "autocast": []}
linear = torch.nn.Linear.forward

def watched_linear(self, x):
    y = linear(self, x)
    layers.append(str(y.dtype))
    return y

torch.nn.Linear.forward = watched_linear
for network in (Generator, Discriminator):
    def watched(self, *given, forward=network.forward, name=network.__name__, **labels):
        layers.clear()
        result = forward(self, *given, **labels)
        seen[name] += layers
        return result
    network.forward = watched
for name in ("exact_penalty", "finite_difference_penalty"):
    def watched_penalty(logits, *given, original=getattr(losses, name)):
        result = original(logits, *given)
        seen["penalty"] += [*layers, str(logits.dtype), str(result.dtype)]
        seen["autocast"].append(torch.is_autocast_enabled("cpu"))
        return result
    setattr(losses, name, watched_penalty)

folder = Path(sys.argv[1])
counts = []
for kind in ("exact", "finite_difference"):
    config = load_config(folder / "tiny.yaml", [f"loss.penalty.kind={kind}"])
    fit(config, folder / kind, device="cpu")
    counts.append(len(seen["autocast"]))
json.dump({"counts": counts} | {k: sorted(set(v)) for k, v in seen.items()}, sys.stdout)
"""


def test_bfloat16_trains_float32_weights_and_takes_penalties_in_float32(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Three steps: one of the warm start, one with a penalty, one without."""
    changes = {
        "train.precision": "bfloat16",
        "train.max_images": 12,
        "train.warm_start.share": 0.34,
        "loss.penalty.interval": 2,
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_values(changes)))
    done = subprocess.run(
        [sys.executable, "-c", HALF_PRECISION, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["counts"] == [1, 2]
    assert "torch.bfloat16" in seen["Generator"]
    assert "torch.bfloat16" in seen["Discriminator"]
    assert seen["penalty"] == ["torch.float32"]
    assert seen["autocast"] == [False]
    for kind in ("exact", "finite_difference"):
        assert_good_run(tmp_path / kind, 12)
        for state in (
            load_state(tmp_path / kind)["trainer"]["adversarial"],
            load_file(tmp_path / kind / "checkpoint" / "model.safetensors"),
        ):
            assert {tensor.dtype for tensor in tensors_of(state)} == {torch.float32}


@contextmanager
def torchrun(arguments: list[str], errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``biglearn-gan`` in two gloo processes, its stderr in a file."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc_per_node", "2", "-m", "biglearn_gan"]
    with (
        errors.open("wb") as file,
        subprocess.Popen(
            launcher + arguments, stdout=subprocess.DEVNULL, stderr=file, env=environment()
        ) as launched,
    ):
        try:
            yield launched
        finally:
            if launched.poll() is None:
                launched.terminate()  # the launcher ends its workers


def test_two_processes_refuse_an_indivisible_batch_before_they_write(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    config, errors = tmp_path / "tiny.yaml", tmp_path / "errors"
    config.write_text(yaml.safe_dump(tiny_values({"train.batch_size": 3})))
    arguments = ["train", "--device", "cpu", "--config", str(config)]
    with torchrun([*arguments, "--output", str(tmp_path / "run")], errors) as launched:
        code = launched.wait(timeout=120)
    assert code != 0
    told = "biglearn-gan: train.batch_size: 3 images do not divide among 2 processes"
    assert told in errors.read_text().splitlines()
    assert not (tmp_path / "run").exists()


def test_ctrl_c_under_the_launcher_saves_the_run(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """torchrun hands Ctrl-C on to its workers; they stop alike, long before the budget is spent."""
    config, errors, run = tmp_path / "tiny.yaml", tmp_path / "errors", tmp_path / "run"
    config.write_text(yaml.safe_dump(tiny_values({"train.max_images": 400_000})))
    arguments = ["train", "--device", "cpu", "--config", str(config), "--output", str(run)]
    with torchrun(arguments, errors) as launched:
        deadline = time.monotonic() + 120
        while not (run / "metrics.csv").exists() or not any(
            row["images"] == "8" for row in metrics_of(run)
        ):
            assert launched.poll() is None, errors.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not (run / "state.pt").exists()
        launched.send_signal(signal.SIGINT)
        assert launched.wait(timeout=120) != 0
    images = load_state(run)["trainer"]["images_seen"]
    assert 8 <= images < 400_000
    assert_good_run(run, images)
    assert f"stopped at {images:,} of 400,000 images" in errors.read_text()


WORKER = """
import json, os, signal, sys
from pathlib import Path
import torch
from accelerate.state import AcceleratorState, PartialState
from biglearn_gan.training import throughput
from biglearn_gan.training import fit as fit_module
from biglearn_gan.config import load_config
from biglearn_gan.training.trainer import Trainer

folder, rank, ports = Path(sys.argv[1]), int(os.environ["RANK"]), iter(sys.argv[2:])
torch.set_num_threads(1)
step = Trainer.step

def train(output, overrides=(), press=(None, None)):
    "In a new group of processes; process press[0] alone gets Ctrl-C when it has seen press[1]."
    AcceleratorState._reset_state(True)
    PartialState._reset_state()
    os.environ["MASTER_PORT"] = next(ports)

    def pressing_step(trainer, *given, **named):
        result = step(trainer, *given, **named)
        if (rank, trainer.images_seen) == press:
            signal.raise_signal(signal.SIGINT)
        return result

    Trainer.step = pressing_step
    config = load_config(folder / "tiny.yaml", overrides)
    outcome = fit_module.fit(config, folder / output, device="cpu")
    Trainer.step = step
    return outcome.images_seen, outcome.total_images, outcome.interrupted, outcome.is_main_process

outcomes = [train("whole")]
outcomes += [train("run", press=press) for press in [(1, 20), (0, 32), (None, None)]]

throughput.TIMED_SECONDS = 0.05
measure = throughput._seconds_per_image

def measured(*given, **named):  # each process finds another cost
    assert measure(*given, **named) > 0
    return 0.005 * (1 + rank)

throughput._seconds_per_image = measured
outcomes.append(train("minutes", ["train.max_minutes=0.002"]))
(folder / f"outcomes.{rank}").write_text(json.dumps(outcomes))
"""


def test_two_processes_stop_together_go_on_and_agree_on_a_budget_in_minutes(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Ctrl-C reaches one process only, first the second one, later the main one."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_values()))
    arguments = [sys.executable, "-c", WORKER, str(tmp_path), *free_ports(5)]
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    workers = [
        subprocess.Popen(
            arguments,
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / f"errors.{rank}").open("wb"),
            env=environment(RANK=rank, LOCAL_RANK=rank, **common),
        )
        for rank in ("0", "1")
    ]
    try:
        codes = [worker.wait(timeout=120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert codes == [0, 0], "".join((tmp_path / f"errors.{rank}").read_text() for rank in (0, 1))

    ours, theirs = (json.loads((tmp_path / f"outcomes.{rank}").read_text()) for rank in (0, 1))
    assert [outcome[:3] for outcome in ours] == [outcome[:3] for outcome in theirs]
    assert {outcome[3] for outcome in ours} == {True}
    assert {outcome[3] for outcome in theirs} == {False}
    *in_images, in_minutes = [outcome[:3] for outcome in ours]
    assert in_images == [[48, 48, False], [20, 48, True], [32, 48, True], [48, 48, False]]

    run, whole = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("run", "whole")
    )
    assert run.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(run[name], value, rtol=0, atol=1e-4, msg=name)

    # 0.12 s at the main process's 0.005 s an image
    budget = load_state(tmp_path / "minutes")["max_images"]
    assert isinstance(budget, int)
    assert 23 <= budget <= 24
    assert in_minutes == [24, 24, False]
    assert_good_run(tmp_path / "minutes", 24)
