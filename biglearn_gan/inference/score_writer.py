"""The output folder of `score`: ``scores.csv``, and the picture ``map.png``."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from biglearn_gan.files import check_output_folder, make_folder, replacing
from biglearn_gan.image_grid import image_grid
from biglearn_gan.inference.inputs import Inputs
from biglearn_gan.inference.surprise import (
    OWN_IMAGES,
    joint_logits,
    judge_parts,
    rank_among,
    sliding_windows,
)
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.pixel_values import to_signed_float, to_uint8

HEADER = ("image", "rank", "mean_surprise", "max_surprise")
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
        ranks: see :func:`~biglearn_gan.inference.surprise.critic_rank`.
        maps: see :func:`~biglearn_gan.inference.surprise.surprise_map`.
    """

    images: UInt8[Tensor, "N C H W"]
    names: tuple[str, ...]
    ranks: Float[Tensor, " N"]
    maps: Float[Tensor, "N H W"]

    @property
    def mean_surprise(self) -> Float[Tensor, " N"]:
        """The mean of each map, by which images are ordered."""
        return self.maps.mean(dim=(1, 2))

    @property
    def max_surprise(self) -> Float[Tensor, " N"]:
        """The maximum of each map."""
        return self.maps.amax(dim=(1, 2))

    def most_unusual(self) -> list[int]:
        """The places of all images, those with the highest mean surprise first."""
        return self.mean_surprise.argsort(descending=True, stable=True).tolist()

    def lines(self) -> Iterator[str]:
        """A line for each of the most unusual images."""
        means, peaks = self.mean_surprise.tolist(), self.max_surprise.tolist()
        for place in self.most_unusual()[:PRINTED_IMAGES]:
            surprise = f"surprise {means[place]:.2f} (maximum {peaks[place]:.2f})"
            yield f"{self.names[place]:>5}: {surprise}, rank {float(self.ranks[place]):.3f}"

    def map_grid(self) -> Image.Image:
        """Each image and its map, the most unusual images first, ``PAIRS_PER_ROW`` in a row."""
        shown = self.most_unusual()[:GRID_IMAGES]
        rgb = self.images[shown].expand(-1, 3, -1, -1)
        pairs = torch.stack([rgb, color_maps(self.maps[shown])], dim=1)
        return image_grid(pairs.flatten(0, 1), 2 * PAIRS_PER_ROW)

    def write(self, output: Path, *, draw_map: bool) -> None:
        """Write ``scores.csv`` and, if asked for, ``map.png``; replace those of an earlier call.

        The CSV file has a row for each image, in the order of the images.

        Raises:
            WriteError: a file cannot be written.
        """
        make_folder(output)
        path = output / "scores.csv"
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(HEADER)
            numbers = torch.stack([self.ranks, self.mean_surprise, self.max_surprise], dim=1)
            for name, values in zip(self.names, numbers.tolist(), strict=True):
                rows.writerow([name, *(f"{value:.6f}" for value in values)])
        (output / "map.png").unlink(missing_ok=True)  # of an earlier call, with other images
        if draw_map:
            text = PngInfo()
            text.add_text("Description", describe_map())
            with replacing(output / "map.png") as path:
                self.map_grid().save(path, pnginfo=text)


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
    batch_size: int,
    on_images: Callable[[int], None] = lambda count: None,
) -> ImageScores:
    """Rank images, and map their surprise, ``batch_size`` at a time, which changes no result.

    Args:
        model: completes parts of the images, draws its own, and judges all.
        inputs: the images; their holes are ignored.
        window: see :func:`~biglearn_gan.inference.surprise.surprise_map`.
        variations: completions of each window, at least 2.
        seed: of the completions, and of the model's own images.
        batch_size: images in memory at a time.
        on_images: called after each image with 1.

    Raises:
        UsageError: a number is out of range.
    """
    holes = sliding_windows(model.config, window)
    own = joint_logits(model, model.sample(OWN_IMAGES, seed=seed))
    images = to_signed_float(inputs.images)
    ranks = rank_among(joint_logits(model, images), own)
    maps = []
    options = {"variations": variations, "seed": seed, "batch_size": batch_size}
    for part in judge_parts(model, images, holes, **options):
        maps.append(part.surprise_map())
        on_images(1)
    return ImageScores(inputs.images, inputs.names, ranks, torch.stack(maps))
