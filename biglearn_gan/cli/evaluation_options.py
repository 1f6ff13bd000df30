"""Options and steps that ``evaluate``, ``evaluate-samples`` and ``evaluate-oracle`` share."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from biglearn_gan.cli.runner import fail

if TYPE_CHECKING:  # keeps torch out of --help
    from biglearn_gan.evaluation.evaluator import Report


T = TypeVar("T")


class FeatureKind(StrEnum):
    """The network whose features distances are measured in."""

    classifier = "classifier"
    inception = "inception"


def has_moved(option: str, command: str) -> Callable[[T], T]:
    """A callback for an old option of ``evaluate`` that is now a command."""

    def reject(value: T) -> T:
        if value:
            fail(f"`evaluate {option}` is now a command: `biglearn-gan {command}`", code=2)
        return value

    return reject


Features = Annotated[FeatureKind, typer.Option("--features", help="Features of the distances.")]
MaskedClassifier = Annotated[
    str | None,
    typer.Option(
        "--masked-classifier",
        help="Folder of the masked classifier (default: masked_classifier_DATA, searched alike).",
    ),
]
InceptionWeights = Annotated[
    Path | None,
    typer.Option(
        "--inception-weights", help="File of pytorch-fid's weights (default: downloaded, cached)."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Measure fewer images than features have dimensions.")
]
ReportFolder = Annotated[
    Path,
    typer.Option(
        "--output", file_okay=False, help="Folder for metrics.json, metrics.csv and figures."
    ),
]
OldSamples = Annotated[
    str | None,
    typer.Option(
        "--samples",
        hidden=True,
        is_eager=True,
        callback=has_moved("--samples", "evaluate-samples SAMPLES"),
    ),
]
OldOracle = Annotated[
    bool,
    typer.Option(
        "--oracle",
        hidden=True,
        is_eager=True,
        callback=has_moved("--oracle", "evaluate-oracle --checkpoint CHECKPOINT"),
    ),
]
REPORT_FOLDER = Path("samples/evaluation")


def write_and_print_report(report: Report, folder: Path) -> None:
    """Write the report, and print its records and speeds."""
    from biglearn_gan.evaluation.records import records_table
    from biglearn_gan.evaluation.report import write_report

    write_report(report, folder)
    typer.echo(records_table(report.records))
    for task, speed in report.images_per_second.items():
        typer.echo(f"{task}: {speed:.0f} images/s")
    typer.echo(f"records and figures are in {folder}")
