"""Several ways to sample, evaluated alike; a finished evaluation is not repeated."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import without_missing
from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.comparison import (
    evaluate_missing,
    parse_counts,
    plot_curves,
    save_figure,
    shipped_metric_models,
)
from biglearn_gan.evaluation.tables import Quantity, load_numbers
from biglearn_gan.metrics.features import fingerprint

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
    evaluate_missing({folders[1]: first}, "weights", *inputs)
    evaluate_missing({folders[1]: first, folders[4]: second}, "weights", *inputs)
    assert first.calls == second.calls > 0
    evaluate_missing({folders[1]: first}, "other weights", *inputs)
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


def test_counts_are_sorted_whole_numbers() -> None:
    assert parse_counts("8,1,2,2", "--steps") == [1, 2, 8]
    for text in ("", "0", "1,two", "-1", "1.5"):
        with pytest.raises(UsageError, match="--steps must be whole numbers from 1"):
            parse_counts(text, "--steps")


def test_classifiers_ship_or_lie_next_to_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    message = (
        "there is no classifier_moons to measure with in checkpoints/, in the clone or next to "
        f"{tmp_path / 'a'}: make one with train-classifier"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        shipped_metric_models("moons", tmp_path / "a")
    shutil.copytree(ROOT / "checkpoints/classifier_digits", tmp_path / "classifier_moons")
    near = shipped_metric_models("moons", tmp_path / "a").classifier
    shipped = shipped_metric_models("digits", None).classifier
    assert near is not None and shipped is not None
    assert fingerprint(near) == fingerprint(shipped)
