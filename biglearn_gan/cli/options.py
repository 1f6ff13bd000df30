"""Options that several commands and the scripts in experiments/ share, and what they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from biglearn_gan.cli.runner import fail, reject_options
from biglearn_gan.config import DataConfig, FitMode, HoleColor

if TYPE_CHECKING:  # keeps torch out of --help
    import torch

    from biglearn_gan.models.biglearn_gan import BigLearnGAN

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config", help="YAML file, or the name of a shipped one, such as digits or mnist."
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.max_minutes=2")
]
Checkpoint = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        help="Shipped model, such as digits; folder; or OWNER/NAME on the Hugging Face hub.",
    ),
]
Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="An image file, a folder, a ZIP file, or DATASET:SPLIT (default: the test images of "
        "the model's data set).",
    ),
]
Num = Annotated[
    int | None, typer.Option("--num", min=1, help="Images (default: all image files; else 16).")
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, help="The same seed gives the same bytes.")
]
BatchSize = Annotated[
    int,
    typer.Option("--batch-size", min=1, help="Images in memory at a time; changes no result."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, mps, or one of several: cuda:1.")
]
DataRoot = Annotated[
    str | None, typer.Option("--data-root", help="Folder of the data sets (default: data).")
]
MaskColor = Annotated[
    HoleColor | None,
    typer.Option(
        "--mask-color",
        help="Color of the hole in a mask file (default: white, or what transparency says).",
    ),
]
Fit = Annotated[
    FitMode | None,
    typer.Option(
        "--fit",
        help="How photos of another aspect ratio are fitted: crop at the center (default), pad "
        "with their edges, or stretch.",
    ),
]
Classifier = Annotated[
    str | None,
    typer.Option(
        "--classifier",
        help="Folder of the classifier to evaluate with (default: classifier_DATA in "
        "checkpoints/, next to the checkpoint, or among the shipped ones).",
    ),
]


def load_model(checkpoint: str, device: torch.device) -> BigLearnGAN:
    """Load a model onto a device, by its folder, or its name here or on the Hugging Face hub.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    from biglearn_gan.models.biglearn_gan import BigLearnGAN
    from biglearn_gan.models.checkpoint import find_checkpoint_folder

    folder = find_checkpoint_folder(checkpoint)
    if folder is None:
        typer.echo(f"there is no folder {checkpoint}: looking on the Hugging Face hub")
    elif folder != checkpoint:
        typer.echo(f"using {checkpoint} of the package: {folder}")
    return BigLearnGAN.from_pretrained(checkpoint).to(device)


def input_data_config(model: BigLearnGAN, data_root: str | None) -> DataConfig:
    """The model's data set as inputs for it: on this machine, without labels, nothing missing."""
    from biglearn_gan.inference.inputs import without_labels_or_missing

    return with_data_root(data_root, without_labels_or_missing(model.config.data))


def without_missing(data: DataConfig) -> DataConfig:
    """The data set with all of its images, and all of their pixels."""
    return with_all_pixels(data).model_copy(update={"validation_share": 0.0})


def with_all_pixels(data: DataConfig) -> DataConfig:
    """The data set with no pixel missing."""
    return data.model_copy(update={"missing": None})


def with_data_root(data_root: str | None, data: DataConfig) -> DataConfig:
    """The data set read from the folder or ZIP archive of ``--data-root``, if one is given.

    For a data set of the library ``datasets`` it may also be a name on the Hugging Face hub.

    Raises:
        CommandError: it does not exist.
    """
    from biglearn_gan.data.image_listing import is_archive

    if data_root is None:
        return data
    moved = data.model_copy(update={"root": data_root})
    path = Path(data_root)
    is_table = data.name == "huggingface" and (path.exists() or moved.on_hub)
    if not (path.is_dir() or is_archive(path) or is_table):
        fail(f"--data-root {data_root} is not a folder; create it if the data belong there", 2)
    return moved


def check_photo_options(images: str | None, options: Mapping[str, object]) -> None:
    """Refuse options for photos unless ``--images`` names an image file or a folder of them.

    Raises:
        CommandError: one of the options was given without photos.
    """
    if images is None or not Path(images).exists():
        reject_options("requires --images with an image file or a folder of them", options)


def check_mask_color(mask: str | None, mask_color: HoleColor | None) -> None:
    """Refuse ``--mask-color`` unless ``--mask`` names an image file or a folder of them.

    Raises:
        CommandError: there is no mask, or it is the name of a pattern.
    """
    from biglearn_gan.inference.masks import is_mask_path

    if mask is None or not is_mask_path(mask):
        reject_options(
            "requires a --mask that is an image file or a folder", {"--mask-color": mask_color}
        )
