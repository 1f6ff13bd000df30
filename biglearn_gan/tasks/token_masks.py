"""Token masks, and the patterns that they are drawn from. Polarity is stated here and nowhere else.

``source`` and ``target`` are boolean, True = the token is a member: source tokens are given,
target tokens are generated, and a token that is neither is *absent*: not shown to any network,
not scored, marginalized out. Of a target token some values may be *kept*, True = given.

A pattern is an *order* of the tokens of each image: its first ``n`` tokens are the pattern with
exactly ``n`` tokens. A rectangle, for example, is grown from its center outwards. So every pattern
exists in every size, and a batch can ask for equal sizes of different patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.tasks.patches import gather_tokens

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

    def rows(self, index: Int64[Tensor, " R"] | slice) -> TokenSequence:
        """Some of the rows."""
        return self._map(lambda value: value[index])

    def to(self, device: torch.device) -> TokenSequence:
        """The same sequence on another device."""
        return self._map(lambda value: value.to(device))

    def repeat(self, times: int) -> TokenSequence:
        """The whole batch ``times`` times in a row."""
        return self._map(lambda value: value.repeat(times, *[1] * (value.ndim - 1)))

    def _map(self, function: Callable[[Tensor], Tensor]) -> TokenSequence:
        return TokenSequence(
            function(self.positions),
            function(self.is_target),
            None if self.transforms is None else function(self.transforms),
            None if self.labels is None else function(self.labels),
            None if self.kept is None else function(self.kept),
        )
