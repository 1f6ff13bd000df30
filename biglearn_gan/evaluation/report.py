"""Write the results of an evaluation: ``metrics.json``, ``metrics.csv``, ``speed.csv``, figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from biglearn_gan.evaluation.evaluator import Report
from biglearn_gan.evaluation.records import TWO_STEP, Record, figure_name, write_records
from biglearn_gan.files import replacing
from biglearn_gan.image_grid import completion_grid, with_names

CURVES = {
    "distance.png": ("fd", "Fréchet distance"),
    "agreement.png": ("agreement", "label agreement"),
}
"""Measure and label of each figure of curves."""


def write_report(report: Report, folder: str | Path) -> None:
    """Write everything into a folder.

    - ``metrics.json``, ``metrics.csv``: the records, exactly the same for the same arguments.
    - ``speed.csv``: images per second for each task. They differ from run to run, so they are not
      records.
    - ``completions_TASK.png``: the best, median and worst completions, by the distance in features
      between the original and its first completion.
    - ``distance.png``, ``agreement.png``: both numbers against the hidden share of random holes,
      with bounds and baselines, if there are at least two shares.

    Raises:
        WriteError: the folder cannot be created or written.
    """
    folder = Path(folder)
    write_records(report.records, folder)
    if report.images_per_second:
        lines = io.StringIO()
        writer = csv.writer(lines)
        writer.writerow(["task", "images_per_second"])
        writer.writerows([task, f"{speed:.1f}"] for task, speed in report.images_per_second.items())
        with replacing(folder / "speed.csv") as path:
            path.write_text(lines.getvalue(), encoding="utf-8", newline="")
    for task, gallery in report.galleries.items():
        grid = completion_grid(gallery.task.images, gallery.task.hole, gallery.completions)
        grid = with_names(grid, ("best", "median", "worst"))
        with replacing(folder / figure_name(task)) as path:
            grid.save(path, format="png")
    for name, (measure, label) in CURVES.items():
        figure = plot_against_share(report.records, measure, label)
        if figure is not None:
            with replacing(folder / name) as path:
                figure.savefig(path, format="png", dpi=120, metadata={"Software": None})


def plot_against_share(records: Sequence[Record], measure: str, label: str) -> Figure | None:
    """Plot a measure against the hidden share of random holes; None below two shares."""
    lines: dict[str, dict[float, Record]] = {}
    for record in records:
        share = _hidden_share(record.task)
        if share is None or record.measure != measure or record.subject == TWO_STEP:
            continue
        lines.setdefault(record.subject or "model", {})[share] = record
    model = lines.get("model", {})
    if len(model) < 2:
        return None
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, points in lines.items():
        shares = sorted(points)
        errors = [2 * (points[share].error or 0.0) for share in shares]
        axes.errorbar(
            shares,
            [points[share].value for share in shares],
            errors,
            label=name,
            marker="o",
            linewidth=2 if name == "model" else 1,
            linestyle="-" if name == "model" else ":",
        )
    for name in ("floor", "ceiling"):
        bounds = {s: getattr(r, name) for s, r in model.items() if getattr(r, name) is not None}
        if bounds:
            shares = sorted(bounds)
            axes.plot(shares, [bounds[s] for s in shares], "k--", label=name)
    if measure == "fd":
        axes.set_yscale("log")
    axes.set_xlabel("hidden share of the blocks")
    axes.set_ylabel(f"{label} (bars: 2 standard errors)")
    figure.legend(loc="outside right upper")
    return figure


def _hidden_share(task: str) -> float | None:
    """The share of a random hole of the model's own patches; None for any other task."""
    name, *parts = task.split(":")
    return float(parts[0]) if name == "random" and len(parts) == 1 else None
