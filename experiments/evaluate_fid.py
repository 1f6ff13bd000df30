"""The Fréchet distance of two folders of images, with the number that pytorch-fid's command gives.

    python experiments/evaluate_fid.py FOLDER_A FOLDER_B
    python experiments/evaluate_fid.py FOLDER_B --checkpoint checkpoints/mnist --mask random:0.5

The second form draws from a model in place of FOLDER_A. Files are those of pytorch-fid: directly in
the folder, with one of its suffixes, by name, converted to RGB, 50 in a pass. Exit codes: 0 done,
1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import UInt8
from PIL import Image
from pytorch_fid.fid_score import IMAGE_EXTENSIONS
from torch import Tensor

from biglearn_gan.cli.options import DataRoot, Device, load_model, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import DataConfig
from biglearn_gan.data.image_files import UNREADABLE, DataError
from biglearn_gan.devices import usable_device
from biglearn_gan.evaluation.records import metric_name
from biglearn_gan.evaluation.task import EvaluationTask, ModelSamples
from biglearn_gan.files import replacing
from biglearn_gan.inference.inputs import check_hole, load_hole, load_input_images
from biglearn_gan.metrics.features import INCEPTION_ROWS, InceptionFeatures
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.progress import unit_bars

FOR_CHECKPOINT = ("mask", "images", "num", "seed", "data_root")


class Dimensions(StrEnum):
    """pytorch-fid's blocks, by the length of their features."""

    first_pooling = "64"
    second_pooling = "192"
    before_auxiliary = "768"
    last_pooling = "2048"


