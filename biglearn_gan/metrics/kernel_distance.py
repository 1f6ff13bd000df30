"""The kernel inception distance (KID) between two sets of feature vectors.

It is the squared maximum mean discrepancy with the kernel ``(x·y / D + 1)³`` (Bińkowski et al.
2018, section 4). Unlike the Fréchet distance it is unbiased, so it may be compared between sets of
different sizes, and it may be below 0.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

SUBSET_SIZE = 1000
"""Vectors of each set in a subset, at most."""

MIN_SUBSETS = 10


def kernel_distance(
    features: Float[Tensor, "N D"], reference: Float[Tensor, "M D"]
) -> tuple[float, float] | None:
    """The mean over disjoint subsets, and its standard error.

    Subsets are parts of both sets in their order, so the order of the rows should be random. There
    are at least 10 of them, with at most 1,000 vectors of each set.

    Returns:
        None if the smaller set has fewer than 20 vectors.
    """
    fewest = min(len(features), len(reference))
    size = min(SUBSET_SIZE, fewest // MIN_SUBSETS)
    if size < 2:
        return None
    values = torch.tensor(
        [
            squared_discrepancy(features[start : start + size], reference[start : start + size])
            for start in range(0, fewest - size + 1, size)
        ],
        dtype=torch.float64,
    )
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def squared_discrepancy(first: Float[Tensor, "N D"], second: Float[Tensor, "M D"]) -> float:
    """The unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3); N, M >= 2."""
    first, second = first.double(), second.double()
    within = _kernel_mean(first) + _kernel_mean(second)
    return float(within - 2 * _kernel(first, second).mean())


def _kernel_mean(vectors: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
    """The mean of the kernel over pairs of different vectors."""
    kernel, count = _kernel(vectors, vectors), len(vectors)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))


def _kernel(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    return (a @ b.T / a.shape[1] + 1) ** 3
