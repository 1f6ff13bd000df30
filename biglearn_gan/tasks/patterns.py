"""Patterns of tokens: scattered, a rectangle, brush strokes, and others.

A pattern is an *order* of the tokens of an image: its first ``n`` tokens are the pattern with
exactly ``n`` tokens. A rectangle, for example, grows from its center outwards. So every pattern
exists in every size, and rows of one batch can have different patterns of one size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.config import PatternName


def select_lowest(
    scores: Float[Tensor, "B L"], eligible: Bool[Tensor, "B L"], counts: Int64[Tensor, " B"]
) -> Bool[Tensor, "B L"]:
    """Mark the ``counts`` eligible tokens with the lowest scores in each row."""
    order = scores.masked_fill(~eligible, math.inf).argsort(dim=1)
    in_order = torch.arange(scores.shape[1]).expand_as(order) < counts[:, None]
    return torch.zeros_like(eligible).scatter(1, order, in_order)


def pattern_scores(
    pattern: PatternName, grid_size: tuple[int, int], rows: int, rng: torch.Generator
) -> Float[Tensor, "rows L"]:
    """Draw ``rows`` orders of a pattern; tokens with the lowest scores come first.

    Args:
        pattern: any pattern but ``everything``, which has no order.
        grid_size: tokens per column and per row.
        rows: number of independent draws.
        rng: random numbers, on the CPU.
    """
    return _SCORES[pattern](grid_size, rows, rng)


def _uniform(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=rng)


@cache
def _coordinates(grid_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row and column of each token, (L,) each."""
    index = torch.arange(grid_size[0] * grid_size[1])
    return (index // grid_size[1]).float(), (index % grid_size[1]).float()


def _iid(grid_size: tuple[int, int], rows: int, rng: torch.Generator) -> Tensor:
    return _uniform(rows, grid_size[0] * grid_size[1], rng=rng)


def _rectangle(grid_size: tuple[int, int], rows: int, rng: torch.Generator) -> Tensor:
    """Grows from a random point in a max-norm with a random aspect ratio."""
    draws = _uniform(4, rows, 1, rng=rng)
    height, width = grid_size
    stretch = torch.exp2(2 * draws[2] - 1)
    y, x = _coordinates(grid_size)
    vertical = (y - draws[0] * height + 0.5).abs() * stretch
    horizontal = (x - draws[1] * width + 0.5).abs() / stretch
    return torch.maximum(vertical, horizontal)


def _half_plane(grid_size: tuple[int, int], rows: int, rng: torch.Generator) -> Tensor:
    """One side of a random line; half of the lines are parallel to an axis."""
    draws = _uniform(2, rows, 1, rng=rng)
    quarter_turns = torch.where(draws[0] < 0.5, 4 * draws[1], (4 * draws[1]).floor())
    angle = quarter_turns * (math.pi / 2)
    y, x = _coordinates(grid_size)
    jitter = 1e-3 * _iid(grid_size, rows, rng)
    return angle.cos() * y + angle.sin() * x + jitter


def _center(grid_size: tuple[int, int], rows: int, rng: torch.Generator) -> Tensor:
    """Grows from the middle with the aspect ratio of the grid; ties are in random order."""
    height, width = grid_size
    y, x = _coordinates(grid_size)
    vertical = (y - (height - 1) / 2).abs() / height
    horizontal = (x - (width - 1) / 2).abs() / width
    return torch.maximum(vertical, horizontal) + 1e-3 * _iid(grid_size, rows, rng)


def _strokes(grid_size: tuple[int, int], rows: int, rng: torch.Generator) -> Tensor:
    """Distance to a random line of two segments: a brush stroke of growing width."""
    size = torch.tensor(grid_size)
    corners = _uniform(rows, 1, 3, 2, rng=rng) * size - 0.5
    tokens = torch.stack(_coordinates(grid_size), dim=-1)[:, None]
    starts, steps = corners[:, :, :2], corners[:, :, 1:] - corners[:, :, :2]
    along = ((tokens - starts) * steps).sum(-1) / steps.square().sum(-1).clamp_min(1e-6)
    nearest = starts + along.clamp(0, 1)[..., None] * steps
    return (tokens - nearest).square().sum(-1).amin(-1)


def _raster_prefix(grid_size: tuple[int, int], rows: int, rng: torch.Generator) -> Tensor:
    return torch.arange(grid_size[0] * grid_size[1], dtype=torch.float32).expand(rows, -1)


def _grid(grid_size: tuple[int, int], rows: int, rng: torch.Generator) -> Tensor:
    """Every other row and column first (a quarter), then the other half of a checkerboard."""
    offsets = (_uniform(2, rows, 1, rng=rng) < 0.5).float()
    y, x = _coordinates(grid_size)
    odd_row, odd_column = (y + offsets[0]) % 2, (x + offsets[1]) % 2
    off_checkerboard = (odd_row - odd_column).abs()
    return 2 * off_checkerboard + odd_row + 0.5 * _iid(grid_size, rows, rng)


_SCORES: dict[str, Callable[[tuple[int, int], int, torch.Generator], Tensor]] = {
    "iid": _iid,
    "rectangle": _rectangle,
    "half_plane": _half_plane,
    "center": _center,
    "strokes": _strokes,
    "raster_prefix": _raster_prefix,
    "grid": _grid,
}
