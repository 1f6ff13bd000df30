"""Training in other processes: bfloat16, and two processes that train together."""

from __future__ import annotations

import copy
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from image_folders import split_folder
from training_tools import (
    MOST_RANDOMNESS,
    assert_good_run,
    load_metrics,
    load_state,
    load_weights,
    subprocess_environment,
    tensors_in,
    torchrun,
)

from biglearn_gan.config import Config, parse_config
from biglearn_gan.training.fit import fit


def free_ports(count: int) -> list[str]:
    """Different ports that nothing listens on."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.socket()) for _ in range(count)]
        for server in servers:
            server.bind(("127.0.0.1", 0))
        return [str(server.getsockname()[1]) for server in servers]


def run_in_two_processes(script: str, folder: Path, ports: int) -> None:
    """Run a script twice, as two gloo processes, with ``folder`` and free ports as arguments."""
    arguments = [sys.executable, "-c", script, str(folder), *free_ports(ports)]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    errors = [folder / f"errors.{rank}" for rank in "01"]
    workers = [
        subprocess.Popen(
            arguments,
            stdout=subprocess.DEVNULL,
            stderr=file.open("wb"),
            env=subprocess_environment(RANK=rank, LOCAL_RANK=rank, **shared),
        )
        for rank, file in zip("01", errors, strict=True)
    ]
    try:
        codes = [worker.wait(timeout=300) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert codes == [0, 0], "".join(file.read_text() for file in errors)


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
layers = []  # dtypes of the linear layers in the latest pass
seen = {"Generator": [], "Discriminator": [], "penalty": [], "autocast": []}
linear = torch.nn.Linear.forward

def watched_linear(self, x):
    y = linear(self, x)
    layers.append(str(y.dtype))
    return y

torch.nn.Linear.forward = watched_linear
for network in (Generator, Discriminator):
    def watched(self, *arguments, forward=network.forward, name=network.__name__, **options):
        layers.clear()
        result = forward(self, *arguments, **options)
        seen[name] += layers
        return result
    network.forward = watched
for name in ("exact_penalty", "finite_difference_penalty"):
    def watched_penalty(logits, *arguments, original=getattr(losses, name)):
        result = original(logits, *arguments)
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
        env=subprocess_environment(),
        timeout=300,
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
            load_weights(tmp_path / kind),
        ):
            assert {tensor.dtype for tensor in tensors_in(state)} == {torch.float32}


def test_two_processes_equal_one(
    tiny_values: Callable[..., dict[str, Any]], tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """After six steps weights and metrics agree to float32 tolerance, and nothing warns."""
    changes = MOST_RANDOMNESS | {"train.max_images": 24}
    fit(tiny_config(changes), tmp_path / "one", device="cpu")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_values(changes)))
    command = ["--device", "cpu", "--config", str(tmp_path / "tiny.yaml")]
    command = ["train", *command, "--output", str(tmp_path / "two")]
    with torchrun(command, tmp_path / "errors") as process:
        code = process.wait(timeout=300)
    errors = (tmp_path / "errors").read_text()
    assert code == 0, errors
    for words in ("process group", "ProcessGroup", "destroy", "leak", "Traceback"):
        assert words not in errors
    one, two = (load_weights(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-4, msg=name)
    rows_of_one, rows_of_two = (load_metrics(tmp_path / name) for name in ("one", "two"))
    assert [row["images"] for row in rows_of_two] == ["8", "16", "24"]
    for row_of_one, row_of_two in zip(rows_of_one, rows_of_two, strict=True):
        for name, value in row_of_one.items():
            assert bool(row_of_two[name]) == bool(value)
            if value:
                assert float(row_of_two[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4)


FEATURES: dict[str, Any] = {
    "data": {"name": "folder", "image_size": 8, "channels": 3, "standardize": True},
    "loss.logistic": 1.0,
    "loss.perceptual": {"layers": [1, 2], "size": 16, "adversarial": {"depth": 1, "penalty": 0.7}},
    "train.max_images": 24,
    "train.warm_start.share": 0.0,
}
"""A discriminator of features from the first step on, for six steps with two penalties."""

FEATURE_WORKER = """
import os, sys
from pathlib import Path
import torch
from training_tools import TwoLayers
from biglearn_gan.config import load_config
from biglearn_gan.training import fit, perceptual, throughput

