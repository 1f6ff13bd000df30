"""``biglearn-gan classify``: label the images of the user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.options import (
    BatchSize,
    DataRoot,
    Device,
    Fit,
    Images,
    MaskColor,
    Num,
    Seed,
    check_mask_color,
    check_photo_options,
    input_data_config,
    load_model,
)
from biglearn_gan.cli.runner import fail
from biglearn_gan.files import OutputError, check_output_folder
from biglearn_gan.progress import unit_bars

LabeledCheckpoint = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        help="Shipped model, folder or hub name of a model trained with data.labels: true.",
    ),
]
Output = Annotated[
    Path, typer.Option(dir_okay=False, help="CSV file for the probabilities of all classes.")
]
Mask = Annotated[
    str | None,
    typer.Option(help="What the model does not see, named like --mask of sample (default: none)."),
]


def classify(  # more than eight parameters, because every option is one
    checkpoint: LabeledCheckpoint,
    output: Output = Path("samples/labels.csv"),
    images: Images = None,
    mask: Mask = None,
    num: Num = None,
    seed: Seed = 0,
    batch_size: BatchSize = 256,
    device: Device = "cpu",
    fit: Fit = None,
    mask_color: MaskColor = None,
    data_root: DataRoot = None,
) -> None:
    """Label images, or images with a hole."""
    from biglearn_gan.devices import usable_device
    from biglearn_gan.inference.classification import classify_images
    from biglearn_gan.inference.inputs import InputRequest, describe_hole, load_inputs
    from biglearn_gan.models.labels import require_labels

    _check_output(output)
    check_mask_color(mask, mask_color)
    check_photo_options(images, {"--fit": fit})
    model = load_model(checkpoint, usable_device(device))
    require_labels(model.config.data)
    data = input_data_config(model, data_root)
    request = InputRequest(images, mask, num, seed, mask_color, fit or "crop")
    inputs = load_inputs(model, data, request)
    for note in inputs.notes:
        typer.echo(note)
    rows = len(inputs.images)
    if mask is not None:
        typer.echo(describe_hole(inputs.hole, model, "hidden whole", inputs.hole_is))
    with unit_bars() as on_start:
        result = classify_images(
            model, inputs, batch_size=batch_size, on_images=on_start("image", rows)
        )
    for line in result.lines():
        typer.echo(line)
    result.write_csv(output)
    typer.echo(f"the probabilities of {rows} images are in {output}")


def _check_output(output: Path) -> None:
    """Refuse a file that is not a CSV file, or that lies below another file."""
    if output.suffix != ".csv":
        fail(f"--output must name a file that ends in .csv, not {output}", code=2)
    try:
        check_output_folder(output.parent, written_by="classify")
    except OutputError as error:
        fail(f"--output {output}: {error}", code=2)
