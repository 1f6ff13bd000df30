"""What ``biglearn-gan simulate`` does: run a simulation, write its folder, say what came out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from biglearn_gan.simulation_figures import write_grid, write_two
from biglearn_gan.simulation_training import SCHEDULES, TaskChoice, fit_grid
from biglearn_gan.surfaces import DESCENT_STEPS, descend, plans, surfaces, tasks_of

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
