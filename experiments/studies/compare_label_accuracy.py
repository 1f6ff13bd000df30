"""Print the accuracies of several models side by side, from files of `label_accuracy.py`.

    python experiments/studies/compare_label_accuracy.py draw0.json draw1.json --beside all.json

With several files, a row has their mean and standard deviation; the files of ``--beside`` do not
count in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from biglearn_gan.cli.runner import fail, run

Row = tuple[str, list[float]]
"""The name of a model, and its accuracies."""

HOLES = ("nothing", "random:0.25", "random:0.5", "right-half")


def main(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="Files of label_accuracy.py.")
    ],
    beside: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Another file, not part of the mean."),
    ] = None,
) -> None:
    """Print the table as Markdown."""
    typer.echo(table(list(map(read, files)), list(map(read, beside or ()))))


def read(file: Path) -> Row:
    """The name of a file without its ending, and its accuracies."""
    try:
        return file.stem, accuracies(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        fail(f"{file} was not written by label_accuracy.py", code=2)


def accuracies(results: dict[str, Any]) -> list[float]:
    """The accuracies of predicted labels by hidden part, then that of images for a label."""
    predicted = [results["prediction"][hole]["accuracy"] for hole in HOLES]
    return [*predicted, results["generation"]["best_of_1"]]


def table(rows: list[Row], beside: list[Row]) -> str:
    """The rows, their mean if they are several, and the rows beside them, in percent."""
    columns = ["whole images", *(f"{hole} hidden" for hole in HOLES[1:]), "generated for a label"]
    lines = [f"| model | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    lines += [line(*row) for row in rows]
    if len(rows) > 1:
        percent = 100 * np.array([values for _, values in rows])
        pairs = zip(percent.mean(axis=0), percent.std(axis=0, ddof=1), strict=True)
        lines.append(f"| *mean* | {' | '.join(f'{mean:.1f} ± {std:.1f}' for mean, std in pairs)} |")
    return "\n".join([*lines, *(line(*row) for row in beside)])


def line(name: str, values: list[float]) -> str:
    """A row of the table as Markdown."""
    return f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in values)} |"


if __name__ == "__main__":
    run(main, "compare_label_accuracy")
