"""``biglearn-gan train``: train a model, or go on with a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from biglearn_gan.cli.options import (
    Classifier,
    ConfigFile,
    Overrides,
)
from biglearn_gan.cli.runner import STOPPED, fail, reject_options
from biglearn_gan.config import load_config
from biglearn_gan.progress import training_progress


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
            help="Print configuration and sizes, and memory after a few steps on noise.",
        ),
    ] = False,
) -> None:
    """Train a model, or go on with a run.

    The same command line resumes what was interrupted.
    """
    settings = load_config(config, overrides or ())
    if dry_run:
        reject_options("--dry-run", {"--output": output, "--classifier": classifier})
    if settings.logging.evaluation_time_share == 0:
        reject_options("logging.evaluation_time_share 0", {"--classifier": classifier})
    if dry_run:
        from biglearn_gan.training.throughput import describe

        lines = describe(settings, device)
        typer.echo(settings.to_yaml())
        for line in lines:
            typer.echo(line)
        return
    from biglearn_gan.evaluation.during_training import quick_evaluation
    from biglearn_gan.training.fit import fit

    def make_evaluation(dataset: Any) -> Any:
        evaluation, notes = quick_evaluation(settings, dataset, classifier)
        for note in notes:
            typer.echo(note)
        return evaluation

    folder = output if output is not None else Path("runs") / config.stem
    with training_progress() as on_progress:
        outcome = fit(
            settings,
            folder,
            device=device,
            on_progress=on_progress,
            make_evaluation=make_evaluation,
        )
    if outcome.interrupted and not outcome.is_main:
        sys.exit(STOPPED)
    if outcome.interrupted:
        fail(
            f"stopped at {outcome.images_seen:,} of {outcome.total_images:,} images; "
            "the same command goes on from there",
            code=STOPPED,
        )
    if outcome.is_main and outcome.images_before == outcome.images_seen:
        typer.echo(
            f"nothing to do: all {outcome.images_seen:,} images were seen before, and the model is "
            f"in {outcome.checkpoint}"
            + (
                "; a larger train.max_images goes on from there"
                if settings.train.max_images
                else ""
            )
        )
    elif outcome.is_main:
        typer.echo(
            f"{outcome.images_seen:,} images seen in {outcome.seconds / 60:.1f} minutes; "
            f"the model is in {outcome.checkpoint}"
        )
        typer.echo(outcome.summary)
