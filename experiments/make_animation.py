"""Draw the animation of README.md: paint a hole, see eight completions of each image.

    python experiments/make_animation.py --checkpoint checkpoints/colored_mnist --output a.gif

Several models stand below each other: repeat ``--checkpoint``, ``--images`` and ``--data-root``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from jaxtyping import Bool
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from biglearn_gan.cli.evaluation_options import parse_counts
from biglearn_gan.cli.options import with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, replacing
from biglearn_gan.image_grid import completion_grid
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.pixel_values import to_signed_float, to_uint8

VARIATIONS = 8
FRAMES = 24
BRUSH_STROKES = 5
BRUSH_RADIUS = 0.14  # of the image size
HEADER = 22  # pixels
FRAME_MS, LAST_MS = 280, 2200


def main(
    checkpoint: Annotated[
        list[str], typer.Option(help="Folder or name of a model of color images.")
    ],
    output: Annotated[Path, typer.Option(dir_okay=False, help="GIF file.")],
    images: Annotated[
        list[str] | None, typer.Option(help="Numbers of a model's test images: 3,17,32,45.")
    ] = None,
    data_root: Annotated[list[str] | None, typer.Option(help="Folder of a model's data.")] = None,
) -> None:
    """Complete test images while a brush hides more and more of them."""
    if output.suffix.lower() != ".gif":
        fail(f"--output must name a .gif file, not {output}", code=2)
    chosen = images or ["3,17,32,45"] * len(checkpoint)
    roots: Sequence[str | None] = data_root or [None] * len(checkpoint)
    if not len(checkpoint) == len(chosen) == len(roots):
        fail("give --images and --data-root once for every --checkpoint, or not at all", code=2)
    parts = [
        completion_frames(name, parse_counts(numbers, "--images"), root)
        for name, numbers, root in zip(checkpoint, chosen, roots, strict=True)
    ]
    frames = [with_header(stack(grids)) for grids in zip(*parts, strict=True)]
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    make_folder(output.parent)
    with replacing(output) as path:
        frames[0].save(
            path,
            format="gif",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
        )


def completion_frames(
    checkpoint: str, numbers: Sequence[int], root: str | None
) -> list[Image.Image]:
    """A grid of completions of a model's test images for each painted hole."""
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = with_data_root(root, model.config.data)
    dataset = load_dataset(data, "test")
    if max(numbers) >= len(dataset):
        fail(f"--images must be below {len(dataset):,}, the images of {dataset.name}", code=2)
    images = dataset.images_uint8(torch.tensor(numbers))
    frames = []
    for hole in painted_holes(*data.image_size):
        holes = hole.expand(len(images), -1, -1)
        drawn = model.complete(to_signed_float(images), holes, variations=VARIATIONS, seed=0)
        frames.append(completion_grid(images, holes, to_uint8(drawn)))
    return frames


def stack(grids: Sequence[Image.Image]) -> Image.Image:
    """Grids below each other, all as wide as the widest."""
    width = max(grid.width for grid in grids)
    scaled = [grid.resize((width, round(grid.height * width / grid.width))) for grid in grids]
    stacked = Image.new("RGB", (width, sum(grid.height for grid in scaled)), "white")
    top = 0
    for grid in scaled:
        stacked.paste(grid, (0, top))
        top += grid.height
    return stacked


def painted_holes(height: int, width: int) -> list[Bool[Tensor, "H W"]]:
    """Holes (True = generate) that a zigzag brush paints from right to left; the last is all."""
    y = (torch.arange(height)[:, None] + 0.5) / height
    x = (torch.arange(width)[None] + 0.5) / width
    hole, holes = torch.zeros(height, width, dtype=torch.bool), []
    dots = 20
    for dot in range(1, FRAMES * dots + 1):
        share = dot / (FRAMES * dots)
        center_y = abs(share * BRUSH_STROKES % 2 - 1)
        center_x = 1 - share - 0.03 * math.sin(9 * share)
        hole = hole | ((y - center_y) ** 2 + (x - center_x) ** 2 < BRUSH_RADIUS**2)
        if dot % dots == 0:
            holes.append(hole)
    return [*holes, torch.ones_like(hole)]


def with_header(grid: Image.Image) -> Image.Image:
    """The grid below the names of its columns."""
    framed = Image.new("RGB", (grid.width, grid.height + HEADER), "white")
    framed.paste(grid, (0, HEADER))
    draw, font = ImageDraw.Draw(framed), ImageFont.load_default(13)
    cell = grid.width / (2 + VARIATIONS)
    names = ((0.5, "image"), (1.5, "hole"), (2 + VARIATIONS / 2, "eight completions"))
    for column, name in names:
        draw.text((column * cell, HEADER / 2), name, "black", font, anchor="mm")
    return framed


if __name__ == "__main__":
    run(main, "make_animation")
