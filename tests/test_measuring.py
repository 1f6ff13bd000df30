"""Several ways to draw, measured alike; what is there is not measured again."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.command import Mistake
from biglearn_gan.evaluation.features import fingerprint

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "experiments"))

import best_of  # noqa: E402
import measuring  # noqa: E402
import progressive  # noqa: E402
from tables import other_qualities, side_by_side  # noqa: E402


class Copies:
    """Stands for a model: answers with what it was shown, or with grey."""

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
    data = measuring.data_of(model, None)
    assert data.validation_share == 0
    assert measuring.data_of(model, str(tmp_path)).root == str(tmp_path)
    first, second = Copies(), Copies()
    folders = {1: tmp_path / "a", 4: tmp_path / "b"}
    measuring.measure({folders[1]: first}, "these", data, 2, 397)
    measuring.measure({folders[1]: first, folders[4]: second}, "these", data, 2, 397)
    assert first.asked == second.asked > 0
    measuring.measure({folders[1]: first}, "others", data, 2, 397)
    assert first.asked == 2 * second.asked
    kept = [(folder / "metrics.csv").read_text() for folder in folders.values()]
    assert kept[0] == kept[1]
    measuring.draw_curves({"copies": folders}, "steps", tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1500, 1470)


def test_in_steps_is_a_completion_in_as_many_steps() -> None:
    model = BigLearnGAN.from_pretrained(ROOT / "checkpoints/digits")
    images, hole = model.sample(3, seed=1), torch.zeros(3, 8, 8, dtype=torch.bool)
    hole[:, :5] = True
    options = {"variations": 2, "seed": 4, "first_image": 7}
    drawn = progressive.InSteps(model, 2, "raster").complete(images, hole, **options)
    assert torch.equal(drawn, model.complete(images, hole, steps=2, order="raster", **options))
    assert not torch.equal(drawn, model.complete(images, hole, **options))


def test_scripts_print_the_tables_of_what_they_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(measuring, "TASKS", ("joint", "random:0.5"))
    model = Path("checkpoints/digits")
    progressive.main(model, tmp_path, steps="2", orders="raster", num=70)
    shown = {"2 steps, raster": tmp_path / "2_raster"}
    tables = f"{side_by_side(shown, measuring.TASKS)}\n\n{other_qualities(shown, measuring.TASKS)}"
    assert capsys.readouterr().out == f"{tables}\n"
    best_of.main(model, tmp_path, candidates="2", num=70)
    areas = json.loads((tmp_path / "told_apart.json").read_text())
    told = [f"| {name} | {area:.3f} |" for name, area in areas.items()]
    assert len(told) == 3 and capsys.readouterr().out.splitlines()[-3:] == told


def test_classifiers_are_those_that_ship_or_are_beside_the_checkpoint(
    tmp_path: Path,
) -> None:
    told = f"no classifier_moons to measure with is in checkpoints/, nor beside {tmp_path / 'a'}"
    (tmp_path / "a").mkdir()
    with pytest.raises(Mistake, match=re.escape(told)) as ended:
        measuring.rulers_of("moons", tmp_path / "a")
    assert ended.value.code == 2
    shutil.copytree(ROOT / "checkpoints/classifier_digits", tmp_path / "classifier_moons")
    ruler = measuring.rulers_of("moons", tmp_path / "a").classifier
    shipped = measuring.rulers_of("digits", None).classifier
    assert ruler is not None and shipped is not None
    assert fingerprint(ruler) == fingerprint(shipped)


def evaluated(
    folder: Path, speed: float, **values: tuple[float, float | None, float | None]
) -> Path:
    """What `evaluate` leaves: value, floor and ceiling of each metric, by its name and task."""
    folder.mkdir()
    records = [
        {
            "metric": metric,
            "task": "random:0.5" if "random50" in metric else "joint",
            "value": value,
            "error": 0.1,
            "floor": floor,
            "ceiling": ceiling,
        }
        for metric, (value, floor, ceiling) in values.items()
    ]
    (folder / "metrics.json").write_text(json.dumps(records))
    (folder / "speed.csv").write_text(f"task,images_per_second\njoint,{speed}\n")
    return folder


def test_evaluations_stand_side_by_side_with_what_bounds_them(tmp_path: Path) -> None:
    common: dict[str, tuple[float, float | None, float | None]] = {
        "fd9_classifier_joint": (1.2345, 1.0, None),
        "agreement9_classifier_test_random50": (0.5, None, 0.75),
        "precision9_classifier_joint": (0.25, None, 0.5),
    }
    twice = "fd9_classifier_joint_in-two-steps"
    first = evaluated(
        tmp_path / "a",
        1234.5,
        **common,
        fd9_classifier_test_random50=(2.0, 1.0, None),
        diversity9_pixels_test_random50=(0.125, None, None),
        **{twice: (3.0, 0.5, None)},
    )
    unbounded = common | {"agreement9_classifier_test_random50": (0.5, None, None)}
    second = evaluated(tmp_path / "b", 12.0, **unbounded, **{twice: (4.0, 0.25, None)})
    folders, tasks = {"one": first, "two": second}, ("joint", "random:0.5", "center")
    assert side_by_side(folders, tasks).splitlines() == [
        "| | joint: distance | random:0.5: distance, agreement | joint images/s |",
        "|---|---|---|---|",
        "| one | 1.23 | 2, 0.5 | 1,234 |",
        "| two | 1.23 | –, 0.5 | 12 |",
        "| *floor or ceiling* | 1 | 1, 0.75 | – |",
    ]
    assert other_qualities(folders, tasks).splitlines() == [
        "| | joint: precision |",
        "|---|---|",
        "| one | 0.25 |",
        "| two | 0.25 |",
        "| *floor or ceiling* | 0.5 |",
        "",
        "| | joint: in two steps | random:0.5: diversity |",
        "|---|---|---|",
        "| one | 3 (0.5) | 0.125 |",
        "| two | 4 (0.25) | – |",
        "| *floor or ceiling* | – | – |",
    ]
