"""What the variants of an ablation cost: operations and time of a step of the game.

    python experiments/cost.py experiments/ablations/digits_objective.yaml [--rounds 7]

Variants take turns, some steps each, over and over in one process, and the medians over rounds
count: what else the machine does strikes all of them alike. Times stand as ratios to the first
variant's. Operations are those of matrix products, as `benchmark.py` counts them; torch's fused
attention is not counted, so an exact penalty, which needs another one, shows a little more than it
adds. Images are random, no data are needed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from ablate import read_grid
from speed import FlopCounter, random_trainer, take, timed

from biglearn_gan.cli.runner import run
from biglearn_gan.config import Config, load_config
from biglearn_gan.training.trainer import Trainer


def variants(grid_file: Path) -> dict[str, Config]:
    """The configurations of a grid by name."""
    grid = read_grid(grid_file)
    return {
        name: load_config(grid.config, [*grid.overrides, *overrides])
        for name, overrides in grid.variants.items()
    }


def operations(trainer: Trainer, steps: int) -> float:
    """Floating-point operations for each image, on average over so many steps."""
    with FlopCounter() as counter:
        take(trainer, steps)
    return counter.total / (steps * trainer.config.train.batch_size)


def turns(trainers: Mapping[str, Trainer], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds for each image, of every turn of every variant."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(rounds):
        for name, trainer in trainers.items():
            spent = timed(partial(take, trainer, steps), torch.device("cpu"))
            seconds[name].append(spent / (steps * trainer.config.train.batch_size))
    return seconds


def main(
    grid_file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each variant.")] = 7,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps in a turn: whole cycles of the penalties.")
    ] = 48,
) -> None:
    """Print one Markdown table; every variant is timed on one thread."""
    torch.set_num_threads(1)
    trainers = {name: random_trainer(config, "cpu") for name, config in variants(grid_file).items()}
    for trainer in trainers.values():
        trainer.images_seen = trainer.schedule.whole_game_from
    costs = {name: operations(trainer, steps) for name, trainer in trainers.items()}
    seconds = turns(trainers, rounds, steps)
    base = next(iter(seconds.values()))
    typer.echo("| variant | MFLOP an image | images/s | time an image, to the first's |")
    typer.echo("|---|---|---|---|")
    for name, spent in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(spent, base, strict=True))
        speed = 1 / statistics.median(spent)
        typer.echo(f"| {name} | {costs[name] / 1e6:.1f} | {speed:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    run(main, "cost")
