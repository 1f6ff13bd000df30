"""Fit 25 Gaussians by several schedules, with ten seeds each.

    python experiments/studies/gmm_schedules.py [--variant NAME ...] [--seeds 10]
    python experiments/studies/gmm_schedules.py --print

The variants compare the published schedule with ours, and ours with single changes. Every fit adds
a row to experiments/results/simulations/gmm_schedules.csv, and a fit that has its row is not
repeated, so the command can be interrupted. Wall time is that of training alone. CPU time is that
of the whole fit with its two measurements, and depends less on other load.
"""

from __future__ import annotations

import csv
import io
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Annotated

import torch
import typer

from biglearn_gan.cli.runner import run
from biglearn_gan.files import make_folder, replacing
from biglearn_gan.simulations.grid_gmm import (
    OURS,
    PUBLISHED,
    FitSchedule,
    Optimizer,
    TaskChoice,
    fit_grid,
)

BIG, JOINT = TaskChoice.big, TaskChoice.joint
RESULTS = Path("experiments/results/simulations/gmm_schedules.csv")
COLUMNS = ("variant", "seed", "modes_covered", "reverse_kl", "forward_kl", "seconds", "cpu_seconds")

VARIANTS: dict[str, tuple[FitSchedule, TaskChoice]] = {
    "published": (PUBLISHED, BIG),
    "joint only, published, a tenth": (replace(PUBLISHED, tasks=1000), JOINT),
    "ours": (OURS, BIG),
    "ours, joint only": (OURS, JOINT),
    "ours, without a blur": (replace(OURS, noise=0.0), BIG),
    "ours, shapes free from the start": (replace(OURS, shared_shape_until=0.0), BIG),
    "ours, neither": (replace(OURS, noise=0.0, shared_shape_until=0.0), BIG),
    "ours, sampled": (replace(OURS, exact=False), BIG),
    "ours, plain SGD at 0.1": (
        replace(OURS, optimizer=Optimizer.sgd, learning_rate=0.1, last_learning_rate=0.1),
        BIG,
    ),
    "ours, 20 steps on each task": (replace(OURS, tasks=165, steps_per_task=20), BIG),
    "ours, one rotation at a time": (replace(OURS, rotations=1), BIG),
    "ours, joint tasks from the start": (replace(OURS, joint_from=0.0, joint_share=0.5), BIG),
    "ours, conditional tasks too": (replace(OURS, conditional_share=0.3), BIG),
}


def main(
    variant: Annotated[list[str] | None, typer.Option(help="Default: all variants.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 10,
    results: Annotated[Path, typer.Option(help="CSV file to read and extend.")] = RESULTS,
    only_print: Annotated[bool, typer.Option("--print", help="Fit nothing.")] = False,
) -> None:
    """Run the fits that are not in the CSV file, then print a Markdown table of all."""
    torch.set_num_threads(1)
    names = check_variants(variant, VARIANTS)
    rows = read_rows(results)
    for seed in range(0 if only_print else seeds):
        for name in names:
            if not any((row["variant"], row["seed"]) == (name, str(seed)) for row in rows):
                rows.append(measure_fit(name, seed))
                write_rows(results, rows)
    typer.echo(table(rows))


def check_variants(names: list[str] | None, variants: Iterable[str]) -> list[str]:
    """The names of the variants to run, by default all.

    Raises:
        BadParameter: there is no variant of a name.
    """
    known = list(variants)
    for name in names or ():
        if name not in known:
            choices = ", ".join(map(repr, known))
            raise typer.BadParameter(f"--variant must be one of {choices}, not {name!r}")
    return known if names is None else names


def measure_fit(name: str, seed: int) -> dict[str, str]:
    """The row of one fit."""
    schedule, choice = VARIANTS[name]
    started = time.process_time()
    last = fit_grid(schedule, choice, seed, measurements=1)[-1]
    cpu_seconds = time.process_time() - started
    values = (
        name,
        seed,
        last.modes_covered,
        f"{last.reverse_kl:.6f}",
        f"{last.forward_kl:.6f}",
        f"{last.seconds:.2f}",
        f"{cpu_seconds:.2f}",
    )
    return {column: str(value) for column, value in zip(COLUMNS, values, strict=True)}


def table(rows: list[dict[str, str]]) -> str:
    """One line per variant: seeds, covered modes, divergences, and seconds."""
    groups: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row["variant"]].append(row)
    lines = [
        "| variant | seeds | all 25 modes | modes, mean (least) | KL(model ‖ data), median (most) "
        "| KL(data ‖ model), median | wall s, median | CPU s, median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in VARIANTS:
        if group := groups.get(name):
            modes = [int(row["modes_covered"]) for row in group]
            reverse, forward, wall, cpu = (
                [float(row[column]) for row in group] for column in COLUMNS[3:]
            )
            lines.append(
                f"| {name} | {len(group)} | {sum(count == 25 for count in modes)} | "
                f"{mean(modes):.1f} ({min(modes)}) | {median(reverse):.4f} ({max(reverse):.4f}) | "
                f"{median(forward):.4f} | {median(wall):.1f} | {median(cpu):.1f} |"
            )
    return "\n".join(lines)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Replace a CSV file by these rows."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_text(lines.getvalue(), encoding="utf-8", newline="")


if __name__ == "__main__":
    run(main, "gmm_schedules")
