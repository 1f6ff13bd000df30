"""Several ways to draw, measured alike; what is there is not measured again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import biglearn_gan.evaluation.comparison as measuring
from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import without_missing
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.metrics.features import fingerprint

ROOT = Path(__file__).parents[2]


class Copies:
    """Stands for a model: answers with what it was shown, or with gray."""

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, images: Tensor, hole: Tensor, *, variations: int = 1, **_: object) -> Tensor:
        self.asked += 1
        answers = torch.where(hole[:, None], torch.zeros_like(images), images)
        return answers[:, None].repeat(1, variations, 1, 1, 1)


def test_what_is_measured_is_kept_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    model = BigLearnGAN.from_pretrained("checkpoints/digits")
    data, metric_models = (
        without_missing(model.config.data),
        measuring.shipped_metric_models("digits"),
    )
    first, second = Copies(), Copies()
    folders = {1: tmp_path / "a", 4: tmp_path / "b"}
    measuring.measure({folders[1]: first}, "these", data, 2, 397, metric_models)
    measuring.measure({folders[1]: first, folders[4]: second}, "these", data, 2, 397, metric_models)
    assert first.asked == second.asked > 0
    measuring.measure({folders[1]: first}, "others", data, 2, 397, metric_models)
    assert first.asked == 2 * second.asked
    kept = [(folder / "metrics.csv").read_text() for folder in folders.values()]
    assert kept[0] == kept[1]
    figure = measuring.curves({"copies": folders}, "steps")
    shown = {(axes.get_title(), axes.get_ylabel()): axes for axes in figure.axes}
    found = measuring.measured(folders[1])
    for task, measure, title, name in (
        ("joint", "fd", "joint", "Fréchet distance"),
        ("joint", "entropy", "joint", "class entropy"),
        ("random:0.5", "fd in-two-steps", "random:0.5", "distance in two steps"),
        ("right-half", "diversity", "right-half", "diversity"),
    ):
        record = found[task, measure]
        drawn, *bound = shown[title, name].get_lines()
        assert list(drawn.get_ydata()) == [record["value"]] * 2
        assert [line.get_ydata()[0] for line in bound] == [
            value for value in [measuring.bound_of(record)] if value is not None
        ]
    measuring.save(figure, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1500, 1470)


def test_classifiers_are_those_that_ship_or_are_beside_the_checkpoint(
    tmp_path: Path,
) -> None:
    told = (
        "no classifier_moons to measure with is in checkpoints/, here or in the clone, nor beside "
        f"{tmp_path / 'a'}: train-classifier makes one"
    )
    (tmp_path / "a").mkdir()
    with pytest.raises(CommandError, match=re.escape(told)) as ended:
        measuring.shipped_metric_models("moons", tmp_path / "a")
    assert ended.value.code == 2
    shutil.copytree(ROOT / "checkpoints/classifier_digits", tmp_path / "classifier_moons")
    ruler = measuring.shipped_metric_models("moons", tmp_path / "a").classifier
    shipped = measuring.shipped_metric_models("digits", None).classifier
    assert ruler is not None and shipped is not None
    assert fingerprint(ruler) == fingerprint(shipped)
