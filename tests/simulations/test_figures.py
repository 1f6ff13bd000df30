"""``biglearn-gan simulate``: its files, and one sentence for a mistake."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from biglearn_gan.cli.app import main
from biglearn_gan.simulations import grid_gmm
from biglearn_gan.simulations import two_gmm as surfaces
from biglearn_gan.simulations.figures import write_grid_gmm, write_two_gmm
from biglearn_gan.simulations.grid_gmm import OURS, PUBLISHED, TaskChoice, fit_grid
from biglearn_gan.simulations.objectives import TaskKind


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["biglearn-gan", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_fit_is_written_as_tables_and_figures(tmp_path: Path) -> None:
    history = fit_grid(replace(OURS, tasks=6), TaskChoice.big, 5, measurements=2)
    folder = tmp_path / "new" / "grid"
    summary = write_grid_gmm(history, folder, {"seed": 5})
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["seed"] == 5
    assert summary["modes_covered"] == history[-1].modes_covered
    assert summary["reverse_kl"] == history[-1].reverse_kl
    assert summary["forward_kl"] == history[-1].forward_kl
    assert summary["seconds"] == pytest.approx(history[-1].seconds, abs=1e-3)
    rows = read_csv(folder / "training.csv")
    assert [int(row["tasks"]) for row in rows] == [0, 3, 6]
    assert [float(row["reverse_kl"]) for row in rows] == [row.reverse_kl for row in history]
    assert [int(row["modes_covered"]) for row in rows] == [row.modes_covered for row in history]
    names = {"summary.json", "training.csv", "training.gif", "training.png", "densities.png"}
    assert {path.name for path in folder.iterdir()} == names
    with Image.open(folder / "training.gif") as animation:
        assert animation.n_frames == 3


def test_surfaces_are_written_with_their_minima(tmp_path: Path) -> None:
    tasks = [(TaskKind.joint, 0), (TaskKind.marginal, 60)]
    found = surfaces.compute_surfaces(tasks, 100)
    ways = [surfaces.descend(surfaces.DescentPlan("joint only", tasks[:1]), 0, 3)]
    summary = write_two_gmm(found, ways, tmp_path, {"seed": 0})
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["spurious_minima"] == {"joint": 2, "marginal 60": 0, "sum of all": 2}
    assert set(summary["share_of_starts_solved"]) == {"joint only"}
    rows = [row for row in read_csv(tmp_path / "minima.csv") if row["surface"] == "joint"]
    assert sorted(row["kind"] for row in rows) == ["global", "spurious", "spurious"]
    for row in rows:
        a, b = float(row["a"]), float(row["b"])
        assert (a * b < 0) == (row["kind"] == "global")
    for name in ("surfaces.png", "descents.png"):
        with Image.open(tmp_path / name) as image:
            assert len(image.convert("L").getcolors()) > 20  # not blank
    with Image.open(tmp_path / "descents.gif") as animation:
        assert animation.n_frames > 1


@pytest.mark.parametrize("schedule", ["published", None])
def test_the_command_fits_the_grid(
    schedule: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shorter = {"published": replace(PUBLISHED, tasks=3), "ours": replace(OURS, tasks=3)}
    monkeypatch.setattr(grid_gmm, "SCHEDULES", shorter)
    words = [
        "simulate",
        "grid-gmm",
        "--task",
        "conditional",
        "--seed",
        "3",
        "--output",
        str(tmp_path),
    ]
    assert run(monkeypatch, *words, *(["--schedule", schedule] if schedule else [])) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    named = {
        "simulation": "grid-gmm",
        "task": "conditional",
        "schedule": schedule or "ours",
        "seed": 3,
    }
    assert summary.items() >= named.items()
    printed = capsys.readouterr().out
    assert f"{summary['modes_covered']} of 25 modes" in printed
    assert str(tmp_path) in printed


def test_the_command_computes_the_surfaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", "two-gmm", "--task", "joint", "--output", str(tmp_path)]
    assert run(monkeypatch, *words) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["spurious_minima"] == {"joint": 2}
    assert (summary["task"], summary["seed"]) == ("joint", 0)
    assert "joint: 2 spurious minima" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["two-gmm", "--schedule", "ours"], "--schedule requires grid-gmm"),
        (["three-gmm"], "'three-gmm' is not one of 'two-gmm', 'grid-gmm'"),
        (["grid-gmm", "--task", "all"], "'all' is not one of"),
        (["grid-gmm", "--seed", "-1"], "greater than or equal to 0"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "simulate", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_an_output_that_is_a_file_fails_immediately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(monkeypatch, "simulate", "grid-gmm", "--output", str(tmp_path / "file")) == 2
    message = capsys.readouterr().err
    assert message.startswith("biglearn-gan: Invalid value for '--output': ")
    assert message.endswith(f"'{tmp_path / 'file'}' is a file.\n")
