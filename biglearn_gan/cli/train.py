"""``biglearn-gan train``: train a model, or resume a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from biglearn_gan.cli.options import Classifier, ConfigFile, Overrides
from biglearn_gan.cli.runner import STOPPED, fail, reject_options
from biglearn_gan.config import Config, load_config
from biglearn_gan.progress import training_progress

if TYPE_CHECKING:  # keeps torch out of --help
    from biglearn_gan.data.dataset import ImageDataset
    from biglearn_gan.training.fit import TrainingResult
    from biglearn_gan.training.monitor import Evaluation


def train(
    config: ConfigFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Run folder (default: runs/NAME-OF-CONFIG)."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    classifier: Classifier = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the configuration, the sizes and the memory, measured on noise, and exit. "
            "Nothing is written, and no classifier is read.",
        ),
    ] = False,
) -> None:
    """Train a model, or resume a run.

    The same command resumes a run that was interrupted.
    """
    settings = load_config(config, overrides or ())
    if settings.logging.evaluation_time_share == 0:
        reject_options(
            "requires logging.evaluation_time_share above 0", {"--classifier": classifier}
        )
    if dry_run:
        _print_description(settings, device)
        return
    from biglearn_gan.evaluation.during_training import make_training_evaluation
    from biglearn_gan.training.fit import fit

    def make_evaluation(dataset: ImageDataset) -> Evaluation | None:
        evaluation, notes = make_training_evaluation(settings, dataset, classifier)
        for note in notes:
            typer.echo(note)
        return evaluation

    folder = output if output is not None else Path("runs") / config.stem
    with training_progress() as on_progress:
        result = fit(
            settings,
            folder,
            device=device,
            on_dataset=lambda dataset: typer.echo(dataset.summary(settings.data.labels)),
            on_progress=on_progress,
            make_evaluation=make_evaluation,
        )
    _report(result, can_grow=settings.train.max_images is not None)


def _print_description(settings: Config, device: str) -> None:
    """Print the whole configuration, and the lines of :func:`throughput.describe`.

    No data are needed, except to count class folders.

    Raises:
        DataError: there are no class folders to count.
    """
    from biglearn_gan.data.image_listing import DataError
    from biglearn_gan.data.loading import count_classes
    from biglearn_gan.training.throughput import describe

    try:
        settings = count_classes(settings)
    except DataError as error:
        raise DataError(f"{error} (--dry-run needs no data if data.classes is set)") from None
    lines = describe(settings, device)
    typer.echo(settings.to_yaml())
    for line in lines:
        typer.echo(line)


def _report(result: TrainingResult, can_grow: bool) -> None:
    """Print how training ended, from the main process; exit with ``STOPPED`` if interrupted.

    Args:
        result: of the run.
        can_grow: whether the budget is a number of images, which can be raised.
    """
    if result.interrupted and not result.is_main_process:
        sys.exit(STOPPED)
    if result.interrupted:
        fail(
            f"stopped at {result.images_seen:,} of {result.total_images:,} images; run the same "
            "command to resume",
            code=STOPPED,
        )
    if not result.is_main_process:
        return
    if result.images_at_start == result.images_seen:
        hint = "; raise train.max_images to train further" if can_grow else ""
        typer.echo(
            f"nothing to do: all {result.images_seen:,} images were seen before, and the model is "
            f"in {result.checkpoint}{hint}"
        )
        return
    typer.echo(
        f"{result.images_seen:,} images seen in {result.seconds / 60:.1f} minutes; "
        f"the model is in {result.checkpoint}"
    )
    typer.echo(result.diagnostics)
