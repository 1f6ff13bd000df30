"""The command that fits Gaussians to Gaussians, see simulations.py."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli_options import Seed
from biglearn_gan.command import fail
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
    from biglearn_gan.simulation_runs import run_grid, run_two

    with unit_bars() as on_start:
        if simulation is Simulation.two_gmm:
            told = run_two(task.value, seed, folder, on_start)
        else:
            plan = (schedule or SimulationSchedule.ours).value
            told = run_grid(task.value, plan, seed, folder, on_start)
    for line in told:
        typer.echo(line)
    typer.echo(f"figures and tables are in {folder}")
