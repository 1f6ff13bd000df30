"""Gaussian mixtures in closed form: marginals, projections, conditionals, densities and samples.

:class:`GaussianMixture` is the joint density, :class:`ConditionalMixture` its conditionals, and
:class:`LineMixtures` its projections on many lines at a time.

Everything is float64 and differentiable in the weights, means and covariances. Samples are
differentiable given their component and noise. Formulas: Bishop 2006, *Pattern Recognition and
Machine Learning*, eqs. 2.81 and 2.82 (conditional of a Gaussian) and 2.115 (affine map). The
conditional of a mixture is the mixture of its components' conditionals, each weighted by how well
it explains the source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

WEIGHTS_TOLERANCE = 1e-6
"""How far the sum of the weights may be from 1."""


class GaussianError(ValueError):
    """Parameters that define no mixture, or coordinates that it does not have."""


class GaussianMixture:
    """The density p(x) = Σ_k w_k N(x; μ_k, Σ_k) on D coordinates.

    Args:
        weights: (K,), at least 0, summing to one.
        means: (K, D).
        covariances: (K, D, D), symmetric. They must be positive definite for samples and
            densities, but not for moments, marginals and projections.

    Raises:
        GaussianError: the shapes do not fit, a dtype is not float64, a weight is negative, the
            weights do not sum to 1, or a covariance is not symmetric.
    """

    def __init__(
        self,
        weights: Float64[Tensor, " K"],
        means: Float64[Tensor, "K D"],
        covariances: Float64[Tensor, "K D D"],
    ):
        _check(weights, means, covariances)
        self.weights = weights
        self.means = means
        self.covariances = covariances

    @property
    def dimension(self) -> int:
        """D, the number of coordinates."""
        return self.means.shape[1]

    @property
    def mean(self) -> Float64[Tensor, " D"]:
        """E x over the whole mixture."""
        return _overall_mean(self.weights, self.means)

    def sample(self, num: int, rng: torch.Generator) -> Float64[Tensor, "N D"]:
        """Draw ``num`` points; ``rng`` is on the mixture's device.

        Raises:
            GaussianError: a covariance is not positive definite.
        """
        weights = self.weights.expand(1, -1)
        return _sample(weights, self.means[None], self._factors, num, rng)[0]

    def log_density(self, x: Float64[Tensor, "N D"]) -> Float64[Tensor, " N"]:
        """log p(x), in nats.

        Raises:
            GaussianError: a covariance is not positive definite.
        """
        return _log_sum(self.weights.log(), self.component_log_densities(x))

    def component_log_densities(self, x: Float64[Tensor, "N D"]) -> Float64[Tensor, "N K"]:
        """log N(x; μ_k, Σ_k) of each component, without its weight.

        Raises:
            GaussianError: a covariance is not positive definite.
        """
        return _normal_log_densities(x[:, None] - self.means, self._factors)

    def on_lines(self, directions: Float64[Tensor, "B D"]) -> LineMixtures:
        """The distributions of uᵀx for B directions u."""
        half = torch.einsum("bd,kde->bke", directions, self.covariances)
        return LineMixtures(
            self.weights.log().expand(len(directions), -1),
            directions @ self.means.T,
            torch.einsum("bkd,bd->bk", half, directions),
        )

    def covariances_between(
        self, one: Float64[Tensor, "B D"], other: Float64[Tensor, "B D"]
    ) -> Float64[Tensor, "B K"]:
        """Cov[uᵀx, vᵀx] within each component, for B pairs of directions u and v."""
        return torch.einsum("bd,kde,be->bk", one, self.covariances, other)

    def marginal(self, indices: Sequence[int] | Int64[Tensor, " d"]) -> GaussianMixture:
        """The distribution of some coordinates, in the given order.

        Raises:
            GaussianError: an index is out of range or repeated.
        """
        (chosen,) = self._indices(indices)
        covariances = self.covariances[:, chosen[:, None], chosen]
        return GaussianMixture(self.weights, self.means[:, chosen], covariances)

    def conditional(
        self,
        target: Sequence[int] | Int64[Tensor, " T"],
        source: Sequence[int] | Int64[Tensor, " S"],
    ) -> ConditionalMixture:
        """The distribution of the target given the source; other coordinates are marginalized out.

        An empty source gives the marginal of the target.

        Raises:
            GaussianError: the target is empty, an index is out of range or repeated, or the
                source's covariance is not positive definite.
        """
        chosen_target, chosen_source = self._indices(target, source)
        if len(chosen_target) == 0:
            raise GaussianError("the target is empty: name at least one target coordinate")
        return ConditionalMixture(self, chosen_target, chosen_source)

    @cached_property
    def _factors(self) -> Float64[Tensor, "K D D"]:
        return _cholesky(self.covariances)

    def _indices(self, *groups: Sequence[int] | Tensor) -> list[Tensor]:
        """Each group as a tensor; no coordinate may be repeated within or across groups."""
        device = self.means.device
        tensors = [torch.as_tensor(g, dtype=torch.int64, device=device) for g in groups]
        together = torch.cat(tensors)
        if not bool(((together >= 0) & (together < self.dimension)).all()):
            raise GaussianError(
                f"coordinates must lie in 0 to {self.dimension - 1}, not {together.tolist()}"
            )
        if len(together.unique()) < len(together):
            raise GaussianError(f"coordinates must be distinct, not {together.tolist()}")
        return tensors


class ConditionalMixture:
    """p(x_T | x_S) of a mixture, for N sources x_S at a time.

    Use :meth:`GaussianMixture.conditional` to make one.

    Attributes:
        covariances: (K, T, T), those of the components; they do not depend on the source.
    """

    def __init__(
        self,
        joint: GaussianMixture,
        target: Int64[Tensor, " T"],
        source: Int64[Tensor, " S"],
    ):
        self._source = joint.marginal(source)
        self._target_means = joint.means[:, target]
        cross = joint.covariances[:, target[:, None], source]  # (K, T, S)
        solved = torch.cholesky_solve(cross.mT, self._source._factors)  # (K, S, T)
        self._gain = solved.mT  # Σ_TS Σ_SS⁻¹, (K, T, S)
        own = joint.covariances[:, target[:, None], target]
        self.covariances: Float64[Tensor, "K T T"] = _symmetric(own - cross @ solved)

    def weights(self, x_source: Float64[Tensor, "N S"]) -> Float64[Tensor, "N K"]:
        """p(k | x_S), the weight of each component given the source."""
        return self._log_weights(x_source).exp()

    def means(self, x_source: Float64[Tensor, "N S"]) -> Float64[Tensor, "N K T"]:
        """The mean of each component given the source."""
        difference = x_source[:, None] - self._source.means  # (N, K, S)
        return self._target_means + torch.einsum("kts,nks->nkt", self._gain, difference)

    def mean(self, x_source: Float64[Tensor, "N S"]) -> Float64[Tensor, "N T"]:
        """E[x_T | x_S] of the whole mixture."""
        return _overall_mean(self.weights(x_source), self.means(x_source))

    def covariance(self, x_source: Float64[Tensor, "N S"]) -> Float64[Tensor, "N T T"]:
        """Cov[x_T | x_S] of the whole mixture."""
        return _overall_covariance(self.weights(x_source), self.means(x_source), self.covariances)

    def sample(
        self, x_source: Float64[Tensor, "N S"], draws: int, rng: torch.Generator
    ) -> Float64[Tensor, "N draws T"]:
        """Draw ``draws`` targets for each source; ``rng`` is on the mixture's device."""
        weights, means = self.weights(x_source), self.means(x_source)
        return _sample(weights, means, self._factors, draws, rng)

    def log_density(
        self, x_target: Float64[Tensor, "N T"], x_source: Float64[Tensor, "N S"]
    ) -> Float64[Tensor, " N"]:
        """log p(x_T | x_S), in nats."""
        difference = x_target[:, None] - self.means(x_source)  # (N, K, T)
        densities = _normal_log_densities(difference, self._factors)
        return _log_sum(self._log_weights(x_source), densities)

    def responsibilities(
        self, x_target: Float64[Tensor, "N draws T"], x_source: Float64[Tensor, "N S"]
    ) -> Float64[Tensor, "N draws K"]:
        """p(k | x_T, x_S), the weight of each component given the target and the source."""
        difference = x_target[:, :, None] - self.means(x_source)[:, None]  # (N, draws, K, T)
        densities = _normal_log_densities(difference.flatten(0, 1), self._factors)
        densities = densities.view(*x_target.shape[:2], -1)
        return (self._log_weights(x_source)[:, None] + densities).softmax(dim=-1)

    def _log_weights(self, x_source: Tensor) -> Float64[Tensor, "N K"]:
        explained = self._source.component_log_densities(x_source)
        return (self._source.weights.log() + explained).log_softmax(dim=1)

    @cached_property
    def _factors(self) -> Float64[Tensor, "K T T"]:
        return _cholesky(self.covariances)


