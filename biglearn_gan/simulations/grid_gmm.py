"""Fit 25 Gaussians to 25 Gaussians: the schedules, and the loop that runs them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.simulations.choices import ScheduleName, TaskChoice
from biglearn_gan.simulations.objectives import (
    EqualMixture,
    PlaneGrid,
    RotatedTask,
    TaskKind,
    exact_objective,
    grid_data,
    modes_covered,
    sampled_objective,
)

ADAM_BETAS = (0.9, 0.99)

CONDITIONAL_GRADIENT = 1.0
"""Maximum gradient norm of a conditional task.

Given y₂, one component can get the whole gradient, 25 times its part in a marginal task. Without a
limit, the published SGD steps diverge.
"""


class Optimizer(StrEnum):
    """The optimizer of a fit."""

    sgd = "sgd"
    adam = "adam"


@dataclass(frozen=True)
class FitSchedule:
    """How a mixture is fitted.

    Attributes:
        tasks: number of tasks, drawn one after another.
        steps_per_task: optimizer steps on each task.
        rotations: random rotations per task, over which its objective is averaged.
        exact: use quadrature instead of ``objectives.SAMPLES`` samples.
        optimizer: its kind.
        learning_rate: at the start.
        last_learning_rate: at the end, after a geometric decay.
        noise: variance of the blur at the start.
        noise_until: share of the tasks after which there is no blur; until then it decreases as the
            square of the remaining share.
        shared_shape_until: share of the tasks until which all components have the same shape,
            because each uses the mean of their gradients.
        joint_from: in a mixture of tasks, share of the tasks after which some are joint.
        joint_share: in a mixture of tasks, share of joint tasks from then on.
        conditional_share: in a mixture of tasks, share of conditional tasks among the others.
    """

    tasks: int
    steps_per_task: int
    rotations: int
    exact: bool
    optimizer: Optimizer
    learning_rate: float
    last_learning_rate: float
    noise: float
    noise_until: float
    shared_shape_until: float
    joint_from: float
    joint_share: float
    conditional_share: float


PUBLISHED = FitSchedule(
    tasks=10_000,
    steps_per_task=20,
    rotations=1,
    exact=False,
    optimizer=Optimizer.sgd,
    learning_rate=0.1,
    last_learning_rate=0.1,
    noise=0.0,
    noise_until=0.0,
    shared_shape_until=0.0,
    joint_from=0.5,
    joint_share=0.1,
    conditional_share=0.0,
)
"""The released script of Cong and Zhao, *Big Learning* (2022), which has no conditional tasks."""

OURS = FitSchedule(
    tasks=3300,
    steps_per_task=1,
    rotations=4,
    exact=True,
    optimizer=Optimizer.adam,
    learning_rate=0.2,
    last_learning_rate=0.015,
    noise=1.0,
    noise_until=0.75,
    shared_shape_until=0.75,
    joint_from=0.9,
    joint_share=1.0,
    conditional_share=0.0,
)
"""Exact expectations, new rotations in every step, and a blur that decreases to zero.

``docs/results/simulations.md`` compares it with single changes.
"""

SCHEDULES = {ScheduleName.published: PUBLISHED, ScheduleName.ours: OURS}


@dataclass(frozen=True)
class Measurement:
    """The state of a fit: one row of ``training.csv``, and one frame of the animation.

    Attributes:
        tasks: tasks done.
        seconds: wall time of training, without the measurements.
        modes_covered: covered modes, at most 25.
        reverse_kl: KL(model ‖ data), in nats.
        forward_kl: KL(data ‖ model), in nats.
        means: (K, 2), of the model's components.
        covariances: (K, 2, 2), of the model's components.
    """

    tasks: int
    seconds: float
    modes_covered: int
    reverse_kl: float
    forward_kl: float
    means: Float64[Tensor, "K 2"]
    covariances: Float64[Tensor, "K 2 2"]


def fit_grid(
    schedule: FitSchedule,
    choice: TaskChoice,
    seed: int,
    *,
    measurements: int = 30,
    on_tasks: Callable[[int], None] | None = None,
) -> list[Measurement]:
    """Fit 25 Gaussians to the 25 of the data, and measure during the fit.

    Args:
        schedule: how to fit.
        choice: the kinds of tasks.
        seed: of the initial model and of every draw.
        measurements: number of measurements after the initial one, at equal distances.
        on_tasks: called with the number of tasks done since the last call.

    Returns:
        The measurements, from the initial model to the result.
    """
    rng = make_rng(Stream.SIMULATION, seed)
    data = grid_data()
    grid = PlaneGrid(data)
    model = EqualMixture(len(data.means), rng)
    optimizer = _optimizer(schedule, model)
    objective = exact_objective if schedule.exact else sampled_objective
    rows = [_measure(model, grid, data.means, 0, 0.0)]
    seconds, done = 0.0, 0
    for number in range(1, measurements + 1):
        before, until = done, round(schedule.tasks * number / measurements)
        started = time.perf_counter()
        for done in range(before + 1, until + 1):
            share = (done - 1) / schedule.tasks
            task = draw_task(schedule, choice, share, rng)
            for group in optimizer.param_groups:
                ratio = schedule.last_learning_rate / schedule.learning_rate
                group["lr"] = schedule.learning_rate * ratio**share
            for _ in range(schedule.steps_per_task):
                optimizer.zero_grad()
                objective(model, data, task, rng).backward()
                if task.kind is TaskKind.conditional:
                    nn.utils.clip_grad_norm_(model.parameters(), CONDITIONAL_GRADIENT)
                if share < schedule.shared_shape_until:
                    model.share_shape_gradients()
                optimizer.step()
        seconds += time.perf_counter() - started
        if until > before:
            rows.append(_measure(model, grid, data.means, until, seconds))
        if on_tasks is not None:
            on_tasks(until - before)
    return rows


def draw_task(
    schedule: FitSchedule, choice: TaskChoice, share: float, rng: torch.Generator
) -> RotatedTask:
    """Draw the next task after a share of the tasks, in [0, 1]."""
    angles = math.pi * torch.rand(schedule.rotations, generator=rng, dtype=torch.float64)
    noise = 0.0
    if share < schedule.noise_until:
        noise = schedule.noise * (1 - share / schedule.noise_until) ** 2
    if choice is not TaskChoice.big:
        return RotatedTask(TaskKind(choice.value), angles, noise)
    joint, conditional = torch.rand(2, generator=rng, dtype=torch.float64).tolist()
    kind = TaskKind.conditional if conditional < schedule.conditional_share else TaskKind.marginal
    if share >= schedule.joint_from and joint < schedule.joint_share:
        kind = TaskKind.joint
    return RotatedTask(kind, angles, noise)


def _optimizer(schedule: FitSchedule, model: EqualMixture) -> torch.optim.Optimizer:
    parameters = model.parameters()
    if schedule.optimizer is Optimizer.sgd:
        return torch.optim.SGD(parameters, schedule.learning_rate)
    return torch.optim.Adam(parameters, schedule.learning_rate, ADAM_BETAS, foreach=True)


@torch.no_grad()
def _measure(
    model: EqualMixture, grid: PlaneGrid, modes: Tensor, tasks: int, seconds: float
) -> Measurement:
    mixture = model.mixture()
    reverse, forward = grid.divergences(mixture)
    means, covariances = mixture.means.clone(), mixture.covariances.clone()
    return Measurement(
        tasks, seconds, modes_covered(means, modes), reverse, forward, means, covariances
    )
