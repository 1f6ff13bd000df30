"""What the commands share: options, the model that is named, and how a mistake ends."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file, see experiments/.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.max_minutes=2")
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same bytes.")]
DataRoot = Annotated[
    str | None, typer.Option("--data-root", help="Where data sets are (default: data).")
]

Classifier = Annotated[
    str | None,
    typer.Option(
        help="Folder of the classifier that measures (default: checkpoints/classifier_DATA)."
    ),
]


def load_model(checkpoint: str, place: Any) -> Any:
    """The model of a folder or hub name, on a device."""
    from biglearn_gan.model import BigLearnGAN

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return BigLearnGAN.from_pretrained(checkpoint).to(place)


def fail(message: str, code: int = 1) -> NoReturn:
    """Tell the mistake and exit."""
    for line in message.splitlines():
        typer.echo(f"biglearn-gan: {line}", err=True)
    sys.exit(code)
