"""Several ways to draw from one model, measured by one protocol: what scripts here share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from biglearn_gan.config import DataConfig
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.protocol import evaluate
from biglearn_gan.evaluation.report import write_report
from biglearn_gan.evaluation.tables import bound_of, measured
from biglearn_gan.files import replacing
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.metrics.metric_models import MetricModelError, MetricModels, load_metric_models
from biglearn_gan.progress import task_bars

TASKS = ("joint", "random:0.25", "random:0.5", "random:0.75", "right-half")
MEASURES = {
    "fd": "Fréchet distance",
    "agreement": "label agreement",
    "precision": "precision",
    "recall": "recall",
    "diversity": "diversity",
    "label-total-variation": "label total variation",
    "speed": "images/s",
}
"""Rows of a figure of curves, a column for each task."""
FROM_NOTHING = {
    "agreement": ("joint", "entropy", "class entropy"),
    "diversity": ("joint", "fd in-two-steps", "distance in two steps"),
    "label-total-variation": ("random:0.5", "fd in-two-steps", "distance in two steps"),
}
"""What stands in the first column, of images from nothing, where they have no such measure."""


def counts_of(text: str, option: str) -> list[int]:
    """Whole numbers from 1, in their order, of a list with commas; anything else is a mistake."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"{option} must be whole numbers from 1, such as 1,2,4, not {text!r}")
    return sorted({int(part) for part in parts})


def shipped_metric_models(data_name: str, checkpoint: Path | None = None) -> MetricModels:
    """The classifiers of a data set that ship or are beside the checkpoint; none is a mistake."""
    near = None if checkpoint is None else str(checkpoint)
    cpu = torch.device("cpu")
    try:
        metric_models, notes = load_metric_models(
            data_name, "classifier", None, None, None, cpu, checkpoint=near
        )
    except MetricModelError:
        beside = "" if near is None else f", nor beside {near}"
        raise UsageError(
            f"no classifier_{data_name} to measure with is in checkpoints/, here or in the clone"
            f"{beside}: train-classifier makes one"
        ) from None
    for note in notes:
        typer.echo(note, err=True)
    return metric_models


def check_num(num: int, metric_models: MetricModels) -> None:
    """Fewer images than the features have dimensions are a mistake."""
    if num < (least := metric_models.features.dimensions):
        raise UsageError(
            f"--num must be at least {least}, as many as features have dimensions, not {num}"
        )


def measure(
    samplers: Mapping[Path, Any],
    weights: str,
    data: DataConfig,
    patch_size: int,
    num: int,
    metric_models: MetricModels,
    variations: int = 2,
) -> None:
    """Evaluate what stands for a model, each into its folder, unless it is there already.

    What is there was asked for and measured alike, or is measured again.

    Args:
        samplers: by folder.
        weights: tell models apart.
        data: the data set, whole.
        patch_size: of the model, in pixels.
        num: images of each task.
        metric_models: what measures; without a classifier of parts neither ceilings of agreement nor label
            histograms, which take 64 completions of a source.
        variations: of each completion.
    """
    splits = [load_dataset(data, split) for split in ("train", "test")]
    readers = [
        r for r in (metric_models.classifier, metric_models.masked_classifier) if r is not None
    ]
    given = [fingerprint(reader) for reader in readers] + [s.fingerprint() for s in splits]
    asks = json.dumps([weights, given, TASKS, num, variations])
    for folder, sampler in samplers.items():
        asked = folder / "asked.json"
        if asked.exists() and asked.read_text(encoding="utf-8") == asks:
            continue
        with task_bars() as progress:
            report = evaluate(
                sampler,
                patch_size,
                metric_models,
                *splits,
                num=num,
                seed=0,
                variations=variations,
                tasks=TASKS,
                progress=progress,
            )
        write_report(report, folder)
        with replacing(asked) as path:
            path.write_text(asks, encoding="utf-8")


def curves(lines: Mapping[str, Mapping[int, Path]], unit: str) -> Figure:
    """Every quality of each task against a count, one line for each name.

    A floor or ceiling that all share is one dotted line; else each line has its own.
    """
    figure = Figure(figsize=(3.0 * len(TASKS), 2.1 * len(MEASURES)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(MEASURES), len(TASKS))
    records = {
        folder: measured(folder) for folders in lines.values() for folder in folders.values()
    }
    counts = sorted({count for folders in lines.values() for count in folders})
    for row, (measure, name) in enumerate(MEASURES.items()):
        for column, task in enumerate(TASKS):
            shown = (task, measure, name)
            if task == "joint":
                shown = FROM_NOTHING.get(measure, shown)
            key, axes = shown[:2], grid[row, column]
            found = {
                line: {n: records[at][key] for n, at in folders.items() if key in records[at]}
                for line, folders in lines.items()
            }
            if not any(found.values()):
                axes.set_axis_off()
                continue
            for place, (line, there) in enumerate(found.items()):
                values = [each["value"] for each in there.values()]
                axes.plot(list(there), values, f"C{place}o-", label=line)
            bounds = {bound_of(each) for there in found.values() for each in there.values()}
            if len(bounds) > 1:
                for place, there in enumerate(found.values()):
                    own = [bound_of(each) for each in there.values()]
                    axes.plot(list(there), own, f"C{place}:")
            elif (bound := bounds.pop()) is not None:
                axes.axhline(bound, color="gray", linestyle=":", label="floor or ceiling")
            axes.set_xscale("log", base=2)
            axes.set_xticks(counts, map(str, counts))
            axes.set(title=shown[0], xlabel=unit, ylabel=shown[2])
    grid[0, 0].legend(fontsize=7)
    return figure


def save(figure: Figure, path: Path) -> None:
    """As PNG, in place of what is there."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
