"""Source, target and absent tokens. This file defines the polarity of every mask.

======================  ==========================================================================
``source``              True = the token is given.
``target``              True = the token is generated.
neither                 The token is *absent*: no network reads it and no loss scores it.
``known_values``        True = this value of a target token is given, as in a patch that a hole
                        cuts through.
======================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.devices import copy_to

UNKNOWN_LABEL = -1
"""The class of an image whose label is not given."""


@dataclass(frozen=True)
class TokenMasks:
    """The source and target tokens of each row of a batch.

    Attributes:
        source: tokens that are given.
        target: tokens that are generated.
        known_values: values of target tokens that are given; None if there are none.

    Raises:
        ValueError: the shapes differ, a token is both source and target, a row has no target, or
            a token that is not a target has known values.
    """

    source: Bool[Tensor, "B L"]
    target: Bool[Tensor, "B L"]
    known_values: Bool[Tensor, "B L P"] | None = None

    def __post_init__(self) -> None:
        if self.source.shape != self.target.shape:
            raise ValueError(
                f"source {tuple(self.source.shape)} and target {tuple(self.target.shape)} "
                "must have the same shape (B, L)"
            )
        if (both := self.source & self.target).any():
            row, token = both.nonzero()[0].tolist()
            raise ValueError(
                f"source and target must be disjoint, but token {token} of row {row} is in both"
            )
        if (empty := ~self.target.any(dim=1)).any():
            row = int(empty.nonzero()[0])
            raise ValueError(f"every row needs at least one target token, but row {row} has none")
        if self.known_values is not None and _has_true(_tokens(self.known_values, ~self.target)):
            raise ValueError("only target tokens can have known values, but another token has some")

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
        return present_tokens(self.source, self.target, self.known_values)

    def rows(self, index: Int64[Tensor, " R"] | slice) -> TokenMasks:
        """The masks of some rows."""
        known_values = None if self.known_values is None else self.known_values[index]
        return TokenMasks(self.source[index], self.target[index], known_values)

    def to(self, device: torch.device | str) -> TokenMasks:
        """The same masks on another device."""
        known_values = None if self.known_values is None else self.known_values.to(device)
        return TokenMasks(self.source.to(device), self.target.to(device), known_values)


@dataclass(frozen=True)
class TokenSequence:
    """The M present tokens of each row, as the networks read them.

    Attributes:
        positions: where each token stands in the image's grid, 0 to L - 1.
        is_target: True = the token is generated, False = it is given.
        transforms: each token's row of A, in a transformed domain y = A x; None if every row is in
            the data's own domain.
        labels: the class of each image or ``UNKNOWN_LABEL``; None in a model without labels.
        known_values: values of target tokens that are given; None if there are none.
    """

    positions: Int64[Tensor, "B M"]
    is_target: Bool[Tensor, "B M"]
    transforms: Float[Tensor, "B M L"] | None = None
    labels: Int64[Tensor, " B"] | None = None
    known_values: Bool[Tensor, "B M P"] | None = None

    @property
    def generated_values(self) -> Bool[Tensor, "B M #P"]:
        """True = the value is generated: targets without their known values."""
        target = self.is_target[..., None]
        return target if self.known_values is None else target & ~self.known_values

    def rows(self, index: Int64[Tensor, " R"] | slice) -> TokenSequence:
        """The sequences of some rows."""
        return self._map(lambda value: value[index])

    def to(self, device: torch.device) -> TokenSequence:
        """The same sequences on another device; copies to CUDA do not wait for it."""
        return self._map(lambda value: copy_to(value, device))

    def repeat(self, times: int) -> TokenSequence:
        """The whole batch, ``times`` times in a row."""
        return self._map(lambda value: value.repeat(times, *[1] * (value.ndim - 1)))

    def _map(self, function: Callable[[Tensor], Tensor]) -> TokenSequence:
        return TokenSequence(
            function(self.positions),
            function(self.is_target),
            None if self.transforms is None else function(self.transforms),
            None if self.labels is None else function(self.labels),
            None if self.known_values is None else function(self.known_values),
        )


def present_tokens(
    source: Bool[Tensor, "B L"],
    target: Bool[Tensor, "B L"],
    known_values: Bool[Tensor, "B L P"] | None,
) -> TokenSequence:
    """The source and target tokens of rows that have equally many, in raster order.

    Unlike :class:`TokenMasks`, a row may have no target.
    """
    union = source | target
    positions = union.nonzero()[:, 1].view(len(union), int(union[0].sum()))
    if known_values is not None:
        known_values = _tokens(known_values, union).view(*positions.shape, known_values.shape[2])
    return TokenSequence(positions, target.gather(1, positions), known_values=known_values)


def _tokens(values: Bool[Tensor, "B L P"], chosen: Bool[Tensor, "B L"]) -> Bool[Tensor, "N P"]:
    """The values of the chosen tokens, row by row."""
    return values.flatten(0, 1).index_select(0, chosen.flatten().nonzero()[:, 0])


def _has_true(values: Bool[Tensor, "N P"]) -> bool:
    """Whether any value is True, many times faster than ``any`` on a CPU."""
    return values.numel() > 0 and bool(values.view(torch.uint8).max())
