"""Two Gaussians fitted to two Gaussians: what every task's reverse KL looks like, and who gets out.

The model is the data's family with the first coordinates (a, b) of the two means left free, so a
task's objective is a surface over the plane of (a, b). Global minima are (1, -1) and (-1, 1). In
the joint domain there are others, with both means on one mode (Cong and Zhao, *Big Learning*,
2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from biglearn_gan.gaussian_mixture import LineMixtures
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.simulations.objectives import TaskKind, line_grid, reverse_kl_on_lines, two_data

VARIANCE = 0.1
"""Of every Gaussian, in every direction."""

SIDE = 2.0
"""Surfaces run from minus to plus this in a and in b."""

DEGREES = tuple(range(0, 180, 15))
"""Rotations of the marginal and conditional tasks."""

REACH = 4.0
STEP = 0.15
"""Quadrature in y: half a standard deviation, out to six of them from the farthest mean."""

CHUNK = 1000
"""Models whose conditionals are integrated at once."""

FLAT = 1e-9
"""Differences below this, in nats, are rounding: a flat surface has no minima."""

NEAR = 0.1
"""How near (a, b) must be to a global minimum to count as there."""


@dataclass(frozen=True)
class Surface:
    """The objective of one task, or a sum of tasks, over (a, b).

    Attributes:
        name: ``joint``, ``marginal 45``, ``conditional 45``, or ``sum of ...``.
        axis: (N,), the values of a and b.
        values: (N, N), in nats, first a, then b.
    """

    name: str
    axis: Float64[Tensor, " N"]
    values: Float64[Tensor, "N N"]

    def minima(self) -> Float64[Tensor, "M 3"]:
        """Every strict local minimum that is not at the border, with a >= b: a, b and the value.

        Exchanging the two means changes nothing, so each stands for its mirror image too.
        """
        inner = self.values[1:-1, 1:-1]
        size = len(self.axis) - 2
        lowest = torch.ones_like(inner, dtype=torch.bool)
        for down in range(3):
            for right in range(3):
                if (down, right) != (1, 1):
                    around = self.values[down : down + size, right : right + size]
                    lowest &= inner < around - FLAT
        a, b = (lowest.tril().nonzero() + 1).unbind(dim=1)
        return torch.stack([self.axis[a], self.axis[b], self.values[a, b]], dim=1)

    def spurious_minima(self) -> Float64[Tensor, "M 3"]:
        """Those minima that are not global ones."""
        minima = self.minima()
        return minima[~solved(minima[:, :2])]


def solved(means: Float64[Tensor, "N 2"]) -> Tensor:
    """Whether (a, b) lies within ``NEAR`` of (1, -1) or (-1, 1)."""
    target = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    return torch.cdist(means, target).amin(dim=1) < NEAR


def objective(kind: TaskKind, degrees: int, means: Float64[Tensor, "M 2"]) -> Float64[Tensor, " M"]:
    """A task's reverse KL in nats for M models (a, b), by quadrature and differentiable.

    The joint is the marginal of x₁, because the second coordinate of model and data is the same
    and independent of the first.
    """
    angle = math.radians(0.0 if kind is TaskKind.joint else degrees)
    y = line_grid(REACH, STEP)
    model = _line(math.cos(angle) * means)
    truth = two_data().means[:, 0][None]
    data = _line(math.cos(angle) * truth)
    if kind is not TaskKind.conditional:
        return reverse_kl_on_lines(model, data, y)
    source_data = _line(-math.sin(angle) * truth)
    source_model = _line(-math.sin(angle) * means)
    weights = source_data.log_density(y[None])[0].exp() * (y[1] - y[0])
    # The rotated covariances are still VARIANCE I: no component's y₁ and y₂ vary together.
    given_data = data.conditional(source_data, torch.zeros_like(truth), y[None])
    given_model = model.conditional(source_model, torch.zeros_like(means), y.expand(len(means), -1))
    return reverse_kl_on_lines(given_model, given_data, y) @ weights


def _line(means: Float64[Tensor, "M 2"]) -> LineMixtures:
    return LineMixtures(
        torch.full_like(means, math.log(0.5)), means, torch.full_like(means, VARIANCE)
    )


def tasks_of(choice: str) -> list[tuple[TaskKind, int]]:
    """The tasks (kind, degrees) of ``joint``, ``marginal``, ``conditional`` or ``big`` (all)."""
    joint = [(TaskKind.joint, 0)]
    marginal = [(TaskKind.marginal, degrees) for degrees in DEGREES]
    conditional = [(TaskKind.conditional, degrees) for degrees in DEGREES]
    lists: Mapping[str, list[tuple[TaskKind, int]]] = {
        "joint": joint,
        "marginal": marginal,
        "conditional": conditional,
        "big": joint + marginal + conditional,
    }
    return lists[choice]


def surfaces(
    tasks: Sequence[tuple[TaskKind, int]],
    points: int = 100,
    on_surface: Callable[[int], None] | None = None,
) -> list[Surface]:
    """The surface of every task, then that of each kind's sum, then that of the sum of all.

    Args:
        tasks: kinds and degrees.
        points: values of a and of b.
        on_surface: called with 1 after each task's surface.
    """
    axis = torch.linspace(-SIDE, SIDE, points, dtype=torch.float64)
    models = torch.cartesian_prod(axis, axis)
    single: list[tuple[TaskKind, Surface]] = []
    for kind, degrees in tasks:
        values = torch.cat([objective(kind, degrees, some) for some in models.split(CHUNK)])
        name = kind.value if kind is TaskKind.joint else f"{kind.value} {degrees}"
        single.append((kind, Surface(name, axis, values.view(points, points))))
        if on_surface is not None:
            on_surface(1)
    sums = []
    kinds = dict.fromkeys(kind for kind, _ in single)
    for each in kinds:
        chosen = [surface.values for kind, surface in single if kind is each]
        if len(chosen) > 1:
            sums.append(Surface(f"sum of {each.value}s", axis, torch.stack(chosen).sum(dim=0)))
    if len(kinds) > 1:
        everything = torch.stack([surface.values for _, surface in single]).sum(dim=0)
        sums.append(Surface("sum of all", axis, everything))
    return [surface for _, surface in single] + sums


@dataclass(frozen=True)
class Descent:
    """Models that went down from a grid of starts.

    Attributes:
        name: which tasks, and whether one after another or the mean of all.
        paths: (T, M, 2), (a, b) of M models at T times, the first at the start.
    """

    name: str
    paths: Float64[Tensor, "T M 2"]

    @property
    def share_solved(self) -> float:
        """Which share of the models ended at a global minimum."""
        return float(solved(self.paths[-1]).double().mean())


LEARNING_RATE = 0.05
DESCENT_STEPS = 600
STEPS_PER_TASK = 20
"""Of tasks in turn, as published; long enough to leave a trap."""
STARTS = 12


def starts() -> Float64[Tensor, "M 2"]:
    """A grid of starts from -1.9 to 1.9 whose means differ (from equal ones, they never part)."""
    one = torch.linspace(-1.9, 1.9, STARTS, dtype=torch.float64)
    return torch.cartesian_prod(one, one + 0.02)


@dataclass(frozen=True)
class Plan:
    """A descent that can be made: its name, its tasks, and the steps on each (None: their mean)."""

    name: str
    tasks: Sequence[tuple[TaskKind, int]]
    steps_per_task: int | None = None


def plans(choice: str) -> list[Plan]:
    """Down the joint alone, the mean of the marginals, and tasks in turn, as far as chosen.

    The mean of all conditionals is left out: it would take twelve of the dearest objectives a step.
    """
    marginals = tasks_of("marginal")
    found = [Plan("joint only", tasks_of("joint"))]
    if choice in ("marginal", "big"):
        found.append(Plan("mean of marginals", marginals))
        found.append(Plan("a marginal for every step", marginals, 1))
        found.append(Plan("marginals in turn", marginals, STEPS_PER_TASK))
    if choice in ("conditional", "big"):
        name = "all tasks in turn" if choice == "big" else "conditionals in turn"
        found.append(Plan(name, tasks_of(choice), STEPS_PER_TASK))
    return found


def descend(
    plan: Plan,
    seed: int,
    steps: int = DESCENT_STEPS,
    on_steps: Callable[[int], None] | None = None,
) -> Descent:
    """Gradient descent with exact gradients from every start.

    Args:
        plan: the tasks, drawn at random one after another, or their mean.
        seed: of the order of tasks.
        steps: gradient steps of ``LEARNING_RATE``.
        on_steps: called with 1 after each step.
    """
    order = _order(len(plan.tasks), steps, seed)
    means = starts()
    path = [means]
    for number in range(steps):
        here = means.detach().requires_grad_()
        chosen = list(plan.tasks)
        if plan.steps_per_task is not None:
            chosen = [plan.tasks[int(order[number // plan.steps_per_task])]]
        losses = [objective(kind, degrees, here).sum() for kind, degrees in chosen]
        (gradient,) = torch.autograd.grad(torch.stack(losses).mean(), here)
        means = here.detach() - LEARNING_RATE * gradient
        path.append(means)
        if on_steps is not None:
            on_steps(1)
    return Descent(plan.name, torch.stack(path))


def _order(tasks: int, count: int, seed: int) -> Int64[Tensor, " count"]:
    return torch.randint(tasks, (count,), generator=make_rng(Stream.SIMULATION, seed))
