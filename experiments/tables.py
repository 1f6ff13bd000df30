"""The tables of README.md, experiments/README.md and the model cards, from what `evaluate` wrote.

    python experiments/tables.py checkpoints/mnist/evaluation/metrics.json [--summary]

One table of the model (value ± standard error, with floor or ceiling in parentheses), and one of
what is no model beside it; with --summary the short one of README.md; for `evaluate --oracle`, one
with its baselines.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from biglearn_gan.command import run

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


def main(
    metrics: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="metrics.json")],
    summary: Annotated[bool, typer.Option("--summary", help="The short one.")] = False,
) -> None:
    """Print the tables as Markdown."""
    records = json.loads(metrics.read_text(encoding="utf-8"))
    oracle = any("_oracle" in record["metric"] for record in records)
    make = oracle_table if oracle else summary_table if summary else tables
    typer.echo(make(records))


def summary_table(records: list[dict[str, Any]]) -> str:
    """The main numbers of an evaluation, task by task."""
    found = by_task(records)
    lines = [
        "| task | Fréchet distance (floor) | label agreement (ceiling) | diversity "
        "| nearest image pasted: distance, agreement | mean pasted: same | other image glued: same |",
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


def by_task(records: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Records by task and measure; of two distances, the first, which has a floor."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        found.setdefault((record["task"], " ".join(parts_of(record["metric"])).strip()), record)
    return found


def side_by_side(folders: dict[str, Path], tasks: Sequence[str]) -> str:
    """Several evaluations, a line each: distance and, with a source, agreement; images a second."""
    lines = [
        "| | " + " | ".join(f"{t}: distance, agreement" for t in tasks) + " | joint images/s |",
        "|---" * (2 + len(tasks)) + "|",
    ]
    for name, folder in folders.items():
        found = by_task(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
        with (folder / "speed.csv").open(newline="", encoding="utf-8") as file:
            speeds = {row["task"]: row["images_per_second"] for row in csv.DictReader(file)}
        cells = [
            ", ".join(
                f"{found[task, measure]['value']:.3g}"
                for measure in ("fd", "agreement")
                if (task, measure) in found
            )
            for task in tasks
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {float(speeds['joint']):,.0f} |")
    return "\n".join(lines)


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
    cells = {key: cell(record) for key, record in by_task(records).items()}
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
    found = by_task(records)
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
            bounds = (found[task, "fd"]["floor"], found.get((task, "agreement"), {}).get("ceiling"))
            numbers = ", ".join(f"{bound:.3g}" for bound in bounds if bound is not None)
            lines.append(f"| {task} | {numbers} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def parts_of(metric: str) -> tuple[str, str]:
    """What is measured (``fd``), and of whom where that is not the model (``glued``)."""
    found = re.match(r"(.+?)\d+k?(few)?_", metric)
    last = metric.rpartition("_")[2]
    return found[1] if found else metric, last if last in SUBJECTS else ""


def cell(record: dict[str, Any]) -> str:
    """``value ± error (bound)``, and an arrow where agreement is too good to be true."""
    text = f"{record['value']:.3g}"
    if record["error"]:
        text += f" ± {record['error']:.1g}"
    bound = record["floor"] if record["floor"] is not None else record["ceiling"]
    return text if bound is None else f"{text} ({bound:.3g}){above(record)}"


def above(record: dict[str, Any]) -> str:
    """An arrow where agreement is above its ceiling by more than two standard errors."""
    if not record["metric"].startswith("agreement") or not record["error"]:
        return ""
    excess = record["value"] - (record["ceiling"] or math.inf)
    return " ↑" if excess > 2 * record["error"] else ""


if __name__ == "__main__":
    run(main, "tables")
