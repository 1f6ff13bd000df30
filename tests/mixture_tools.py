"""Exact moments and images of Gaussian mixtures, to compare with."""

from __future__ import annotations

import torch
from torch import Tensor

from biglearn_gan.gaussian_mixture import GaussianMixture


def covariance_of(mixture: GaussianMixture) -> Tensor:
    """Cov x of the whole mixture (D, D): within components and between their means."""
    centered = mixture.means - mixture.weights @ mixture.means
    between = torch.einsum("k,kd,ke->de", mixture.weights, centered, centered)
    return torch.einsum("k,kde->de", mixture.weights, mixture.covariances) + between


def transform(mixture: GaussianMixture, matrix: Tensor) -> GaussianMixture:
    """The distribution of A x, which has a density if A has full row rank."""
    covariances = matrix @ mixture.covariances @ matrix.T
    means = mixture.means @ matrix.T
    return GaussianMixture(mixture.weights, means, (covariances + covariances.mT) / 2)
