"""The application: its commands, ``--help`` and ``--version``.

Each command imports what it needs when it runs, so that ``--help`` does not load torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from biglearn_gan import __version__
from biglearn_gan.cli.classify import classify
from biglearn_gan.cli.demo import demo
from biglearn_gan.cli.evaluate import evaluate
from biglearn_gan.cli.evaluate_oracle import evaluate_oracle
from biglearn_gan.cli.evaluate_samples import evaluate_samples
from biglearn_gan.cli.export import export
from biglearn_gan.cli.models import models
from biglearn_gan.cli.runner import run
from biglearn_gan.cli.sample import sample
from biglearn_gan.cli.score import score
from biglearn_gan.cli.simulate import simulate
from biglearn_gan.cli.tables import tables
from biglearn_gan.cli.train import train
from biglearn_gan.cli.train_classifier import train_classifier

app = typer.Typer(
    name="biglearn-gan",
    help="One adversarially trained transformer for every joint, marginal and conditional "
    "distribution of images.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(requested: bool) -> bool:
    if requested:
        typer.echo(__version__)
        raise typer.Exit
    return requested


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


COMMANDS = (
    train,
    sample,
    classify,
    score,
    evaluate,
    evaluate_samples,
    evaluate_oracle,
    train_classifier,
    models,
    tables,
    simulate,
    export,
    demo,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line and exit."""
    run(app, "biglearn-gan")
