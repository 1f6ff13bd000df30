"""Options and steps that the commands and scripts which evaluate share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from biglearn_gan.cli.runner import fail
from biglearn_gan.files import make_folder
from biglearn_gan.progress import task_bars

if TYPE_CHECKING:  # keeps torch out of --help
    from biglearn_gan.data.dataset import ImageDataset
    from biglearn_gan.evaluation.evaluator import Report
    from biglearn_gan.evaluation.task import EvaluationSettings
    from biglearn_gan.metrics.metric_models import MetricModels

T = TypeVar("T")


REPORT_FOLDER = Path("samples/evaluation")


class FeatureKind(StrEnum):
    """The network whose features distances are measured in."""

    classifier = "classifier"
    efficientnet = "efficientnet"
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


def split_names(text: str | None) -> tuple[str, ...]:
    """The names in a list with commas; spaces around them do not count."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def write_and_print_report(report: Report, folder: Path) -> None:
    """Write the report, and print its records and speeds."""
    from biglearn_gan.evaluation.records import records_table
    from biglearn_gan.evaluation.report import write_report

    write_report(report, folder)
    typer.echo(records_table(report.records))
    for task, speed in report.images_per_second.items():
        typer.echo(f"{task}: {speed:.0f} images/s")
    typer.echo(f"records and figures are in {folder}")


def shipped_metric_models(
    data_name: str,
    checkpoint: str | None = None,
    *,
    classifier: str | None = None,
    dataset: ImageDataset | None = None,
) -> MetricModels:
    """The shipped classifiers of a data set, or those next to a checkpoint.

    Args:
        data_name: name of the data set.
        checkpoint: folder (or name on the hub) of the evaluated model, or None.
        classifier: folder of another classifier, or None for the shipped one.
        dataset: the evaluated images; a masked classifier of other images is then left out.

    Raises:
        CommandError: there are none.
    """
    import torch

    from biglearn_gan.metrics.metric_models import MetricModelError, load_metric_models

    cpu = torch.device("cpu")
    try:
        metric_models, notes = load_metric_models(
            data_name,
            "classifier",
            classifier,
            None,
            None,
            cpu,
            checkpoint=checkpoint,
            dataset=dataset,
        )
    except MetricModelError:
        next_to = "" if checkpoint is None else f" or next to {checkpoint}"
        fail(
            f"there is no classifier_{data_name} to measure with in checkpoints/, in the clone"
            f"{next_to}: make one with train-classifier",
            code=2,
        )
    for note in notes:
        typer.echo(note, err=True)
    return metric_models


@contextmanager
def measuring(output: Path, seed: int, force: bool) -> Iterator[EvaluationSettings]:
    """The settings of an evaluation, whose progress is shown; ``output`` exists within.

    An error of too few images names the option that allows them.

    Raises:
        CommandError: there are too few images for a distance.
        WriteError: the folder cannot be made.
    """
    from biglearn_gan.evaluation.task import EvaluationSettings, TooFewImagesError
    from biglearn_gan.metrics.reference_statistics import default_cache

    make_folder(output)
    try:
        with task_bars() as progress:
            yield EvaluationSettings(seed, default_cache(), force, progress)
    except TooFewImagesError as error:
        fail(f"{error} (--force)", error.exit_code)


def check_num(num: int, metric_models: MetricModels) -> None:
    """Refuse a ``--num`` below the dimensions of the features.

    Raises:
        CommandError: there are too few images for a distance.
    """
    if num < (least := metric_models.features.dimensions):
        fail(
            f"--num must be at least {least}, as many as features have dimensions, not {num}",
            code=2,
        )


def parse_counts(text: str, option: str) -> list[int]:
    """Sorted whole numbers from 1, from a list with commas.

    Raises:
        CommandError: the text is anything else; it names the option.
    """
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        fail(f"{option} must be whole numbers from 1, such as 1,2,4, not {text!r}", code=2)
    return sorted({int(part) for part in parts})
