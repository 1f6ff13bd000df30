"""Tables of what `evaluate` and `evaluate-oracle` measured, as Markdown."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biglearn_gan.errors import UsageError

REFERENCES = ("nearest-pasted", "mean-pasted", "glued")
SUBJECTS = (*REFERENCES, "in-two-steps")
SUMMARY = {
    "joint": "from nothing",
    "random:0.25": "25% of the patches hidden",
    "random:0.5": "50% hidden",
    "random:0.75": "75% hidden",
    "right-half": "right half hidden",
    "center": "center hidden",
    "strokes": "brush strokes hidden",
}
COLUMNS = {
    "fd": "Fréchet distance (floor)",
    "fd in-two-steps": "in two steps (floor)",
    "precision": "precision (ceiling)",
    "recall": "recall (ceiling)",
    "entropy": "class entropy (most)",
    "agreement": "agreement (ceiling)",
    "label-total-variation": "label total variation (perfect draws)",
    "diversity": "diversity",
}

CLEAN = {"precision": "precision", "recall": "recall"}
VARIOUS = {
    "entropy": "class entropy",
    "fd in-two-steps": "in two steps",
    "diversity": "diversity",
    "label-total-variation": "label total variation",
}
"""Measures of the tables that set evaluations side by side, and what they are called there."""

PARTS = {"metric", "task", "value", "error", "floor", "ceiling"}
"""What tables read of a record."""

Measured = dict[tuple[str, str], dict[str, Any]]
"""Records of one evaluation by task and measure."""


def read_records(metrics: Path) -> list[dict[str, Any]]:
    """What `evaluate` wrote; anything else is a mistake."""
    try:
        records = json.loads(metrics.read_text(encoding="utf-8"))
    except ValueError:
        records = None
    if not isinstance(records, list) or not all(
        isinstance(record, dict) and record.keys() >= PARTS for record in records
    ):
        raise UsageError(
            f"{metrics} holds no records, as the metrics.json that evaluate writes does"
        )
    return records


def summary_table(records: list[dict[str, Any]]) -> str:
    """The main numbers of an evaluation, task by task."""
    found = by_task(records)
    lines = [
        "| task | Fréchet distance (floor) | label agreement (ceiling) | diversity "
        "| nearest image pasted: distance, agreement | mean pasted: same "
        "| other image glued in: same |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, name in SUMMARY.items():
        if (task, "fd") not in found:
            continue
        distance = found[task, "fd"]
        cells = [f"{distance['value']:.3f} ({distance['floor']:.3f})", *[""] * 5]
        if (task, "agreement") in found:
            agreement = found[task, "agreement"]
            ceiling = agreement["ceiling"]
            bound = "" if ceiling is None else f" ({ceiling:.3f})"
            cells[1] = f"{agreement['value']:.3f}{bound}{above(agreement)}"
            cells[2] = f"{found[task, 'diversity']['value']:.3f}"
            for place, subject in enumerate(REFERENCES, 3):
                pasted = [found[task, f"{measure} {subject}"] for measure in ("fd", "agreement")]
                cells[place] = ", ".join(f"{record['value']:.3g}" for record in pasted)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_task(records: list[dict[str, Any]]) -> Measured:
    """Records by task and measure; of two distances, the first, which has a floor."""
    found: Measured = {}
    for record in records:
        found.setdefault((record["task"], " ".join(parts_of(record["metric"])).strip()), record)
    return found


def side_by_side(folders: Mapping[str, Path], tasks: Sequence[str]) -> str:
    """Several evaluations, a line each: distance and agreement, and joint images a second.

    The last line has floors and ceilings, of those evaluations that have them; where each has its
    own, it stands in parentheses beside the value.
    """
    found = {name: measured(folder) for name, folder in folders.items()}
    columns = _columns(found, tasks, {"fd": "distance", "agreement": "agreement"})
    return _compared(found, columns | {"joint images/s": [("joint", "speed")]})


def other_qualities(folders: Mapping[str, Path], tasks: Sequence[str]) -> str:
    """Two more tables beside `side_by_side`: how clean and how various images are."""
    found = {name: measured(folder) for name, folder in folders.items()}
    shown = [_columns(found, tasks, measures) for measures in (CLEAN, VARIOUS)]
    return "\n\n".join(_compared(found, columns) for columns in shown)


def measured(folder: Path) -> Measured:
    """Records of a folder of `evaluate` by task and measure; images a second are ``speed``."""
    metrics, speed = folder / "metrics.json", folder / "speed.csv"
    for path in (metrics, speed):
        if not path.is_file():
            raise UsageError(f"{folder} is no evaluation: it has no {path.name}")
    found = by_task(read_records(metrics))
    with speed.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            value = float(row["images_per_second"])
            found[row["task"], "speed"] = {"value": value, "floor": None, "ceiling": None}
    return found


def bound_of(record: Mapping[str, Any]) -> float | None:
    """The floor of what is better low, the ceiling of what is better high, if it has one."""
    return record["ceiling"] if record["floor"] is None else record["floor"]


def _columns(
    found: Mapping[str, Measured], tasks: Sequence[str], measures: Mapping[str, str]
) -> dict[str, list[tuple[str, str]]]:
    """A column for each task, of those measures that any evaluation has there."""
    columns = {}
    for task in tasks:
        keys = [(task, m) for m in measures if any((task, m) in each for each in found.values())]
        if keys:
            columns[f"{task}: " + ", ".join(measures[m] for _, m in keys)] = keys
    return columns


def _compared(
    found: Mapping[str, Measured], columns: Mapping[str, Sequence[tuple[str, str]]]
) -> str:
    bounds = {
        key: {
            _number(bound)
            for each in found.values()
            if key in each and (bound := bound_of(each[key])) is not None
        }
        for keys in columns.values()
        for key in keys
    }

    def cell_of(each: Measured, key: tuple[str, str]) -> str:
        if key not in each:
            return "–"
        shown = _number(each[key]["value"])
        return shown if len(bounds[key]) < 2 else f"{shown} ({_number(bound_of(each[key]))})"

    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for name, each in found.items():
        cells = [", ".join(cell_of(each, key) for key in keys) for keys in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    shared = [
        ", ".join(min(bounds[key]) if len(bounds[key]) == 1 else "–" for key in keys)
        for keys in columns.values()
    ]
    return "\n".join([*lines, "| *floor or ceiling* | " + " | ".join(shared) + " |"])


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def oracle_table(records: list[dict[str, Any]]) -> str:
    """Errors of the model and of its baselines, side by side, with the floor."""
    cells = {(record["task"], record["metric"]): record for record in records}
    subjects = ("", "_pasted_unconditional", "_joint_only")
    header = "model / unconditional pasted / joint only (floor)"
    lines = [
        f"| kind of task | mean error: {header} | covariance error: {header} "
        f"| mode error: {header} | critic's correlation (ceiling) |",
        "|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(record["task"] for record in records):
        shown = []
        for measure in ("mean_error_oracle", "covariance_error_oracle", "mode_error_oracle"):
            found = [cells.get((task, measure + subject)) for subject in subjects]
            values = " / ".join("–" if r is None else f"{r['value']:.2f}" for r in found)
            floors = [f" ({r['floor']:.2f})" for r in found if r is not None]
            shown.append(f"{values}{floors[0]}" if floors else "")
        critic = cells.get((task, "critic_correlation_approximate"))
        shown.append("" if critic is None else f"{critic['value']:.2f} ({critic['ceiling']:.2f})")
        lines.append(f"| {task} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def tables(records: list[dict[str, Any]]) -> str:
    """Both tables of one evaluation."""
    found = by_task(records)
    cells = {key: cell(record) for key, record in found.items()}
    tasks = list(dict.fromkeys(record["task"] for record in records))
    lines = ["| task | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    for task in tasks:
        lines.append(f"| {task} | " + " | ".join(cells.get((task, c), "") for c in COLUMNS) + " |")
    lines += [
        "",
        "| task | floor, ceiling | "
        + " | ".join(f"{name}: distance, agreement" for name in REFERENCES)
        + " |",
        "|---|---|" + "---|" * len(REFERENCES),
    ]
    for task in tasks:
        shown = [
            ", ".join(
                cells[task, f"{measure} {name}"].split(" ")[0]
                for measure in ("fd", "agreement")
                if (task, f"{measure} {name}") in cells
            )
            for name in REFERENCES
        ]
        if any(shown):
            bounds = [bound_of(found[task, m]) for m in ("fd", "agreement") if (task, m) in found]
            numbers = ", ".join(f"{bound:.3g}" for bound in bounds if bound is not None)
            lines.append(f"| {task} | {numbers} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def parts_of(metric: str) -> tuple[str, str]:
    """What is measured (``fd``), and of whom where that is not the model (``mismatched_completion``)."""
    found = re.match(r"(.+?)\d+k?(few)?_", metric)
    last = metric.rpartition("_")[2]
    return found[1] if found else metric, last if last in SUBJECTS else ""


def cell(record: dict[str, Any]) -> str:
    """``value ± error (bound)``, and an arrow where agreement is too good to be true."""
    text = f"{record['value']:.3g}"
    if record["error"]:
        text += f" ± {record['error']:.1g}"
    bound = bound_of(record)
    return text if bound is None else f"{text} ({bound:.3g}){above(record)}"


def above(record: dict[str, Any]) -> str:
    """An arrow where agreement is above its ceiling by more than two standard errors."""
    if not record["metric"].startswith("agreement") or not record["error"]:
        return ""
    excess = record["value"] - (record["ceiling"] or math.inf)
    return " ↑" if excess > 2 * record["error"] else ""
