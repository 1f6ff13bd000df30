"""The tables in the docs and in the model cards are those that the stored records print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import flow_matching
import gmm_gan
import pytest
import steps_and_ranking
from color_consistency import table as hues_table
from label_accuracy import table as labels_table

from biglearn_gan.evaluation.comparison import TASKS
from biglearn_gan.evaluation.records import read_records
from biglearn_gan.evaluation.tables import (
    Quantity,
    comparison_tables,
    detailed_comparison_tables,
    evaluation_tables,
    group_records,
    oracle_table,
    summary_tables,
)
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.model_card import card_text
from biglearn_gan.models.progressive import OrderName

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RESULTS = EXPERIMENTS / "results"


def flow_matching_tables(subject: str) -> list[str]:
    folder = RESULTS / "flow_matching" / subject
    counts = sorted(int(path.name.removeprefix("steps_")) for path in folder.iterdir())
    beside = EXPERIMENTS.parent / "checkpoints" / subject / "evaluation"
    return [comparison_tables(flow_matching.rows_of(folder, counts, beside), TASKS)]


def steps_tables() -> list[str]:
    folder = RESULTS / "steps_and_ranking/steps"
    orders = get_args(OrderName)
    parts = [path.name.split("_") for path in folder.iterdir()]
    keys = sorted((int(count), orders.index(order)) for count, order in parts)
    rows = {
        steps_and_ranking.step_label(count, orders[place]): folder / f"{count}_{orders[place]}"
        for count, place in keys
    }
    return [comparison_tables(rows, TASKS), *detailed_comparison_tables(rows, TASKS).split("\n\n")]


def ranking_tables() -> list[str]:
    folder = RESULTS / "steps_and_ranking/ranking"
    counts = sorted(int(path.name.removeprefix("best_of_")) for path in folder.glob("best_of_*"))
    rows = {steps_and_ranking.ranking_label(count): folder / f"best_of_{count}" for count in counts}
    return [comparison_tables(rows, TASKS), *detailed_comparison_tables(rows, TASKS).split("\n\n")]


def area_table(name: str) -> list[str]:
    path = RESULTS / "steps_and_ranking" / name / "discrimination_auc.json"
    return [steps_and_ranking.auc_table(json.loads(path.read_text(encoding="utf-8")))]


def before_and_after(subject: str) -> list[str]:
    folder = RESULTS / "partial_patches" / subject
    paths = [str(folder / side / "metrics.json") for side in ("before", "after")]
    command = [sys.executable, "-m", "biglearn_gan", "tables", *paths]
    return [subprocess.run(command, capture_output=True, text=True, check=True).stdout]


PRINTED: dict[str, Callable[[], list[str]]] = {
    "flow_matching/digits": partial(flow_matching_tables, "digits"),
    "flow_matching/mnist": partial(flow_matching_tables, "mnist"),
    "steps_and_ranking/steps": steps_tables,
    "steps_and_ranking/ranking": ranking_tables,
    "steps_and_ranking/ranking, areas": partial(area_table, "ranking"),
    "steps_and_ranking/ranking_score, areas": partial(area_table, "ranking_score"),
    "partial_patches/mnist": partial(before_and_after, "mnist"),
    "partial_patches/colored_mnist": partial(before_and_after, "colored_mnist"),
}
DOCS = sorted((EXPERIMENTS.parent / "docs/results").glob("*.md"))


@pytest.mark.parametrize("study", PRINTED)
def test_the_docs_quote_the_tables_of_the_stored_records(study: str) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS)
    printed = PRINTED[study]()
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
        for table in evaluation_tables(
            read_records(EXPERIMENTS.parent / name / "metrics.json")
        ).split("\n\n"):
            assert table in text


def test_several_evaluations_need_names_of_their_own() -> None:
    path = str(RESULTS / "partial_patches/mnist/before/metrics.json")
    command = [sys.executable, str(EXPERIMENTS / "tables.py"), path, path]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.endswith("side by side are told apart by their folders' names\n")


def test_short_tables_of_the_readme_are_those_of_the_shipped_records() -> None:
    text = (EXPERIMENTS.parent / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"tables.py (checkpoints/\w+/evaluation/metrics.json) --summary", text)
    assert len(names) == 2
    for name in names:
        assert summary_tables(read_records(EXPERIMENTS.parent / name)).split("\n\n")[0] in text


def test_what_is_said_of_hues_was_measured() -> None:
    results = json.loads(
        (EXPERIMENTS.parent / "checkpoints/colored_mnist/color_consistency.json").read_text()
    )
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
        found = group_records(read_records(path))
        distance, agreement = (
            found["random:0.25", Quantity(measure, "mismatched")] for measure in ("fd", "agreement")
        )
        moved.append(distance.value - distance.floor)
        lost.append(agreement.ceiling - agreement.value)
    assert max(moved) < 64 / 16
    text = " ".join((EXPERIMENTS / "README.md").read_text(encoding="utf-8").split())
    assert (
        f"moves the distance by {moved[0]:.1f} (digits) and {moved[1]:.1f} (MNIST)" in text
        and f"agreement is {lost[0]:.2f} and {lost[1]:.2f} below its ceiling" in text
    )


def test_all_other_tables_are_those_of_their_files() -> None:
    text = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    oracle = RESULTS / "gaussian_fields"
    assert oracle_table(read_records(oracle / "metrics.json")) in text
    critic = (oracle / "critic_density_ratio.md").read_text(encoding="utf-8").splitlines()
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
    games = gmm_gan.table(gmm_gan.read(RESULTS / "simulations/gmm_gan.csv"))
    assert games in (EXPERIMENTS / "simulations.md").read_text(encoding="utf-8")
