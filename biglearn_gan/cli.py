"""The command line: parsing, progress and messages; everything else is imported by the command that
needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from biglearn_gan import __version__
from biglearn_gan.cli_measuring import evaluate, train_classifier
from biglearn_gan.cli_options import (
    Classifier,
    ConfigFile,
    DataRoot,
    Device,
    MaskHole,
    Overrides,
    Seed,
    data_of,
    load_model,
)
from biglearn_gan.cli_simulating import simulate
from biglearn_gan.command import STOPPED, fail, refuse, run
from biglearn_gan.config import load_config
from biglearn_gan.progress import training_progress, unit_bars

app = typer.Typer(
    name="biglearn-gan",
    help="One adversarially trained transformer for every joint, marginal and conditional "
    "distribution of images.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(__version__)
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it and exit."
        ),
    ] = False,
) -> None: ...


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Run folder (default: runs/NAME-OF-CONFIG)."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    classifier: Classifier = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print configuration and sizes, and memory after a few steps on noise.",
        ),
    ] = False,
) -> None:
    """Train a model, or go on with a run.

    The same command line resumes what was interrupted.
    """
    settings = load_config(config, overrides or ())
    if dry_run:
        refuse("--dry-run", {"--output": output, "--classifier": classifier})
    if settings.logging.evaluation_share == 0:
        refuse("logging.evaluation_share 0", {"--classifier": classifier})
    if dry_run:
        from biglearn_gan.calibration import describe

        lines = describe(settings, device)
        typer.echo(settings.to_yaml())
        for line in lines:
            typer.echo(line)
        return
    from biglearn_gan.evaluation.shipped import quick_evaluation
    from biglearn_gan.fit import fit

    def make_evaluation(dataset: Any) -> Any:
        evaluation, notes = quick_evaluation(settings, dataset, classifier)
        for note in notes:
            typer.echo(note)
        return evaluation

    folder = output if output is not None else Path("runs") / config.stem
    with training_progress() as on_progress:
        outcome = fit(
            settings,
            folder,
            device=device,
            on_progress=on_progress,
            make_evaluation=make_evaluation,
        )
    if outcome.interrupted and not outcome.is_main:
        sys.exit(STOPPED)
    if outcome.interrupted:
        fail(
            f"stopped at {outcome.images_seen:,} of {outcome.total_images:,} images; "
            "the same command goes on from there",
            code=STOPPED,
        )
    if outcome.is_main and outcome.images_before == outcome.images_seen:
        typer.echo(
            f"nothing to do: all {outcome.images_seen:,} images were seen before, and the model is "
            f"in {outcome.checkpoint}"
            + (
                "; a larger train.max_images goes on from there"
                if settings.train.max_images
                else ""
            )
        )
    elif outcome.is_main:
        typer.echo(
            f"{outcome.images_seen:,} images seen in {outcome.seconds / 60:.1f} minutes; "
            f"the model is in {outcome.checkpoint}"
        )
        typer.echo(outcome.verdict)


@app.command()
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
        typer.Option(help="Class of all rows, or all for each class in turn (labelled models)."),
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
            help="Candidates for each sample; the critic's favourite is kept, and its score "
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
    from biglearn_gan.progressive import checked_order
    from biglearn_gan.sample_folder import check_output, write_samples
    from biglearn_gan.sampling import draw
    from biglearn_gan.sources import (
        FIRST_ROWS,
        Sources,
        check_hole,
        is_path,
        load_hole,
        load_sources,
        parse_labels,
        told_of_hole,
    )

    if mask == "joint" and images is not None:
        fail("--images needs a --mask: with the mask 'joint' nothing of an image is used", code=2)
    if mask == "joint":
        refuse("the mask 'joint', which needs no data", {"--data-root": data_root})
    if steps == 1:
        refuse("one step", {"--order": order})
    folders = [Path(mask)] if is_path(mask) and Path(mask).is_dir() else []
    check_output(output, folders if images is None else [*folders, Path(images)])
    if not is_path(mask):
        refuse("a mask that is no file", {"--mask-hole": mask_hole})
    model = load_model(checkpoint, usable_device(device))
    in_order = checked_order(order or "random", steps, model.config.token_count)
    if label is not None:
        parse_labels(label, model, 1)
    data = data_of(model, data_root)
    if mask == "joint":
        black = torch.zeros(num or FIRST_ROWS, data.channels, *data.image_size, dtype=torch.uint8)
        sources = Sources(black)
    else:
        check_hole(mask, model, mask_hole)
        sources = load_sources(data, images, num)
    for note in sources.notes:
        typer.echo(note)
    rows = len(sources.images)
    hole = load_hole(mask, model, rows, seed, mask_hole, sources.names)
    typer.echo(told_of_hole(hole, model, "generated whole"))
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


@app.command()
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

    from biglearn_gan.arguments import WITHOUT_LABELS, LabelError
    from biglearn_gan.devices import usable_device
    from biglearn_gan.labelling import classify
    from biglearn_gan.sources import is_path, load_hole, load_sources, told_of_hole

    if output.suffix != ".csv":
        fail(f"--output must name a file with the suffix .csv, not {output}", code=2)
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir():
        fail(f"--output {output}: {above} is a file, so that nothing can lie in it", code=2)
    if mask is None:
        refuse("a classification of whole images", {"--mask-hole": mask_hole})
    elif not is_path(mask):
        refuse("a mask that is no file", {"--mask-hole": mask_hole})
    model = load_model(checkpoint, usable_device(device))
    if not model.config.data.labels:
        raise LabelError(WITHOUT_LABELS)
    data = data_of(model, data_root)
    sources = load_sources(data, images, num)
    for note in sources.notes:
        typer.echo(note)
    rows = len(sources.images)
    if mask is None:
        hole = torch.zeros(rows, *data.image_size, dtype=torch.bool)
    else:
        hole = load_hole(mask, model, rows, seed, mask_hole, sources.names)
        typer.echo(told_of_hole(hole, model, "not seen at all"))
    with unit_bars() as on_start:
        labelled = classify(
            model, sources, hole, batch_size=batch_size, on_rows=on_start("image", rows)
        )
    for line in labelled.lines():
        typer.echo(line)
    labelled.write(output)
    typer.echo(f"the probabilities of {rows} images are in {output}")


@app.command()
def demo(
    checkpoint: Annotated[str, typer.Option(help="Folder, or name on the Hugging Face hub.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default is this machine alone.")
    ] = "127.0.0.1",
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> None:
    """Serve a page to paint holes on.

    It needs gradio: pip install 'biglearn-gan[demo]'.
    """
    try:
        from biglearn_gan.demo import check_address, serving
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        fail("the page needs gradio: pip install 'biglearn-gan[demo]'")
    check_address(host, port)
    from biglearn_gan.data import load_dataset
    from biglearn_gan.devices import usable_device
    from biglearn_gan.images import DataError
    from biglearn_gan.studio import Studio

    model = load_model(checkpoint, usable_device(device))
    try:
        images = load_dataset(data_of(model, data_root), "test")
    except DataError as error:
        images = None
        typer.echo(f"no test images to choose from, only uploads: {error}")
    with serving(Studio(checkpoint, model, images, device), host, port) as url:
        typer.echo(f"{url} (Ctrl-C stops)")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


app.command()(evaluate)
app.command("train-classifier")(train_classifier)


app.command()(simulate)


def main() -> None:
    """Run the command line and exit."""
    run(app, "biglearn-gan")
