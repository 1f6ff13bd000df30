"""Compute the same Fréchet inception distance (FID) of two folders as pytorch-fid.

    python experiments/evaluate_fid.py FOLDER_A FOLDER_B
    python experiments/evaluate_fid.py FOLDER_B --checkpoint checkpoints/mnist --mask random:0.5

The second form samples from a model instead of reading FOLDER_A. Files are selected as by
pytorch-fid: those directly in the folder with one of its suffixes, sorted by name and converted to
RGB. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

from biglearn_gan.cli.options import DataRoot, Device, Seed, load_model, with_data_root
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

CHECKPOINT_OPTIONS = ("mask", "images", "num", "seed", "data_root")


class Dimensions(StrEnum):
    """pytorch-fid's feature blocks, by their dimensions."""

    first_pooling = "64"
    second_pooling = "192"
    before_auxiliary = "768"
    last_pooling = "2048"


@dataclass(frozen=True)
class ImageSet:
    """Images to measure, read or generated batch by batch.

    Attributes:
        description: what they are, for a message.
        count: number of images.
        task: name of the hole, ``joint``, or ``folders``, for the name of the metric.
        split: where the source images come from, for the name of the metric, or None.
        batches: the images, at most ``INCEPTION_ROWS`` at a time.
    """

    description: str
    count: int
    task: str
    split: str | None
    batches: Iterator[UInt8[Tensor, "B C H W"]]


def main(  # a parameter per option, as typer needs it
    context: typer.Context,
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="[FOLDER_A] FOLDER_B", help="With --checkpoint, FOLDER_B only."),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="Model to sample from: a folder, or a name on the hub.")
    ] = None,
    mask: Annotated[
        str,
        typer.Option(
            help="What to generate: joint, center, random:R, ..., an image file, or a folder."
        ),
    ] = "joint",
    images: Annotated[
        str | None, typer.Option(help="What to complete: a file, a folder, or dataset:split.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Images to generate.")] = 10_000,
    seed: Seed = 0,
    data_root: DataRoot = None,
    dims: Annotated[
        Dimensions, typer.Option(help="Dimensions of the features.")
    ] = Dimensions.last_pooling,
    inception_weights: Annotated[
        Path | None, typer.Option(help="pytorch-fid's weights (default: downloaded and cached).")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="File for the result.")
    ] = None,
    device: Device = "cpu",
    force: Annotated[
        bool, typer.Option("--force", help="Allow fewer images than feature dimensions.")
    ] = False,
) -> None:
    """Print the distance with its protocol, and write it as JSON."""
    *first, reference = folders
    if len(first) != (1 if checkpoint is None else 0):
        fail("give two folders, or one folder and --checkpoint", code=2)
    given = [name for name in CHECKPOINT_OPTIONS if is_given(context, name)]
    if checkpoint is None and given:
        fail(f"--{given[0].replace('_', '-')} requires --checkpoint", code=2)
    if mask == "joint" and images is not None:
        fail("--images requires a --mask other than joint, which uses no pixels", code=2)
    place, dimensions = usable_device(device), int(dims.value)
    reference_files = pytorch_fid_files(reference)
    if checkpoint is None:
        measured = folder_images(first[0])
    else:
        model = load_model(checkpoint, place)
        data = with_data_root(data_root, model.config.data)
        measured = model_images(model, checkpoint, data, mask, images, num, seed)
    fewest = min(measured.count, len(reference_files))
    check_count(fewest, dimensions, force)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
    features = InceptionFeatures(inception_weights, dimensions, place)
    value = distance(features, measured, reference_files)
    few = fewest < dimensions
    metric = metric_name(
        "fd", measured.count, features.name, measured.split, measured.task, few=few
    )
    typer.echo(
        f"{metric}: {value:.6f}\n"
        f"the Fréchet distance from {measured.description} to the {len(reference_files):,} images "
        f"in {reference}, in {dimensions} features of pytorch-fid's Inception network"
    )
    if few:
        typer.echo(
            "there are fewer images than dimensions, so the value is mostly bias: compare it only "
            "with values of equally many images"
        )
    if json_file is not None:
        record = {
            "metric": metric,
            "value": value,
            "dims": dimensions,
            "samples": measured.count,
            "reference_samples": len(reference_files),
            "seed": None if checkpoint is None else seed,
        }
        with replacing(json_file) as path:
            path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the user set this option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def check_count(count: int, dimensions: int, force: bool) -> None:
    """Reject too few images for features of these dimensions.

    Raises:
        CommandError: there are fewer images than dimensions without ``force``, or fewer than two.
    """
    if count < 2 or (count < dimensions and not force):
        fail(
            f"{count} images are too few for features of {dimensions} dimensions: use at least "
            f"{max(2, dimensions)} images, smaller --dims, or --force with at least 2 images"
        )


