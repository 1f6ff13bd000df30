"""Reports: files, figures and galleries."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from toy_models import Noise, Perfect, measure

from biglearn_gan.evaluation.report import plot_against_share, write_report
from biglearn_gan.metrics.metric_models import MetricModels


def test_the_same_arguments_write_the_same_files(
    metric_models: MetricModels, tmp_path: Path
) -> None:
    tasks = ["joint", "random:0.25", "random:0.5"]
    for name in ("first", "again"):
        write_report(measure(Noise(), metric_models, tasks=tasks), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == [
        "agreement.png",
        "completions_random-0.25.png",
        "completions_random-0.5.png",
        "distance.png",
        "metrics.csv",
        "metrics.json",
        "speed.csv",
    ]
    for name in names:
        if name != "speed.csv":
            pair = [(tmp_path / folder / name).read_bytes() for folder in ("first", "again")]
            assert pair[0] == pair[1], name
    speeds = list(csv.DictReader((tmp_path / "first" / "speed.csv").open(newline="")))
    assert [line["task"] for line in speeds] == tasks
    (tmp_path / "first" / "labels.json").write_text("not of a report")
    report = measure(Noise(), metric_models, tasks=["joint"])
    write_report(replace(report, images_per_second={}), tmp_path / "first")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["labels.json", "metrics.csv", "metrics.json"]


def test_a_figure_names_its_lines_outside_of_the_axes(metric_models: MetricModels) -> None:
    records = measure(Noise(), metric_models, tasks=["random:0.25", "random:0.5"]).records
    figure = plot_against_share(records, "fd", "Fréchet distance")
    assert figure is not None
    (legend,), (axes,) = figure.legends, figure.axes
    named = {text.get_text() for text in legend.get_texts()}
    assert named == {"model", "nearest", "mean", "mismatched", "floor"}
    figure.canvas.draw()
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    assert plot_against_share(records[:5], "agreement", "label agreement") is None


def test_galleries_run_from_best_to_worst(metric_models: MetricModels) -> None:
    class WorseAndWorse(Perfect):
        """Moves row i by i / 130 of the way to black."""

        def complete(self, images: Tensor, hole: Tensor, *, first_image: int = 0, **options):
            originals = images[:, None].repeat(1, options.get("variations", 1), 1, 1, 1)
            share = (first_image + torch.arange(len(images)))[:, None, None, None, None] / 130
            return torch.where(hole[:, None, None], originals * (1 - share) - share, originals)

    gallery = measure(WorseAndWorse(), metric_models, num=130).galleries["random:0.5"]
    assert gallery.completions.shape == (12, 6, 1, 8, 8)
    error = (gallery.completions[:, 0].float() - gallery.task.images.float()).abs().mean((1, 2, 3))
    assert error[:4].max() < error[-4:].min()
