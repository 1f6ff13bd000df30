"""The command that fits Gaussians to Gaussians, see simulations.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.options import Seed
from biglearn_gan.cli.runner import fail
from biglearn_gan.progress import unit_bars


class Simulation(StrEnum):
    """Which simulation."""

    two_gmm = "two-gmm"
    grid_gmm = "grid-gmm"


class SimulationTask(StrEnum):
    """Which tasks a simulation draws."""

    joint = "joint"
    marginal = "marginal"
    conditional = "conditional"
    big = "big"


class SimulationSchedule(StrEnum):
    """How 25 Gaussians are fitted."""

    published = "published"
    ours = "ours"


def simulate(
    simulation: Annotated[Simulation, typer.Argument(help="Two Gaussians, or a grid of 25.")],
    task: Annotated[
        SimulationTask, typer.Option(help="Tasks to learn from; big mixes them.")
    ] = SimulationTask.big,
    schedule: Annotated[
        SimulationSchedule | None,
        typer.Option(help="How grid-gmm is fitted (default: ours, about 40 times as fast)."),
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder (default: samples/SIMULATION)."),
    ] = None,
) -> None:
    """Fit Gaussians to Gaussians, exactly.

    What big learning is, with every number exact.
    """
    if simulation is Simulation.two_gmm and schedule is not None:
        fail("--schedule is for grid-gmm; two-gmm goes down exact gradients", code=2)
    folder = output if output is not None else Path("samples") / simulation.value
    folder.mkdir(parents=True, exist_ok=True)

    with unit_bars() as on_start:
        if simulation is Simulation.two_gmm:
            told = run_two(task.value, seed, folder, on_start)
        else:
            plan = (schedule or SimulationSchedule.ours).value
            told = run_grid(task.value, plan, seed, folder, on_start)
    for line in told:
        typer.echo(line)
    typer.echo(f"figures and tables are in {folder}")


OnStart = Callable[[str, int], Callable[[int], None]]
"""Called with the name of a unit of work and their number; returns what hears of more done."""


def run_grid(task: str, schedule: str, seed: int, folder: Path, on_start: OnStart) -> list[str]:
    """Fit 25 Gaussians to 25 Gaussians.

    Args:
        task: of ``TaskChoice``.
        schedule: of ``SCHEDULES``.
        seed: at least 0.
        folder: where figures, tables and ``summary.json`` go; it exists.
        on_start: makes the progress display.

    Returns:
        Lines that say what came out.
    """
    from biglearn_gan.simulations.figures import write_grid
    from biglearn_gan.simulations.grid_gmm import SCHEDULES, TaskChoice, fit_grid

    settings = SCHEDULES[schedule]
    history = fit_grid(settings, TaskChoice(task), seed, on_tasks=on_start("task", settings.tasks))
    facts: dict[str, str | int] = {
        "simulation": "grid-gmm",
        "task": task,
        "schedule": schedule,
        "seed": seed,
    }
    summary = write_grid(history, folder, facts)
    return [
        f"{summary['modes_covered']} of 25 modes, KL(model ‖ data) {summary['reverse_kl']:.4f} and "
        f"KL(data ‖ model) {summary['forward_kl']:.4f} nats, {summary['seconds']:.1f} s"
    ]


def run_two(task: str, seed: int, folder: Path, on_start: OnStart) -> list[str]:
    """Draw the surfaces of two Gaussians, and go down them; as :func:`run_grid`."""
    from biglearn_gan.simulations.figures import write_two
    from biglearn_gan.simulations.two_gmm import (
        DESCENT_STEPS,
        descend,
        plans,
        surfaces,
        tasks_of,
    )

    tasks, ways = tasks_of(task), plans(task)
    began = time.perf_counter()
    found = surfaces(tasks, on_surface=on_start("surface", len(tasks)))
    on_steps = on_start("step", len(ways) * DESCENT_STEPS)
    descents = [descend(way, seed, on_steps=on_steps) for way in ways]
    facts: dict[str, str | int | float] = {
        "simulation": "two-gmm",
        "task": task,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 3),
    }
    summary = write_two(found, descents, folder, facts)
    minima, solved = summary["spurious_minima"], summary["share_of_starts_solved"]
    return [f"{name}: {count} spurious minima" for name, count in minima.items()] + [
        f"{name}: {share:.0%} of the starts end at a global minimum"
        for name, share in solved.items()
    ]