def folder_images(folder: Path) -> ImageSet:
    """The images in a folder."""
    files = pytorch_fid_files(folder)
    description = f"the {len(files):,} images in {folder}"
    return ImageSet(description, len(files), "folders", None, read_batches(files))


def pytorch_fid_files(folder: Path) -> list[Path]:
    """The image files that pytorch-fid measures, in its order.

    Raises:
        DataError: there is no such folder, or it has no image files.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name a folder of image files")
    files = sorted(file for suffix in IMAGE_EXTENSIONS for file in folder.glob(f"*.{suffix}"))
    if not files:
        suffixes = " ".join(f".{suffix}" for suffix in sorted(IMAGE_EXTENSIONS))
        raise DataError(f"{folder} has no image files ({suffixes})")
    return files


def read_batches(files: list[Path]) -> Iterator[UInt8[Tensor, "B 3 H W"]]:
    """Read image files as RGB, ``INCEPTION_ROWS`` at a time.

    Raises:
        DataError: a file cannot be read, or has another size than the first.
    """
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
                    f"{size[0]} x {size[1]}: the images of a folder must have one size"
                )
            pixels.append(np.asarray(image))
        yield torch.from_numpy(np.stack(pixels)).movedim(-1, 1)


def model_images(
    model: BigLearnGAN,
    checkpoint: str,
    data: DataConfig,
    mask: str,
    images: str | None,
    num: int,
    seed: int,
) -> ImageSet:
    """Unconditional samples of a model, or its completions of images with a mask."""
    check_hole(mask, model)
    names: tuple[str, ...] = ()
    if mask == "joint":
        pixels = torch.zeros(1, data.channels, *data.image_size, dtype=torch.uint8)
        pixels, split = pixels.expand(num, -1, -1, -1), None
        description = f"{num:,} joint samples of {checkpoint}"
    else:
        inputs = load_input_images(data, images, num)
        for note in inputs.notes:
            typer.echo(note)
        pixels, names, split = inputs.images, inputs.names, split_name(data, images)
        description = (
            f"{len(pixels):,} completions of {images or f'{data.name}:test'} by {checkpoint}, "
            f"hole {mask}"
        )
    hole = load_hole(mask, model, len(pixels), seed, names=names)
    name = Path(mask).stem if Path(mask).exists() else mask
    task = EvaluationTask(name, pixels, None, hole, torch.zeros_like(hole))
    return ImageSet(description, len(pixels), name, split, sample_batches(model, task, seed))


def split_name(data: DataConfig, images: str | None) -> str:
    """``folder``, or a split such as ``test``, or ``cifar10-test`` of another data set."""
    if images is None:
        return "test"
    if Path(images).exists():
        return "folder"
    name, _, split = images.partition(":")
    return split if name == data.name else f"{name}-{split}"


def sample_batches(
    model: BigLearnGAN, task: EvaluationTask, seed: int
) -> Iterator[UInt8[Tensor, "B C H W"]]:
    """Completions by the model, rounded to 8 bits, ``INCEPTION_ROWS`` at a time."""
    samples = ModelSamples(model, task, seed)
    for start in range(0, len(task), INCEPTION_ROWS):
        yield samples.read(start, start + INCEPTION_ROWS, 1)[:, 0]


def distance(features: InceptionFeatures, measured: ImageSet, reference_files: list[Path]) -> float:
    """The Fréchet distance from the images to the reference files, with progress bars."""
    with unit_bars() as on_start:
        ours = feature_statistics(features, measured.batches, on_start("image", measured.count))
        theirs = feature_statistics(
            features,
            read_batches(reference_files),
            on_start("reference image", len(reference_files)),
        )
    return frechet_distance(ours, theirs, allow_few=True)


def feature_statistics(
    features: InceptionFeatures,
    batches: Iterator[UInt8[Tensor, "B C H W"]],
    on_images: Callable[[int], None],
) -> GaussianStatistics:
    """Mean and covariance of the features, in memory that does not grow with the images.

    ``on_images`` is called with the number of images in each batch.
    """
    statistics = GaussianStatistics(features.dimensions)
    for batch in batches:
        statistics.update(features(batch))
        on_images(len(batch))
    return statistics


if __name__ == "__main__":
    run(main, "evaluate_fid")