@dataclass(frozen=True)
class LineMixtures:
    """A batch of mixtures on the real line, Σ_k w_k N(y; m_k, v_k).

    Attributes:
        log_weights: (*B, K), logarithms of weights that sum to one.
        means: (*B, K).
        variances: (*B, K), above 0 for densities.
    """

    log_weights: Float64[Tensor, "*B K"]
    means: Float64[Tensor, "*B K"]
    variances: Float64[Tensor, "*B K"]

    def log_density(self, y: Float64[Tensor, "*B N"]) -> Float64[Tensor, "*B N"]:
        """log p(y), in nats."""
        terms = _line_log_densities(y, self.means, self.variances)
        return (terms + self.log_weights[..., None, :]).logsumexp(dim=-1)

    def add_noise(self, variance: float) -> LineMixtures:
        """The distributions of y + √variance ε with standard normal ε."""
        return LineMixtures(self.log_weights, self.means, self.variances + variance)

    def detach(self) -> LineMixtures:
        """The same distributions without gradients."""
        parts = (self.log_weights, self.means, self.variances)
        return LineMixtures(*(part.detach() for part in parts))

    def sample(self, num: int, rng: torch.Generator) -> Float64[Tensor, "*B N"]:
        """Draw ``num`` points from each mixture, differentiable given their component and noise."""
        batch, components = self.means.shape[:-1], self.means.shape[-1]
        weights = self.log_weights.detach().exp().reshape(-1, components)
        chosen = torch.multinomial(weights, num, replacement=True, generator=rng)
        chosen = chosen.reshape(*batch, num)
        noise = torch.randn(chosen.shape, generator=rng, dtype=torch.float64, device=chosen.device)
        return self.means.gather(-1, chosen) + self.variances.gather(-1, chosen).sqrt() * noise

    def conditional(
        self,
        source: LineMixtures,
        covariances: Float64[Tensor, "*B K"],
        y_source: Float64[Tensor, "*B N"],
    ) -> LineMixtures:
        """The distributions (*B, N, K) of y given N values of another coordinate.

        Args:
            source: the distributions of the other coordinate, from the same mixtures.
            covariances: between y and the other coordinate, within each component.
            y_source: the values of the other coordinate.
        """
        explained = _line_log_densities(y_source, source.means, source.variances)
        gain = covariances / source.variances
        difference = y_source[..., None] - source.means[..., None, :]
        means = self.means[..., None, :] + gain[..., None, :] * difference
        variances = (self.variances - gain * covariances)[..., None, :].expand_as(means)
        log_weights = (source.log_weights[..., None, :] + explained).log_softmax(dim=-1)
        return LineMixtures(log_weights, means, variances)


