"""The ablation runner: what is done is not done again, and every run is told apart."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import ablate
import pytest
import yaml

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def rows() -> list[dict[str, object]]:
    measured = [("a", 0, 2.0, 0.75), ("b", 0, 9.0, 0.25), ("a", 1, 4.0, 0.85)]
    return [
        {
            **{"variant": variant, "seed": seed, "run": f"{variant}/{seed}"},
            **{"images": "48", "seconds": "2.0", "agreement glued random:0.5": 0.3},
            **{"fd joint": distance, "agreement random:0.5": agreement},
        }
        for variant, seed, distance, agreement in measured
    ]


def test_the_table_has_mean_and_standard_deviation_over_seeds() -> None:
    lines = ablate.table(rows(), ablate.usual_columns(rows())).splitlines()
    assert lines[0] == "| variant | seeds | fd joint | agreement random:0.5 |"
    assert lines[2] == "| a | 2 | 3 ± 1 | 0.8 ± 0.07 |"
    assert lines[3] == "| b | 1 | 9 | 0.25 |"


def test_csv_table_and_figure_appear_beside_the_grid(tmp_path: Path) -> None:
    ablate.write(tmp_path / "some.yaml", rows())
    with (tmp_path / "some.csv").open(newline="") as file:
        assert [line["variant"] for line in csv.DictReader(file)] == ["a", "b", "a"]
    assert list(ablate.read_rows(tmp_path / "some.csv").values()) == rows()
    usual = ablate.table(rows(), ["fd joint", "agreement random:0.5"])
    assert (tmp_path / "some.md").read_text() == usual + "\n"
    tables = {"What is drawn": ["fd joint"], "What is read": ["agreement glued random:0.5"]}
    ablate.write(tmp_path / "some.yaml", rows(), tables)
    drawn, read = (ablate.table(rows(), columns) for columns in tables.values())
    text = (tmp_path / "some.md").read_text()
    assert text == f"What is drawn\n\n{drawn}\n\nWhat is read\n\n{read}\n"
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")


def carry_out(grid: Path, runs: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXPERIMENTS / "ablate.py", grid, "--runs", runs, "--processes", 2]
    command += words
    return subprocess.run(
        [str(word) for word in command],
        cwd=EXPERIMENTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_runs_are_trained_evaluated_and_not_repeated(tmp_path: Path) -> None:
    grid = tmp_path / "tiny.yaml"
    small = ["train.max_images=64", "train.batch_size=4", "logging.log_images=16"]
    values = {
        "config": "experiments/digits.yaml",
        "overrides": [*small, "logging.tensorboard=false", "logging.evaluation_time_share=0"],
        "variants": {"narrow": [f"model.{n}.width=16" for n in ("generator", "discriminator")]},
        "seeds": [0, 1],
        "tasks": "joint,random:0.5",
        "num": 100,
        "evaluate": ["--variations", "2"],
    }
    grid.write_text(yaml.safe_dump(values))
    misspelt = tmp_path / "misspelt.yaml"
    for column in ("fd jiont", "df joint", "fd pasted joint", "fd"):
        misspelt.write_text(yaml.safe_dump(values | {"tables": {"": [column]}}))
        ended = carry_out(misspelt, tmp_path / "runs")
        assert ended.returncode == 2
        assert f"tables: {column!r} must be a measure (fd, " in ended.stderr
        assert ended.stderr.count("\n") == 1 and not (tmp_path / "runs").exists()
    first = carry_out(grid, tmp_path / "runs")
    assert first.returncode == 0, first.stderr
    with (tmp_path / "tiny.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(line["seed"], line["images"]) for line in found] == [("0", "64"), ("1", "64")]
    assert found[0]["fd joint"] != found[1]["fd joint"]
    every = sorted((tmp_path / "runs").rglob("metrics.json"))
    metrics = every[0]
    written = [metrics.stat().st_mtime_ns for metrics in every]
    another = tmp_path / "another.yaml"
    another.write_text(
        yaml.safe_dump(values | {"variants": {"slim": values["variants"]["narrow"]}})
    )
    assert carry_out(another, tmp_path / "runs").returncode == 0
    assert sorted((tmp_path / "runs").rglob("metrics.json")) == every and len(every) == 2
    assert [metrics.stat().st_mtime_ns for metrics in every] == written
    with (tmp_path / "another.csv").open(newline="") as file:
        assert [row | {"variant": "narrow"} for row in csv.DictReader(file)] == found

    log = (metrics.parents[1] / "config.yaml").read_text()
    (metrics.parents[1] / "config.yaml").write_text(log.replace("batch_size: 4", "batch_size: 8"))
    ended = carry_out(grid, tmp_path / "runs", "--output", tmp_path / "anew")
    assert ended.returncode == 1 and "was made with another configuration" in ended.stderr

    written = {suffix: grid.with_suffix(suffix).read_bytes() for suffix in (".csv", ".md")}
    assert carry_out(grid, tmp_path / "no_runs").returncode == 0
    assert not (tmp_path / "no_runs").exists()
    lines = written[".csv"].decode().replace(found[0]["configuration"], "of old")
    (tmp_path / "tiny.csv").write_text(lines)
    ended = carry_out(grid, tmp_path / "no_runs")
    assert ended.returncode == 1 and "'narrow', seed 0 is of another configuration" in ended.stderr
    (tmp_path / "tiny.csv").write_bytes(written[".csv"])
    assert {suffix: grid.with_suffix(suffix).read_bytes() for suffix in written} == written


def test_a_run_is_given_the_threads_of_its_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def note(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        given.append((words[3], options["env"]["OMP_NUM_THREADS"]))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", note)
    for threads in ({}, {"threads": 2}):
        values = {"config": "experiments/digits.yaml", "variants": {"x": []}, "seeds": [0]}
        grid = ablate.Grid.model_validate(values | threads)
        ablate.Run("x", 0, tmp_path / "runs", grid).carry_out()
    assert given == [("train", "1"), ("evaluate", "1"), ("train", "2"), ("evaluate", "2")]


def test_a_column_that_no_run_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ablate.CommandError, match="'fd jiont'"):
        ablate.write(tmp_path / "some.yaml", rows(), {"What is drawn": ["fd joint", "fd jiont"]})


@pytest.mark.parametrize("text", ["variants: [", "config: experiments/digits.yaml", "sped: 3"])
def test_a_wrong_grid_is_one_sentence(text: str, tmp_path: Path) -> None:
    grid = tmp_path / "wrong.yaml"
    grid.write_text(text)
    ended = carry_out(grid, tmp_path / "runs")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"ablate: {grid}: ") and ended.stderr.count("\n") == 1


def test_a_run_that_fails_is_one_sentence(tmp_path: Path) -> None:
    grid = tmp_path / "wrong.yaml"
    values = {
        "config": "experiments/digits.yaml",
        "variants": {"x": ["train.sped=3"]},
        "seeds": [0],
    }
    grid.write_text(yaml.safe_dump(values))
    ended = carry_out(grid, tmp_path / "runs")
    assert ended.returncode == 1
    assert ended.stderr.startswith("ablate: a run failed: ") and ended.stderr.count("\n") == 1
    (log,) = (tmp_path / "runs").rglob("*.log")
    assert "train.sped: unknown key" in log.read_text()
