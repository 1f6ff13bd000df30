"""Measure operations and time per training step for every variant of an ablation.

    python experiments/benchmarks/ablation_cost.py experiments/ablations/digits_objective.yaml

The variants take turns in one process, several steps at a time, and the median over rounds is
printed, so that other load on the machine affects all variants alike. Times are relative to the
first variant. Operations are those of matrix products, counted as in speed.py. PyTorch's fused
attention is not counted on CPUs; an exact penalty needs another attention, so its count is slightly
too high in comparison. Images are random; no data are needed.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from step_profile import StepCounter, random_trainer, timed, train_steps

from biglearn_gan.cli.runner import run
from biglearn_gan.config import Config, load_config
from biglearn_gan.training.trainer import Trainer

sys.path.append(str(Path(__file__).parents[1]))  # where ablate.py is
from ablate import read_ablation


def main(
    ablation_file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="YAML file, as for ablate.py.")
    ],
    rounds: Annotated[int, typer.Option(min=1, help="Turns per variant.")] = 7,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps per turn, a multiple of the penalty intervals.")
    ] = 48,
) -> None:
    """Print a Markdown table; every variant runs on one thread."""
    torch.set_num_threads(1)
    configs = variant_configs(ablation_file)
    trainers = {name: random_trainer(config, "cpu") for name, config in configs.items()}
    for trainer in trainers.values():
        trainer.images_seen = trainer.schedule.warm_start_images
    operations = {name: count_operations(trainer, steps) for name, trainer in trainers.items()}
    seconds = time_in_turns(trainers, rounds, steps)
    base = next(iter(seconds.values()))
    typer.echo(
        "| variant | MFLOP per image | images/s | time per image, relative to first row |\n"
        "|---|---|---|---|"
    )
    for name, spent in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(spent, base, strict=True))
        speed = 1 / statistics.median(spent)
        typer.echo(f"| {name} | {operations[name] / 1e6:.1f} | {speed:.0f} | {ratio:.2f} |")


def variant_configs(ablation_file: Path) -> dict[str, Config]:
    """The configuration of each variant by its name."""
    ablation = read_ablation(ablation_file)
    return {
        name: load_config(ablation.config, [*ablation.overrides, *overrides])
        for name, overrides in ablation.variants.items()
    }


def count_operations(trainer: Trainer, steps: int) -> float:
    """Floating-point operations per image, the mean over ``steps`` steps."""
    with StepCounter() as counter:
        train_steps(trainer, steps)
    return counter.operations / (steps * trainer.config.train.batch_size)


def time_in_turns(
    trainers: Mapping[str, Trainer], rounds: int, steps: int
) -> dict[str, list[float]]:
    """Seconds per image, of every turn of every trainer."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(rounds):
        for name, trainer in trainers.items():
            spent = timed(partial(train_steps, trainer, steps), torch.device("cpu"))
            seconds[name].append(spent / (steps * trainer.config.train.batch_size))
    return seconds


if __name__ == "__main__":
    run(main, "ablation_cost")