def equal_mixture(means: Float64[Tensor, "K D"], variance: float) -> GaussianMixture:
    """K Gaussians of equal weight, each with covariance ``variance`` I."""
    count, dimension = means.shape
    weights = torch.full((count,), 1 / count, dtype=torch.float64)
    covariance = variance * torch.eye(dimension, dtype=torch.float64)
    return GaussianMixture(weights, means, covariance.repeat(count, 1, 1))


def _line_log_densities(y: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """log N(y; m_k, v_k), (*B, N, K) for y (*B, N) and components (*B, K)."""
    difference = y[..., None] - means[..., None, :]
    precision = -0.5 / variances
    constant = 0.5 * (2 * math.pi * variances).log()
    return precision[..., None, :] * difference.square() - constant[..., None, :]


def _check(weights: Tensor, means: Tensor, covariances: Tensor) -> None:
    shapes = [tuple(t.shape) for t in (weights, means, covariances)]
    if means.ndim != 2 or shapes != [(len(means),), shapes[1], (*shapes[1], shapes[1][1])]:
        raise GaussianError(
            "weights (K,), means (K, D) and covariances (K, D, D) are expected, not "
            f"{' and '.join(map(str, shapes))}"
        )
    if any(t.dtype != torch.float64 for t in (weights, means, covariances)):
        raise GaussianError(
            "weights, means and covariances must be float64, not "
            f"{' and '.join(str(t.dtype) for t in (weights, means, covariances))}"
        )
    if not bool((weights >= 0).all()) or abs(float(weights.detach().sum()) - 1) > WEIGHTS_TOLERANCE:
        raise GaussianError(f"weights must be at least 0 and sum to one, not {weights.tolist()}")
    asymmetric = ~torch.isclose(covariances, covariances.mT).all(dim=(1, 2))
    if asymmetric.any():
        component = int(asymmetric.nonzero()[0])
        raise GaussianError(f"the covariance of component {component} must be symmetric")


def _symmetric(matrices: Tensor) -> Tensor:
    """Remove the rounding errors that make a product of matrices asymmetric."""
    return (matrices + matrices.mT) / 2


def _cholesky(covariances: Float64[Tensor, "K D D"]) -> Float64[Tensor, "K D D"]:
    factors, info = torch.linalg.cholesky_ex(covariances)
    if bool((info > 0).any()):
        bad = info.nonzero()[0].item()
        raise GaussianError(f"the covariance of component {bad} is not positive definite")
    return factors


def _normal_log_densities(
    difference: Float64[Tensor, "N K D"], factors: Float64[Tensor, "K D D"]
) -> Float64[Tensor, "N K"]:
    """log N(difference; 0, L Lᵀ) for the Cholesky factors L."""
    white = torch.linalg.solve_triangular(factors, difference.permute(1, 2, 0), upper=False)
    log_determinants = factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)  # of L, (K,)
    constant = log_determinants + 0.5 * math.log(2 * math.pi) * difference.shape[-1]
    return -0.5 * white.square().sum(dim=1).T - constant