def main(
    context: typer.Context,
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="[FOLDER_A] FOLDER_B", help="With --checkpoint FOLDER_B alone."),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="Model to draw from: a folder, or a name on the hub.")
    ] = None,
    mask: Annotated[
        str,
        typer.Option(
            help="What it generates: joint, center, random:R, ..., an image file or a folder."
        ),
    ] = "joint",
    images: Annotated[
        str | None, typer.Option(help="What it completes: a file, a folder or dataset:split.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Images to draw.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same images.")] = 0,
    data_root: DataRoot = None,
    dims: Annotated[
        Dimensions, typer.Option(help="Length of the features.")
    ] = Dimensions.last_pooling,
    inception_weights: Annotated[
        Path | None, typer.Option(help="pytorch-fid's weights (default: fetched and cached).")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="File for the record.")
    ] = None,
    device: Device = "cpu",
    force: Annotated[
        bool, typer.Option("--force", help="Measure fewer images than features have dimensions.")
    ] = False,
) -> None:
    """Measure, print the number with its protocol, and write the record."""
    *first, reference = folders
    if len(first) != (1 if checkpoint is None else 0):
        fail("give two folders, or one and --checkpoint", code=2)
    given = [name for name in FOR_CHECKPOINT if is_given(context, name)]
    if checkpoint is None and given:
        fail(f"--{given[0].replace('_', '-')} is for --checkpoint", code=2)
    if mask == "joint" and images is not None:
        fail("--images needs a --mask: with the mask 'joint' nothing of an image is used", code=2)
    place = usable_device(device)
    dimensions = int(dims.value)
    reference_files = pytorch_fid_files(reference)

    if checkpoint is None:
        files = pytorch_fid_files(first[0])
        count, split, task = len(files), None, "folders"
        what, batches = f"the {count:,} images in {first[0]}", read_files(files)
    else:
        model = load_model(checkpoint, place)
        data = with_data_root(data_root, model.config.data)
        question, split = ask(model, data, mask, images, num, seed)
        count, task = len(question), question.task
        what = f"{count:,} joint samples of {checkpoint}"
        if split is not None:
            of = images or f"{data.name}:test"
            what = f"{count:,} completions of {of} by {checkpoint}, hole {mask}"
        batches = draw(model, question, seed)

    fewest = min(count, len(reference_files))
    if fewest < 2 or (fewest < dimensions and not force):
        fail(
            f"{fewest} images are too few for features of {dimensions} dimensions: give at least "
            f"{max(2, dimensions)}, fewer --dims, or --force with 2 or more"
        )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
    features = InceptionFeatures(inception_weights, dimensions, place)
    with unit_bars() as on_start:
        ours = moments(features, batches, on_start("image", count))
        on_reference = on_start("reference image", len(reference_files))
        theirs = moments(features, read_files(reference_files), on_reference)
    value = frechet_distance(ours, theirs, allow_few=force)
    few = fewest < dimensions
    record = {
        "metric": metric_name("fd", count, features.name, split, task, few=few),
        "value": value,
        "dims": dimensions,
        "samples": count,
        "reference_samples": len(reference_files),
        "seed": None if checkpoint is None else seed,
    }
    typer.echo(f"{record['metric']}: {value:.6f}")
    typer.echo(
        f"the Fréchet distance from {what} to the {len(reference_files):,} images in {reference}, "
        f"in {dimensions} features of pytorch-fid's Inception network"
    )
    if few:
        typer.echo("fewer images than dimensions: mostly bias, compare with the same counts only")
    if json_file is not None:
        with replacing(json_file) as path:
            path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def pytorch_fid_files(folder: Path) -> list[Path]:
    """The image files that pytorch-fid measures, in its order."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; name a folder of image files")
    files = sorted(file for suffix in IMAGE_EXTENSIONS for file in folder.glob(f"*.{suffix}"))
    if not files:
        suffixes = " ".join(f".{suffix}" for suffix in sorted(IMAGE_EXTENSIONS))
        raise DataError(f"{folder} holds no image files ({suffixes})")
    return files


def read_files(files: list[Path]) -> Iterator[UInt8[Tensor, "B 3 H W"]]:
    """The pixels of image files, all of one size, as many at once as pytorch-fid takes."""
    size = None
    for start in range(0, len(files), INCEPTION_ROWS):
        pixels = []
        for file in files[start : start + INCEPTION_ROWS]:
            try:
                with Image.open(file) as opened:
                    image = opened.convert("RGB")
            except UNREADABLE as error:
                raise DataError(f"{file} is not a readable image ({error})") from None
            size = size or image.size
            if image.size != size:
                raise DataError(
                    f"{file} has {image.size[0]} x {image.size[1]} pixels and {files[0].name} "
                    f"{size[0]} x {size[1]}; the images of a folder must have one size"
                )
            pixels.append(np.asarray(image))
        yield torch.from_numpy(np.stack(pixels)).movedim(-1, 1)


def ask(
    model: BigLearnGAN, data: DataConfig, mask: str, images: str | None, num: int, seed: int
) -> tuple[EvaluationTask, str | None]:
    """What the model draws, and which images it completes as a metric's name has it."""
    check_hole(mask, model)
    split: str | None = None
    names: tuple[str, ...] = ()
    if mask == "joint":
        pixels = torch.zeros(1, data.channels, *data.image_size, dtype=torch.uint8)
        pixels = pixels.expand(num, -1, -1, -1)
    else:
        sources = load_input_images(data, images, num)
        for note in sources.notes:
            typer.echo(note)
        pixels, names, split = sources.images, sources.names, split_name(data, images)
    hole = load_hole(mask, model, len(pixels), seed, names=names)
    task = Path(mask).stem if Path(mask).exists() else mask
    return EvaluationTask(task, pixels, None, hole, torch.zeros_like(hole)), split


def split_name(data: DataConfig, images: str | None) -> str:
    """``test``, ``cifar10-test`` for a data set that is not the model's, or ``folder``."""
    if images is None:
        return "test"
    if Path(images).exists():
        return "folder"
    name, _, split = images.partition(":")
    return split if name == data.name else f"{name}-{split}"


def draw(
    model: BigLearnGAN, question: EvaluationTask, seed: int
) -> Iterator[UInt8[Tensor, "B C H W"]]:
    """The model's answers, rounded to 8 bits, a part at a time."""
    answers = ModelSamples(model, question, seed)
    for start in range(0, len(question), INCEPTION_ROWS):
        yield answers.read(start, start + INCEPTION_ROWS, 1)[:, 0]


def moments(
    features: InceptionFeatures,
    batches: Iterator[UInt8[Tensor, "B C H W"]],
    on_images: Callable[[int], None],
) -> GaussianStatistics:
    """Moments of the features, in memory that does not grow with the number of images.

    ``on_images`` hears how many images were done.
    """
    statistics = GaussianStatistics(features.dimensions)
    for batch in batches:
        statistics.update(features(batch))
        on_images(len(batch))
    return statistics


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the user gave this option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


if __name__ == "__main__":
    run(main, "evaluate_fid")
