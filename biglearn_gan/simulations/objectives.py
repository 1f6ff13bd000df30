"""Two simulations of big learning on Gaussian mixtures: data, model, tasks, objectives, measures.

Cong and Zhao, *Big Learning* (2022): a mixture is fitted to a mixture by reverse KL, once in the
joint domain, where it gets stuck, and once in many transformed domains, where it does not. A task
here is a rotation of the plane, y = A x, and which of its coordinates are source and target:

- joint: both are targets, KL(q(x) ‖ p(x));
- marginal: y₁ alone, KL(q(y₁) ‖ p(y₁)), the source y₂ marginalized out;
- conditional: y₁ given y₂, with sources from the data: E_{p(y₂)} KL(q(y₁|y₂) ‖ p(y₁|y₂)).

p is the data's law, q the model's. A task can also look through a blur: both laws with isotropic
normal noise added, which keeps every closed form.
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
"""Reparameterized samples of one sampled objective, as in the released script."""

SOURCES = 4
"""Sources y₂ for each rotation of an exact conditional objective."""

REACH = 12.0
"""Quadrature on lines runs from minus to plus this: both laws lie within."""

NODES = 5
"""Gauss-Hermite nodes for each axis of a component in the exact joint objective."""

COVERED_WITHIN = 3 * 0.05**0.5
"""A mode is covered where a mean of the model lies within three standard deviations, 0.67."""


class TaskKind(StrEnum):
    """Which coordinates of a rotated plane are targets, and which are sources."""

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

    A covariance is L Lᵀ with L lower triangular and a positive diagonal, kept as its logarithm.
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
        """Give every component the mean of the gradients of all covariances' parameters."""
        for parameter in (self.log_diagonal, self.lower):
            assert parameter.grad is not None
            parameter.grad = parameter.grad.mean(dim=0, keepdim=True).expand_as(parameter).clone()

    def mixture(self) -> GaussianMixture:
        """The law of the model, differentiable in its parameters."""
        factors = self.factors()
        assert isinstance(self.weights, Tensor)
        return GaussianMixture(self.weights, self.means, factors @ factors.mT)


@dataclass(frozen=True)
class Task:
    """What is matched in one step.

    Attributes:
        kind: which coordinates are targets and sources.
        angles: (B,), rotations in radians, over which the objective is averaged; the joint task
            is the same under all of them.
        noise: variance of the blur that both laws are seen through.
    """

    kind: TaskKind
    angles: Float64[Tensor, " B"]
    noise: float = 0.0

    @property
    def target_directions(self) -> Float64[Tensor, "B 2"]:
        """The first row of every rotation A, that of y₁."""
        return torch.stack([self.angles.cos(), self.angles.sin()], dim=1)

    @property
    def source_directions(self) -> Float64[Tensor, "B 2"]:
        """The second row of every rotation A, that of y₂."""
        return torch.stack([-self.angles.sin(), self.angles.cos()], dim=1)


def exact_objective(
    model: EqualMixture, data: GaussianMixture, task: Task, rng: torch.Generator
) -> Float64[Tensor, ""]:
    """A task's reverse KL in nats without sampling noise in the targets.

    Marginals and conditionals by the trapezoidal rule on the line, which converges exponentially
    for Gaussians (steps stay below half a standard deviation of the blurred data); conditionals for
    ``SOURCES`` sources drawn from the data. The joint by Gauss-Hermite nodes in each component:
    only there the number differs from its limit (by some per cent where Gaussians of the model
    straddle several of the data, by nothing at the end), and its gradient is the path derivative.
    """
    if task.kind is TaskKind.joint:
        nodes, weights = _hermite(NODES)
        return _joint_objective(model, data, task, nodes.expand(len(model.means), -1, -1), weights)
    model_lines, data_lines = _lines(model.mixture(), data, task, rng, SOURCES)
    step = 0.45 * math.sqrt(float(data.covariances[0, 0, 0]) + task.noise)
    return reverse_kl_on_lines(model_lines, data_lines, line_grid(REACH, step)).mean()