def _log_sum(log_weights: Tensor, log_densities: Tensor) -> Tensor:
    return (log_weights + log_densities).logsumexp(dim=-1)


def _overall_mean(
    weights: Float64[Tensor, "*N K"], means: Float64[Tensor, "*N K D"]
) -> Float64[Tensor, "*N D"]:
    return (weights[..., None] * means).sum(dim=-2)


def _overall_covariance(
    weights: Float64[Tensor, "*N K"],
    means: Float64[Tensor, "*N K D"],
    covariances: Float64[Tensor, "K D D"],
) -> Float64[Tensor, "*N D D"]:
    """Σ_k w_k (Σ_k + (μ_k - μ)(μ_k - μ)ᵀ)."""
    centered = means - _overall_mean(weights, means)[..., None, :]
    between = (weights[..., None] * centered).mT @ centered
    return torch.einsum("...k,kde->...de", weights, covariances) + between


def _sample(
    weights: Float64[Tensor, "N K"],
    means: Float64[Tensor, "N K D"],
    factors: Float64[Tensor, "K D D"],
    draws: int,
    rng: torch.Generator,
) -> Float64[Tensor, "N draws D"]:
    """Draw a component, then add its Cholesky factor times standard normal noise to its mean."""
    component = torch.multinomial(weights, draws, replacement=True, generator=rng)
    shape = (*component.shape, means.shape[-1])
    noise = torch.randn(shape, generator=rng, dtype=means.dtype, device=means.device)
    result = means.gather(1, component[..., None].expand(shape))
    for number, factor in enumerate(factors):
        result = result + torch.where((component == number)[..., None], noise, 0.0) @ factor.T
    return result
