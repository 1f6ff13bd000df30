"""Tables of one evaluation, and of several side by side."""

from __future__ import annotations

import json
from pathlib import Path

from biglearn_gan.evaluation.tables import other_qualities, parts_of, side_by_side, tables


def test_a_table_has_a_value_its_error_and_its_bound() -> None:
    record = {
        "metric": "fd397_classifier_joint",
        "task": "joint",
        "value": 2.149,
        "error": 0.4511,
        "floor": 1.364,
        "ceiling": None,
        "samples": 397,
        "seed": 0,
    }
    mismatched_completion = record | {
        "metric": "fd397few_classifier_test_center_glued",
        "task": "center",
    }
    shown = tables([record, record | {"value": 9.0}, mismatched_completion]).splitlines()
    assert shown[2].startswith("| joint | 2.15 ± 0.5 (1.36) |")
    assert shown[-1] == "| center |  |  |  | 2.15 |"
    assert parts_of("label-total-variation1k_classifier_test_random50x7") == (
        "label-total-variation",
        "",
    )


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
