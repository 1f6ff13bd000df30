"""Grids of images, as a person wants to see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

HOLE_COLOR = (94, 129, 172)
"""What a hole looks like in a masked input: a blue that no gray image contains."""

GAP = 2
"""White pixels between cells."""

SMALLEST_CELL = 56
"""Images are enlarged by whole factors until their shorter side has this many pixels."""

MARGIN = 72
"""Pixels for names at the left of a grid."""


def image_grid(images: UInt8[Tensor, "N C H W"], columns: int) -> Image.Image:
    """Images row by row, ``columns`` to a row, enlarged without smoothing."""
    cells = _to_rgb(images)
    count, height, width, _ = cells.shape
    rows = -(-count // columns)
    factor = max(1, -(-SMALLEST_CELL // min(height, width)))
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
    """One row for each image: the input, the input with its hole colored, and K completions."""
    rgb = images.expand(-1, 3, -1, -1)
    color = torch.tensor(HOLE_COLOR, dtype=torch.uint8).view(1, 3, 1, 1)
    holed = torch.where(hole[:, None], color, rgb)
    drawn = completions.expand(-1, -1, 3, -1, -1)
    rows = torch.cat([rgb[:, None], holed[:, None], drawn], dim=1)
    return image_grid(rows.flatten(0, 1), rows.shape[1])


def with_names(grid: Image.Image, names: Sequence[str]) -> Image.Image:
    """The grid with names at its left, each beside a line along its equal share of the height."""
    width, height = grid.size
    named = Image.new("RGB", (MARGIN + width, height), "white")
    named.paste(grid, (MARGIN, 0))
    draw, font = ImageDraw.Draw(named), ImageFont.load_default(16)
    for number, name in enumerate(names):
        top, bottom = (height * edge // len(names) for edge in (number, number + 1))
        draw.text((MARGIN - 12, (top + bottom) // 2), name, "black", font, anchor="rm")
        draw.line((MARGIN - 4, top + 2 * GAP, MARGIN - 4, bottom - 2 * GAP), "black")
    return named


def _to_rgb(images: Tensor) -> np.ndarray:
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
