"""Records: the names of metrics, and the files that hold them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.records import (
    Record,
    metric_name,
    read_records,
    records_table,
    write_records,
)

ROOT = Path(__file__).parents[2]
RECORD = Record(
    measure="fd",
    features="classifier",
    count=1000,
    split=None,
    task="joint",
    subject=None,
    value=12.3456789,
    error=None,
    floor=1.5,
    ceiling=None,
    samples=1000,
    seed=3,
)


def test_names_state_the_protocol() -> None:
    name = metric_name("fd", 10_000, "classifier", "test", "random:0.75")
    assert name == "fd10k_classifier_test_random75"
    assert metric_name("fd", 1797, "classifier", None, "joint") == "fd1797_classifier_joint"
    name = metric_name("agreement", 1000, "classifier", "test", "random:0.125:7", subject="mean")
    assert name == "agreement1k_classifier_test_random12.5x7_mean"
    name = metric_name("fd", 99, "inception", None, "marginal:random:0.5", few=True)
    assert name == "fd99few_inception_marginal_random50"
    assert metric_name("fd", 99, "pixels", "test", "inside:4") == "fd99_pixels_test_inside4"
    assert metric_name("fd", 99, "pixels", None, "marginal:outside:12", subject="mismatched") == (
        "fd99_pixels_marginal_outside12_mismatched"
    )


def test_a_record_is_named_by_its_fields() -> None:
    assert RECORD.metric == "fd1k_classifier_joint"
    two_step = replace(RECORD, subject="two-step", few=True)
    assert two_step.metric == "fd1kfew_classifier_joint_two-step"
    real = replace(RECORD, task="real", subject="real", split="test")
    assert real.metric == "fd1k_classifier_test_real"
    labels = replace(RECORD, measure="label-total-variation", task="center", split="test")
    assert replace(labels, samples=64_000).metric == (
        "label-total-variation1k_classifier_test_center"
    )
    assert replace(labels, samples=8000).metric.endswith("_test_center_8-draws")


def test_records_are_written_read_and_shown(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write_records([replace(RECORD, value=0.0)], folder)
    records = [RECORD, replace(RECORD, floor=None, ceiling=2.0)]
    write_records(records, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "metrics.json"]
    rows = json.loads((folder / "metrics.json").read_text())
    assert rows[0] == {
        "metric": "fd1k_classifier_joint",
        "measure": "fd",
        "features": "classifier",
        "count": 1000,
        "split": None,
        "task": "joint",
        "subject": None,
        "value": 12.3456789,
        "error": None,
        "floor": 1.5,
        "ceiling": None,
        "samples": 1000,
        "seed": 3,
        "few": False,
    }
    assert read_records(folder / "metrics.json") == records
    with open(folder / "metrics.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["floor"] for line in lines] == ["1.5", ""]
    assert list(lines[0]) == list(rows[0]) and float(lines[0]["value"]) == 12.3456789
    assert records_table([RECORD]).splitlines()[-1] == (
        "| fd1k_classifier_joint | joint | 12.35 | – | 1.5 | – | 1000 | 3 |"
    )
    with pytest.raises(ValueError, match="JSON compliant"):
        write_records([replace(RECORD, value=float("nan"))], folder)
    assert json.loads((folder / "metrics.json").read_text()) == rows


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.pop("seed"),
        lambda row: row.update(extra=1),
        lambda row: row.update(value="12"),
        lambda row: row.update(count=1000.5),
        lambda row: row.update(metric="fd1k_classifier_center"),
        lambda row: row.pop("metric"),
    ],
)
def test_other_fields_types_and_names_are_rejected(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    write_records([RECORD], tmp_path)
    file = tmp_path / "metrics.json"
    rows = json.loads(file.read_text())
    change(rows[0])
    file.write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=r"holds no records: give a metrics.json that `evaluate`"):
        read_records(file)


SHIPPED = [
    path
    for folder in ("checkpoints", "experiments")
    for path in sorted((ROOT / folder).rglob("*.json"))
    if '"metric":' in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_records_load(file: Path, tmp_path: Path) -> None:
    """With every field, and written again they are the same files."""
    records = read_records(file)
    write_records(records, tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == file.read_bytes()
    table = file.with_suffix(".csv")
    if table.exists():
        assert (tmp_path / "metrics.csv").read_bytes() == table.read_bytes()


def test_records_ship_with_every_model() -> None:
    folders = {path.parents[1].name for path in SHIPPED if path.parent.name == "evaluation"}
    assert folders == {"digits", "mnist", "colored_mnist", "cifar10", "emoji"}
