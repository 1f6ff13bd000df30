"""Progressive sampling: draws the targets in several steps, each given the earlier ones."""

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
    """A number of steps or an order that a model cannot use, in one sentence."""


def check_order(order: str, steps: int, token_count: int) -> OrderName:
    """The order of this name.

    Raises:
        OrderError: the order is unknown, or ``steps`` is not 1 to ``token_count``.
    """
    if not hasattr(steps, "__index__") or not 1 <= steps <= token_count:
        raise OrderError(f"steps must be 1 to {token_count}, the tokens of an image, not {steps!r}")
    for name in _PATTERNS:
        if name == order:
            return name
    raise OrderError(f"order must be one of {', '.join(_PATTERNS)}, not {order!r}")


def split_targets(
    masks: TokenMasks,
    grid_size: tuple[int, int],
    steps: int,
    order: OrderName,
    rngs: Sequence[torch.Generator],
) -> Iterator[tuple[Int64[Tensor, " R"], TokenMasks]]:
    """The task of each step, and the rows that still have targets in it.

    The first k of n steps draw the first k/n of a row's targets, rounded up. The sources of a step
    are the given tokens and the targets of earlier steps; the targets of later steps are absent.

    Args:
        masks: source and target tokens of each row.
        grid_size: tokens per column and per row of an image.
        steps: number of steps, at least 1.
        order: order of the targets.
        rngs: one for each row, which draws its order.
    """
    scores = torch.cat([pattern_scores(_PATTERNS[order], grid_size, 1, rng) for rng in rngs])
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
