"""What is left of an evaluation: ``metrics.json``, ``metrics.csv``, ``speed.csv`` and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from biglearn_gan.evaluation.evaluator import Report
from biglearn_gan.evaluation.recorder import TWO_STEP
from biglearn_gan.evaluation.records import Record, completions_name, write_records
from biglearn_gan.files import replacing
from biglearn_gan.image_grid import completion_grid, with_names


def write_report(report: Report, folder: str | Path) -> None:
    """Write everything into a folder.

    - ``metrics.json``, ``metrics.csv``: the records, the same bytes for the same arguments.
    - ``speed.csv``: images a second, by task; no part of the records, which would then differ from
      run to run.
    - ``completions_TASK.png``: the best, the median and the worst completions, by the distance in
      features between a source's original and its first completion.
    - ``distance.png``, ``agreement.png``: against the share of random blocks hidden, with floor,
      ceiling and the references, where at least two shares were asked.

    Raises:
        OSError: the folder cannot be made or written.
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
        question = gallery.question
        grid = completion_grid(question.images, question.hole, gallery.answers)
        grid = with_names(grid, ("best", "median", "worst"))
        with replacing(folder / completions_name(task)) as path:
            grid.save(path, format="png")
    for measure, label in (("fd", "Fréchet distance"), ("agreement", "label agreement")):
        figure = curve(report.records, measure, label)
        if figure is not None:
            name = "distance.png" if measure == "fd" else "agreement.png"
            with replacing(folder / name) as path:
                figure.savefig(path, format="png", dpi=120, metadata={"Software": None})


def curve(records: Sequence[Record], measure: str, label: str) -> Figure | None:
    """A measure against the share of random blocks hidden; None below two shares."""
    lines: dict[str, dict[float, Record]] = {}
    for record in records:
        share = _share_hidden(record.task)
        subject = record.metric.rpartition("_")[2]
        if share is None or not record.metric.startswith(measure) or subject == TWO_STEP:
            continue
        own = subject.startswith("random")
        lines.setdefault("model" if own else subject, {})[share] = record
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
    axes.set_xlabel("share of the blocks hidden")
    axes.set_ylabel(f"{label} (bars: 2 standard errors)")
    figure.legend(loc="outside right upper")
    return figure


def _share_hidden(task: str) -> float | None:
    """The share of a random hole on the model's own patches."""
    name, *parts = task.split(":")
    return float(parts[0]) if name == "random" and len(parts) == 1 else None
