"""What a step costs is counted by what it does, not by how it is batched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from biglearn_gan.config import Config

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
sys.path.insert(0, str(EXPERIMENTS))

from benchmark import random_trainer  # noqa: E402
from cost import operations, turns  # noqa: E402


@pytest.fixture
def cost(tiny_config: Callable[..., Config]) -> Callable[..., float]:
    """Operations for an image of a plain GAN, which draws tasks of one size."""

    def measure(**changes: object) -> float:
        plain = {"tasks.preset": "joint", "train.warm_start.share": 0.0}
        config = tiny_config(plain | {key.replace("__", "."): v for key, v in changes.items()})
        return operations(random_trainer(config, "cpu"))

    return measure


def test_operations_are_counted_for_each_image(cost: Callable[..., float]) -> None:
    base = cost()
    assert base > 0
    assert cost(train__batch_size=8) == base
    assert cost(train__seed=1) == base
    assert cost(loss__penalty__interval=1) > base > cost(loss__penalty__interval=8)
    assert cost(loss__fakes_per_real=4) > base


def test_every_variant_has_as_many_turns(tiny_config: Callable[..., Config]) -> None:
    trainers = {name: random_trainer(tiny_config(), "cpu") for name in "ab"}
    seconds = turns(trainers, rounds=3, steps=2)
    assert {name: len(spent) for name, spent in seconds.items()} == {"a": 3, "b": 3}
    assert trainers["a"].images_seen == trainers["b"].images_seen == 3 * 2 * 4


def test_the_table_has_a_row_for_each_variant(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "config: experiments/digits.yaml\nseeds: [0]\n"
        "overrides: [train.batch_size=2, data.root=nowhere]\n"
        "variants: {base: [], every step: [loss.penalty.interval=1]}\n"
    )
    words = [sys.executable, "experiments/cost.py", str(grid), "--rounds", "1", "--steps", "1"]
    done = subprocess.run(words, cwd=EXPERIMENTS.parent, check=True, capture_output=True, text=True)
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]]
    assert rows == ["base", "every step"]
    assert done.stdout.splitlines()[2].endswith("| 1.00 |")
