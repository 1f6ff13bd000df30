"""The Fréchet distance (FD) between two sets of feature vectors, from streamed moments.

Everything is computed in float64 on the CPU. ``features.py`` turns images into vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.metrics.jackknife import jackknife_error


class GaussianStatistics:
    """Count, mean and covariance of the feature vectors seen so far; memory grows with D² only.

    Attributes:
        count: number of vectors, an integer.
        mean: (D,) float64.
        scatter: (D, D) float64, sum of the outer products of the centered vectors.
    """

    def __init__(self, dimensions: int):
        """Start with no vectors of length ``dimensions``; ValueError below 1."""
        if dimensions < 1:
            raise ValueError(f"features need at least one dimension, not {dimensions}")
        self.count = 0
        self.mean = torch.zeros(dimensions, dtype=torch.float64)
        self.scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64)

    @property
    def dimensions(self) -> int:
        """D, the length of a feature vector."""
        return len(self.mean)

    @property
    def covariance(self) -> Float[Tensor, "D D"]:
        """The unbiased covariance (divided by count - 1); ValueError below two vectors."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, not {self.count}")
        return self.scatter / (self.count - 1)

    def update(self, features: Float[Tensor, "N D"]) -> None:
        """Add N vectors; N may be 0.

        Raises:
            ValueError: the vectors have another length, or a number is not finite.
        """
        if features.ndim != 2 or features.shape[1] != self.dimensions:
            raise ValueError(
                f"expected features of shape (N, {self.dimensions}), not {tuple(features.shape)}"
            )
        if len(features) == 0:
            return
        features = features.detach().to("cpu", torch.float64)
        if (bad := ~features.isfinite()).any():
            row, column = bad.nonzero()[0].tolist()
            value = float(features[row, column])
            raise ValueError(f"features must be finite, but vector {row} has the value {value}")
        mean = features.mean(dim=0)
        centered = features - mean
        self._combine(len(features), mean, centered.T @ centered)

    def merge(self, other: GaussianStatistics) -> None:
        """Add the vectors of ``other``; ValueError if they have another length."""
        if other.dimensions != self.dimensions:
            raise ValueError(
                f"statistics of {other.dimensions} dimensions cannot be merged into "
                f"{self.dimensions} dimensions"
            )
        self._combine(other.count, other.mean, other.scatter)

    def _combine(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        """Pairwise update of mean and scatter: Chan, Golub & LeVeque 1983, eqs. 2.1."""
        total = self.count + count
        if total == 0:
            return
        shift = mean - self.mean
        self.scatter = (
            self.scatter + scatter + torch.outer(shift, shift) * (self.count * count / total)
        )
        self.mean = self.mean + shift * (count / total)
        self.count = total


def frechet_distance(
    a: GaussianStatistics, b: GaussianStatistics, *, allow_few: bool = False
) -> float:
    """The squared Fréchet (2-Wasserstein) distance between the Gaussians of two feature sets.

    ``|m_a - m_b|² + tr(S_a + S_b - 2 (S_a S_b)^½)`` (Dowson & Landau 1982, eq. 4; for generated
    images Heusel et al. 2017, eq. 6). With factors ``S = F Fᵀ``, the eigenvalues of ``S_a S_b`` are
    those of the symmetric ``F_aᵀ S_b F_a`` and the squared singular values of ``F_aᵀ F_b``. The
    trace of the root is therefore real and symmetric in a and b, and needs no matrix root.

    Raises:
        ValueError: the dimensions differ, or either side has fewer vectors than dimensions and
            not ``allow_few`` (its covariance is then singular, and the distance mostly bias).
    """
    if a.dimensions != b.dimensions:
        raise ValueError(
            f"features of {a.dimensions} and of {b.dimensions} dimensions cannot be compared"
        )
    fewest = min(a.count, b.count)
    if fewest < a.dimensions and not allow_few:
        raise ValueError(
            f"{fewest} samples are too few for features of {a.dimensions} dimensions: "
            f"give at least {a.dimensions}"
        )
    shift = a.mean - b.mean
    traces = a.covariance.trace() + b.covariance.trace()
    value = shift @ shift + traces - 2 * _trace_of_root(a.covariance, b.covariance)
    return max(float(value), 0.0)


def frechet_distance_with_error(
    groups: Sequence[GaussianStatistics],
    reference: GaussianStatistics,
    *,
    allow_few: bool = False,
) -> tuple[float, float | None]:
    """The distance of the union of all groups to a reference, and its standard error.

    The error is that of the jackknife, with the reference held fixed. It is None if the
    groups without one have fewer vectors than dimensions.

    Raises:
        ValueError: as :func:`frechet_distance`.
    """
    whole = _merged(groups)
    value = frechet_distance(whole, reference, allow_few=allow_few)
    smallest = whole.count - max(group.count for group in groups)
    if len(groups) < 2 or smallest < whole.dimensions:
        return value, None
    values = torch.tensor(
        [
            frechet_distance(
                _merged([*groups[:i], *groups[i + 1 :]]), reference, allow_few=allow_few
            )
            for i in range(len(groups))
        ],
        dtype=torch.float64,
    )
    return value, jackknife_error(values)


def _merged(groups: Sequence[GaussianStatistics]) -> GaussianStatistics:
    whole = GaussianStatistics(groups[0].dimensions)
    for group in groups:
        whole.merge(group)
    return whole


def _trace_of_root(a: Float[Tensor, "D D"], b: Float[Tensor, "D D"]) -> Float[Tensor, ""]:
    """The sum of the square roots of the eigenvalues of ``a b``.

    Eigenvalues from a Cholesky factor are faster. If a covariance does not have full rank, some of
    them are zeros with rounding errors, whose roots are large. Singular values are taken instead,
    of factors with as many columns as the ranks.
    """
    factor = _cholesky(a)
    if factor is None or _cholesky(b) is None:
        return torch.linalg.svdvals(_eigen_factor(a).T @ _eigen_factor(b)).sum()
    return torch.linalg.eigvalsh(factor.T @ b @ factor).clamp(min=0).sqrt().sum()


def _cholesky(covariance: Float[Tensor, "D D"]) -> Float[Tensor, "D D"] | None:
    """Lower triangular F with F Fᵀ = covariance, or None if the rank is not full in float64."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    pivots = factor.diagonal().square()
    rounding = len(pivots) * torch.finfo(pivots.dtype).eps
    return None if failed or pivots.min() <= rounding * pivots.max() else factor


def _eigen_factor(covariance: Float[Tensor, "D D"]) -> Float[Tensor, "D R"]:
    """F with F Fᵀ = covariance, with as many columns as its rank R.

    Eigenvalues of a few units in the last place of the largest are rounding errors and count as 0.
    """
    values, vectors = torch.linalg.eigh(covariance)
    positive = values > 16 * torch.finfo(values.dtype).eps * values.max()
    return vectors[:, positive] * values[positive].sqrt()
