"""The tables in README, docs, and model cards are what the stored records print.

A quoted table may select rows and columns of what a command prints; its cells must be the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import ablate
import anomalies
import color_consistency
import compare_label_accuracy
import critic_density_ratio
import fine_tune
import flow_matching
import generated_labels
import gmm_gan
import gmm_schedules
import label_accuracy
import low_contrast
import memorization
import probe
import pseudo_labels
import pytest
import spectrum
import steps_and_ranking

from biglearn_gan import BigLearnGAN
from biglearn_gan.evaluation.comparison import TASKS
from biglearn_gan.evaluation.records import BASELINES, REAL, read_records
from biglearn_gan.evaluation.tables import (
    Quantity,
    comparison_tables,
    detailed_comparison_tables,
    evaluation_tables,
    group_records,
    oracle_table,
    summary_tables,
)
from biglearn_gan.models.model_card import card_text
from biglearn_gan.models.progressive import OrderName

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments/results"
CHECKPOINTS = ROOT / "checkpoints"
MODELS = ("digits", "mnist", "colored_mnist", "cifar10", "emoji")
LABEL_PAGES = {
    "digits": "labels.md",
    "mnist": "labels.md",
    "colored_mnist": "labels.md",
    "cifar10": "cifar10.md",
}
"""Where the labels of a model are measured."""

Cells = dict[tuple[str, str], str]
"""Cells of a table by (label of the row, header of the column)."""


def parse_tables(text: str) -> list[Cells]:
    """The Markdown tables of a text."""
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [parse_table(block) for block in blocks]


def parse_table(block: str) -> Cells:
    header, _, *rows = (
        [cell.strip() for cell in line.strip()[1:-1].split("|")] for line in block.splitlines()
    )
    assert all(len(row) == len(header) for row in rows), block
    return {
        (row[0], column): cell
        for row in rows
        for column, cell in zip(header[1:], row[1:], strict=True)
    }


def is_selection(quoted: Cells, printed: Cells) -> bool:
    """Whether a quoted table has only cells of the printed ones, at the same places."""
    return bool(quoted) and all(printed.get(key) == cell for key, cell in quoted.items())


def count_quotes(page: str, printed: str) -> int:
    """The number of tables on a page that are selections of the printed tables together."""
    cells: Cells = {}
    for table in parse_tables(printed):
        cells |= table
    tables = parse_tables((ROOT / page).read_text(encoding="utf-8"))
    return sum(is_selection(table, cells) for table in tables)


def flow_matching_tables(subject: str) -> str:
    folder = RESULTS / "flow_matching" / subject
    counts = sorted(int(path.name.removeprefix("steps_")) for path in folder.glob("steps_*"))
    gan = folder / "gan"  # measured on as many images as flow matching
    if not gan.exists():
        gan = CHECKPOINTS / subject / "evaluation"
    records = read_records(folder / f"steps_{counts[0]}" / "metrics.json")
    tasks = list(dict.fromkeys(record.task for record in records if record.task != REAL))
    return comparison_tables(flow_matching.table_rows(folder, counts, gan), tasks)


def steps_tables() -> str:
    folder = RESULTS / "steps_and_ranking/steps"
    parts = [path.name.split("_") for path in folder.iterdir()]
    orders = get_args(OrderName)
    parts.sort(key=lambda part: (int(part[0]), orders.index(part[1])))
    rows = {
        steps_and_ranking.step_label(int(count), order): folder / f"{count}_{order}"
        for count, order in parts
    }
    return f"{comparison_tables(rows, TASKS)}\n\n{detailed_comparison_tables(rows, TASKS)}"


def ranking_tables() -> str:
    folder = RESULTS / "steps_and_ranking/ranking"
    counts = sorted(int(path.name.removeprefix("best_of_")) for path in folder.glob("best_of_*"))
    rows = {steps_and_ranking.ranking_label(count): folder / f"best_of_{count}" for count in counts}
    return f"{comparison_tables(rows, TASKS)}\n\n{detailed_comparison_tables(rows, TASKS)}"


def auc_table(name: str) -> str:
    path = RESULTS / "steps_and_ranking" / name / "discrimination_auc.json"
    return steps_and_ranking.auc_table(json.loads(path.read_text(encoding="utf-8")))


def before_and_after(subject: str) -> str:
    folders = {side: RESULTS / "partial_patches" / subject / side for side in ("before", "after")}
    records = read_records(folders["after"] / "metrics.json")
    return comparison_tables(
        folders, list(dict.fromkeys(r.task for r in records if r.task != REAL))
    )


def ablation_tables(name: str) -> str:
    ablation = ablate.read_ablation(ROOT / f"experiments/ablations/{name}.yaml")
    rows = ablate.read_runs(RESULTS / f"ablations/{name}.csv")
    return ablate.tables_text(list(rows.values()), ablation.tables)


def gaussian_fields_table() -> str:
    return oracle_table(read_records(RESULTS / "gaussian_fields/metrics.json"))


def critic_table() -> str:
    path = RESULTS / "gaussian_fields/critic_density_ratio.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return critic_density_ratio.table([critic_density_ratio.TaskResult(**row) for row in rows])


def gmm_schedules_table() -> str:
    return gmm_schedules.table(gmm_schedules.read_rows(RESULTS / "simulations/gmm_schedules.csv"))


def gmm_gan_table() -> str:
    return gmm_gan.table(gmm_schedules.read_rows(RESULTS / "simulations/gmm_gan.csv"))


def label_accuracy_table(name: str) -> str:
    path = CHECKPOINTS / name / "evaluation/label_accuracy.json"
    return label_accuracy.table(json.loads(path.read_text(encoding="utf-8"))).split("\n\n")[0]


def few_labels_table() -> str:
    draws, beside = (
        [compare_label_accuracy.read(RESULTS / f"few_labels/{name}.json") for name in names]
        for names in (("draw_0", "draw_1", "draw_2"), ("all_labels",))
    )
    return compare_label_accuracy.table(draws, beside)


def mismatched_labels_table() -> str:
    names = ("mismatched_labels", "recipe")
    row, other = (
        compare_label_accuracy.read(RESULTS / f"mismatched_label/{name}.json") for name in names
    )
    return compare_label_accuracy.table([row], [other])


def few_labels_completions() -> str:
    folders = {
        f"{count} labels": RESULTS / f"few_labels/completions_{count}_labels"
        for count in ("100", "all")
    }
    tasks = ("joint", "random:0.25", "random:0.5", "random:0.75", "center", "right-half", "strokes")
    return comparison_tables(folders, tasks)


def cifar10_training_table() -> str:
    folders = {
        "first model": RESULTS / "cifar10_training/start",
        "after the warm start": RESULTS / "cifar10_training/warm_start",
        "24,000 images": RESULTS / "cifar10_training/24000",
        "48,000 images": RESULTS / "cifar10_training/48000",
        "72,000 images": RESULTS / "cifar10_training/72000",
        "16,000 images, no warm start": RESULTS / "cifar10_training/penalties",
        "16,800 after the 24,000": RESULTS / "cifar10_training/penalties_after_24000",
        "56,000 with features": RESULTS / "cifar10_training/features",
        "72,000 with canvas features": RESULTS / "cifar10_training/canvas_features",
        "40,000 with loss.adversarial=0.25": RESULTS / "cifar10_training/quarter",
        "the average of two": RESULTS / "cifar10_training/averaged",
        "42,000 from there": RESULTS / "cifar10_training/continued",
        "the average of three": RESULTS / "cifar10_training/averaged_of_three",
    }
    return comparison_tables(folders, ("joint", "random:0.25", "random:0.5", "right-half"))


def generated_labels_table() -> str:
    path = RESULTS / "few_labels/generated_labels.json"
    return generated_labels.table(json.loads(path.read_text(encoding="utf-8"))["accuracy"])


def probe_table(name: str, counts: list[int]) -> str:
    path = RESULTS / f"few_labels/{name}.json"
    return probe.table(json.loads(path.read_text(encoding="utf-8")), counts)


def pseudo_labels_table() -> str:
    path = RESULTS / "few_labels/pseudo_labels_study.json"
    return pseudo_labels.table(json.loads(path.read_text(encoding="utf-8")))


def fine_tune_table(name: str) -> str:
    path = RESULTS / f"few_labels/{name}.json"
    return fine_tune.table(json.loads(path.read_text(encoding="utf-8")))


def anomalies_tables() -> str:
    results = json.loads((RESULTS / "anomalies/mnist.json").read_text(encoding="utf-8"))
    tables = anomalies.auc_table(results["auc"]), anomalies.overlap_table(results["overlap"])
    return "\n\n".join(tables)


def augmentation_tables() -> str:
    folders = {
        "without, 300,000 images": RESULTS / "augmentation/without",
        "with, 200,000 images": RESULTS / "augmentation/with",
        "and 30,000 without shifts": RESULTS / "augmentation/without_shifts",
        "and 16,000 with a discriminator of features": RESULTS / "augmentation/with_features",
        "and 24,000 with a corrected one": CHECKPOINTS / "emoji/evaluation",
    }
    records = read_records(RESULTS / "augmentation/without/metrics.json")
    return comparison_tables(
        folders, list(dict.fromkeys(r.task for r in records if r.task != REAL))
    )


def memorization_table(name: str) -> str:
    path = RESULTS / f"memorization/{name}.json"
    return memorization.table(json.loads(path.read_text(encoding="utf-8")))


def spectrum_table(name: str) -> str:
    path = RESULTS / f"spectrum/{name}.json"
    return spectrum.table(json.loads(path.read_text(encoding="utf-8"))["ratios_to_real_images"])


def color_table() -> str:
    path = CHECKPOINTS / "colored_mnist/color_consistency.json"
    return color_consistency.table(json.loads(path.read_text(encoding="utf-8")))


def shipped_tables(name: str, tables: Callable[..., str] = evaluation_tables) -> str:
    return tables(read_records(CHECKPOINTS / name / "evaluation/metrics.json"))


PAGES = "docs/results/"
QUOTES: dict[str, tuple[str, Callable[[], str], int]] = {
    "README": ("README.md", partial(shipped_tables, "mnist", summary_tables), 1),
    "digits": (PAGES + "digits.md", partial(shipped_tables, "digits"), 3),
    "mnist": (PAGES + "mnist.md", partial(shipped_tables, "mnist"), 3),
    "colored_mnist": (PAGES + "colored-mnist.md", partial(shipped_tables, "colored_mnist"), 3),
    "cifar10": (PAGES + "cifar10.md", partial(shipped_tables, "cifar10"), 3),
    "cifar10, EfficientNet": (
        PAGES + "cifar10.md",
        lambda: evaluation_tables(read_records(RESULTS / "cifar10_efficientnet/metrics.json")),
        2,
    ),
    "cifar10 training": (PAGES + "cifar10.md", cifar10_training_table, 1),
    "low contrast": (
        PAGES + "small-data-sets.md",
        lambda: low_contrast.table(
            json.loads((RESULTS / "low_contrast/folder.json").read_text(encoding="utf-8"))
        ),
        1,
    ),
    "colors": (PAGES + "colored-mnist.md", color_table, 1),
    "before, mnist": (PAGES + "mnist.md", partial(before_and_after, "mnist"), 1),
    "before, colored": (PAGES + "colored-mnist.md", partial(before_and_after, "colored_mnist"), 1),
    "flow, digits": (PAGES + "flow-matching.md", partial(flow_matching_tables, "digits"), 1),
    "flow, photographs": (
        PAGES + "flow-matching.md",
        partial(flow_matching_tables, "cifar10"),
        3,
    ),
    "flow, small photographs": (
        PAGES + "flow-matching.md",
        partial(flow_matching_tables, "cifar10_16"),
        1,
    ),
    "flow, mnist": (PAGES + "flow-matching.md", partial(flow_matching_tables, "mnist"), 1),
    "steps": (PAGES + "steps-and-ranking.md", steps_tables, 3),
    "ranking": (PAGES + "steps-and-ranking.md", ranking_tables, 3),
    "score": (PAGES + "steps-and-ranking.md", partial(auc_table, "ranking"), 1),
    "absolute score": (PAGES + "steps-and-ranking.md", partial(auc_table, "ranking_score"), 1),
    "gaussian fields": (PAGES + "gaussian-fields.md", gaussian_fields_table, 1),
    "density ratio": (PAGES + "gaussian-fields.md", critic_table, 1),
    "mismatched labels": (PAGES + "ablations-photographs.md", mismatched_labels_table, 1),
    **{
        f"spectrum, {name}": (PAGES + "ablations-photographs.md", partial(spectrum_table, name), 1)
        for name in ("without_features", "with_features")
    },
    "few labels": (PAGES + "foundation.md", few_labels_table, 1),
    "completions with few labels": (PAGES + "foundation.md", few_labels_completions, 1),
    "generated labels": (PAGES + "foundation.md", generated_labels_table, 1),
    **{
        name: (PAGES + "foundation.md", partial(probe_table, name, counts), 1)
        for name, counts in (
            ("probe_mnist", [1, 10, 100]),
            ("probe_mnist_fine_tuned", [1, 10, 100]),
            ("probe_digits", [1, 10, 100]),
            ("probe_mnist_on_digits", [1, 10, 50]),
            ("probe_colored_on_gray", [1, 10, 50]),
        )
    },
    "what teaches labels": (PAGES + "foundation.md", pseudo_labels_table, 1),
    "fine-tuning": (PAGES + "foundation.md", partial(fine_tune_table, "fine_tune"), 1),
    "fine-tuning on photographs": (
        PAGES + "foundation.md",
        partial(fine_tune_table, "fine_tune_cifar10"),
        1,
    ),
    "anomalies": (PAGES + "anomalies.md", anomalies_tables, 2),
    "augmentation": (PAGES + "small-data-sets.md", augmentation_tables, 1),
    **{
        f"memorization, {path.stem}": (
            PAGES + "small-data-sets.md",
            partial(memorization_table, path.stem),
            1,
        )
        for path in sorted((RESULTS / "memorization").glob("*.json"))
    },
    "schedules": (PAGES + "simulations.md", gmm_schedules_table, 1),
    "gmm gan": (PAGES + "simulations.md", gmm_gan_table, 1),
    **{
        f"labels, {name}": (PAGES + page, partial(label_accuracy_table, name), 1)
        for name, page in LABEL_PAGES.items()
    },
    **{
        name: (PAGES + page, partial(ablation_tables, name), count)
        for name, page, count in (
            ("photographs_recipe", "ablations-photographs.md", 2),
            ("photographs_seeds", "ablations-photographs.md", 2),
            ("photographs_patches", "ablations-photographs.md", 1),
            ("digits_tasks", "ablations.md", 2),
            ("digits_objective", "ablations.md", 1),
            ("digits_noise", "ablations.md", 1),
            ("digits_communication", "ablations.md", 1),
            ("digits_partial_patches", "ablations.md", 2),
            ("digits_warm_start", "ablations-recipe.md", 1),
            ("digits_rates", "ablations-recipe.md", 1),
            ("digits_balance", "ablations-recipe.md", 1),
            ("digits_steps", "ablations-recipe.md", 1),
            ("digits_discriminator", "ablations-recipe.md", 1),
            ("digits_labels", "labels.md", 2),
            ("digits_augmentation", "small-data-sets.md", 1),
            ("digits_five_minutes", "digits.md", 2),
            ("photographs", "ablations-photographs.md", 2),
            ("photographs_feature_size", "ablations-photographs.md", 1),
        )
    },
}
"""The page, what the records print, and how many tables of the page quote it."""


@pytest.mark.parametrize("name", QUOTES)
def test_a_page_quotes_the_stored_records(name: str) -> None:
    page, printed, count = QUOTES[name]
    assert count_quotes(page, printed()) == count


def test_every_ablation_is_quoted() -> None:
    names = {path.stem for path in (ROOT / "experiments/ablations").glob("*.yaml")}
    assert names <= set(QUOTES)


@pytest.mark.parametrize(
    "path", sorted((RESULTS / "ablations").glob("*.csv")), ids=lambda p: p.stem
)
def test_the_runs_of_an_ablation_were_measured_alike(path: Path) -> None:
    """The baselines need no model, so they are the same in all rows of one measurement."""
    rows = ablate.read_runs(path).values()
    for column in {column for row in rows for column in row}:
        if any(f" {subject} " in column for subject in BASELINES):
            by_protocol: dict[str, list[float]] = {}
            for row in rows:
                if column in row:
                    protocol = row["run"].rpartition("/")[2]
                    by_protocol.setdefault(protocol, []).append(row[column])
            for values in by_protocol.values():
                assert max(values) - min(values) < 1e-4, column


def test_a_quote_with_another_cell_is_none() -> None:
    printed = parse_table("| a | b | c |\n|---|---|---|\n| x | 1 | 2 |\n| y | 3 | 4 |")
    assert is_selection(parse_table("| | c |\n|---|---|\n| y | 4 |"), printed)
    for quoted in ("| | c |\n|---|---|\n| y | 3 |", "| | d |\n|---|---|\n| y | 4 |"):
        assert not is_selection(parse_table(quoted), printed)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_card_quotes_the_evaluation(name: str) -> None:
    assert count_quotes(f"checkpoints/{name}/README.md", shipped_tables(name)) == 3


@pytest.mark.parametrize("name", MODELS)
def test_the_head_of_a_model_card_describes_the_model(name: str) -> None:
    """Except for what only a person knows: names of the data and of the model, and total times."""
    config = BigLearnGAN.from_pretrained(CHECKPOINTS / name).config
    card = (CHECKPOINTS / name / "README.md").read_text(encoding="utf-8").splitlines()
    by_hand = ("# ", "model = ", "| data |", "| images seen |", "| training time |")
    for line in card_text(config).splitlines():
        assert line.startswith(by_hand) or line in card
    assert f"# BigLearn-GAN on {name}" in card
    assert f'model = BigLearnGAN.from_pretrained("{name}")' in card
    assert "license: mit" in card


def test_the_index_of_experiments_lists_every_ablation() -> None:
    index = (ROOT / "experiments/README.md").read_text(encoding="utf-8")
    names = {path.stem for path in (ROOT / "experiments/ablations").glob("*.yaml")}
    assert names == {name for name in names if f"`{name}`" in index}


@pytest.mark.parametrize("name", LABEL_PAGES)
def test_the_agreement_of_generated_labels_is_quoted(name: str) -> None:
    results = json.loads(
        (CHECKPOINTS / name / "evaluation/label_accuracy.json").read_text(encoding="utf-8")
    )
    cells = label_accuracy.table(results).splitlines()[-1]
    assert cells in (ROOT / PAGES / LABEL_PAGES[name]).read_text(encoding="utf-8")


def test_the_kept_colors_are_those_of_the_record() -> None:
    path = CHECKPOINTS / "colored_mnist/color_consistency.json"
    both = json.loads(path.read_text(encoding="utf-8"))["completions"]["both"]
    assert both >= 0.95
    for page in ("docs/results/colored-mnist.md", "docs/results/README.md"):
        assert f"{both:.1%}" in (ROOT / page).read_text(encoding="utf-8")


def test_the_readme_quotes_the_recall_of_mnist() -> None:
    records = group_records(read_records(CHECKPOINTS / "mnist/evaluation/metrics.json"))
    recall = records["joint", Quantity("recall")]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"(recall {recall.value:.2f}, ceiling {recall.ceiling:.2f})" in text


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_mismatched_completions_are_close_in_distance_and_far_in_agreement(name: str) -> None:
    """The docs warn of this; images without any variation have a distance of 64 or more."""
    records = group_records(read_records(CHECKPOINTS / name / "evaluation/metrics.json"))
    distance = records["random:0.25", Quantity("fd", "mismatched")]
    agreement = records["random:0.25", Quantity("agreement", "mismatched")]
    assert distance.floor is not None and agreement.ceiling is not None
    assert distance.value - distance.floor < 64 / 16
    assert agreement.value < agreement.ceiling - 0.2
