"""Fit two Gaussians to two Gaussians: the loss surface of every task, and descents on them.

The model is a mixture like that of the data, in which only the first coordinates (a, b) of the two
means are free. The objective of a task is therefore a surface over the plane of (a, b). Its global
minima are (1, -1) and (-1, 1). The joint domain also has local minima with both means on one mode
(Cong and Zhao, *Big Learning*, 2022).
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
"""Variance of every Gaussian, in every direction."""

SURFACE_LIMIT = 2.0
"""Surfaces run from minus to plus this in a and in b."""

DEGREES = tuple(range(0, 180, 15))
"""Rotations of the marginal and conditional tasks."""

LINE_LIMIT = 4.0
LINE_STEP = 0.15
"""Limit and step of the quadrature in y: six and half a standard deviation."""

BATCH_MODELS = 1000
"""Models whose objectives are computed in one batch."""

FLAT = 1e-9
"""Smaller differences in nats are rounding errors, so that a flat surface has no minima."""

SOLVED_WITHIN = 0.1
"""Maximum distance of (a, b) from a global minimum that it has reached."""

LEARNING_RATE = 0.05
DESCENT_STEPS = 600
STARTS = 12

STEPS_PER_TASK = 20
"""Steps on each of several tasks in turn, as published; enough to leave a local minimum."""


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
        """Every strict local minimum inside of the border with a >= b, as a, b and its value.

        Exchanging the two means changes nothing, so each minimum has a mirror image.
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
        """The minima that are not global."""
        minima = self.minima()
        return minima[~solved(minima[:, :2])]


def solved(means: Float64[Tensor, "N 2"]) -> Tensor:
    """Whether (a, b) is within ``SOLVED_WITHIN`` of (1, -1) or (-1, 1)."""
    target = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    return torch.cdist(means, target).amin(dim=1) < SOLVED_WITHIN


def objective(kind: TaskKind, degrees: int, means: Float64[Tensor, "M 2"]) -> Float64[Tensor, " M"]:
    """The reverse KL of a task in nats for M models (a, b), by quadrature; differentiable.

    The joint task equals the marginal of x₁, because the second coordinates of model and data have
    the same distribution and are independent of the first.
    """
    angle = math.radians(0.0 if kind is TaskKind.joint else degrees)
    y = line_grid(LINE_LIMIT, LINE_STEP)
    model = _line(math.cos(angle) * means)
    truth = two_data().means[:, 0][None]
    data = _line(math.cos(angle) * truth)
    if kind is not TaskKind.conditional:
        return reverse_kl_on_lines(model, data, y)
    source_data = _line(-math.sin(angle) * truth)
    source_model = _line(-math.sin(angle) * means)
    weights = source_data.log_density(y[None])[0].exp() * (y[1] - y[0])
    # The rotated covariances are still VARIANCE I, so y₁ and y₂ are independent in a component.
    conditional_data = data.conditional(source_data, torch.zeros_like(truth), y[None])
    conditional_model = model.conditional(
        source_model, torch.zeros_like(means), y.expand(len(means), -1)
    )
    return reverse_kl_on_lines(conditional_model, conditional_data, y) @ weights


def _line(means: Float64[Tensor, "M 2"]) -> LineMixtures:
    return LineMixtures(
        torch.full_like(means, math.log(0.5)), means, torch.full_like(means, VARIANCE)
    )


def list_tasks(choice: str) -> list[tuple[TaskKind, int]]:
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


def compute_surfaces(
    tasks: Sequence[tuple[TaskKind, int]],
    points: int = 100,
    on_surface: Callable[[int], None] | None = None,
) -> list[Surface]:
    """The surfaces of every task, of the sum of each kind, and of the sum of all.

    Args:
        tasks: kinds and degrees.
        points: number of values of a and of b.
        on_surface: called with 1 after the surface of each task.
    """
    axis = torch.linspace(-SURFACE_LIMIT, SURFACE_LIMIT, points, dtype=torch.float64)
    models = torch.cartesian_prod(axis, axis)
    single: list[tuple[TaskKind, Surface]] = []
    for kind, degrees in tasks:
        values = torch.cat([objective(kind, degrees, part) for part in models.split(BATCH_MODELS)])
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
    """Models that descended from a grid of starts.

    Attributes:
        name: of the tasks and their order.
        paths: (T, M, 2), (a, b) of M models at T times, from the start.
    """

    name: str
    paths: Float64[Tensor, "T M 2"]

    @property
    def share_solved(self) -> float:
        """Share of the models that ended at a global minimum."""
        return float(solved(self.paths[-1]).double().mean())


def start_grid() -> Float64[Tensor, "M 2"]:
    """A grid of starts from -1.9 to 1.9 with different means, because equal ones stay equal."""
    axis = torch.linspace(-1.9, 1.9, STARTS, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis + 0.02)


@dataclass(frozen=True)
class DescentPlan:
    """A descent: its name, its tasks, and the steps on each (None: on their mean)."""

    name: str
    tasks: Sequence[tuple[TaskKind, int]]
    steps_per_task: int | None = None


def list_descents(choice: str) -> list[DescentPlan]:
    """The joint task, the mean of the marginals, and tasks in turn, depending on the choice.

    The mean of all conditionals is left out, because each step would need twelve of the most
    expensive objectives.
    """
    marginals = list_tasks("marginal")
    plans = [DescentPlan("joint only", list_tasks("joint"))]
    if choice in ("marginal", "big"):
        plans.append(DescentPlan("mean of marginals", marginals))
        plans.append(DescentPlan("a marginal for every step", marginals, 1))
        plans.append(DescentPlan("marginals in turn", marginals, STEPS_PER_TASK))
    if choice in ("conditional", "big"):
        name = "all tasks in turn" if choice == "big" else "conditionals in turn"
        plans.append(DescentPlan(name, list_tasks(choice), STEPS_PER_TASK))
    return plans


def descend(
    plan: DescentPlan,
    seed: int,
    steps: int = DESCENT_STEPS,
    on_steps: Callable[[int], None] | None = None,
) -> Descent:
    """Descend from every start with exact gradients.

    Args:
        plan: the tasks, in random order, or their mean.
        seed: of the order of tasks.
        steps: gradient steps with ``LEARNING_RATE``.
        on_steps: called with 1 after each step.
    """
    order = _draw_order(len(plan.tasks), steps, seed)
    means = start_grid()
    path = [means]
    for number in range(steps):
        current = means.detach().requires_grad_()
        tasks = list(plan.tasks)
        if plan.steps_per_task is not None:
            tasks = [plan.tasks[int(order[number // plan.steps_per_task])]]
        losses = [objective(kind, degrees, current).sum() for kind, degrees in tasks]
        (gradient,) = torch.autograd.grad(torch.stack(losses).mean(), current)
        means = current.detach() - LEARNING_RATE * gradient
        path.append(means)
        if on_steps is not None:
            on_steps(1)
    return Descent(plan.name, torch.stack(path))


def _draw_order(tasks: int, count: int, seed: int) -> Int64[Tensor, " count"]:
    return torch.randint(tasks, (count,), generator=make_rng(Stream.SIMULATION, seed))
