"""Markdown tables of one evaluation, and of several."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.records import Record, write_records
from biglearn_gan.evaluation.tables import (
    comparison_tables,
    detailed_comparison_tables,
    evaluation_tables,
    load_numbers,
    oracle_table,
    summary_tables,
)


def record(
    measure: str,
    task: str,
    value: float,
    floor: float | None = None,
    ceiling: float | None = None,
    subject: str | None = None,
) -> Record:
    """A record with the standard error 0.1."""
    return Record(
        measure=measure,
        features="classifier",
        count=9,
        split="test",
        task=task,
        subject=subject,
        value=value,
        error=0.1,
        floor=floor,
        ceiling=ceiling,
        samples=9,
        seed=0,
    )


RECORDS = [
    record("fd", "real", 1.5, subject="real"),
    record("agreement", "real", 0.99, subject="real"),
    record("fd", "joint", 2.149, floor=1.364),
    record("fd", "joint", 9.0),
    record("fd", "joint", 3.0, floor=0.5, subject="two-step"),
    record("seams", "joint", 1.25, floor=1.04),
    record("entropy", "joint", 2.25, ceiling=2.303),
    record("fd", "random:0.5", 1.75, floor=1.364),
    record("agreement", "random:0.5", 0.9, ceiling=0.6999),
    record("diversity", "random:0.5", 0.125),
    record("psnr-best", "random:0.5", 12.5),
    record("fd", "random:0.5", 1.25, floor=1.364, subject="nearest"),
    record("agreement", "random:0.5", 0.875, ceiling=0.6999, subject="nearest"),
    record("fd", "random:0.5", 23.0, floor=1.364, subject="mean"),
    record("agreement", "random:0.5", 0.5, ceiling=0.6999, subject="mean"),
    record("fd", "random:0.5", 8.0, floor=1.364, subject="mismatched"),
    record("agreement", "random:0.5", 0.25, ceiling=0.6999, subject="mismatched"),
]


def test_an_evaluation_has_tables_of_images_completions_and_baselines() -> None:
    assert evaluation_tables(RECORDS).splitlines() == [
        "| task | Fréchet distance (floor) | two-step (floor) | seams (real images) "
        "| class entropy (ceiling) |",
        "|---|---|---|---|---|",
        "| real | 1.5 ± 0.1 |  |  |  |",
        "| joint | 2.15 ± 0.1 (1.36) | 3 ± 0.1 (0.5) | 1.25 ± 0.1 (1.04) | 2.25 ± 0.1 (2.3) |",
        "| random:0.5 | 1.75 ± 0.1 (1.36) |  |  |  |",
        "",
        "| task | agreement (ceiling) | diversity | PSNR, best |",
        "|---|---|---|---|",
        "| real | 0.99 ± 0.1 |  |  |",
        "| random:0.5 | 0.9 ± 0.1 (0.7) ↑ | 0.125 ± 0.1 | 12.5 ± 0.1 |",
        "",
        "| task | floor, ceiling | nearest: distance, agreement | mean: distance, agreement "
        "| mismatched: distance, agreement |",
        "|---|---|---|---|---|",
        "| random:0.5 | 1.36, 0.7 | 1.25, 0.875 | 23, 0.5 | 8, 0.25 |",
    ]


def test_tables_without_rows_are_left_out() -> None:
    assert len(evaluation_tables(RECORDS[2:3]).splitlines()) == 3


def test_a_summary_has_the_main_numbers_and_the_baselines() -> None:
    assert summary_tables(RECORDS).splitlines() == [
        "| hidden | Fréchet distance (floor) | agreement (ceiling) | diversity |",
        "|---|---|---|---|",
        "| everything (unconditional) | 2.149 (1.364) |  |  |",
        "| 50% of the patches | 1.750 (1.364) | 0.900 (0.700) ↑ | 0.125 |",
        "",
        "| hidden | nearest: distance, agreement | mean: distance, agreement "
        "| mismatched: distance, agreement |",
        "|---|---|---|---|",
        "| 50% of the patches | 1.25, 0.875 | 23, 0.5 | 8, 0.25 |",
    ]


def test_an_oracle_table_has_every_error_of_model_and_baselines() -> None:
    records = [
        record("mean-error", "box", 0.345, floor=0.0625),
        record("mean-error", "box", 1.375, floor=0.0625, subject="unconditional"),
        record("covariance-error", "box", 0.5, floor=0.25),
        record("covariance-error", "box", 4.0, floor=0.25, subject="joint-only"),
        record("critic-correlation", "box", 0.125, ceiling=0.75),
    ]
    assert oracle_table(records).splitlines()[2:] == [
        "| box | 0.34 / 1.38 / – (0.06) | 0.50 / – / 4.00 (0.25) |  | 0.12 (0.75) |"
    ]
    mean = "mean error: model / unconditional pasted / joint only (floor)"
    assert oracle_table(records).startswith(f"| kind of task | {mean} | covariance error: ")


def save(folder: Path, speed: float, *records: Record) -> Path:
    """Write what `evaluate` writes."""
    write_records(records, folder)
    (folder / "speed.csv").write_text(f"task,images_per_second\njoint,{speed}\n")
    return folder


def test_evaluations_are_compared_with_their_bounds(tmp_path: Path) -> None:
    joint = record("fd", "joint", 1.2345, floor=1.0)
    agreement = record("agreement", "random:0.5", 0.5, ceiling=0.75)
    precision = record("precision", "joint", 0.25, ceiling=0.5)
    two_step = record("fd", "joint", 3.0, floor=0.5, subject="two-step")
    first = save(
        tmp_path / "a",
        1234.5,
        *(joint, agreement, precision, two_step),
        record("fd", "random:0.5", 2.0, floor=1.0),
        record("diversity", "random:0.5", 0.125),
    )
    unbounded = replace(agreement, ceiling=None)
    other = replace(two_step, value=4.0, floor=0.25)
    second = save(tmp_path / "b", 12.0, joint, unbounded, precision, other)
    folders, tasks = {"one": first, "two": second}, ("joint", "random:0.5", "center")
    assert comparison_tables(folders, tasks).splitlines() == [
        "|  | joint: distance | random:0.5: distance, agreement | joint images/s |",
        "|---|---|---|---|",
        "| one | 1.23 | 2, 0.5 | 1,234 |",
        "| two | 1.23 | –, 0.5 | 12 |",
        "| *floor or ceiling* | 1 | 1, 0.75 | – |",
    ]
    assert detailed_comparison_tables(folders, tasks).splitlines() == [
        "|  | joint: precision |",
        "|---|---|",
        "| one | 0.25 |",
        "| two | 0.25 |",
        "| *floor or ceiling* | 0.5 |",
        "",
        "|  | joint: two-step | random:0.5: diversity |",
        "|---|---|---|",
        "| one | 3 (0.5) | 0.125 |",
        "| two | 4 (0.25) | – |",
        "| *floor or ceiling* | – | – |",
    ]


def test_no_table_has_more_than_eight_columns(tmp_path: Path) -> None:
    tasks = [f"task{number}" for number in range(9)]
    records = [record("fd", task, 1.0, floor=0.5) for task in tasks]
    tables = comparison_tables({"one": save(tmp_path, 10.0, *records)}, tasks).split("\n\n")
    rules = [table.splitlines()[1] for table in tables]
    assert rules == ["|---" * 8 + "|", "|---" * 4 + "|"]
    header = [cell for table in tables for cell in table.splitlines()[0].split(" | ")[1:]]
    assert [cell.removesuffix(" |") for cell in header] == [
        *(f"{task}: distance" for task in tasks),
        "joint images/s",
    ]


def test_samples_of_another_system_are_compared_without_their_speed(tmp_path: Path) -> None:
    joint = record("fd", "joint", 2.0, floor=1.0)
    ours = save(tmp_path / "ours", 12.0, joint)
    theirs = save(tmp_path / "theirs", 1.0, replace(joint, value=4.0))
    (theirs / "speed.csv").unlink()
    lines = comparison_tables({"ours": ours, "theirs": theirs}, ["joint"]).splitlines()
    assert lines[0] == "|  | joint: distance | joint images/s |"
    assert lines[2:4] == ["| ours | 2 | 12 |", "| theirs | 4 | – |"]
    lines = comparison_tables({"theirs": theirs}, ["joint"]).splitlines()
    assert lines[0] == "|  | joint: distance |"


def test_a_folder_without_metrics_is_not_an_evaluation(tmp_path: Path) -> None:
    message = f"{tmp_path} holds no evaluation: it has no metrics.json"
    with pytest.raises(UsageError, match=re.escape(message)):
        load_numbers(tmp_path)
