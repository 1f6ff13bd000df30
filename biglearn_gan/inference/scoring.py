"""Scores of many images, printed and written as ``scores.csv``, and the picture ``map.png``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from biglearn_gan.files import check_output_folder, make_folder, replacing, writing
from biglearn_gan.image_grid import image_grid
from biglearn_gan.inference.inputs import Inputs
from biglearn_gan.inference.surprise import (
    BATCH_IMAGES,
    OWN_IMAGES,
    joint_logits,
    judge_parts,
    own_logits,
    quantile_among,
    sliding_windows,
)
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.pixel_values import to_signed_float, to_uint8
from biglearn_gan.progress import StartProgress

HEADER = ("image", "critic_quantile", "mean_surprise", "max_surprise")
"""Columns of ``scores.csv``."""

PRINTED_IMAGES = 10
"""The most unusual images, which are printed; the file has all of them."""

PAIRS_PER_ROW = 4
GRID_IMAGES = 32 * PAIRS_PER_ROW
"""The most unusual images, which ``map.png`` shows at most."""

MAP_RANGE = (0.0, 4.0)
"""Surprise that ``map.png`` shows as black, and as the brightest color; larger values look alike.

Of the pixels of MNIST's training images, 99.9% have less than 2.4.
"""

COLOR_MAP = "inferno"
"""Perceptually uniform, from black to a bright yellow."""


@dataclass(frozen=True)
class ImageScores:
    """How unusual N images are.

    Attributes:
        images: in [0, 255].
        names: one for each image.
        critic_quantiles: see :func:`~biglearn_gan.inference.surprise.critic_quantile`.
        maps: see :func:`~biglearn_gan.inference.surprise.surprise_map`.
    """

    images: UInt8[Tensor, "N C H W"]
    names: tuple[str, ...]
    critic_quantiles: Float[Tensor, " N"]
    maps: Float[Tensor, "N H W"]

    @property
    def mean_surprise(self) -> Float[Tensor, " N"]:
        """The mean of each map."""
        return self.maps.mean(dim=(1, 2))

    @property
    def max_surprise(self) -> Float[Tensor, " N"]:
        """The maximum of each map."""
        return self.maps.amax(dim=(1, 2))

    def lines(self) -> Iterator[str]:
        """A line for each of the most unusual images."""
        means, peaks = self.mean_surprise.tolist(), self.max_surprise.tolist()
        for place in most_unusual(self.maps)[:PRINTED_IMAGES]:
            surprise = f"surprise {means[place]:.2f} (maximum {peaks[place]:.2f})"
            quantile = f"critic quantile {float(self.critic_quantiles[place]):.3f}"
            yield f"{self.names[place]:>5}: {surprise}, {quantile}"

    def write(self, output: Path, *, draw_map: bool) -> None:
        """Write ``scores.csv`` and, if asked for, ``map.png``; replace those of an earlier call.

        The CSV file has a row for each image, in the order of the images.

        Raises:
            WriteError: a file cannot be written.
        """
        make_folder(output)
        table, picture = output / "scores.csv", output / "map.png"
        with writing(picture):
            picture.unlink(missing_ok=True)  # it may show other images than the new table has
        with (
            replacing(table) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(HEADER)
            columns = [self.critic_quantiles, self.mean_surprise, self.max_surprise]
            numbers = torch.stack(columns, dim=1).tolist()
            for name, values in zip(self.names, numbers, strict=True):
                rows.writerow([name, *(f"{value:.6f}" for value in values)])
        if draw_map:
            write_map(picture, self.images, self.maps)


def most_unusual(maps: Float[Tensor, "N H W"]) -> list[int]:
    """The places of all maps, those with the highest mean first."""
    return maps.mean(dim=(1, 2)).argsort(descending=True, stable=True).tolist()


def write_map(path: Path, images: UInt8[Tensor, "N C H W"], maps: Float[Tensor, "N H W"]) -> None:
    """Write :func:`map_grid` as a PNG file that describes itself.

    Raises:
        WriteError: it cannot be written.
    """
    text = PngInfo()
    text.add_text("Description", describe_map())
    with replacing(path) as temporary:
        map_grid(images, maps).save(temporary, pnginfo=text)


def map_grid(images: UInt8[Tensor, "N C H W"], maps: Float[Tensor, "N H W"]) -> Image.Image:
    """Each image and its map, the most unusual images first, ``PAIRS_PER_ROW`` in a row."""
    shown = most_unusual(maps)[:GRID_IMAGES]
    rgb = images[shown].expand(-1, 3, -1, -1)
    pairs = torch.stack([rgb, color_maps(maps[shown])], dim=1)
    return image_grid(pairs.flatten(0, 1), 2 * PAIRS_PER_ROW)


def color_maps(maps: Float[Tensor, "N H W"]) -> UInt8[Tensor, "N 3 H W"]:
    """Maps as colors: black for the lower end of ``MAP_RANGE``, bright for the upper one."""
    from matplotlib import colormaps

    low, high = MAP_RANGE
    shares = ((maps - low) / (high - low)).clamp(0, 1)
    colors = torch.from_numpy(colormaps[COLOR_MAP](shares.numpy())[..., :3])  # (N, H, W, 3)
    return to_uint8(2 * colors.movedim(-1, 1) - 1)


def describe_map() -> str:
    """What the picture shows, in one sentence."""
    low, high = MAP_RANGE
    return (
        "each image beside the map of its surprise, the most unusual image first; black is "
        f"{low:g}, and the brightest yellow is {high:g} or more"
    )


def check_output(output: Path, inputs: list[Path]) -> None:
    """Check that :meth:`ImageScores.write` would replace only files of an earlier call.

    Args:
        output: the output folder; it may not exist yet.
        inputs: image files, or folders of them, that are read.

    Raises:
        OutputError: the folder cannot be made, a file would be lost, or scores would be mixed with
            inputs.
    """
    files = (output / "scores.csv", output / "map.png")
    check_output_folder(
        output,
        written_by="score",
        replaces=files,
        ours=files if _is_ours(files[0]) else (),
        inputs=inputs,
        recursive=True,
    )


def _is_ours(path: Path) -> bool:
    """Whether a file begins as those that :meth:`ImageScores.write` writes."""
    try:
        return path.read_bytes().startswith(",".join(HEADER).encode())
    except OSError:
        return False


def score_images(
    model: BigLearnGAN,
    inputs: Inputs,
    *,
    window: int | None,
    variations: int,
    seed: int,
    on_start: StartProgress = lambda unit, total: lambda done: None,
) -> ImageScores:
    """Compare images with those of the model, and map their surprise.

    Few images are in memory as floats at a time, whatever their number.

    Args:
        model: completes parts of the images, draws its own, and judges all.
        inputs: the images; their holes are ignored.
        window: see :func:`~biglearn_gan.inference.surprise.surprise_map`.
        variations: completions of each window, at least 2.
        seed: of the completions, and of the model's own images.
        on_start: starts the progress of the model's own images, and then of the images.

    Raises:
        UsageError: a number is out of range.
    """
    holes = sliding_windows(model.config, window)
    own = own_logits(model, OWN_IMAGES, seed, on_start("own image", OWN_IMAGES))
    on_images = on_start("image", len(inputs.images))
    quantiles, maps = [], []
    for batch in inputs.images.split(BATCH_IMAGES):
        images = to_signed_float(batch)
        quantiles.append(quantile_among(joint_logits(model, images), own))
        for parts in judge_parts(model, images, holes, variations=variations, seed=seed):
            maps.append(parts.surprise_map())
            on_images(1)
    return ImageScores(inputs.images, inputs.names, torch.cat(quantiles), torch.stack(maps))
