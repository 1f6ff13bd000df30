"""The grouped jackknife: the error of a statistic from leaving parts of the rows out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def jackknife_error(values: Float[Tensor, " G"]) -> float:
    """The standard error of a statistic, from its G values without one of G equal groups each.

    ``√((G - 1) / G · Σ (θ_g - mean)²)`` (Efron & Tibshirani 1993, *An Introduction to the
    Bootstrap*, eq. 11.5, with groups instead of observations).
    """
    groups = len(values)
    return float(((values - values.mean()).square().sum() * (groups - 1) / groups).sqrt())


def leave_out(count: int, groups: int) -> Iterator[Bool[Tensor, " N"]]:
    """For each of ``groups`` equal parts of ``count`` rows, which rows are left: True = kept."""
    for part in torch.arange(count).tensor_split(groups):
        kept = torch.ones(count, dtype=torch.bool)
        kept[part] = False
        yield kept
