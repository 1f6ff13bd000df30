"""Token masks, and the patterns that they are drawn from. Polarity is stated here and nowhere else.

``source`` and ``target`` are boolean, True = the token is a member: source tokens are given,
target tokens are generated, and a token that is neither is *absent*: not shown to any network,
not scored, marginalised out. Of a target token some values may be *kept*, True = given.

A pattern is an *order* of the tokens of each image: its first ``n`` tokens are the pattern with
exactly ``n`` tokens. A rectangle, for example, is grown from its centre outwards. So every pattern
exists in every size, and a batch can ask for equal sizes of different patterns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.config import PatternName
from biglearn_gan.patches import gather_tokens

UNKNOWN_LABEL = -1
"""Stands for the class of an image whose label is not given."""


@dataclass(frozen=True)
class TokenMasks:
    """Source and target tokens of a batch of tasks, (B, L) each, and what targets keep.

    ``kept`` is None where every target is generated whole.

    Raises:
        ValueError: the shapes differ, a token is both source and target, a row has no target, or
            a token that is no target keeps something.
    """

    source: Bool[Tensor, "B L"]
    target: Bool[Tensor, "B L"]
    kept: Bool[Tensor, "B L P"] | None = None

    def __post_init__(self) -> None:
        if self.source.shape != self.target.shape:
            raise ValueError(
                f"source {tuple(self.source.shape)} and target {tuple(self.target.shape)} "
                "must have the same shape (B, L)"
            )
        if (self.source & self.target).any():
            raise ValueError("source and target must be disjoint, but a token is in both")
        if not self.target.any(dim=1).all():
            raise ValueError("every row needs at least one target token")
        if self.kept is not None and (self.kept.any(dim=2) & ~self.target).any():
            raise ValueError("only targets keep values, but another token does")

    @property
    def union(self) -> Bool[Tensor, "B L"]:
        """S ∪ T, the tokens that the networks read."""
        return self.source | self.target

    def sequence(self) -> TokenSequence:
        """The present tokens of each row as one dense sequence, in raster order.

        Raises:
            ValueError: the rows differ in their number of present tokens.
        """
        union = self.union
        counts = union.sum(dim=1)
        count = int(counts[0])
        if not bool((counts == count).all()):
            raise ValueError(
                "rows of one batch must have equally many present tokens, but they have between "
                f"{int(counts.min())} and {int(counts.max())}; group them by that count"
            )
        positions = union.nonzero()[:, 1].view(-1, count)
        kept = None if self.kept is None else gather_tokens(self.kept, positions)
        return TokenSequence(positions, self.target.gather(1, positions), kept=kept)

    def rows(self, index: Int64[Tensor, " R"] | slice) -> TokenMasks:
        """Some of the rows."""
        kept = None if self.kept is None else self.kept[index]
        return TokenMasks(self.source[index], self.target[index], kept)

    def to(self, device: torch.device | str) -> TokenMasks:
        """The same masks on another device."""
        kept = None if self.kept is None else self.kept.to(device)
        return TokenMasks(self.source.to(device), self.target.to(device), kept)


@dataclass(frozen=True)
class TokenSequence:
    """The M present tokens of each row: where they stand in the grid, and which are targets.

    In a transformed domain y = A x a token is a mixture of all places, and ``transforms`` holds its
    row of A; it is None where every row of the batch stays in the data's own domain. ``labels``
    hold the class of each image, one more source token, or ``UNKNOWN_LABEL``; they are None in a
    model without labels. ``kept`` marks values of targets that are given, None for none.
    """

    positions: Int64[Tensor, "B M"]
    is_target: Bool[Tensor, "B M"]
    transforms: Float[Tensor, "B M L"] | None = None
    labels: Int64[Tensor, " B"] | None = None
    kept: Bool[Tensor, "B M P"] | None = None

    @property
    def generated(self) -> Bool[Tensor, "B M #P"]:
        """The values that are generated."""
        target = self.is_target[..., None]
        return target if self.kept is None else target & ~self.kept

    def to(self, device: torch.device) -> TokenSequence:
        """The same sequence on another device."""
        return TokenSequence(
            self.positions.to(device),
            self.is_target.to(device),
            None if self.transforms is None else self.transforms.to(device),
            None if self.labels is None else self.labels.to(device),
            None if self.kept is None else self.kept.to(device),
        )

    def repeat(self, times: int) -> TokenSequence:
        """The whole batch ``times`` times in a row."""
        return TokenSequence(
            self.positions.repeat(times, 1),
            self.is_target.repeat(times, 1),
            None if self.transforms is None else self.transforms.repeat(times, 1, 1),
            None if self.labels is None else self.labels.repeat(times),
            None if self.kept is None else self.kept.repeat(times, 1, 1),
        )


def first_in_order(
    scores: Float[Tensor, "B L"], eligible: Bool[Tensor, "B L"], counts: Int64[Tensor, " B"]
) -> Bool[Tensor, "B L"]:
    """Mark, in each row, the ``counts`` eligible tokens with the lowest scores."""
    order = scores.masked_fill(~eligible, math.inf).argsort(dim=1)
    in_order = torch.arange(scores.shape[1]).expand_as(order) < counts[:, None]
    return torch.zeros_like(eligible).scatter(1, order, in_order)


def pattern_scores(
    pattern: PatternName, grid_size: tuple[int, int], rows: int, generator: torch.Generator
) -> Float[Tensor, "rows L"]:
    """Draw ``rows`` orders of a pattern: the lowest scores come first.

    Args:
        pattern: a name of ``PatternName`` other than ``everything``, which needs no order.
        grid_size: tokens per column and per row.
        rows: number of independent draws.
        generator: source of randomness, on the CPU.
    """
    return _SCORES[pattern](grid_size, rows, generator)


def _uniform(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=generator)


@cache
def _coordinates(grid_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row and column of each token, (L,) each."""
    index = torch.arange(grid_size[0] * grid_size[1])
    return (index // grid_size[1]).float(), (index % grid_size[1]).float()


def _iid(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    return _uniform(rows, grid_size[0] * grid_size[1], generator=generator)


def _rectangle(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    """Grown from a random point in a max-norm that is stretched at random."""
    draws = _uniform(4, rows, 1, generator=generator)
    height, width = grid_size
    stretch = torch.exp2(2 * draws[2] - 1)
    y, x = _coordinates(grid_size)
    vertical = (y - draws[0] * height + 0.5).abs() * stretch
    horizontal = (x - draws[1] * width + 0.5).abs() / stretch
    return torch.maximum(vertical, horizontal)


def _half_plane(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    """Everything on one side of a line; half of the lines are parallel to an axis."""
    draws = _uniform(2, rows, 1, generator=generator)
    quarter_turns = torch.where(draws[0] < 0.5, 4 * draws[1], (4 * draws[1]).floor())
    angle = quarter_turns * (math.pi / 2)
    y, x = _coordinates(grid_size)
    jitter = 1e-3 * _iid(grid_size, rows, generator)
    return angle.cos() * y + angle.sin() * x + jitter


def _center(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    """Grown from the middle with the proportions of the grid; ties in random order."""
    height, width = grid_size
    y, x = _coordinates(grid_size)
    vertical = (y - (height - 1) / 2).abs() / height
    horizontal = (x - (width - 1) / 2).abs() / width
    return torch.maximum(vertical, horizontal) + 1e-3 * _iid(grid_size, rows, generator)


def _border(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    return -_center(grid_size, rows, generator)


def _strokes(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    """Distance to a random line of two segments, as a brush of growing width paints it."""
    size = torch.tensor(grid_size)
    corners = _uniform(rows, 1, 3, 2, generator=generator) * size - 0.5
    tokens = torch.stack(_coordinates(grid_size), dim=-1)[:, None]
    starts, steps = corners[:, :, :2], corners[:, :, 1:] - corners[:, :, :2]
    along = ((tokens - starts) * steps).sum(-1) / steps.square().sum(-1).clamp_min(1e-6)
    nearest = starts + along.clamp(0, 1)[..., None] * steps
    return (tokens - nearest).square().sum(-1).amin(-1)


def _raster_prefix(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    return torch.arange(grid_size[0] * grid_size[1], dtype=torch.float32).expand(rows, -1)


def _grid(grid_size: tuple[int, int], rows: int, generator: torch.Generator) -> Tensor:
    """Every other row and column (a quarter), then their diagonal neighbours (a checkerboard)."""
    offsets = (_uniform(2, rows, 1, generator=generator) < 0.5).float()
    y, x = _coordinates(grid_size)
    odd_row, odd_column = (y + offsets[0]) % 2, (x + offsets[1]) % 2
    off_checkerboard = (odd_row - odd_column).abs()
    return 2 * off_checkerboard + odd_row + 0.5 * _iid(grid_size, rows, generator)


_SCORES: dict[str, Callable[[tuple[int, int], int, torch.Generator], Tensor]] = {
    "iid": _iid,
    "rectangle": _rectangle,
    "half_plane": _half_plane,
    "center": _center,
    "border": _border,
    "strokes": _strokes,
    "raster_prefix": _raster_prefix,
    "grid": _grid,
}
