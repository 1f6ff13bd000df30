"""The schedules for 25 Gaussians: missing fits are run, and none is run twice."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import gmm_schedules
import pytest
import typer

from biglearn_gan.simulations.grid_gmm import OURS, PUBLISHED, TaskChoice


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with two variants of three tasks."""
    variants = {
        "ours": (replace(OURS, tasks=3), TaskChoice.big),
        "published": (replace(PUBLISHED, tasks=3), TaskChoice.joint),
    }
    monkeypatch.setattr(gmm_schedules, "VARIANTS", variants)
    return gmm_schedules


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_missing_fits_are_run_and_printed(
    study: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.csv"
    study.main(variant=["published"], seeds=1, results=results, only_print=False)
    first = rows(results)
    assert [(row["variant"], row["seed"]) for row in first] == [("published", "0")]
    study.main(variant=None, seeds=2, results=results, only_print=False)
    found = rows(results)
    assert found[0] == first[0]  # its times included
    expected = {(name, seed) for name in ("ours", "published") for seed in "01"}
    assert {(row["variant"], row["seed"]) for row in found} == expected
    assert len(found) == 4
    printed = capsys.readouterr().out
    assert printed.count("| ours | 2 | 0 |") == 1
    before = results.read_bytes()
    study.main(variant=None, seeds=2, results=results, only_print=True)
    assert results.read_bytes() == before


def test_a_line_counts_seeds_and_modes(study: Any) -> None:
    rows = [
        dict(zip(study.COLUMNS, ("ours", seed, *values), strict=True))
        for seed, values in enumerate(
            (
                ("25", "0.0001", "0.0002", "3.04", "2.9"),
                ("25", "0.0003", "0.0004", "3.26", "3.0"),
                ("23", "0.2", "0.5", "9.0", "3.11"),
            )
        )
    ]
    last = study.table(rows).splitlines()[-1]
    assert last == "| ours | 3 | 2 | 24.3 (23) | 0.0003 (0.2000) | 0.0004 | 3.3 | 3.0 |"


def test_an_unknown_variant_is_named(study: Any, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="must be one of 'ours', 'published', not 'other'"):
        study.main(["other"], 1, tmp_path / "results.csv", False)
    assert not (tmp_path / "results.csv").exists()
