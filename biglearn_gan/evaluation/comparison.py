"""Evaluate several ways to sample with one protocol, and plot them together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from biglearn_gan.config import DataConfig
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.protocol import evaluate
from biglearn_gan.evaluation.report import write_report
from biglearn_gan.evaluation.tables import (
    AGREEMENT,
    DISTANCE,
    DIVERSITY,
    ENTROPY,
    LABELS,
    PRECISION,
    RECALL,
    SPEED,
    TWO_STEP_DISTANCE,
    Number,
    Quantity,
    load_numbers,
)
from biglearn_gan.evaluation.task import CompletionModel, EvaluationSettings
from biglearn_gan.files import replacing
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.progress import task_bars

TASKS = ("joint", "random:0.25", "random:0.5", "random:0.75", "right-half")

VARIATIONS = 2
"""Completions of each source."""

CURVES = {
    DISTANCE: "Fréchet distance",
    AGREEMENT: "label agreement",
    PRECISION: "precision",
    RECALL: "recall",
    DIVERSITY: "diversity",
    LABELS: "label total variation",
    SPEED: "images/s",
}
"""Rows of the figure of curves; each task is a column."""

JOINT_CURVES = {
    AGREEMENT: ("joint", ENTROPY, "class entropy"),
    DIVERSITY: ("joint", TWO_STEP_DISTANCE, "two-step distance"),
    LABELS: ("random:0.5", TWO_STEP_DISTANCE, "two-step distance"),
}
"""Panels of the first column in place of quantities that joint samples do not have."""


def evaluate_pending(
    models: Mapping[Path, CompletionModel],
    weights: str,
    data: DataConfig,
    num: int,
    metric_models: MetricModels,
    tasks: Sequence[str] = TASKS,
) -> None:
    """Evaluate each model into its folder, unless the folder holds the same evaluation.

    Args:
        models: by folder.
        weights: a fingerprint of the weights that all models share.
        data: the data set, with all its images.
        num: images per task.
        metric_models: networks that measure. Without a masked classifier there are neither ceilings
            of agreement nor label histograms, which take 64 completions of each source.
        tasks: names of the tasks.
    """
    splits = [load_dataset(data, split) for split in ("train", "test")]
    classifiers = (metric_models.classifier, metric_models.masked_classifier)
    inputs = [fingerprint(each) for each in classifiers if each is not None]
    inputs += [split.fingerprint() for split in splits]
    request = json.dumps([weights, inputs, tasks, num, VARIATIONS])
    for folder, model in models.items():
        request_file = folder / "request.json"
        if request_file.exists() and request_file.read_text(encoding="utf-8") == request:
            continue
        with task_bars() as progress:
            report = evaluate(
                model,
                metric_models,
                *splits,
                num=num,
                variations=VARIATIONS,
                tasks=tasks,
                settings=EvaluationSettings(progress=progress),
            )
        write_report(report, folder)
        with replacing(request_file) as path:
            path.write_text(request, encoding="utf-8")


def plot_curves(lines: Mapping[str, Mapping[int, Path]], unit: str) -> Figure:
    """Plot each quantity of each task against a count.

    A floor or ceiling that all lines share is one dotted line; otherwise each line has its own.

    Args:
        lines: for each line, folders that ``evaluate`` wrote, by count.
        unit: label of the counts.
    """
    figure = Figure(figsize=(3.0 * len(TASKS), 2.1 * len(CURVES)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(CURVES), len(TASKS))
    numbers = {
        name: {count: load_numbers(folder) for count, folder in folders.items()}
        for name, folders in lines.items()
    }
    counts = sorted({count for folders in lines.values() for count in folders})
    for row, (quantity, label) in enumerate(CURVES.items()):
        for column, task in enumerate(TASKS):
            panel: tuple[str, Quantity, str] = (task, quantity, label)
            if task == "joint":
                panel = JOINT_CURVES.get(quantity, panel)
            key, axes = panel[:2], grid[row, column]
            points = {
                name: {count: found[key] for count, found in by_count.items() if key in found}
                for name, by_count in numbers.items()
            }
            if not any(points.values()):
                axes.set_axis_off()
                continue
            _plot_panel(axes, points)
            axes.set_xscale("log", base=2)
            axes.set_xticks(counts, map(str, counts))
            axes.set(title=panel[0], xlabel=unit, ylabel=panel[2])
    grid[0, 0].legend(fontsize=7)
    return figure


def _plot_panel(axes: Axes, lines: Mapping[str, Mapping[int, Number]]) -> None:
    for index, (name, points) in enumerate(lines.items()):
        values = [number.value for number in points.values()]
        axes.plot(list(points), values, f"C{index}o-", label=name)
    bounds = {number.bound for points in lines.values() for number in points.values()}
    if len(bounds) > 1:
        for index, points in enumerate(lines.values()):
            own_bounds = [number.bound for number in points.values()]
            axes.plot(list(points), own_bounds, f"C{index}:")  # type: ignore[arg-type]
    elif (bound := bounds.pop()) is not None:
        axes.axhline(bound, color="gray", linestyle=":", label="floor or ceiling")


def save_figure(figure: Figure, path: Path) -> None:
    """Save as PNG, in place of an older file."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
