"""``biglearn-gan tables``: its tables, and its mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from toys import Run

from biglearn_gan.evaluation.records import read_records
from biglearn_gan.evaluation.tables import (
    comparison_tables,
    evaluation_tables,
    oracle_table,
    summary_tables,
)

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "checkpoints/digits/evaluation/metrics.json"
ORACLE = ROOT / "experiments/results/gaussian_fields/metrics.json"
BEFORE, AFTER = (
    ROOT / "experiments/results/partial_patches/mnist" / name / "metrics.json"
    for name in ("before", "after")
)

MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a missing file": (("tables", "{tmp}/nowhere.json"), 2, "nowhere.json' does not exist"),
    "a text": (("tables", str(ROOT / "README.md")), 2, "README.md holds no records: give a metri"),
    "a configuration": (
        ("tables", str(ROOT / "checkpoints/digits/config.json")),
        2,
        "config.json holds no records",
    ),
    "a summary of two": (
        ("tables", str(BEFORE), str(AFTER), "--summary"),
        2,
        "--summary requires a single metrics.json",
    ),
    "two oracles": (
        ("tables", str(ORACLE), str(AFTER)),
        2,
        "an evaluation of evaluate-oracle has a table of its own: name it alone",
    ),
    "one folder twice": (
        ("tables", str(BEFORE), str(BEFORE)),
        2,
        "evaluations to compare must be in folders of different names",
    ),
}


def test_one_evaluation_is_printed_whole_or_as_a_summary(run: Run) -> None:
    records = read_records(DIGITS)
    assert run("tables", DIGITS) == (0, f"{evaluation_tables(records)}\n", "")
    assert run("tables", DIGITS, "--summary") == (0, f"{summary_tables(records)}\n", "")


def test_an_oracle_has_a_table_of_its_own(run: Run) -> None:
    assert run("tables", ORACLE) == (0, f"{oracle_table(read_records(ORACLE))}\n", "")


def test_several_evaluations_are_compared_in_all_their_tasks(run: Run) -> None:
    tasks = dict.fromkeys(record.task for record in read_records(BEFORE) if record.task != "real")
    expected = comparison_tables({"before": BEFORE.parent, "after": AFTER.parent}, list(tasks))
    assert run("tables", BEFORE, AFTER) == (0, f"{expected}\n", "")


def test_the_named_file_is_compared_not_its_neighbor(run: Run, tmp_path: Path) -> None:
    for name, path in (("metrics.json", AFTER), ("renamed.json", BEFORE)):
        shutil.copy(path, tmp_path / name)
    tasks = dict.fromkeys(record.task for record in read_records(BEFORE) if record.task != "real")
    renamed = tmp_path / "renamed.json"
    expected = comparison_tables({tmp_path.name: renamed, "after": AFTER}, list(tasks))
    assert run("tables", renamed, AFTER) == (0, f"{expected}\n", "")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, check_mistake: Callable[..., None]) -> None:
    check_mistake(*MISTAKES[mistake])
