"""Configurations, checks of runs and processes that the tests of training share."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn

from biglearn_gan.progress import TrainingProgress
from biglearn_gan.training import losses
from biglearn_gan.training.trainer import Trainer

ROOT = Path(__file__).parents[1]

MOST_RANDOMNESS: dict[str, Any] = {
    "data.horizontal_flip": True,
    "tasks": {
        "components": [
            {"name": "joint", "weight": 0.3},
            {
                "name": "scattered",
                "weight": 0.3,
                "union": {"pattern": "iid", "ratio": {"uniform": [0.3, 1.0]}},
                "target": {"pattern": "iid", "ratio": {"uniform": [0.1, 0.9]}},
            },
            {
                "name": "scattered in another domain",
                "weight": 0.4,
                "union": {"pattern": "iid", "ratio": {"uniform": [0.3, 1.0]}},
                "target": {"pattern": "iid", "ratio": {"uniform": [0.1, 0.9]}},
                "domain": "orthogonal",
            },
        ]
    },
    "model.generator.output": "linear",
    "loss": {
        "logistic": 1.0,
        "communication": 0.5,
        "fakes_per_real": 2,
        "penalty": {"kind": "finite_difference", "interval": 2},
    },
}
"""Changes to the tiny configuration that draw flips, tasks, domains, noise, perturbations and
second splits. Tests of augmentation, few labels and features have what is left."""

SEVERAL_TASKS: list[dict[str, Any]] = [
    {"name": "joint", "weight": 0.3},
    {"name": "one_token", "weight": 0.3, "target": {"pattern": "iid", "ratio": {"count": 1}}},
    {"name": "half", "weight": 0.4, "target": {"pattern": "half_plane", "ratio": {"fixed": 0.5}}},
]
"""Components with different numbers of targets: 16, 1 and 8 of 16 tokens."""


class ThreeProcesses(Accelerator):
    """An accelerator that claims to be one of three processes."""

    num_processes = 3  # type: ignore[assignment]


class TwoLayers(nn.Module):
    """In place of EfficientNet: two maps of 16 x 16 pixels, with 7 x 7 and with 5 x 5 places."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.first = 0.3 * torch.randn(4, 3, 3, 3, generator=rng)
        self.second = 0.3 * torch.randn(5, 4, 3, 3, generator=rng)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        first = torch.conv2d(pictures, self.first, stride=2).tanh()
        return [first, torch.conv2d(first, self.second)]


def train(trainer: Trainer, steps: int | None = None) -> Trainer:
    """Take some steps, or all that are left."""
    while not trainer.finished and steps != 0:
        trainer.step()
        steps = None if steps is None else steps - 1
    return trainer


def head_gradient(trainer: Trainer) -> Tensor:
    """The gradient of the weights of the generator's head in the next step, which is taken."""
    seen: list[Tensor] = []
    head = trainer.adversarial.generator.head.weight
    trainer.adversarial.optimizers["generator"].register_step_pre_hook(
        lambda *_: seen.append(head.grad.clone())
    )
    trainer.step()
    return seen[0]


def spoil_loss(
    monkeypatch: pytest.MonkeyPatch, name: str, spoiled_rows: Callable[[Tensor], Tensor]
) -> None:
    """Make a loss NaN in the rows that ``spoiled_rows`` returns for its last argument."""
    original = getattr(losses, name)

    def spoiled(*arguments: Tensor) -> Tensor:
        return original(*arguments).masked_fill(spoiled_rows(arguments[-1]), torch.nan)

    monkeypatch.setattr(losses, name, spoiled)


def press_ctrl_c_at(images: int) -> Callable[[TrainingProgress], None]:
    """Press Ctrl-C when ``images`` are seen. The run stops after its next step."""

    def on_progress(progress: TrainingProgress) -> None:
        if progress.images_seen == images:
            signal.raise_signal(signal.SIGINT)

    return on_progress


def load_state(run: Path) -> dict[str, Any]:
    return torch.load(run / "state.pt", weights_only=True)


def load_weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "checkpoint" / "model.safetensors")


def load_metrics(run: Path) -> list[dict[str, str]]:
    """The lines of metrics.csv without times."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: v for name, v in row.items() if name not in ("seconds", "images_per_second")}
        for row in rows
    ]


def flatten(state: Any, name: str = "") -> dict[str, Any]:
    """All leaves of nested dictionaries and lists by their path, without times."""
    if isinstance(state, dict):
        items = list(state.items())
    elif isinstance(state, list | tuple):
        items = list(enumerate(state))
    else:
        return {name: state}
    leaves: dict[str, Any] = {}
    for key, value in items:
        if key not in ("seconds", "last_report"):
            leaves |= flatten(value, f"{name}/{key}")
    return leaves


def tensors_in(state: Any) -> list[Tensor]:
    return [value for value in flatten(state).values() if isinstance(value, Tensor)]


def assert_same(one: Any, other: Any) -> None:
    """Both states are exactly equal, except for times."""
    one, other = flatten(one), flatten(other)
    assert one.keys() == other.keys()
    assert tensors_in(one)
    for name, value in one.items():
        is_tensor = isinstance(value, Tensor)
        assert torch.equal(value, other[name]) if is_tensor else value == other[name], name


def assert_good_run(run: Path, images_seen: int) -> None:
    """The folder has a state and a model for use, both with finite numbers only."""
    state = load_state(run)
    assert state["trainer"]["images_seen"] == images_seen
    for values in (state, load_weights(run)):
        assert tensors_in(values)
        assert all(bool(tensor.isfinite().all()) for tensor in tensors_in(values))


def subprocess_environment(**changes: str) -> dict[str, str]:
    path = os.pathsep.join(
        [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | changes


@contextmanager
def torchrun(arguments: list[str], errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``biglearn-gan`` in two gloo processes on a free port, with its stderr in a file."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc_per_node", "2", "-m", "biglearn_gan"]
    environment = subprocess_environment()
    with (
        errors.open("wb") as file,
        subprocess.Popen(
            launcher + arguments, stdout=subprocess.DEVNULL, stderr=file, env=environment
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # which ends the workers too
