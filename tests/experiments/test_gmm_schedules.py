"""The table of the simulations is made of what was fitted, and nothing is fitted twice."""

from __future__ import annotations

import csv
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from biglearn_gan.simulations.grid_gmm import OURS, PUBLISHED, TaskChoice

ROOT = Path(__file__).parents[2]
Script = dict[str, Any]


@pytest.fixture
def script() -> Script:
    """The script's names, with two variants of three tasks."""
    names: Script = runpy.run_path(str(ROOT / "experiments" / "simulate_table.py"))[
        "main"
    ].__globals__
    names["VARIANTS"] = {
        "ours": (replace(OURS, tasks=3), TaskChoice.big),
        "published": (replace(PUBLISHED, tasks=3), TaskChoice.joint),
    }
    return names


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_missing_is_fitted_and_printed(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.csv"
    script["main"](variant=["published"], seeds=1, results=results, only_print=False)
    first = rows(results)
    assert [(row["variant"], row["seed"]) for row in first] == [("published", "0")]
    script["main"](variant=None, seeds=2, results=results, only_print=False)
    found = rows(results)
    assert found[0] == first[0]  # its times included
    expected = {(name, seed) for name in ("ours", "published") for seed in "01"}
    assert {(row["variant"], row["seed"]) for row in found} == expected
    assert len(found) == 4
    printed = capsys.readouterr().out
    assert printed.count("| ours | 2 | 0 |") == 1
    before = results.read_bytes()
    script["main"](variant=None, seeds=2, results=results, only_print=True)
    assert results.read_bytes() == before


def test_a_line_counts_seeds_and_modes(script: Script) -> None:
    made = [
        dict(zip(script["COLUMNS"], ("ours", seed, *values), strict=True))
        for seed, values in enumerate(
            (
                ("25", "0.0001", "0.0002", "3.04", "2.9"),
                ("25", "0.0003", "0.0004", "3.26", "3.0"),
                ("23", "0.2", "0.5", "9.0", "3.11"),
            )
        )
    ]
    last = script["table"](made).splitlines()[-1]
    assert last == "| ours | 3 | 2 | 24.3 (23) | 0.0003 (0.2000) | 0.0004 | 3.3 | 3.0 |"


def test_an_unknown_variant_is_named(script: Script, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="'other' is none of 'ours', 'published'"):
        script["main"](["other"], 1, tmp_path / "results.csv", False)
    assert not (tmp_path / "results.csv").exists()
