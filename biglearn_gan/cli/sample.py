"""``biglearn-gan sample`` and ``classify``: a trained model on people's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.options import (
    DataRoot,
    Device,
    MaskHole,
    Seed,
    input_data_config,
    load_model,
)
from biglearn_gan.cli.runner import fail, reject_options
from biglearn_gan.progress import unit_bars


def sample(
    checkpoint: Annotated[str, typer.Option(help="Folder, or name on the Hugging Face hub.")],
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for grid.png, samples/ and samples.npz.")
    ],
    mask: Annotated[
        str,
        typer.Option(
            help="What to generate: joint, left-half, right-half, top-half, bottom-half, center, "
            "border, checkerboard, strokes, random:R[:BLOCK], inside:SIZE, outside:SIZE, an image "
            "file (white = generate), or a folder with one of each image's name."
        ),
    ] = "joint",
    images: Annotated[
        str | None,
        typer.Option(help="What to complete: a file, a folder or dataset:split (mnist:test)."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Class of all rows, or all for each class in turn (labeled models)."),
    ] = None,
    num: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows: source images, or joint samples (default: all of a file or folder, else "
            "16).",
        ),
    ] = None,
    variations: Annotated[int, typer.Option(min=1, help="Samples for each row.")] = 1,
    seed: Seed = 0,
    steps: Annotated[
        int, typer.Option(help="Draw the hole in so many parts, each given those before.")
    ] = 1,
    order: Annotated[
        str | None, typer.Option(help="Of the parts: random (default), raster or center-out.")
    ] = None,
    best_of: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Candidates for each sample; the critic's favorite is kept, and its score "
            "written.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Rows in memory at once; changes no sample.")
    ] = 256,
    device: Device = "cpu",
    mask_hole: MaskHole = None,
    data_root: DataRoot = None,
) -> None:
    """Generate images, or complete given ones."""
    import torch

    from biglearn_gan.devices import usable_device
    from biglearn_gan.inference.batched import draw
    from biglearn_gan.inference.inputs import (
        FIRST_ROWS,
        InputImages,
        check_hole,
        describe_hole,
        is_mask_path,
        load_hole,
        load_input_images,
        parse_labels,
    )
    from biglearn_gan.inference.outputs import check_output, write_samples
    from biglearn_gan.models.progressive import checked_order

    if mask == "joint" and images is not None:
        fail("--images needs a --mask: with the mask 'joint' nothing of an image is used", code=2)
    if mask == "joint":
        reject_options("the mask 'joint', which needs no data", {"--data-root": data_root})
    if steps == 1:
        reject_options("one step", {"--order": order})
    folders = [Path(mask)] if is_mask_path(mask) and Path(mask).is_dir() else []
    check_output(output, folders if images is None else [*folders, Path(images)])
    if not is_mask_path(mask):
        reject_options("a mask that is no file", {"--mask-hole": mask_hole})
    model = load_model(checkpoint, usable_device(device))
    in_order = checked_order(order or "random", steps, model.config.token_count)
    if label is not None:
        parse_labels(label, model, 1)
    data = input_data_config(model, data_root)
    if mask == "joint":
        black = torch.zeros(num or FIRST_ROWS, data.channels, *data.image_size, dtype=torch.uint8)
        sources = InputImages(black)
    else:
        check_hole(mask, model, mask_hole)
        sources = load_input_images(data, images, num)
    for note in sources.notes:
        typer.echo(note)
    rows = len(sources.images)
    hole = load_hole(mask, model, rows, seed, mask_hole, sources.names)
    typer.echo(describe_hole(hole, model, "generated whole"))
    output.mkdir(parents=True, exist_ok=True)
    with unit_bars() as on_start:
        samples = draw(
            model,
            sources.images,
            hole,
            labels=None if label is None else parse_labels(label, model, rows),
            variations=variations,
            seed=seed,
            batch_size=batch_size,
            steps=steps,
            order=in_order,
            best_of=best_of,
            on_rows=on_start("image", rows),
        )
    write_samples(samples, output, sources.names)
    typer.echo(f"{rows} x {variations} images are in {output} (see grid.png)")


def classify(
    checkpoint: Annotated[
        str, typer.Option(help="Folder or hub name of a model trained with data.labels: true.")
    ],
    output: Annotated[
        Path, typer.Option(dir_okay=False, help="CSV file for the probabilities of all labels.")
    ] = Path("samples/labels.csv"),
    images: Annotated[
        str | None,
        typer.Option(help="A file, a folder or dataset:split (default: the model's test images)."),
    ] = None,
    mask: Annotated[
        str | None, typer.Option(help="What the model does not see, as sample's --mask.")
    ] = None,
    num: Annotated[
        int | None,
        typer.Option(min=1, help="Images at most (default: all of a file or folder, else 16)."),
    ] = None,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows in memory at once.")] = 256,
    device: Device = "cpu",
    mask_hole: MaskHole = None,
    data_root: DataRoot = None,
) -> None:
    """Label images, whole or observed in part."""
    import torch

    from biglearn_gan.devices import usable_device
    from biglearn_gan.inference.classification import classify
    from biglearn_gan.inference.inputs import (
        describe_hole,
        is_mask_path,
        load_hole,
        load_input_images,
    )
    from biglearn_gan.models.input_checks import WITHOUT_LABELS, LabelError

    if output.suffix != ".csv":
        fail(f"--output must name a file with the suffix .csv, not {output}", code=2)
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir():
        fail(f"--output {output}: {above} is a file, so that nothing can lie in it", code=2)
    if mask is None:
        reject_options("a classification of whole images", {"--mask-hole": mask_hole})
    elif not is_mask_path(mask):
        reject_options("a mask that is no file", {"--mask-hole": mask_hole})
    model = load_model(checkpoint, usable_device(device))
    if not model.config.data.labels:
        raise LabelError(WITHOUT_LABELS)
    data = input_data_config(model, data_root)
    sources = load_input_images(data, images, num)
    for note in sources.notes:
        typer.echo(note)
    rows = len(sources.images)
    if mask is None:
        hole = torch.zeros(rows, *data.image_size, dtype=torch.bool)
    else:
        hole = load_hole(mask, model, rows, seed, mask_hole, sources.names)
        typer.echo(describe_hole(hole, model, "not seen at all"))
    with unit_bars() as on_start:
        labeled = classify(
            model, sources, hole, batch_size=batch_size, on_rows=on_start("image", rows)
        )
    for line in labeled.lines():
        typer.echo(line)
    labeled.write(output)
    typer.echo(f"the probabilities of {rows} images are in {output}")
