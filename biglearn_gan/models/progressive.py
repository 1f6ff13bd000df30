"""Progressive sampling: targets in parts, one after another, each given those before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from biglearn_gan.config import PatternName
from biglearn_gan.errors import UsageError
from biglearn_gan.tasks.patterns import pattern_scores, select_lowest
from biglearn_gan.tasks.token_masks import TokenMasks

OrderName = Literal["random", "raster", "center-out"]
_PATTERNS: dict[OrderName, PatternName] = {
    "random": "iid",
    "raster": "raster_prefix",
    "center-out": "center",
}


class OrderError(UsageError):
    """Steps or an order that progressive sampling cannot take, in one sentence."""


def checked_order(order: str, steps: int, token_count: int) -> OrderName:
    """The order of that name.

    Raises:
        OrderError: there is none, or ``steps`` is not 1 to ``token_count``.
    """
    if not hasattr(steps, "__index__") or not 1 <= steps <= token_count:
        raise OrderError(f"steps must be 1 to {token_count}, the tokens of an image, not {steps!r}")
    for name in _PATTERNS:
        if name == order:
            return name
    raise OrderError(f"order must be one of {', '.join(_PATTERNS)}, not {order!r}")


def parts_in_order(
    masks: TokenMasks,
    grid_size: tuple[int, int],
    steps: int,
    order: OrderName,
    rngs: Sequence[torch.Generator],
) -> Iterator[tuple[Int64[Tensor, " R"], TokenMasks]]:
    """The tasks of each step, for the rows that have any targets left.

    The first k of n steps hold the first k/n of a row's targets, rounded up. A step's sources are
    those given and the targets of all steps before it; later targets are absent.

    Args:
        masks: source and target of each row.
        grid_size: tokens per column and per row.
        steps: how many, at least 1.
        order: of the targets.
        generators: one for each row, which its order is drawn from.
    """
    draws = [pattern_scores(_PATTERNS[order], grid_size, 1, each) for each in rngs]
    scores = torch.cat(draws)
    counts = masks.target.sum(dim=1)
    before = torch.zeros_like(masks.target)
    for step in range(1, steps + 1):
        until = select_lowest(scores, masks.target, (counts * step + steps - 1) // steps)
        part = until & ~before
        rows = part.any(dim=1).nonzero()[:, 0]
        known = masks.known_values
        known = None if known is None else (known & part[..., None])[rows]
        yield rows, TokenMasks((masks.source | before)[rows], part[rows], known)
        before = until
