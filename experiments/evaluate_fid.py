"""Compute the same Fréchet inception distance (FID) of two folders as pytorch-fid.

    python experiments/evaluate_fid.py FOLDER_A FOLDER_B
    python experiments/evaluate_fid.py FOLDER_B --checkpoint checkpoints/mnist --mask random:0.5

The second form samples from a model instead of reading FOLDER_A. Files are selected as by
pytorch-fid: those directly in the folder with one of its suffixes, sorted by name and converted to
RGB. If there are none, all image files in the folders below are read; a ZIP archive is read like
its folder. Each image is resized by itself to Inception's 299 x 299 pixels, so the images of a
folder may differ in size. Exit codes: those of `biglearn-gan` (docs/guide.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import UInt8
from pytorch_fid.fid_score import IMAGE_EXTENSIONS
from torch import Tensor

from biglearn_gan.cli.options import DataRoot, Device, Seed, load_model, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import DataConfig
from biglearn_gan.data.image_files import (
    UNREADABLE,
    list_broken,
    opened,
    skipped_files,
    unreadable,
)
from biglearn_gan.data.image_listing import (
    DataError,
    ImagePath,
    image_tree,
    is_archive,
    named_images,
)
from biglearn_gan.devices import usable_device
from biglearn_gan.evaluation.records import metric_name
from biglearn_gan.evaluation.task import EvaluationTask, ModelSamples
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.inference.inputs import InputRequest, load_inputs
from biglearn_gan.metrics.features import INCEPTION_ROWS, InceptionFeatures
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.pixel_values import to_8_bits
from biglearn_gan.progress import unit_bars

MAX_BATCH_PIXELS = 2**24
"""Pixels in memory at once; fewer than ``INCEPTION_ROWS`` large photos are a batch."""

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
        description: what they are, for a message, after their number.
        count: number of images, at most: those that cannot be read do not count.
        task: name of the hole, ``joint``, or ``folders``, for the name of the metric.
        split: where the source images come from, for the name of the metric, or None.
        batches: the images, at most ``INCEPTION_ROWS`` of one size at a time.
        broken: a sentence for each file that could not be read, filled by ``batches``.
        note: a sentence on what else is in the folder, or "".
    """

    description: str
    count: int
    task: str
    split: str | None
    batches: Iterator[UInt8[Tensor, "B C H W"]]
    broken: list[str] = field(default_factory=list)
    note: str = ""


Folders = Annotated[
    list[Path],
    typer.Argument(metavar="[FOLDER_A] FOLDER_B", help="With --checkpoint, FOLDER_B only."),
]
Checkpoint = Annotated[
    str | None, typer.Option(help="Model to sample from: a folder, or a name on the hub.")
]
Mask = Annotated[
    str,
    typer.Option(
        help="What to generate: joint, center, random:R, ..., an image file, or a folder."
    ),
]
Images = Annotated[
    str | None, typer.Option(help="What to complete: a file, a folder, or dataset:split.")
]
InceptionWeights = Annotated[
    Path | None, typer.Option(help="pytorch-fid's weights (default: downloaded and cached).")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, help="File for the result.")
]
Force = Annotated[bool, typer.Option("--force", help="Allow fewer images than feature dimensions.")]


