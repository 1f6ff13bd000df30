"""Every shipped configuration trains: a warm-start step, a hand-over and a step of the game."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml

from biglearn_gan.calibration import random_images
from biglearn_gan.config import load_config
from biglearn_gan.devices import make_accelerator
from biglearn_gan.progressive import OrderName
from biglearn_gan.trainer import Trainer

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RECORDS = EXPERIMENTS / "records"
sys.path.insert(0, str(EXPERIMENTS))

import best_of  # noqa: E402
import flow_matching  # noqa: E402
import progressive  # noqa: E402
from ablate import Grid  # noqa: E402
from hues import table as hues_table  # noqa: E402
from labels import table as labels_table  # noqa: E402
from measuring import TASKS  # noqa: E402
from tables import (  # noqa: E402
    by_task,
    oracle_table,
    other_qualities,
    parts_of,
    side_by_side,
    summary_table,
    tables,
)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_trains(path: Path) -> None:
    config = load_config(
        path, ["train.batch_size=2", "train.precision=float32", "train.warm_start.share=0.5"]
    )
    accelerator = make_accelerator("cpu")
    trainer = Trainer(config, random_images(config, 3, accelerator.device), accelerator, 4)
    assert trainer.warm
    trainer.step()
    assert not trainer.warm
    players = trainer.players
    networks = (players.generator, players.discriminator)
    before = [network.trunk.blocks[0].attention.out.weight.clone() for network in networks]
    trainer.step()
    assert trainer.finished
    for network, old in zip(networks, before, strict=True):
        assert not torch.equal(network.trunk.blocks[0].attention.out.weight, old)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_says_what_it_needs(path: Path) -> None:
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    "path", sorted(EXPERIMENTS.glob("ablations/*.yaml")), ids=lambda path: path.stem
)
def test_every_variant_of_a_grid_is_a_configuration(path: Path) -> None:
    grid = Grid.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert grid.variants and grid.seeds
    for overrides in grid.variants.values():
        load_config(EXPERIMENTS.parent / grid.config, [*grid.overrides, *overrides])


DIGITS = ("--checkpoint", "checkpoints/digits", "--output", "x")
MISTAKES = {
    "benchmark": (
        ["--config", "experiments/digits.yaml", "data.foo=1"],
        2,
        "data.foo: unknown key",
    ),
    "picture": (
        ["--checkpoint", "nowhere", "--output", "x.png"],
        1,
        "'nowhere' is neither a folder",
    ),
    "missing": (["--output", "x", "--holes", "none,random:7"], 2, "data.missing.hole: "),
    "cost": (["experiments/digits.yaml"], 2, "experiments/digits.yaml: "),
    "page": (["--checkpoint", "x", "--variations", "1,,2"], 2, "--variations must be whole num"),
    "progressive": ([*DIGITS, "--steps", "2,x"], 2, "--steps must be whole numbers from 1, "),
    "progressive, order": ([*DIGITS, "--steps", "1", "--orders", "up"], 2, "not 'up'"),
    "progressive, tokens": ([*DIGITS, "--steps", "1,17"], 2, "steps must be 1 to 16, "),
    "progressive, few": (
        [*DIGITS, "--steps", "1", "--num", "5"],
        2,
        "--num must be at least 64, as many as features have dimensions, not 5",
    ),
    "best_of": ([*DIGITS, "--candidates", "0"], 2, "--candidates must be whole numbers from 1, "),
    "best_of, data": (
        [*DIGITS, "--other", "moons"],
        2,
        "--other: 'moons' is none of digits, mnist",
    ),
    "best_of, bounds": ([*DIGITS, "--other", "gaussian_field_grid"], 2, "have no bounds, as those"),
    "best_of, no data": (
        [*DIGITS, "--other", "mnist", "--data-root", "nowhere"],
        2,
        "--data-root nowhere is no folder",
    ),
    "missing, no data": (
        ["--output", "x", "--data-root", "nowhere"],
        2,
        "--data-root nowhere is no folder",
    ),
    "flow_matching": (
        [*("--config", "experiments/digits.yaml", "--output", "x"), "--images", "1", "--steps", ""],
        2,
        "--steps must be whole numbers from 1, such as 1,2,4, not ''",
    ),
    "tables": (["nowhere.json"], 2, "'nowhere.json' does not exist"),
    "tables, no JSON": (["README.md"], 2, "README.md holds no records, as the metrics.json"),
    "tables, settings": (["checkpoints/digits/config.json"], 2, "config.json holds no records, "),
    "tables, labels": (["checkpoints/digits/evaluation/labels.json"], 2, "labels.json holds no re"),
    "hues": (DIGITS, 2, "checkpoints/digits is a model of digits: only coloured_mnist has known"),
    "hues, folder": ([*DIGITS[:3], "experiments"], 2, "'experiments' is a directory"),
    "labels, folder": ([*DIGITS[:3], "experiments"], 2, "'experiments' is a directory"),
    "labels, below a file": ([*DIGITS[:3], "README.md/x"], 1, "README.md: File exists"),
    "picture, folder": ([*DIGITS[:3], "experiments"], 2, "'experiments' is a directory"),
    "picture, suffix": (DIGITS, 2, "--output must name a file with the suffix .png, not x"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_script_is_one_sentence(
    mistake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = mistake.partition(",")[0]
    words, code, told = MISTAKES[mistake]
    monkeypatch.chdir(EXPERIMENTS.parent)
    monkeypatch.setattr(sys, "argv", [script, *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXPERIMENTS / f"{script}.py"), run_name="__main__")
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert err.startswith(f"{script}: ") and err.count("\n") == 1 and told in err
    assert not (EXPERIMENTS.parent / "x").exists()


def printed_of(kept: Path) -> list[str]:
    """The tables that a script prints of what is kept of its measurements."""
    folders = {folder.name: folder for folder in kept.iterdir() if folder.is_dir()}
    script, _, subject = kept.name.partition("-")
    if script == "flow_matching":
        counts = sorted(int(name.removeprefix("steps_")) for name in folders)
        beside = EXPERIMENTS.parent / "checkpoints" / subject / "evaluation"
        return [side_by_side(flow_matching.rows_of(kept, counts, beside), TASKS)]
    if script == "progressive":
        orders = get_args(OrderName)
        parts = [name.split("_") for name in folders]
        keys = sorted((int(count), orders.index(order)) for count, order in parts)
        rows = {
            progressive.row_of(count, orders[place]): folders[f"{count}_{orders[place]}"]
            for count, place in keys
        }
    else:
        assert script == "best_of"
        counts = sorted(int(name.removeprefix("best_of_")) for name in folders)
        rows = {best_of.row_of(count): folders[f"best_of_{count}"] for count in counts}
    tables = []
    if rows:
        tables = [side_by_side(rows, TASKS), *other_qualities(rows, TASKS).split("\n\n")]
    told = kept / "told_apart.json"
    if told.exists():
        tables.append(best_of.areas_table(json.loads(told.read_text(encoding="utf-8"))))
    return tables


@pytest.mark.parametrize("kept", sorted(RECORDS.iterdir()), ids=lambda kept: kept.name)
def test_tables_of_ways_to_draw_are_those_of_their_records(kept: Path) -> None:
    text = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    for table in printed_of(kept):
        assert table in text


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_what_is_said_of_labels_was_measured(name: str) -> None:
    results = json.loads(
        (EXPERIMENTS.parent / f"checkpoints/{name}/evaluation/labels.json").read_text()
    )
    assert labels_table(results) in (EXPERIMENTS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "document",
    [
        "experiments/README.md",
        "checkpoints/digits/README.md",
        "checkpoints/mnist/README.md",
        "checkpoints/coloured_mnist/README.md",
    ],
)
def test_tables_are_those_of_the_shipped_records(document: str) -> None:
    text = (EXPERIMENTS.parent / document).read_text(encoding="utf-8")
    names = re.findall(r"--output (checkpoints/\w+/evaluation)", text)
    assert names
    for name in names:
        records = json.loads((EXPERIMENTS.parent / name / "metrics.json").read_text())
        assert tables(records) in text


def test_short_tables_of_the_readme_are_those_of_the_shipped_records() -> None:
    text = (EXPERIMENTS.parent / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"tables.py (checkpoints/\w+/evaluation/metrics.json) --summary", text)
    assert len(names) == 2
    for name in names:
        assert summary_table(json.loads((EXPERIMENTS.parent / name).read_text())) in text


def test_what_is_said_of_hues_was_measured() -> None:
    results = json.loads((EXPERIMENTS.parent / "checkpoints/coloured_mnist/hues.json").read_text())
    assert hues_table(results) in (EXPERIMENTS / "README.md").read_text(encoding="utf-8")


def test_what_gluing_costs_is_told_as_it_was_measured() -> None:
    """Less than a sixteenth of the 64 that images without any variation are away."""
    moved, lost = [], []
    for name in ("digits", "mnist"):
        path = EXPERIMENTS.parent / f"checkpoints/{name}/evaluation/metrics.json"
        found = by_task(json.loads(path.read_text(encoding="utf-8")))
        distance, agreement = (
            found["random:0.25", f"{measure} glued"] for measure in ("fd", "agreement")
        )
        moved.append(distance["value"] - distance["floor"])
        lost.append(agreement["ceiling"] - agreement["value"])
    assert max(moved) < 64 / 16
    text = " ".join((EXPERIMENTS / "README.md").read_text(encoding="utf-8").split())
    assert (
        f"moves the distance by {moved[0]:.1f} (digits) and {moved[1]:.1f} (MNIST)" in text
        and f"agreement is {lost[0]:.2f} and {lost[1]:.2f} below its ceiling" in text
    )


def test_all_other_tables_are_those_of_their_files() -> None:
    text = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    oracle = EXPERIMENTS / "oracle"
    assert oracle_table(json.loads((oracle / "metrics.json").read_text())) in text
    critic = (oracle / "critic_oracle.md").read_text(encoding="utf-8").splitlines()
    assert "\n".join(line for line in critic if line.startswith("|")) in text
    for grid in sorted((EXPERIMENTS / "ablations").glob("*.md")):
        assert grid.read_text(encoding="utf-8").strip() in text
    printed = subprocess.run(
        [sys.executable, "experiments/simulate_table.py", "--print"],
        cwd=EXPERIMENTS.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert printed in (EXPERIMENTS / "simulations.md").read_text(encoding="utf-8")


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
    glued = record | {"metric": "fd397few_classifier_test_center_glued", "task": "center"}
    shown = tables([record, record | {"value": 9.0}, glued]).splitlines()
    assert shown[2].startswith("| joint | 2.15 ± 0.5 (1.36) |")
    assert shown[-1] == "| center |  |  |  | 2.15 |"
    assert parts_of("label-total-variation1k_classifier_test_random50x7") == (
        "label-total-variation",
        "",
    )
