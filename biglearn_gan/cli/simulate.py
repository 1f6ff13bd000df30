"""``biglearn-gan simulate``: fit Gaussian mixtures to Gaussian mixtures in closed form."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.options import Seed
from biglearn_gan.cli.runner import fail
from biglearn_gan.files import make_folder
from biglearn_gan.progress import StartProgress, unit_bars
from biglearn_gan.simulations.choices import ScheduleName, TaskChoice


class Simulation(StrEnum):
    """The mixtures of a simulation."""

    two_gmm = "two-gmm"
    grid_gmm = "grid-gmm"


def simulate(
    simulation: Annotated[Simulation, typer.Argument(help="Two Gaussians, or a grid of 25.")],
    task: Annotated[
        TaskChoice, typer.Option(help="Tasks to learn from; big mixes all kinds.")
    ] = TaskChoice.big,
    schedule: Annotated[
        ScheduleName | None,
        typer.Option(help="How grid-gmm is fitted (default: ours, about 40 times as fast)."),
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder (default: samples/SIMULATION)."),
    ] = None,
) -> None:
    """Fit Gaussian mixtures in closed form.

    It shows why learning from many tasks helps.
    """
    if simulation is Simulation.two_gmm and schedule is not None:
        fail("--schedule requires grid-gmm", code=2)

    folder = output if output is not None else Path("samples") / simulation.value
    make_folder(folder)

    with unit_bars() as on_start:
        if simulation is Simulation.two_gmm:
            lines = run_two_gmm(task, seed, folder, on_start)
        else:
            chosen = schedule or ScheduleName.ours
            lines = run_grid_gmm(task, chosen, seed, folder, on_start)
    for line in lines:
        typer.echo(line)
    typer.echo(f"figures and tables are in {folder}")


def run_grid_gmm(
    task: TaskChoice, schedule: ScheduleName, seed: int, folder: Path, on_start: StartProgress
) -> list[str]:
    """Fit 25 Gaussians to 25 Gaussians.

    Args:
        task: which tasks to learn from.
        schedule: how to fit.
        seed: at least 0.
        folder: for figures, tables and ``summary.json``; it exists.
        on_start: starts a progress bar.

    Returns:
        Lines with the results.
    """
    from biglearn_gan.simulations.figures import write_grid_gmm
    from biglearn_gan.simulations.grid_gmm import SCHEDULES, fit_grid

    settings = SCHEDULES[schedule]
    history = fit_grid(settings, task, seed, on_tasks=on_start("task", settings.tasks))
    facts: dict[str, str | int] = {
        "simulation": "grid-gmm",
        "task": task.value,
        "schedule": schedule.value,
        "seed": seed,
    }
    summary = write_grid_gmm(history, folder, facts)
    return [
        f"{summary['modes_covered']} of 25 modes, KL(model ‖ data) {summary['reverse_kl']:.4f} and "
        f"KL(data ‖ model) {summary['forward_kl']:.4f} nats, {summary['seconds']:.1f} s"
    ]


def run_two_gmm(task: TaskChoice, seed: int, folder: Path, on_start: StartProgress) -> list[str]:
    """Compute the surfaces of two Gaussians and descend on them; see :func:`run_grid_gmm`."""
    from biglearn_gan.simulations.figures import write_two_gmm
    from biglearn_gan.simulations.two_gmm import (
        DESCENT_STEPS,
        compute_surfaces,
        descend,
        list_descents,
        list_tasks,
    )

    tasks, plans = list_tasks(task), list_descents(task)
    started = time.perf_counter()
    task_surfaces = compute_surfaces(tasks, on_surface=on_start("surface", len(tasks)))
    on_steps = on_start("step", len(plans) * DESCENT_STEPS)
    descents = [descend(plan, seed, on_steps=on_steps) for plan in plans]
    facts: dict[str, str | int | float] = {
        "simulation": "two-gmm",
        "task": task.value,
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 3),
    }
    summary = write_two_gmm(task_surfaces, descents, folder, facts)
    minima, solved = summary["spurious_minima"], summary["share_of_starts_solved"]
    return [f"{name}: {count} spurious minima" for name, count in minima.items()] + [
        f"{name}: {share:.0%} of the starts end at a global minimum"
        for name, share in solved.items()
    ]
