"""``biglearn-gan train-classifier``: train a classifier to evaluate with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from biglearn_gan.cli.options import ConfigFile, Overrides, Seed
from biglearn_gan.config import load_config
from biglearn_gan.progress import task_bars


class Network(StrEnum):
    """How many convolutions a classifier has."""

    plain = "plain"
    deep = "deep"


def train_classifier(
    config: ConfigFile,
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder of the classifier.")],
    overrides: Overrides = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="Classify partial images: p(label | known pixels).")
    ] = False,
    network: Annotated[
        Network, typer.Option(help="plain for digits, deep for photographs and drawings.")
    ] = Network.plain,
    images: Annotated[
        int | None,
        typer.Option(min=64, help="Budget in images seen (default: that of the shipped ones)."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier to evaluate with.

    It learns the labels of the training split.
    """
    from biglearn_gan.metrics.classifier_training import train_and_save_classifier

    settings = load_config(config, overrides or ())
    with task_bars() as progress:
        result = train_and_save_classifier(
            settings.data,
            " ".join([config.as_posix(), *map(quote, overrides or ())]),
            output,
            masked=masked,
            network=network.value,
            seed=seed,
            images=images,
            progress=lambda done, total: progress("classifier", done, total),
        )
    typer.echo(f"{result}\nthe classifier is in {output}")