folder, os.environ["MASTER_PORT"] = Path(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
for module in (perceptual, fit, throughput):
    module.load_feature_network = lambda name, layers: TwoLayers()
fit.fit(load_config(folder / "tiny.yaml"), folder / "two", device="cpu")
"""


@pytest.mark.usefixtures("small_network")
def test_two_processes_train_one_discriminator_of_features(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Its weights and those of the others are one process's, to float32 tolerance."""
    split_folder(tmp_path / "images", train=24, size=(8, 8))
    values = tiny_values(copy.deepcopy(FEATURES))
    values["data"]["root"] = str(tmp_path / "images")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    fit(parse_config(values), tmp_path / "one", device="cpu")
    run_in_two_processes(FEATURE_WORKER, tmp_path, ports=1)
    one, two = (load_state(tmp_path / run)["trainer"]["adversarial"] for run in ("one", "two"))
    for network in ("feature_discriminator", "discriminator", "generator"):
        for name, weight in one[network].items():
            torch.testing.assert_close(two[network][name], weight, rtol=0, atol=1e-4, msg=name)


def test_two_processes_refuse_an_indivisible_batch_before_they_write(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    config, errors = tmp_path / "tiny.yaml", tmp_path / "errors"
    config.write_text(yaml.safe_dump(tiny_values({"train.batch_size": 3})))
    arguments = ["train", "--device", "cpu", "--config", str(config)]
    with torchrun([*arguments, "--output", str(tmp_path / "run")], errors) as process:
        code = process.wait(timeout=300)
    assert code != 0
    message = "biglearn-gan: train.batch_size: 3 images do not divide among 2 processes"
    assert message in errors.read_text().splitlines()
    assert not (tmp_path / "run").exists()


def test_ctrl_c_under_the_launcher_saves_the_run(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """torchrun passes Ctrl-C on to its workers, which stop together after the same step."""
    config, errors, run = tmp_path / "tiny.yaml", tmp_path / "errors", tmp_path / "run"
    config.write_text(yaml.safe_dump(tiny_values({"train.max_images": 400_000})))
    arguments = ["train", "--device", "cpu", "--config", str(config), "--output", str(run)]
    with torchrun(arguments, errors) as process:
        deadline = time.monotonic() + 300
        while not (run / "metrics.csv").exists() or not any(
            row["images"] == "8" for row in load_metrics(run)
        ):
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not (run / "state.pt").exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=300) != 0
    images = load_state(run)["trainer"]["images_seen"]
    assert 8 <= images < 400_000
    assert_good_run(run, images)
    assert f"stopped at {images:,} of 400,000 images" in errors.read_text()


WORKER = """
import errno, json, os, signal, sys
from pathlib import Path
import torch
from accelerate.state import AcceleratorState, PartialState
from biglearn_gan.training import throughput
from biglearn_gan.training.fit import fit
from biglearn_gan.config import load_config
from biglearn_gan.files import WriteError
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.trainer import Trainer

folder, rank, ports = Path(sys.argv[1]), int(os.environ["RANK"]), iter(sys.argv[2:])
torch.set_num_threads(1)
step = Trainer.step

def train(output, overrides=(), press=(None, None)):
    "Train in a new process group. Only process press[0] gets Ctrl-C, after press[1] images."
    AcceleratorState._reset_state(True)
    PartialState._reset_state()
    os.environ["MASTER_PORT"] = next(ports)

    def pressing_step(trainer):
        result = step(trainer)
        if (rank, trainer.images_seen) == press:
            signal.raise_signal(signal.SIGINT)
        return result

    Trainer.step = pressing_step
    config = load_config(folder / "tiny.yaml", overrides)
    result = fit(config, folder / output, device="cpu")
    Trainer.step = step
    return result.images_seen, result.total_images, result.interrupted, result.is_main_process

results = [train("whole")]
results += [train("run", press=press) for press in [(1, 20), (0, 32), (None, None)]]

throughput.TIMED_SECONDS = 0.05
measure = throughput._seconds_per_image

def measured(*arguments):  # each process measures another speed
    assert measure(*arguments) > 0
    return 0.005 * (1 + rank)

throughput._seconds_per_image = measured
results.append(train("minutes", ["train.max_minutes=0.002"]))

def error_of(output):
    try:
        train(output)
    except Exception as error:
        return type(error).__name__, str(error)

def full_disk(folder, state):
    raise WriteError(folder.path / "state.pt", errno.ENOSPC)

def crash(trainer):
    if rank == 1 and trainer.images_seen == 20:
        raise MemoryError("a crash")
    return original_step(trainer)

def spoil(trainer):
    step_of_all(trainer)
    if rank == 1 and trainer.images_seen == 20:
        with torch.no_grad():
            next(trainer.adversarial.discriminator.parameters()).view(-1)[0] += 1e-6

step_of_all, step = step, spoil
errors = [error_of("spoiled")]
step = step_of_all

RunFolder.save_state = full_disk  # only the main process calls it
errors.append(error_of("full"))
original_step, step = step, crash
errors.append(error_of("crash"))
(folder / f"errors_raised.{rank}").write_text(json.dumps(errors))
(folder / f"results.{rank}").write_text(json.dumps(results))
"""


def test_two_processes_stop_together_resume_and_agree_on_a_budget_in_minutes(
    tiny_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Ctrl-C reaches only the second process at first, and only the main one later.

    At the end, a weight of the second process is spoiled, the disk of the main process is full, and
    the second one crashes: the other process raises a sentence each time, and never waits for one
    that is gone.
    """
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_values()))
    run_in_two_processes(WORKER, tmp_path, ports=8)

    main, second = (json.loads((tmp_path / f"results.{rank}").read_text()) for rank in (0, 1))
    assert [result[:3] for result in main] == [result[:3] for result in second]
    assert {result[3] for result in main} == {True}
    assert {result[3] for result in second} == {False}
    *in_images, in_minutes = [result[:3] for result in main]
    assert in_images == [[48, 48, False], [24, 48, True], [32, 48, True], [48, 48, False]]

    run, whole = (load_weights(tmp_path / name) for name in ("run", "whole"))
    assert run.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(run[name], value, rtol=0, atol=1e-4, msg=name)

    # 0.12 s at the 0.005 s per image of the main process are 24 images.
    budget = load_state(tmp_path / "minutes")["max_images"]
    assert isinstance(budget, int)
    assert 23 <= budget <= 24
    assert in_minutes == [24, 24, False]
    assert_good_run(tmp_path / "minutes", 24)

    of_main, of_second = (
        json.loads((tmp_path / f"errors_raised.{rank}").read_text()) for rank in (0, 1)
    )
    differs = (
        "process 1 has another discriminator than process 0 at 24 images: check its device and"
    )
    for name, message in (of_main.pop(0), of_second.pop(0)):
        assert name == "TrainingError"
        assert message.startswith(differs) and message.endswith("; last good state: none yet")
    assert not (tmp_path / "spoiled" / "state.pt").exists()
    full = f"{tmp_path / 'full' / 'state.pt'} cannot be written because its disk is full: free some"
    assert of_main[0] == ["WriteError", f"{full} space, then run the same command again"]
    another = "another process of this run"
    assert of_second[0] == ["ProcessError", f"{another} failed: see its message"]
    ended = f"{another} ended early: see its message, then run the same command again"
    assert of_main[1] == ["ProcessError", ended]
    assert of_second[1] == ["MemoryError", "a crash"]
