"""``biglearn-gan score``: find the unusual among the user's images, and where they are unusual."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.options import (
    Checkpoint,
    DataRoot,
    Device,
    Fit,
    Images,
    Num,
    Seed,
    check_photo_options,
    input_data_config,
    load_model,
)
from biglearn_gan.progress import unit_bars

Output = Annotated[
    Path, typer.Option(file_okay=False, help="Folder for scores.csv and, with --map, map.png.")
]
DrawMap = Annotated[
    bool,
    typer.Option(
        "--map",
        help="Also write map.png: each image beside the map of its surprise, the most unusual "
        "image first.",
    ),
]
Variations = Annotated[int, typer.Option(min=2, help="Completions of each hidden window.")]
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Side of the hidden window in pixels (default: 3/8 of the image's shorter side, "
        "rounded up to whole patches if the model only reads whole ones).",
    ),
]


def score(  # more than eight parameters, because every option is one
    checkpoint: Checkpoint,
    output: Output,
    images: Images = None,
    draw_map: DrawMap = False,
    num: Num = None,
    variations: Variations = 8,
    window: Window = None,
    seed: Seed = 0,
    device: Device = "cpu",
    fit: Fit = None,
    data_root: DataRoot = None,
) -> None:
    """Find unusual images, and where they are unusual."""
    from biglearn_gan.devices import usable_device
    from biglearn_gan.inference.inputs import InputRequest, input_folders, load_inputs
    from biglearn_gan.inference.scoring import check_output, describe_map, score_images
    from biglearn_gan.inference.surprise import sliding_windows

    check_output(output, input_folders(None, images))
    check_photo_options(images, {"--fit": fit})
    model = load_model(checkpoint, usable_device(device))
    sliding_windows(model.config, window)  # refuses a wrong one before images are read
    request = InputRequest(images, num=num, seed=seed, fit=fit or "crop")
    inputs = load_inputs(model, input_data_config(model, data_root), request)
    for note in inputs.notes:
        typer.echo(note)
    with unit_bars() as on_start:
        scores = score_images(
            model,
            inputs,
            window=window,
            variations=variations,
            seed=seed,
            on_start=on_start,
        )
    scores.write(output, draw_map=draw_map)
    for line in scores.lines():
        typer.echo(line)
    typer.echo(f"the scores of {len(inputs.images)} images are in {output / 'scores.csv'}")
    if draw_map:
        typer.echo(f"{output / 'map.png'} shows {describe_map()}")
