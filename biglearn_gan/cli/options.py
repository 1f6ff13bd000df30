"""What commands, and the scripts in experiments/, share: options, and the model that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from biglearn_gan.cli.runner import fail
from biglearn_gan.config import HoleColor

ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file, see experiments/.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.max_minutes=2")
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same bytes.")]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, mps, or one of several: cuda:1.")
]
DataRoot = Annotated[
    str | None, typer.Option("--data-root", help="Where data sets are (default: data).")
]

Classifier = Annotated[
    str | None,
    typer.Option(
        help="Folder of the classifier that measures (default: classifier_DATA in checkpoints/, "
        "beside the checkpoint, or in the clone's checkpoints/)."
    ),
]

MaskHole = Annotated[
    HoleColor | None,
    typer.Option("--mask-hole", help="Which color of a mask file is the hole (default: white)."),
]


def load_model(checkpoint: str, place: Any) -> Any:
    """The model of a folder or hub name, on a device."""
    from biglearn_gan.models.biglearn_gan import BigLearnGAN
    from biglearn_gan.models.checkpoint import may_be_on_hub

    if may_be_on_hub(checkpoint):
        typer.echo(f"{checkpoint} is no folder here: looking on the Hugging Face hub")

    return BigLearnGAN.from_pretrained(checkpoint).to(place)


def input_data_config(model: Any, data_root: str | None) -> Any:
    """Where the images of a model's data set are found on this machine: its data as sources."""
    from biglearn_gan.inference.inputs import without_labels_or_missing

    return with_data_root(data_root, without_labels_or_missing(model.config.data))


def without_missing(data: Any) -> Any:
    """The data set with all its images, none of which lacks a part."""
    return data.model_copy(update={"validation_share": 0.0, "missing": None})


def with_data_root(data_root: str | None, data: Any) -> Any:
    """The data where ``--data-root`` says that they are."""
    if data_root is None:
        return data
    if not Path(data_root).is_dir():
        fail(f"--data-root {data_root} is no folder; make it, if the data are to be put there", 2)
    return data.model_copy(update={"root": data_root})