def main(  # more than eight parameters, because every option is one
    context: typer.Context,
    folders: Folders,
    checkpoint: Checkpoint = None,
    mask: Mask = "joint",
    images: Images = None,
    num: Annotated[int, typer.Option(min=1, help="Images to generate.")] = 10_000,
    seed: Seed = 0,
    data_root: DataRoot = None,
    dims: Annotated[
        Dimensions, typer.Option(help="Dimensions of the features.")
    ] = Dimensions.last_pooling,
    inception_weights: InceptionWeights = None,
    json_file: JsonFile = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Print the distance with its protocol, and write it as JSON."""
    check_usage(context, len(folders), checkpoint, mask, images)
    place, dimensions = usable_device(device), int(dims.value)
    expected = folder_images(folders[-1])
    if checkpoint is None:
        measured = folder_images(folders[0])
    else:
        model = load_model(checkpoint, place)
        data = with_data_root(data_root, model.config.data)
        measured = model_images(model, checkpoint, data, mask, images, num, seed)
    check_count(min(measured.count, expected.count), dimensions, force)
    if json_file is not None:
        make_folder(json_file.parent)
    features = InceptionFeatures(inception_weights, dimensions, place)
    ours, theirs = image_statistics(features, measured, expected)
    fewest = min(ours.count, theirs.count)
    check_count(fewest, dimensions, force)
    value = frechet_distance(ours, theirs, allow_few=True)
    few = fewest < dimensions
    metric = metric_name("fd", ours.count, features.name, measured.split, measured.task, few=few)
    typer.echo(
        f"{metric}: {value:.6f}\n"
        f"the Fréchet distance from the {ours.count:,} {measured.description} to the "
        f"{theirs.count:,} {expected.description}, in {dimensions} features of pytorch-fid's "
        "Inception network"
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
            "samples": ours.count,
            "reference_samples": theirs.count,
            "seed": None if checkpoint is None else seed,
        }
        write_json(json_file, record)


def check_usage(
    context: typer.Context, folders: int, checkpoint: str | None, mask: str, images: str | None
) -> None:
    """Reject a wrong number of folders, and options that would have no effect.

    Raises:
        CommandError: says what to give.
    """
    if folders != (2 if checkpoint is None else 1):
        fail("give two folders, or one folder and --checkpoint", code=2)
    given = [name for name in CHECKPOINT_OPTIONS if is_given(context, name)]
    if checkpoint is None and given:
        fail(f"--{given[0].replace('_', '-')} requires --checkpoint", code=2)
    if mask == "joint" and images is not None:
        fail("--images requires a --mask other than joint, which uses no pixels", code=2)


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
            f"{max(2, dimensions)} images, smaller --dims, or --force with at least 2 images",
            code=2,
        )


def folder_images(folder: Path) -> ImageSet:
    """The image files that pytorch-fid measures, in its order; if there are none, the whole tree.

    Raises:
        DataError: there is no such folder or archive, or it has no image files.
    """
    if not folder.is_dir() and not is_archive(folder):
        raise DataError(
            f"{folder} is not a folder: name a folder of image files, or a ZIP archive of them"
        )
    files: Sequence[ImagePath] = sorted(
        file for suffix in IMAGE_EXTENSIONS for file in folder.glob(f"*.{suffix}")
    )
    others = set(image_tree(folder).values()).difference(files) if files else set()
    note = (
        f"{folder}: measuring the {len(files):,} files that pytorch-fid measures, without "
        f"{len(others):,} others, such as {min(others, key=str)}"
        if others
        else ""
    )
    chosen = files or list(named_images(folder).values())
    broken: list[str] = []
    batches = read_batches(chosen, broken)
    return ImageSet(f"images in {folder}", len(chosen), "folders", None, batches, broken, note)


def read_batches(
    files: Sequence[ImagePath], broken: list[str]
) -> Iterator[UInt8[Tensor, "B 3 H W"]]:
    """Read image files as RGB, at most ``INCEPTION_ROWS`` of one size at a time.

    Args:
        files: of any sizes.
        broken: gets a sentence for each file that cannot be read.
    """
    batches: dict[tuple[int, ...], list[np.ndarray]] = {}
    for file in files:
        try:
            pixels = read_rgb(file)
        except DataError as error:
            broken.append(str(error))
            continue
        same_size = batches.setdefault(pixels.shape, [])
        same_size.append(pixels)
        in_memory = sum(len(batch) * shape[0] * shape[1] for shape, batch in batches.items())
        if len(same_size) == INCEPTION_ROWS:
            yield stack(batches.pop(pixels.shape))
        elif in_memory > MAX_BATCH_PIXELS:
            yield from map(stack, batches.values())
            batches.clear()
    yield from map(stack, batches.values())


def stack(pixels: list[np.ndarray]) -> UInt8[Tensor, "B 3 H W"]:
    """A batch of images (H, W, 3) of one size."""
    return torch.from_numpy(np.stack(pixels)).movedim(-1, 1)


def read_rgb(file: ImagePath) -> UInt8[np.ndarray, "H W 3"]:
    """An image file as pytorch-fid reads it, except that 16-bit pixels are not clipped.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with opened(file) as image:
            return np.asarray(to_8_bits(image).convert("RGB"))
    except UNREADABLE as error:
        raise unreadable(file, error) from None


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
    inputs = load_inputs(model, data, InputRequest(images, mask, num, seed))
    for note in inputs.notes:
        typer.echo(note)
    count = len(inputs.images)
    if mask == "joint":
        split, description = None, f"joint samples of {checkpoint}"
    else:
        split = split_name(data, images)
        source = images or f"{data.name}:test"
        description = f"completions of {source} by {checkpoint}, hole {mask}"
    name = Path(mask).stem if Path(mask).exists() else mask
    hole = inputs.hole
    task = EvaluationTask(name, inputs.images, None, hole, torch.zeros_like(hole))
    return ImageSet(description, count, name, split, sample_batches(model, task, seed))


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


def image_statistics(
    features: InceptionFeatures, measured: ImageSet, expected: ImageSet
) -> tuple[GaussianStatistics, GaussianStatistics]:
    """Mean and covariance of the features of both sets, with progress bars.

    Lines name the files that were left out, and those that cannot be read.

    Raises:
        DataError: no file of a folder can be read.
    """
    with unit_bars() as on_start:
        statistics = (
            feature_statistics(features, measured.batches, on_start("image", measured.count)),
            feature_statistics(
                features, expected.batches, on_start("reference image", expected.count)
            ),
        )
    for images, found in zip((measured, expected), statistics, strict=True):
        if found.count == 0:
            raise DataError(
                f"none of the {images.description} is readable: {list_broken(images.broken)}"
            )
        if images.note:
            typer.echo(images.note)
        if images.broken:
            typer.echo(skipped_files(images.description, images.broken))
    return statistics


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
