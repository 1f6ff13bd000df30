"""What a step costs is counted by what it does, not by how it is batched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ablation_cost import operations, turns
from speed import random_trainer

from biglearn_gan.config import Config

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def cost(tiny_config: Callable[..., Config]) -> Callable[..., float]:
    """Operations for an image of a plain GAN, which draws tasks of one size."""

    def measure(**changes: object) -> float:
        plain = {"tasks.preset": "joint", "train.warm_start.share": 0.0}
        config = tiny_config(plain | {key.replace("__", "."): v for key, v in changes.items()})
        return operations(random_trainer(config, "cpu"), steps=16)

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


def run(grid: Path, text: str) -> subprocess.CompletedProcess[str]:
    grid.write_text(text)
    words = [sys.executable, "experiments/cost.py", str(grid), "--rounds", "1", "--steps", "4"]
    return subprocess.run(
        words, cwd=EXPERIMENTS.parent, check=False, capture_output=True, text=True
    )


def test_the_table_has_a_row_for_each_variant(tmp_path: Path) -> None:
    done = run(
        tmp_path / "grid.yaml",
        "config: experiments/digits.yaml\nseeds: [0]\n"
        "overrides: [train.batch_size=2, data.root=nowhere, tasks.preset=joint]\n"
        "variants:\n  base: [train.warm_start.share=0]\n"
        "  every step: [train.warm_start.share=0, loss.penalty.interval=1]\n",
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert [row[0] for row in rows[2:]] == ["base", "every step"]
    assert float(rows[3][1]) > float(rows[2][1])
    assert rows[2][3] == "1.00"


def test_a_wrong_grid_is_one_sentence(tmp_path: Path) -> None:
    for text in ("seeds: [0]", "config: experiments/digits.yaml\nseeds: [0]\nvariants: {a: [b]}"):
        done = run(tmp_path / "grid.yaml", text)
        assert done.returncode == 2
        assert done.stderr.startswith("cost: ") and "Traceback" not in done.stderr
