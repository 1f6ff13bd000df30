"""Data, model, tasks, objectives and metrics of the two simulations with Gaussian mixtures.

Cong and Zhao, *Big Learning* (2022), fit a mixture to a mixture by reverse KL. In the joint domain
the fit gets stuck; in many transformed domains it does not. A task here is a rotation of the plane,
y = A x, and a choice of source and target coordinates:

- joint: both coordinates are targets, KL(q(x) ‖ p(x));
- marginal: y₁ is the target, and y₂ is marginalized out, KL(q(y₁) ‖ p(y₁));
- conditional: y₁ given y₂, with sources from the data, E_{p(y₂)} KL(q(y₁|y₂) ‖ p(y₁|y₂)).

p is the distribution of the data, q that of the model. A task can also blur both distributions with
isotropic normal noise, which keeps every closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.gaussian_mixture import GaussianMixture, LineMixtures, equal_mixture

SAMPLES = 100
"""Reparameterized samples in a sampled objective, as in the released script."""

SOURCES = 4
"""Sources y₂ per rotation in an exact conditional objective."""

LINE_LIMIT = 12.0
"""Quadrature on lines runs from minus to plus this, and covers both distributions."""

NODES = 5
"""Gauss-Hermite nodes per axis and component in the exact joint objective."""

COVERED_WITHIN = 3 * 0.05**0.5
"""A mode is covered if a mean of the model is within three standard deviations, 0.67."""


class TaskKind(StrEnum):
    """Which coordinates of the rotated plane are targets and sources."""

    joint = "joint"
    marginal = "marginal"
    conditional = "conditional"


def grid_data() -> GaussianMixture:
    """25 equal Gaussians with means {-4, -2, 0, 2, 4}² and covariance 0.05 I."""
    return gaussian_field("grid", (1, 2))


def two_data() -> GaussianMixture:
    """Two equal Gaussians with means (±1, 0) and covariance 0.1 I."""
    return equal_mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64), 0.1)


class EqualMixture(nn.Module):
    """The model: K Gaussians of equal fixed weights, with free means and covariances.

    A covariance is L Lᵀ with L lower triangular; the parameters hold the logarithm of its diagonal.
    All means start at (-5, -5) + 0.1 N(0, I), all covariances at I, as in the released script.
    """

    def __init__(self, components: int, rng: torch.Generator):
        super().__init__()
        noise = torch.randn(components, 2, generator=rng, dtype=torch.float64)
        self.means = nn.Parameter(0.1 * noise - 5)
        self.log_diagonal = nn.Parameter(torch.zeros(components, 2, dtype=torch.float64))
        self.lower = nn.Parameter(torch.zeros(components, dtype=torch.float64))
        self.register_buffer("weights", torch.full_like(self.lower.detach(), 1 / components))

    def factors(self) -> Float64[Tensor, "K 2 2"]:
        """L of every component."""
        below = torch.stack([torch.zeros_like(self.lower), self.lower], dim=1)
        first, second = self.log_diagonal.exp().unbind(dim=1)
        return torch.stack(
            [torch.stack([first, below[:, 0]], 1), torch.stack([below[:, 1], second], 1)], dim=1
        )

    def share_shape_gradients(self) -> None:
        """Replace the gradients of all covariances by their mean over the components."""
        for parameter in (self.log_diagonal, self.lower):
            assert parameter.grad is not None
            parameter.grad = parameter.grad.mean(dim=0, keepdim=True).expand_as(parameter).clone()

    def mixture(self) -> GaussianMixture:
        """The distribution of the model, differentiable in its parameters."""
        factors = self.factors()
        assert isinstance(self.weights, Tensor)
        return GaussianMixture(self.weights, self.means, factors @ factors.mT)


@dataclass(frozen=True)
class RotatedTask:
    """What one step matches.

    Attributes:
        kind: which coordinates are targets and sources.
        angles: (B,), rotations in radians over which the objective is averaged; the joint task
            does not depend on them.
        noise: variance of the blur of both distributions.
    """

    kind: TaskKind
    angles: Float64[Tensor, " B"]
    noise: float = 0.0

    @property
    def target_directions(self) -> Float64[Tensor, "B 2"]:
        """The first row of every rotation A, which gives y₁."""
        return torch.stack([self.angles.cos(), self.angles.sin()], dim=1)

    @property
    def source_directions(self) -> Float64[Tensor, "B 2"]:
        """The second row of every rotation A, which gives y₂."""
        return torch.stack([-self.angles.sin(), self.angles.cos()], dim=1)


def exact_objective(
    model: EqualMixture, data: GaussianMixture, task: RotatedTask, rng: torch.Generator
) -> Float64[Tensor, ""]:
    """The reverse KL of a task in nats, without sampling noise in the targets.

    Marginals and conditionals use the trapezoidal rule on the line, which converges exponentially
    for Gaussians (steps are below half a standard deviation of the blurred data). Conditionals are
    averaged over ``SOURCES`` sources drawn from the data. The joint task uses Gauss-Hermite nodes
    in each component, and its gradient is the path derivative. Only there does the value differ
    from its limit: by some percent if a Gaussian of the model spans several of the data, and not at
    the end of a fit.
    """
    if task.kind is TaskKind.joint:
        nodes, weights = _hermite(NODES)
        return _joint_objective(model, data, task, nodes.expand(len(model.means), -1, -1), weights)
    model_lines, data_lines = _lines(model.mixture(), data, task, rng, SOURCES)
    step = 0.45 * math.sqrt(float(data.covariances[0, 0, 0]) + task.noise)
    return reverse_kl_on_lines(model_lines, data_lines, line_grid(LINE_LIMIT, step)).mean()


def sampled_objective(
    model: EqualMixture, data: GaussianMixture, task: RotatedTask, rng: torch.Generator
) -> Float64[Tensor, ""]:
    """The reverse KL of a task in nats, from ``SAMPLES`` reparameterized samples.

    The gradient is the path derivative (Roeder et al. 2017, *Sticking the Landing*): the parameters
    of the model's log density get no gradient. Conditionals draw as many sources from the data, and
    sum over the components given each source, whose weights depend on the model.
    """
    count = SAMPLES // len(task.angles)
    if task.kind is TaskKind.joint:
        chosen = torch.randint(len(model.means), (SAMPLES,), generator=rng)
        noise = torch.randn(SAMPLES, 1, 2, generator=rng, dtype=torch.float64)
        weights = torch.ones(1, dtype=torch.float64)
        return _joint_objective(model, data, task, noise, weights, chosen)
    model_lines, data_lines = _lines(model.mixture(), data, task, rng, count)
    if task.kind is TaskKind.marginal:
        y = model_lines.sample(count, rng)
        return (model_lines.detach().log_density(y) - data_lines.log_density(y)).mean()
    noise = torch.randn(model_lines.means.shape, generator=rng, dtype=torch.float64)
    y = model_lines.means + model_lines.variances.sqrt() * noise  # one for each component
    ratios = model_lines.detach().log_density(y) - data_lines.log_density(y)
    return (model_lines.log_weights.exp() * ratios).sum(dim=-1).mean()


def _lines(
    model: GaussianMixture,
    data: GaussianMixture,
    task: RotatedTask,
    rng: torch.Generator,
    sources: int,
) -> tuple[LineMixtures, LineMixtures]:
    """The distributions of y₁ under the task: (B, K), or given sources (B, sources, K)."""
    u, v = task.target_directions, task.source_directions
    lines = [mixture.on_lines(u).add_noise(task.noise) for mixture in (model, data)]
    if task.kind is TaskKind.conditional:
        source_lines = [mixture.on_lines(v).add_noise(task.noise) for mixture in (model, data)]
        y2 = source_lines[1].sample(sources, rng)
        lines = [
            line.conditional(source, mixture.covariances_between(u, v), y2)
            for line, source, mixture in zip(lines, source_lines, (model, data), strict=True)
        ]
    return lines[0], lines[1]


def _joint_objective(
    model: EqualMixture,
    data: GaussianMixture,
    task: RotatedTask,
    noise: Float64[Tensor, "M N 2"],
    weights: Float64[Tensor, " N"],
    chosen: Tensor | None = None,
) -> Tensor:
    """E_q[log q - log p] from N nodes or samples in each of M components (all, or those chosen)."""
    means: Tensor = model.means
    factors = model.factors()
    if task.noise:
        blur = task.noise * torch.eye(2, dtype=torch.float64)
        factors = torch.linalg.cholesky(factors @ factors.mT + blur)
        data = GaussianMixture(data.weights, data.means, data.covariances + blur)
    constant = factors.detach()
    q = GaussianMixture(model.mixture().weights, means.detach(), constant @ constant.mT)
    if chosen is not None:
        means, factors = means[chosen], factors[chosen]
    x = (means[:, None] + noise @ factors.mT).flatten(0, 1)
    ratios = (q.log_density(x) - data.log_density(x)).unflatten(0, noise.shape[:2])
    return (ratios @ weights).mean()


@cache
def _hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes (N², 2) and weights (N²,) for the mean over a standard normal in the plane."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    x, w = torch.from_numpy(points), torch.from_numpy(weights / weights.sum())
    return torch.cartesian_prod(x, x), torch.outer(w, w).flatten()


def line_grid(limit: float, step: float) -> Float64[Tensor, " N"]:
    """Equidistant points at most ``step`` apart, from -limit to limit."""
    return torch.linspace(-limit, limit, math.ceil(2 * limit / step) + 1, dtype=torch.float64)


def reverse_kl_on_lines(
    model: LineMixtures, data: LineMixtures, y: Float64[Tensor, " N"]
) -> Float64[Tensor, "*B"]:
    """KL(q ‖ p) in nats by the trapezoidal rule on equidistant points.

    This integrates q log(q/p) - q + p. It is KL(q ‖ p) if the points cover both distributions, and
    at least 0 otherwise, so that the model gains nothing by leaving the points.
    """
    log_q = model.log_density(y.expand(*model.means.shape[:-1], -1))
    log_p = data.log_density(y.expand(*data.means.shape[:-1], -1))
    return _divergence(log_q, log_p).sum(dim=-1) * (y[1] - y[0])


def _divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    q = log_q.exp()
    return q * (log_q - log_p) - q + log_p.exp()


class PlaneGrid:
    """Both KL divergences between a model and the data, by quadrature on a square of points.

    The points in [-10, 10]² are 0.125 apart: half a standard deviation of the data's Gaussians.
    """

    def __init__(self, data: GaussianMixture):
        axis = line_grid(10.0, 0.125)
        self._cell = float(axis[1] - axis[0]) ** 2
        self._x = torch.cartesian_prod(axis, axis)
        self._log_p = data.log_density(self._x)

    def divergences(self, model: GaussianMixture) -> tuple[float, float]:
        """KL(model ‖ data) and KL(data ‖ model) in nats."""
        log_q = model.log_density(self._x)
        reverse = _divergence(log_q, self._log_p).sum() * self._cell
        forward = _divergence(self._log_p, log_q).sum() * self._cell
        return float(reverse), float(forward)


@dataclass(frozen=True)
class ModeStatistics:
    """How samples are spread over the modes of an equal mixture of Gaussians with covariance v I.

    Attributes:
        covered: number of modes with a sample within three standard deviations.
        good_share: share of samples within three standard deviations of a mode; for exact samples
            in two dimensions 1 - exp(-9/2) = 0.989.
        histogram_kl: KL(histogram ‖ uniform) in nats of the nearest mode of every sample.
    """

    covered: int
    good_share: float
    histogram_kl: float


def mode_statistics(x: Float64[Tensor, "N D"], data: GaussianMixture) -> ModeStatistics:
    """Count samples at the modes of ``data``, an equal mixture of equal round Gaussians."""
    distances, nearest = torch.cdist(x, data.means).min(dim=1)
    good = distances < 3 * data.covariances[0, 0, 0].sqrt()
    counts = nearest.bincount(minlength=len(data.means))
    shares = counts.double() / len(x)
    kl = torch.special.xlogy(shares, shares * len(shares)).sum()
    return ModeStatistics(
        covered=len(nearest[good].unique()),
        good_share=float(good.double().mean()),
        histogram_kl=float(kl),
    )


def modes_covered(means: Float64[Tensor, "K D"], modes: Float64[Tensor, "M D"]) -> int:
    """Number of modes with a mean of the model within ``COVERED_WITHIN``."""
    return int((torch.cdist(modes, means).amin(dim=1) < COVERED_WITHIN).sum())
