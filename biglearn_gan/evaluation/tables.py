"""Markdown tables of stored evaluations, each of at most eight columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.records import BASELINES, TWO_STEP, Record, read_records

MAX_COLUMNS = 8


class Quantity(NamedTuple):
    """What a column shows: a measure, of the evaluated images or of another subject."""

    measure: str
    subject: str | None = None


class Number(NamedTuple):
    """A value, and its floor or ceiling if it has one."""

    value: float
    bound: float | None = None


DISTANCE, AGREEMENT, DIVERSITY = Quantity("fd"), Quantity("agreement"), Quantity("diversity")
TWO_STEP_DISTANCE, ENTROPY = Quantity("fd", TWO_STEP), Quantity("entropy")
LABELS, SPEED = Quantity("label-total-variation"), Quantity("speed")
PRECISION, RECALL = Quantity("precision"), Quantity("recall")
KERNEL_DISTANCE, SEAMS = Quantity("kid"), Quantity("seams")

HIDDEN_NAMES = {
    "joint": "everything (unconditional)",
    "random:0.25": "25% of the patches",
    "random:0.5": "50% of the patches",
    "random:0.75": "75% of the patches",
    "right-half": "right half",
    "center": "center",
    "strokes": "brush strokes",
}
"""Tasks of the summary, and how it names them."""

IMAGE_COLUMNS = {
    DISTANCE: "Fréchet distance (floor)",
    KERNEL_DISTANCE: "kernel distance (floor)",
    TWO_STEP_DISTANCE: "two-step (floor)",
    PRECISION: "precision (ceiling)",
    RECALL: "recall (ceiling)",
    SEAMS: "seams (real images)",
    ENTROPY: "class entropy (ceiling)",
}
COMPLETION_COLUMNS = {
    AGREEMENT: "agreement (ceiling)",
    LABELS: "label total variation (perfect draws)",
    DIVERSITY: "diversity",
    Quantity("psnr"): "PSNR in dB",
    Quantity("psnr-best"): "PSNR, best",
    Quantity("ssim"): "SSIM",
    Quantity("ssim-best"): "SSIM, best",
}
"""Columns of the two tables of an evaluation; only those that a task has are shown."""

MAIN_NAMES = {DISTANCE: "distance", AGREEMENT: "agreement"}
QUALITY_NAMES = {PRECISION: "precision", RECALL: "recall", SEAMS: "seams"}
DIVERSITY_NAMES = {
    ENTROPY: "class entropy",
    TWO_STEP_DISTANCE: "two-step",
    DIVERSITY: "diversity",
    LABELS: "label total variation",
}
"""Quantities of the tables that compare evaluations."""

ORACLE_SUBJECTS = (None, "unconditional", "joint-only")

RecordsByTask = dict[tuple[str, Quantity], Record]
Numbers = dict[tuple[str, Quantity], Number]


def group_records(records: Sequence[Record]) -> RecordsByTask:
    """Records by task and quantity.

    Of two distances of a task the first counts, which is the one with a floor.
    """
    found: RecordsByTask = {}
    for record in records:
        subject = None if record.subject == record.task else record.subject  # task "real"
        found.setdefault((record.task, Quantity(record.measure, subject)), record)
    return found


def load_numbers(evaluation: Path) -> Numbers:
    """The numbers of an evaluation by task and quantity, and images per second where measured.

    Args:
        evaluation: a folder with ``metrics.json``, or such a file. Images per second are those of
            ``speed.csv`` next to the file.

    Raises:
        UsageError: the folder holds no evaluation.
    """
    metrics = evaluation if evaluation.is_file() else evaluation / "metrics.json"
    if not metrics.is_file():
        raise UsageError(f"{evaluation} holds no evaluation: it has no metrics.json")
    found = {
        key: Number(record.value, record.bound)
        for key, record in group_records(read_records(metrics)).items()
    }
    speed = metrics.with_name("speed.csv")
    if not speed.is_file():  # of samples that were drawn elsewhere
        return found
    with speed.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["task"], SPEED] = Number(float(row["images_per_second"]))
    return found


def evaluation_tables(records: Sequence[Record]) -> str:
    """Three tables of one evaluation: images, completions and baselines."""
    found = group_records(records)
    tasks = list(dict.fromkeys(record.task for record in records))
    tables = [_task_table(found, tasks, columns) for columns in (IMAGE_COLUMNS, COMPLETION_COLUMNS)]
    return "\n\n".join(table for table in (*tables, _baselines_table(found, tasks)) if table)


def summary_tables(records: Sequence[Record]) -> str:
    """The main numbers of an evaluation, and those of the baselines."""
    found = group_records(records)
    tasks = [task for task in HIDDEN_NAMES if (task, DISTANCE) in found]
    rows = []
    for task in tasks:
        shown = [""] * 3
        for place, quantity in enumerate((DISTANCE, AGREEMENT, DIVERSITY)):
            if (task, quantity) in found:
                record = found[task, quantity]
                bound = "" if record.bound is None else f" ({record.bound:.3f})"
                shown[place] = f"{record.value:.3f}{bound}{_arrow(record)}"
        rows.append([HIDDEN_NAMES[task], *shown])
    header = ["hidden", "Fréchet distance (floor)", "agreement (ceiling)", "diversity"]
    tables = [_markdown(header, rows)]
    rows = [
        [HIDDEN_NAMES[task], *values]
        for task in tasks
        if any(values := _baseline_cells(found, task))
    ]
    if rows:
        header = ["hidden", *(f"{name}: distance, agreement" for name in BASELINES)]
        tables.append(_markdown(header, rows))
    return "\n\n".join(tables)


def oracle_table(records: Sequence[Record]) -> str:
    """Errors of a model of a Gaussian field and of its baselines, with their floor."""
    found = group_records(records)
    header = ["kind of task"]
    for error in ("mean", "covariance", "mode"):
        header.append(f"{error} error: model / unconditional pasted / joint only (floor)")
    header.append("critic correlation (ceiling)")
    rows = []
    for task in dict.fromkeys(record.task for record in records):
        row = [task]
        for measure in ("mean-error", "covariance-error", "mode-error"):
            errors = [found.get((task, Quantity(measure, each))) for each in ORACLE_SUBJECTS]
            values = " / ".join("–" if r is None else f"{r.value:.2f}" for r in errors)
            floors = [f" ({r.floor:.2f})" for r in errors if r is not None]
            row.append(f"{values}{floors[0]}" if floors else "")
        critic = found.get((task, Quantity("critic-correlation")))
        row.append("" if critic is None else f"{critic.value:.2f} ({critic.ceiling:.2f})")
        rows.append(row)
    return _markdown(header, rows)


def comparison_tables(evaluations: Mapping[str, Path], tasks: Sequence[str]) -> str:
    """Distance and agreement of several evaluations, one per row, and joint images per second.

    The last row has the floors and ceilings that all evaluations share. If they differ, each value
    is followed by its own in parentheses.

    Args:
        evaluations: see :func:`load_numbers`, by name of the row.
        tasks: tasks that get a column, if any evaluation has them.
    """
    found = {name: load_numbers(each) for name, each in evaluations.items()}
    columns = _choose_columns(found, tasks, MAIN_NAMES)
    if any(("joint", SPEED) in each for each in found.values()):
        columns["joint images/s"] = [("joint", SPEED)]
    return _comparison(found, columns)


def detailed_comparison_tables(evaluations: Mapping[str, Path], tasks: Sequence[str]) -> str:
    """Compare precision and recall, and measures of diversity; see :func:`comparison_tables`."""
    found = {name: load_numbers(each) for name, each in evaluations.items()}
    columns = [_choose_columns(found, tasks, names) for names in (QUALITY_NAMES, DIVERSITY_NAMES)]
    return "\n\n".join(_comparison(found, each) for each in columns)


def _task_table(found: RecordsByTask, tasks: Sequence[str], columns: Mapping[Quantity, str]) -> str:
    """A row per task that has any of the columns; empty if there is none."""
    columns = {q: n for q, n in columns.items() if any((task, q) in found for task in tasks)}
    rows = []
    for task in tasks:
        records = [found.get((task, quantity)) for quantity in columns]
        if any(records):
            rows.append([task, *("" if r is None else _full_cell(r) for r in records)])
    return _markdown(["task", *columns.values()], rows) if rows else ""


def _baselines_table(found: RecordsByTask, tasks: Sequence[str]) -> str:
    rows = []
    for task in tasks:
        cells = _baseline_cells(found, task)
        if any(cells):
            records = (found.get((task, quantity)) for quantity in (DISTANCE, AGREEMENT))
            bounds = [r.bound for r in records if r is not None and r.bound is not None]
            rows.append([task, ", ".join(f"{bound:.3g}" for bound in bounds), *cells])
    header = ["task", "floor, ceiling", *(f"{name}: distance, agreement" for name in BASELINES)]
    return _markdown(header, rows) if rows else ""


def _baseline_cells(found: RecordsByTask, task: str) -> list[str]:
    """Distance and agreement of each baseline."""
    return [
        ", ".join(
            f"{found[key].value:.3g}"
            for measure in ("fd", "agreement")
            if (key := (task, Quantity(measure, name))) in found
        )
        for name in BASELINES
    ]


def _full_cell(record: Record) -> str:
    """``value ± error (bound)``, and an arrow if agreement is above its ceiling."""
    text = f"{record.value:.3g}"
    if record.error:
        text += f" ± {record.error:.1g}"
    return text if record.bound is None else f"{text} ({record.bound:.3g}){_arrow(record)}"


def _arrow(record: Record) -> str:
    """An arrow if agreement is above its ceiling by more than two standard errors."""
    if record.measure != "agreement" or not record.error or not record.ceiling:
        return ""
    return " ↑" if record.value - record.ceiling > 2 * record.error else ""


def _choose_columns(
    found: Mapping[str, Numbers], tasks: Sequence[str], names: Mapping[Quantity, str]
) -> dict[str, list[tuple[str, Quantity]]]:
    """A column per task, with those quantities that any evaluation has."""
    columns = {}
    for task in tasks:
        keys = [(task, q) for q in names if any((task, q) in each for each in found.values())]
        if keys:
            columns[f"{task}: " + ", ".join(names[quantity] for _, quantity in keys)] = keys
    return columns


def _comparison(
    found: Mapping[str, Numbers], columns: Mapping[str, Sequence[tuple[str, Quantity]]]
) -> str:
    """Tables with a row per evaluation and as many columns as fit."""
    bounds = {
        key: {
            _format_number(each[key].bound)
            for each in found.values()
            if key in each and each[key].bound is not None
        }
        for keys in columns.values()
        for key in keys
    }

    def format_cell(each: Numbers, key: tuple[str, Quantity]) -> str:
        if key not in each:
            return "–"
        shown = _format_number(each[key].value)
        own_bound = f" ({_format_number(each[key].bound)})"
        return shown if len(bounds[key]) < 2 else shown + own_bound

    tables, per_table = [], MAX_COLUMNS - 1
    titles = list(columns)
    for start in range(0, len(titles), per_table):
        part = titles[start : start + per_table]
        rows = [
            [name, *(", ".join(format_cell(each, key) for key in columns[title]) for title in part)]
            for name, each in found.items()
        ]
        shared = [
            ", ".join(min(bounds[key]) if len(bounds[key]) == 1 else "–" for key in columns[title])
            for title in part
        ]
        tables.append(_markdown(["", *part], [*rows, ["*floor or ceiling*", *shared]]))
    return "\n\n".join(tables)


def _format_number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, *rows]
    text = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([text[0], "|---" * len(header) + "|", *text[1:]])