def sampled_objective(
    model: EqualMixture, data: GaussianMixture, task: Task, rng: torch.Generator
) -> Float64[Tensor, ""]:
    """A task's reverse KL in nats, from ``SAMPLES`` reparameterized samples.

    The gradient is the path derivative (Roeder et al. 2017, *Sticking the Landing*): the model's
    own log density gets none through its parameters. Conditionals have as many sources from the
    data, and sum over the components given each, whose weights depend on the model.
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
    task: Task,
    rng: torch.Generator,
    sources: int,
) -> tuple[LineMixtures, LineMixtures]:
    """The laws of y₁ under the task: (B, K), or given sources (B, sources, K)."""
    u, v = task.target_directions, task.source_directions
    laws = [mixture.on_lines(u).add_noise(task.noise) for mixture in (model, data)]
    if task.kind is TaskKind.conditional:
        source_laws = [mixture.on_lines(v).add_noise(task.noise) for mixture in (model, data)]
        given = source_laws[1].sample(sources, rng)
        laws = [
            law.conditional(source, mixture.covariances_between(u, v), given)
            for law, source, mixture in zip(laws, source_laws, (model, data), strict=True)
        ]
    return laws[0], laws[1]


def _joint_objective(
    model: EqualMixture,
    data: GaussianMixture,
    task: Task,
    noise: Float64[Tensor, "M N 2"],
    weights: Float64[Tensor, " N"],
    chosen: Tensor | None = None,
) -> Tensor:
    """E_q[log q - log p] by nodes or samples, N in each of M components (all, or those chosen)."""
    means: Tensor = model.means
    factors = model.factors()
    if task.noise:
        blur = task.noise * torch.eye(2, dtype=torch.float64)
        factors = torch.linalg.cholesky(factors @ factors.mT + blur)
        data = GaussianMixture(data.weights, data.means, data.covariances + blur)
    still = factors.detach()
    law = GaussianMixture(model.mixture().weights, means.detach(), still @ still.mT)
    if chosen is not None:
        means, factors = means[chosen], factors[chosen]
    x = (means[:, None] + noise @ factors.mT).flatten(0, 1)
    ratios = (law.log_density(x) - data.log_density(x)).unflatten(0, noise.shape[:2])
    return (ratios @ weights).mean()


@cache
def _hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes (N², 2) and weights (N²,) of the mean over a standard normal in the plane."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    x, w = torch.from_numpy(points), torch.from_numpy(weights / weights.sum())
    return torch.cartesian_prod(x, x), torch.outer(w, w).flatten()


def line_grid(reach: float, step: float) -> Float64[Tensor, " N"]:
    """Points at most ``step`` apart from -reach to reach."""
    return torch.linspace(-reach, reach, math.ceil(2 * reach / step) + 1, dtype=torch.float64)


def reverse_kl_on_lines(
    model: LineMixtures, data: LineMixtures, y: Float64[Tensor, " N"]
) -> Float64[Tensor, "*B"]:
    """KL(q ‖ p) in nats by the trapezoidal rule on equidistant points.

    Integrates q log(q/p) - q + p, which is KL(q ‖ p) where the points hold all of both laws, and
    stays at least 0 where they do not: leaving the points would not pay.
    """
    log_q = model.log_density(y.expand(*model.means.shape[:-1], -1))
    log_p = data.log_density(y.expand(*data.means.shape[:-1], -1))
    return _divergence(log_q, log_p).sum(dim=-1) * (y[1] - y[0])


def _divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    q = log_q.exp()
    return q * (log_q - log_p) - q + log_p.exp()


class PlaneGrid:
    """Both KL divergences of a model from the data, by quadrature on a square of points.

    Points lie 0.125 apart in [-10, 10]²: half a standard deviation of the data's Gaussians.
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
    """How samples fall on the modes of an equal mixture of Gaussians with covariance v I.

    Attributes:
        covered: modes with a sample within three standard deviations.
        good_share: share of samples within three standard deviations of a mode; 1 - exp(-9/2) =
            0.989 of the mixture's own in two dimensions.
        histogram_kl: KL(histogram ‖ uniform) in nats of the nearest mode of each sample, good or
            not.
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
    """How many modes have a mean of the model within ``COVERED_WITHIN``."""
    return int((torch.cdist(modes, means).amin(dim=1) < COVERED_WITHIN).sum())
