"""Grids of images as PIL images, enlarged for viewing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

HOLE_COLOR = (94, 129, 172)
"""RGB color of a hole in a masked input: a blue that no gray image contains."""

GAP = 2
"""White pixels between the cells of a grid."""

MIN_CELL_SIZE = 56
"""Images are enlarged by a whole factor until their shorter side has at least this many pixels."""

MARGIN = 72
"""Width in pixels of the column of row names."""


def image_grid(images: UInt8[Tensor, "N C H W"], columns: int) -> Image.Image:
    """The images row by row, ``columns`` in each row, enlarged without smoothing."""
    cells = _to_rgb(images)
    count, height, width, _ = cells.shape
    rows = -(-count // columns)
    factor = max(1, -(-MIN_CELL_SIZE // min(height, width)))
    cells = cells.repeat(factor, axis=1).repeat(factor, axis=2)
    step_y, step_x = height * factor + GAP, width * factor + GAP
    canvas = np.full((rows * step_y + GAP, columns * step_x + GAP, 3), 255, dtype=np.uint8)
    for index, cell in enumerate(cells):
        top, left = GAP + index // columns * step_y, GAP + index % columns * step_x
        canvas[top : top + height * factor, left : left + width * factor] = cell
    return Image.fromarray(canvas)


def completion_grid(
    images: UInt8[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    completions: UInt8[Tensor, "N K C H W"],
) -> Image.Image:
    """One row per image: the image, the image with its hole colored, and K completions.

    ``hole`` is True for pixels that were generated.
    """
    rgb = images.expand(-1, 3, -1, -1)
    color = torch.tensor(HOLE_COLOR, dtype=torch.uint8).view(1, 3, 1, 1)
    masked = torch.where(hole[:, None], color, rgb)
    generated = completions.expand(-1, -1, 3, -1, -1)
    rows = torch.cat([rgb[:, None], masked[:, None], generated], dim=1)
    return image_grid(rows.flatten(0, 1), rows.shape[1])


def with_names(grid: Image.Image, names: Sequence[str]) -> Image.Image:
    """The grid with a column of names at its left, each marking an equal share of the height."""
    width, height = grid.size
    result = Image.new("RGB", (MARGIN + width, height), "white")
    result.paste(grid, (MARGIN, 0))
    draw, font = ImageDraw.Draw(result), ImageFont.load_default(16)
    for number, name in enumerate(names):
        top, bottom = (height * edge // len(names) for edge in (number, number + 1))
        draw.text((MARGIN - 12, (top + bottom) // 2), name, "black", font, anchor="rm")
        draw.line((MARGIN - 4, top + 2 * GAP, MARGIN - 4, bottom - 2 * GAP), "black")
    return result


def _to_rgb(images: Tensor) -> np.ndarray:
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
