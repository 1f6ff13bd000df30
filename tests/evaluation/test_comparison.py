"""Several ways to sample, evaluated alike; a finished evaluation is not repeated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.evaluation_options import shipped_metric_models
from biglearn_gan.cli.options import without_missing
from biglearn_gan.config import DataConfig
from biglearn_gan.evaluation import comparison
from biglearn_gan.evaluation.comparison import evaluate_pending, plot_curves, save_figure
from biglearn_gan.evaluation.tables import Quantity, load_numbers

ROOT = Path(__file__).parents[2]


class Gray:
    """Fills every hole with gray, and counts its calls."""

    patch_size = 2

    def __init__(self) -> None:
        self.calls = 0

    def complete(self, images: Tensor, hole: Tensor, *, variations: int = 1, **_: object) -> Tensor:
        self.calls += 1
        filled = torch.where(hole[:, None], torch.zeros_like(images), images)
        return filled[:, None].repeat(1, variations, 1, 1, 1)


def test_each_evaluation_runs_once_and_is_plotted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    model = BigLearnGAN.from_pretrained("checkpoints/digits")
    inputs = (without_missing(model.config.data), 397, shipped_metric_models("digits"))
    first, second = Gray(), Gray()
    folders = {1: tmp_path / "a", 4: tmp_path / "b"}
    evaluate_pending({folders[1]: first}, "weights", *inputs)
    evaluate_pending({folders[1]: first, folders[4]: second}, "weights", *inputs)
    assert first.calls == second.calls > 0
    evaluate_pending({folders[1]: first}, "other weights", *inputs)
    assert first.calls == 2 * second.calls
    tables = [(folder / "metrics.csv").read_text() for folder in folders.values()]
    assert tables[0] == tables[1]
    figure = plot_curves({"gray": folders}, "steps")
    panels = {(axes.get_title(), axes.get_ylabel()): axes for axes in figure.axes}
    numbers = load_numbers(folders[1])
    for task, quantity, label in (
        ("joint", Quantity("fd"), "Fréchet distance"),
        ("joint", Quantity("entropy"), "class entropy"),
        ("random:0.5", Quantity("fd", "two-step"), "two-step distance"),
        ("right-half", Quantity("diversity"), "diversity"),
    ):
        number = numbers[task, quantity]
        line, *bounds = panels[task, label].get_lines()
        assert list(line.get_ydata()) == [number.value] * 2
        assert [bound.get_ydata()[0] for bound in bounds] == [
            bound for bound in [number.bound] if bound is not None
        ]
    save_figure(figure, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1500, 1470)


def test_an_evaluation_of_other_inputs_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    evaluated: list[int] = []
    monkeypatch.setattr(comparison, "evaluate", lambda *_, num, **__: evaluated.append(num))
    monkeypatch.setattr(comparison, "write_report", lambda _, folder: folder.mkdir(exist_ok=True))
    data = DataConfig(name="digits", image_size=(8, 8), channels=1)
    whole = shipped_metric_models("digits")
    inputs = [
        ("weights", data, 300, whole),
        ("weights", data, 300, whole),
        ("others", data, 300, whole),
        ("others", data, 200, whole),
        ("others", data, 200, replace(whole, masked_classifier=None)),
        ("others", data.model_copy(update={"image_size": (4, 4)}), 200, whole),
    ]
    for each in inputs:
        evaluate_pending({tmp_path / "a": Gray()}, *each)
    assert evaluated == [300, 300, 200, 200, 200]
