"""``biglearn-gan models``: the models that can be loaded by name."""

from __future__ import annotations

import typer

from biglearn_gan.shipped import config_names


def models() -> None:
    """List the models that can be loaded by name.

    Those that come with the package, and those in checkpoints/ and runs/ of this folder.
    """
    from biglearn_gan.evaluation.model_list import find_models, models_table

    typer.echo(models_table(find_models()))
    typer.echo(f"\nconfigurations for `train --config`: {', '.join(config_names())}")
