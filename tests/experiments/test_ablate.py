"""The ablation runner repeats no finished run, and keeps different runs apart."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ablate
import pytest
import yaml
from PIL import Image

from biglearn_gan.cli.runner import CommandError
from biglearn_gan.data.loading import count_classes

ROOT = Path(__file__).parents[2]
Call = Callable[..., str]


def rows() -> list[ablate.Row]:
    measured = [("a", 0, 2.0, 0.75), ("b", 0, 9.0, 0.25), ("a", 1, 4.0, 0.85)]
    return [
        {
            **{"variant": variant, "seed": seed, "run": f"{variant}/{seed}"},
            **{"images": "48", "seconds": "2.0", "agreement mismatched random:0.5": 0.3},
            **{"fd joint": distance, "agreement random:0.5": agreement},
        }
        for variant, seed, distance, agreement in measured
    ]


def test_the_table_has_mean_and_standard_deviation_over_seeds() -> None:
    lines = ablate.table(rows(), ablate.usual_columns(rows())).splitlines()
    assert lines[0] == "| variant | seeds | fd joint | agreement random:0.5 |"
    assert lines[2] == "| a | 2 | 3 ± 1 | 0.8 ± 0.07 |"
    assert lines[3] == "| b | 1 | 9 | 0.25 |"


def test_the_csv_the_figure_and_the_tables_hold_the_rows(tmp_path: Path) -> None:
    results = tmp_path / "new" / "some"
    ablate.write_results(results, rows())
    with (tmp_path / "new/some.csv").open(newline="") as file:
        assert [line["variant"] for line in csv.DictReader(file)] == ["a", "b", "a"]
    assert list(ablate.read_runs(tmp_path / "new/some.csv").values()) == rows()
    assert (tmp_path / "new/some.png").read_bytes().startswith(b"\x89PNG")
    usual = ablate.table(rows(), ["fd joint", "agreement random:0.5"])
    assert ablate.tables_text(rows()) == usual
    tables = {"First": ["fd joint"], "Second": ["agreement mismatched random:0.5"]}
    first, second = (ablate.table(rows(), columns) for columns in tables.values())
    assert ablate.tables_text(rows(), tables) == f"First\n\n{first}\n\nSecond\n\n{second}"


def test_unchanged_results_are_not_written_again(tmp_path: Path) -> None:
    ablate.write_results(tmp_path / "some", rows())
    files = [tmp_path / "some.csv", tmp_path / "some.png"]
    before = [file.stat().st_mtime_ns for file in files]
    ablate.write_results(tmp_path / "some", rows())
    assert [file.stat().st_mtime_ns for file in files] == before
    ablate.write_results(tmp_path / "some", rows()[:2])
    assert all(file.stat().st_mtime_ns > time for file, time in zip(files, before, strict=True))
    pictures = {files[1].read_bytes()}
    for table in ({"": ["fd joint"]}, {"": ["agreement random:0.5"]}):
        ablate.write_results(tmp_path / "some", rows()[:2], table)
        pictures.add(files[1].read_bytes())
    assert len(pictures) == 3


def test_rows_that_are_not_asked_for_stay_in_the_csv(
    values: dict[str, Any], call: Call, tmp_path: Path
) -> None:
    tiny, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    tiny.write_text(yaml.safe_dump(values))
    call(tiny, runs)
    before = ablate.read_runs(tmp_path / "tiny.csv")
    tiny.write_text(yaml.safe_dump(values | {"seeds": [1]}))
    printed = call(tiny, tmp_path / "no_runs")
    assert ablate.read_runs(tmp_path / "tiny.csv") == before and len(before) == 2
    assert "| narrow | 1 |" in printed


def run_script(ablation: Path, runs: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as a command."""
    command = [sys.executable, "experiments/ablate.py", str(ablation), "--runs", str(runs)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the script in this process, with its results beside the YAML file; returns its output."""
    monkeypatch.chdir(ROOT)

    def run_main(
        ablation: Path, runs: Path, output: Path | None = None, only_print: bool = False
    ) -> str:
        capsys.readouterr()
        ablate.main(ablation, 2, runs, output or ablation.parent, only_print)
        return capsys.readouterr().out

    return run_main


@pytest.fixture
def values() -> dict[str, Any]:
    """An ablation of one variant and two seeds, of a tiny model."""
    small = ["train.max_images=64", "train.batch_size=4", "logging.log_images=16"]
    return {
        "config": "experiments/digits.yaml",
        "overrides": [*small, "logging.tensorboard=false", "logging.evaluation_time_share=0"],
        "variants": {"narrow": [f"model.{n}.width=16" for n in ("generator", "discriminator")]},
        "seeds": [0, 1],
        "tasks": "joint,random:0.5",
        "num": 100,
        "evaluate": ["--variations", "2"],
    }


def test_runs_are_trained_evaluated_and_not_repeated(
    values: dict[str, Any], call: Call, tmp_path: Path
) -> None:
    tiny, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    tiny.write_text(yaml.safe_dump(values))
    printed = call(tiny, runs)
    with (tmp_path / "tiny.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(line["seed"], line["images"]) for line in found] == [("0", "64"), ("1", "64")]
    assert found[0]["fd joint"] != found[1]["fd joint"]
    table = ablate.tables_text(list(ablate.read_runs(tmp_path / "tiny.csv").values()))
    assert printed.endswith(f"{table}\n")

    # Another ablation finds the runs.
    metrics = sorted(runs.rglob("metrics.json"))
    written = [file.stat().st_mtime_ns for file in metrics]
    another = tmp_path / "another.yaml"
    another.write_text(
        yaml.safe_dump(values | {"variants": {"slim": values["variants"]["narrow"]}})
    )
    call(another, runs)
    assert sorted(runs.rglob("metrics.json")) == metrics and len(metrics) == 2
    assert [file.stat().st_mtime_ns for file in metrics] == written
    with (tmp_path / "another.csv").open(newline="") as file:
        assert [row | {"variant": "narrow"} for row in csv.DictReader(file)] == found

    # A run of another configuration is not taken for this one.
    config = metrics[0].parents[1] / "config.yaml"
    config.write_text(config.read_text().replace("batch_size: 4", "batch_size: 8"))
    with pytest.raises(CommandError, match="has a run of another configuration"):
        call(tiny, runs, tmp_path / "anew")

    # The CSV is enough, unless its configuration is another.
    content = (tmp_path / "tiny.csv").read_bytes()
    for only_print in (False, True):
        assert call(tiny, tmp_path / "no_runs", only_print=only_print) == f"{table}\n"
    assert not (tmp_path / "no_runs").exists()
    assert (tmp_path / "tiny.csv").read_bytes() == content
    (tmp_path / "tiny.csv").write_bytes(content.replace(found[0]["configuration"].encode(), b"old"))
    with pytest.raises(CommandError, match="for 'narrow', seed 0, of another configuration"):
        call(tiny, tmp_path / "no_runs")


def test_a_finished_run_of_class_folders_is_known_again(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """Training stores the classes that it counted, which the configuration leaves out."""
    for name in ("ant", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "photos" / name / "0.png")
    data = ["data.name=folder", "data.labels=true", f"data.root={tmp_path / 'photos'}"]
    ablation = ablate.Ablation(**values | {"overrides": [*values["overrides"], *data]})
    run = ablate.Run("narrow", 0, tmp_path / "runs", ablation)
    run.metrics_file.parent.mkdir(parents=True)
    run.metrics_file.touch()
    stored = count_classes(run.config)
    assert stored.data.classes == 2
    (run.folder / "config.yaml").write_text(stored.to_yaml())
    run.train_and_evaluate()  # neither fails nor trains
    assert list(run.folder.glob("*")) and not list(run.runs.glob("*.log"))


def test_only_print_needs_finished_runs(values: dict[str, Any], call: Call, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.yaml"
    tiny.write_text(yaml.safe_dump(values))
    with pytest.raises(CommandError, match="has no run of this ablation: run it without --print"):
        call(tiny, tmp_path / "runs", only_print=True)


@pytest.mark.parametrize("column", ["fd jiont", "df joint", "fd pasted joint", "fd"])
def test_an_impossible_column_is_rejected_before_anything_runs(
    column: str, values: dict[str, Any]
) -> None:
    ablation = ablate.Ablation.model_validate(values | {"tables": {"": [column]}})
    with pytest.raises(CommandError, match=f"tables: a column must be .*, not '{column}'$"):
        ablate.check_columns(ablation)


def test_many_overrides_still_have_a_folder_of_their_own(values: dict[str, Any]) -> None:
    """A file system allows 255 bytes, and the log of a run has the name of its folder."""
    long = [f"logging.log_images={number}" for number in range(100)]
    ablation = ablate.Ablation.model_validate(values | {"overrides": long})
    names = [ablate.Run("narrow", seed, Path("runs"), ablation).folder.name for seed in (0, 1)]
    assert len(set(names)) == 2
    assert all(len(f"{name}.log") <= 255 for name in names)


def test_a_run_gets_the_threads_of_its_ablation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def note(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append((words[3], options["env"]["OMP_NUM_THREADS"]))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", note)
    for threads in ({}, {"threads": 2}):
        values = {"config": "experiments/digits.yaml", "variants": {"x": []}, "seeds": [0]}
        ablation = ablate.Ablation.model_validate(values | threads)
        ablate.Run("x", 0, tmp_path / "runs", ablation).train_and_evaluate()
    assert calls == [("train", "1"), ("evaluate", "1"), ("train", "2"), ("evaluate", "2")]


def test_a_column_that_no_run_has_is_an_error() -> None:
    with pytest.raises(CommandError, match="no run has the column 'fd jiont'"):
        ablate.tables_text(rows(), {"": ["fd joint", "fd jiont"]})


@pytest.mark.parametrize("text", ["variants: [", "config: experiments/digits.yaml", "sped: 3"])
def test_a_wrong_file_is_one_sentence(text: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text)
    ended = run_script(wrong, tmp_path / "runs")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"ablate: {wrong}: ") and ended.stderr.count("\n") == 1


def test_a_failed_run_is_one_sentence(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    values = {
        "config": "experiments/digits.yaml",
        "variants": {"x": ["train.sped=3"]},
        "seeds": [0],
    }
    wrong.write_text(yaml.safe_dump(values))
    ended = run_script(wrong, tmp_path / "runs")
    assert ended.returncode == 1
    assert ended.stderr.startswith("ablate: a run failed: ") and ended.stderr.count("\n") == 1
    (log,) = (tmp_path / "runs").rglob("*.log")
    assert "train.sped: unknown key" in log.read_text()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments/ablations").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_run_of_a_shipped_ablation_has_its_row(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no run is repeated, and no row is left over."""
    monkeypatch.chdir(ROOT)
    ablation = ablate.read_ablation(path)
    rows = ablate.read_runs(ROOT / ablate.RESULTS / f"{path.stem}.csv")
    runs = [
        ablate.Run(variant, seed, Path("runs"), ablation)
        for variant in ablation.variants
        for seed in ablation.seeds
    ]
    expected = {run.name: (run.variant, run.seed, run.fingerprint) for run in runs}
    found = {
        name: (row["variant"], row["seed"], row["configuration"]) for name, row in rows.items()
    }
    assert found == expected
    assert (ROOT / ablate.RESULTS / f"{path.stem}.png").is_file()
