"""Draw distances, agreement and seams of a model's states over the core-hours of its training.

    python experiments/studies/training_curve.py --states core_hours.csv --output curve.png

The CSV file has a row per state: its name (``state``), the folder of its ``metrics.json`` relative
to the file (``record``), and the hours of one core until then (``core_hours``). Lines of dashes are
the floor of the distance, the ceiling of agreement, and the seams of real images.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from biglearn_gan.cli.runner import fail, run
from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.records import Record, read_records
from biglearn_gan.files import make_folder, replacing

PANELS = {
    "fd": "Fréchet distance (floor dashed)",
    "agreement": "agreement (ceiling dashed)",
    "seams": "seams (real images dashed)",
}
COLUMNS = ("state", "record", "core_hours")


@dataclass(frozen=True)
class State:
    """A state of a training.

    Attributes:
        name: what was new in it.
        core_hours: hours of one core from the first step on.
        records: of its evaluation.
    """

    name: str
    core_hours: float
    records: Sequence[Record]


def main(
    states: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="CSV file.")],
    output: Annotated[Path, typer.Option(dir_okay=False, help="PNG file.")],
    tasks: Annotated[
        str, typer.Option(help="Tasks to draw, separated by commas.")
    ] = "joint,random:0.25,random:0.5,right-half",
) -> None:
    """Draw one panel per measure, with a line per task."""
    found, names = read_states(states), tasks.split(",")
    if not any(value_of(state.records, "fd", task) for state in found for task in names):
        fail(f"{states}: no state has a distance for --tasks {tasks}", code=2)
    figure = draw(found, names)
    make_folder(output.parent)
    with replacing(output) as file:
        FigureCanvasAgg(figure).print_png(file)


def read_states(path: Path) -> list[State]:
    """The states of a CSV file, by core-hours.

    Raises:
        CommandError: the file has other columns or values, or names a folder without records.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        states = [
            State(
                row["state"],
                float(row["core_hours"]),
                read_records(path.parent / row["record"] / "metrics.json"),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError):
        fail(f"{path} must have the columns {', '.join(COLUMNS)}, with numbers in the last", 2)
    except (OSError, UsageError) as error:
        fail(f"{path}: {error}", code=2)
    return sorted(states, key=lambda state: state.core_hours)


def draw(states: Sequence[State], tasks: Sequence[str]) -> Figure:
    """The figure; a task without a measure has no line, and a measure without tasks no panel."""
    panels = [
        (measure, title)
        for measure, title in PANELS.items()
        if any(value_of(state.records, measure, task) for state in states for task in tasks)
    ]
    figure = Figure(figsize=(4 * len(panels), 4.5), layout="constrained")
    subplots = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (measure, title) in zip(subplots, panels, strict=True):
        for number, task in enumerate(tasks):
            draw_task(axes, states, measure, task, f"C{number}")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(
            [state.core_hours for state in states],
            [f"{state.core_hours:g} h, {state.name}" for state in states],
            rotation=90,
            fontsize=7,
        )
        if measure == "fd":
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    return figure


def draw_task(axes: Axes, states: Sequence[State], measure: str, task: str, color: str) -> None:
    """One task's values, and what the last of them is compared with as a line of dashes."""
    found = [(state.core_hours, value_of(state.records, measure, task)) for state in states]
    points = [(hours, record) for hours, record in found if record is not None]
    if not points:
        return
    hours, records = zip(*points, strict=True)
    axes.plot(hours, [record.value for record in records], "o-", color=color, label=task)
    last = records[-1]
    reference = last.floor if last.ceiling is None else last.ceiling
    if reference is not None:
        axes.axhline(reference, color=color, linestyle="--", linewidth=0.8)


def value_of(records: Sequence[Record], measure: str, task: str) -> Record | None:
    """The model's own record of a measure and a task."""
    matching = (
        record
        for record in records
        if (record.measure, record.task, record.subject) == (measure, task, None)
    )
    return next(matching, None)


if __name__ == "__main__":
    run(main, "training_curve")
