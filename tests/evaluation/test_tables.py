"""Tables are what scripts print of the records that are kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import flow_matching
import gmm_gan as simulate_gan
import progressive_ as progressive
import pytest
import steps_and_ranking as best_of
from color_consistency import table as hues_table
from label_accuracy import table as labels_table

from biglearn_gan.evaluation.comparison import TASKS
from biglearn_gan.evaluation.tables import (
    by_task,
    oracle_table,
    other_qualities,
    parts_of,
    side_by_side,
    summary_table,
    tables,
)
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.checkpoint import card_text
from biglearn_gan.models.progressive import OrderName

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RECORDS = EXPERIMENTS / "records"


def printed_of(kept: Path) -> list[str]:
    """The tables that a script prints of what is kept of its measurements."""
    folders = {folder.name: folder for folder in kept.iterdir() if folder.is_dir()}
    script, _, subject = kept.name.partition("-")
    if script == "flow_matching":
        counts = sorted(int(name.removeprefix("steps_")) for name in folders)
        beside = EXPERIMENTS.parent / "checkpoints" / subject / "evaluation"
        return [side_by_side(flow_matching.rows_of(kept, counts, beside), TASKS)]
    if script == "tables":
        paths = [str(kept / side / "metrics.json") for side in ("before", "after")]
        command = [sys.executable, str(EXPERIMENTS / "tables.py"), *paths]
        return [subprocess.run(command, capture_output=True, text=True, check=True).stdout]
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
    printed = printed_of(kept)
    assert printed
    for table in printed:
        assert table in text


@pytest.mark.parametrize("name", ["digits", "mnist", "colored_mnist"])
def test_the_head_of_a_shipped_card_is_that_of_its_model(name: str) -> None:
    folder = EXPERIMENTS.parent / "checkpoints" / name
    config = BigLearnGAN.from_pretrained(folder).config
    shipped = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    by_hand = ("| images seen |", "| training time |")  # of more than one call
    for line in card_text(config).splitlines():
        assert line.startswith(by_hand) or line in shipped


@pytest.mark.parametrize("name", ["digits", "mnist", "colored_mnist"])
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
        "checkpoints/colored_mnist/README.md",
    ],
)
def test_tables_are_those_of_the_shipped_records(document: str) -> None:
    text = (EXPERIMENTS.parent / document).read_text(encoding="utf-8")
    names = re.findall(r"--output (checkpoints/\w+/evaluation)", text)
    assert names
    for name in names:
        records = json.loads((EXPERIMENTS.parent / name / "metrics.json").read_text())
        assert tables(records) in text


def test_several_evaluations_need_names_of_their_own() -> None:
    path = str(RECORDS / "tables-mnist/before/metrics.json")
    command = [sys.executable, str(EXPERIMENTS / "tables.py"), path, path]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.endswith("side by side are told apart by their folders' names\n")


def test_short_tables_of_the_readme_are_those_of_the_shipped_records() -> None:
    text = (EXPERIMENTS.parent / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"tables.py (checkpoints/\w+/evaluation/metrics.json) --summary", text)
    assert len(names) == 2
    for name in names:
        assert summary_table(json.loads((EXPERIMENTS.parent / name).read_text())) in text


def test_what_is_said_of_hues_was_measured() -> None:
    results = json.loads((EXPERIMENTS.parent / "checkpoints/colored_mnist/hues.json").read_text())
    assert hues_table(results) in (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    told = (
        f"keep both hues of a half-hidden image in {results['completions']['both']:.1%} of 10,000"
    )
    assert told in (EXPERIMENTS.parent / "README.md").read_text(encoding="utf-8")
    assert results["completions"]["both"] >= 0.95


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


def test_tables_of_what_is_not_shipped_are_those_of_their_records() -> None:
    games = simulate_gan.table(simulate_gan.read(EXPERIMENTS / "simulations_gan.csv"))
    assert games in (EXPERIMENTS / "simulations.md").read_text(encoding="utf-8")


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
