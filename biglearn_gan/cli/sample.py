"""``biglearn-gan sample``: draw images, or complete those of the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from biglearn_gan.cli.options import (
    BatchSize,
    Checkpoint,
    DataRoot,
    Device,
    Fit,
    MaskColor,
    Seed,
    check_mask_color,
    check_photo_options,
    input_data_config,
    load_model,
)
from biglearn_gan.cli.runner import reject_options
from biglearn_gan.config import HOLE_NAMES
from biglearn_gan.files import make_folder
from biglearn_gan.progress import unit_bars

if TYPE_CHECKING:  # keeps torch out of --help
    from torch import Tensor

    from biglearn_gan.inference.inputs import InputRequest, Inputs
    from biglearn_gan.inference.photos import Photo
    from biglearn_gan.models.biglearn_gan import BigLearnGAN

Output = Annotated[
    Path, typer.Option(file_okay=False, help="Folder for grid.png, samples/ and samples.npz.")
]
Mask = Annotated[
    str | None,
    typer.Option(
        help=f"What to generate: {', '.join(HOLE_NAMES)}, an image file (white = generate), or a "
        "folder with a mask for each image, named alike; joint generates everything "
        "(default: joint, or with --images the transparent part of each photo)."
    ),
]
Images = Annotated[
    str | None,
    typer.Option(
        help="What to complete: an image file, a folder, a ZIP file, or DATASET:SPLIT (default: "
        "the test images of the model's data set)."
    ),
]
FullSize = Annotated[
    bool,
    typer.Option(
        "--full-size",
        help="Also write each photo at its own size, with its hole filled, into full_size/: "
        "beach.jpg as beach.png, or with --variations as beach_1.png, beach_2.png, ...; a photo of "
        "a subfolder into one of the same name.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        help="Class to generate, by name or number, or all for each in turn (models with labels)."
    ),
]
Num = Annotated[
    int | None,
    typer.Option(min=1, help="Images to complete or to draw (default: all image files; else 16)."),
]
Variations = Annotated[int, typer.Option(min=1, help="Samples for each image.")]
Steps = Annotated[
    int, typer.Option(help="Passes; each draws a part of the hole given the parts before it.")
]
Order = Annotated[
    str | None,
    typer.Option(help="Order of the parts: random (default), raster or center-out."),
]
BestOf = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Candidates for each sample; the one with the highest critic score is kept, and its "
        "score is written.",
    ),
]


def sample(  # more than eight parameters, because every option is one
    checkpoint: Checkpoint,
    output: Output,
    mask: Mask = None,
    images: Images = None,
    fit: Fit = None,
    full_size: FullSize = False,
    label: Label = None,
    num: Num = None,
    variations: Variations = 1,
    seed: Seed = 0,
    steps: Steps = 1,
    order: Order = None,
    best_of: BestOf = None,
    batch_size: BatchSize = 256,
    device: Device = "cpu",
    mask_color: MaskColor = None,
    data_root: DataRoot = None,
) -> None:
    """Draw images, or complete yours."""
    from biglearn_gan.devices import usable_device
    from biglearn_gan.inference.batched import draw_samples
    from biglearn_gan.inference.inputs import InputRequest, input_folders
    from biglearn_gan.inference.sample_writer import check_output, write_samples
    from biglearn_gan.models.progressive import check_order
    from biglearn_gan.models.token_model import SamplingOptions

    mask = "joint" if mask is None and images is None else mask
    if mask == "joint":
        unused = {"--images": images, "--data-root": data_root}
        reject_options("requires a --mask other than joint, which reads no image", unused)
    if steps == 1:
        reject_options("requires --steps > 1", {"--order": order})
    check_output(output, input_folders(mask, images))
    check_mask_color(mask, mask_color)
    check_photo_options(images, {"--fit": fit, "--full-size": full_size})
    model = load_model(checkpoint, usable_device(device))
    checked = check_order(order or "random", steps, model.config.token_count)
    _parse_label(label, model, 1)
    request = InputRequest(images, mask, num, seed, mask_color, fit or "crop", mask is None)
    inputs = _load_inputs(model, request, data_root)
    rows = len(inputs.images)
    labels = _parse_label(label, model, rows)
    options = SamplingOptions(labels, variations, seed, steps=steps, order=checked)
    make_folder(output)
    with unit_bars() as on_start:
        samples = draw_samples(
            model,
            inputs.images,
            inputs.hole,
            options,
            batch_size=batch_size,
            best_of=best_of,
            on_images=on_start("image", rows),
        )
    photos = inputs.photos if full_size else ()
    write_samples(samples, output, inputs.names, photos)
    typer.echo(f"{rows} x {variations} images are in {output} (see grid.png)")
    if full_size:
        _report_full_size(photos, mask, output)


def _report_full_size(photos: Sequence[Photo], mask: str | None, output: Path) -> None:
    """Print where photos at their own size are, and what was done to them."""
    from biglearn_gan.inference.masks import is_mask_path
    from biglearn_gan.inference.photos import describe_enlargement
    from biglearn_gan.inference.sample_writer import FULL_SIZE

    typer.echo(f"{describe_enlargement(photos)}, in {output / FULL_SIZE}")
    is_named = mask is not None and not is_mask_path(mask)
    if is_named and any(photo.resizing.crops for photo in photos):
        typer.echo(
            f"the mask {mask} lies in the center crop of the photos (--fit pad or stretch shows "
            "them whole)"
        )


def _parse_label(label: str | None, model: BigLearnGAN, count: int) -> Tensor | None:
    """The class of each of ``count`` images; None without ``--label``."""
    from biglearn_gan.inference.inputs import parse_labels

    return None if label is None else parse_labels(label, model, count)


def _load_inputs(model: BigLearnGAN, request: InputRequest, data_root: str | None) -> Inputs:
    """The images to complete and their holes, after what the user should know of them."""
    from biglearn_gan.inference.inputs import describe_hole, load_inputs

    inputs = load_inputs(model, input_data_config(model, data_root), request)
    for note in inputs.notes:
        typer.echo(note)
    typer.echo(describe_hole(inputs.hole, model, "generated whole", inputs.hole_is))
    return inputs
