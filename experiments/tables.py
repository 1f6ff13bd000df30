"""The tables of README.md, experiments/README.md and the model cards, from what `evaluate` wrote.

    python experiments/tables.py checkpoints/mnist/evaluation/metrics.json

One table of the model (value ± standard error, with floor or ceiling in parentheses), and one of
what is no model beside it; for `evaluate --oracle`, one with its baselines.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

REFERENCES = ("nearest-pasted", "mean-pasted", "glued")
SUBJECTS = (*REFERENCES, "in-two-steps")
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
) -> None:
    """Print the tables as Markdown."""
    records = json.loads(metrics.read_text(encoding="utf-8"))
    oracle = any("_oracle" in record["metric"] for record in records)
    typer.echo(oracle_table(records) if oracle else tables(records))


def oracle_table(records: list[dict[str, Any]]) -> str:
    """Errors of the model and of its baselines, side by side, with the floor."""
    cells = {(record["task"], record["metric"]): record for record in records}
    subjects = ("", "_pasted_unconditional", "_joint_only")
    header = " / ".join(("model", "unconditional pasted", "joint only"))
    lines = [
        f"| kind of task | mean error: {header} (floor) | covariance error: {header} (floor) "
        "| critic's correlation (ceiling) |",
        "|---|---|---|---|",
    ]
    for task in dict.fromkeys(record["task"] for record in records):
        shown = []
        for measure in ("mean_error_oracle", "covariance_error_oracle"):
            found = [cells.get((task, measure + subject)) for subject in subjects]
            values = " / ".join("–" if r is None else f"{r['value']:.2f}" for r in found)
            floor = next(r["floor"] for r in found if r is not None)
            shown.append(f"{values} ({floor:.2f})")
        critic = cells.get((task, "critic_correlation_approximate"))
        shown.append("" if critic is None else f"{critic['value']:.2f} ({critic['ceiling']:.2f})")
        lines.append(f"| {task} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def tables(records: list[dict[str, Any]]) -> str:
    """Both tables of one evaluation."""
    cells: dict[tuple[str, str], str] = {}
    tasks: list[str] = []
    for record in records:
        measure, subject = parts_of(record["metric"])
        task = record["task"]
        if task not in tasks:
            tasks.append(task)
        # The distance that has a floor comes first; that of more samples has none.
        cells.setdefault((task, f"{measure} {subject}".strip()), cell(record))
    lines = ["| task | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    for task in tasks:
        lines.append(f"| {task} | " + " | ".join(cells.get((task, c), "") for c in COLUMNS) + " |")
    lines += [
        "",
        "| task | " + " | ".join(f"{name}: distance, agreement" for name in REFERENCES) + " |",
        "|---|" + "---|" * len(REFERENCES),
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
            lines.append(f"| {task} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def parts_of(metric: str) -> tuple[str, str]:
    """What is measured (``fd``), and of whom where that is not the model (``glued``)."""
    found = re.match(r"(.+?)\d+k?(few)?_", metric)
    last = metric.rpartition("_")[2]
    return found[1] if found else metric, last if last in SUBJECTS else ""


def cell(record: dict[str, Any]) -> str:
    """``value ± error (bound)``."""
    text = f"{record['value']:.3g}"
    if record["error"]:
        text += f" ± {record['error']:.1g}"
    bound = record["floor"] if record["floor"] is not None else record["ceiling"]
    return text if bound is None else f"{text} ({bound:.3g})"


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
