"""Precision and recall of generated images, from nearest neighbors in feature space.

The manifold of a set is the union of balls around its members. The radius of a ball is the distance
to the k-th nearest other member (Kynkäänniemi et al. 2019, arXiv 1904.06991, eqs. 1 and 2).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROWS_AT_ONCE = 1000


def precision_recall(
    real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"], neighbors: int = 3
) -> tuple[float, float]:
    """Share of generated vectors in the manifold of real ones, and vice versa.

    Args:
        real, generated: features; more than ``neighbors`` each.
        neighbors: k.

    Raises:
        ValueError: a set has too few members.
    """
    for count in (len(real), len(generated)):
        if count <= neighbors:
            raise ValueError(f"{count} images are too few for {neighbors} nearest neighbors")
    real, generated = real.double(), generated.double()
    precision = _inside(generated, real, neighbors).double().mean()
    recall = _inside(real, generated, neighbors).double().mean()
    return float(precision), float(recall)


def _inside(
    points: Float[Tensor, "N D"], members: Float[Tensor, "M D"], neighbors: int
) -> Bool[Tensor, " N"]:
    """Whether each point is in the manifold of the members."""
    radii = torch.cat(
        [
            _distances(part, members).kthvalue(neighbors + 1, dim=1).values
            for part in members.split(ROWS_AT_ONCE)
        ]
    )
    return torch.cat(
        [(_distances(part, members) <= radii).any(dim=1) for part in points.split(ROWS_AT_ONCE)]
    )


def _distances(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")
