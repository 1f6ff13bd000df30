"""Surfaces of two Gaussians have the known minima, and descents end where theory says."""

from __future__ import annotations

import math

import pytest
import torch
from mixture_tools import transform

from biglearn_gan.gaussian_mixture import GaussianMixture
from biglearn_gan.simulations import two_gmm as module
from biglearn_gan.simulations.objectives import TaskKind, two_data
from biglearn_gan.simulations.two_gmm import (
    DescentPlan,
    Surface,
    compute_surfaces,
    descend,
    list_descents,
    list_tasks,
    objective,
    solved,
)

SOLUTIONS = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
ONE_MODE = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)


def two(a: float, b: float) -> GaussianMixture:
    data = two_data()
    means = torch.tensor([[a, 0.0], [b, 0.0]], dtype=torch.float64)
    return GaussianMixture(data.weights, means, data.covariances)


@pytest.mark.parametrize("degrees", [0, 30, 105])
def test_objectives_match_their_definition(degrees: int) -> None:
    draw, count = torch.Generator().manual_seed(0), 100_000
    angle = math.radians(degrees)
    rows = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    matrix = torch.tensor(rows, dtype=torch.float64)
    q, p = transform(two(0.7, -0.2), matrix), transform(two_data(), matrix)
    y = q.sample(count, draw)
    joint = float((q.log_density(y) - p.log_density(y)).mean())
    marginal = q.marginal([0]), p.marginal([0])
    reverse = float((marginal[0].log_density(y[:, :1]) - marginal[1].log_density(y[:, :1])).mean())
    given = p.sample(count, draw)[:, 1:]
    q_given, p_given = q.conditional([0], [1]), p.conditional([0], [1])
    y = q_given.sample(given, 1, draw)[:, 0]
    conditional = float((q_given.log_density(y, given) - p_given.log_density(y, given)).mean())
    means = torch.tensor([[0.7, -0.2]], dtype=torch.float64)
    for kind, expected in (
        (TaskKind.joint, joint),
        (TaskKind.marginal, reverse),
        (TaskKind.conditional, conditional),
    ):
        assert float(objective(kind, degrees, means)) == pytest.approx(expected, rel=0.03, abs=2e-3)


@pytest.mark.parametrize("kind", list(TaskKind))
def test_gradients_match_finite_differences(kind: TaskKind) -> None:
    means = torch.tensor([[0.7, -0.2], [1.3, 0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: objective(kind, 30, m), (means,))


@pytest.mark.parametrize(("kind", "degrees"), list_tasks("big"))
def test_the_data_are_a_minimum_of_every_task(kind: TaskKind, degrees: int) -> None:
    assert float(objective(kind, degrees, SOLUTIONS).abs().max()) < 1e-9


def test_both_means_on_one_mode_cost_the_logarithm_of_two() -> None:
    value = objective(TaskKind.joint, 0, ONE_MODE)
    torch.testing.assert_close(value, torch.full((2,), math.log(2)).double(), rtol=0, atol=3e-3)


def by_name(choice: str, points: int = 50) -> dict[str, Surface]:
    return {surface.name: surface for surface in compute_surfaces(list_tasks(choice), points)}


def test_minima_of_joint_and_marginals() -> None:
    found = by_name("joint", 100) | by_name("marginal", 100)
    expected = {"joint": 2, "sum of marginals": 2}
    expected |= {f"marginal {d}": 0 if 45 <= d <= 135 else 2 for d in module.DEGREES}
    assert {name: len(surface.spurious_minima()) for name, surface in found.items()} == expected
    for name, surface in found.items():
        minima = surface.minima()
        good = minima[solved(minima[:, :2])]
        assert len(good) == (0 if name == "marginal 90" else 1)
        for a, b, _ in surface.spurious_minima().tolist():
            assert (a > 0.7 and b > 0.7) or (a < -0.7 and b < -0.7)
        torch.testing.assert_close(surface.values, surface.values.T)
    assert float(found["marginal 90"].values.abs().max()) < 1e-9
    joint = found["joint"].spurious_minima()
    torch.testing.assert_close(
        joint[:, 2], torch.full((2,), math.log(2)).double(), rtol=0, atol=3e-3
    )


def test_sums_of_surfaces() -> None:
    tasks = [(TaskKind.joint, 0), (TaskKind.marginal, 30), (TaskKind.marginal, 60)]
    found = {surface.name: surface.values for surface in compute_surfaces(tasks, 11)}
    assert list(found) == ["joint", "marginal 30", "marginal 60", "sum of marginals", "sum of all"]
    together = found["marginal 30"] + found["marginal 60"]
    torch.testing.assert_close(found["sum of marginals"], together)
    torch.testing.assert_close(found["sum of all"], together + found["joint"])
    assert [surface.name for surface in compute_surfaces(tasks[:1], 11)] == ["joint"]


def test_minima_of_an_artificial_surface() -> None:
    axis = torch.linspace(-2, 2, 5, dtype=torch.float64)
    values = torch.ones(5, 5, dtype=torch.float64)
    values[3, 1] = values[1, 3] = 0.0  # (1, -1) and its mirror image
    values[3, 3] = 0.5
    values[4, 0] = -1.0  # at the border
    found = Surface("made up", axis, values)
    values[3, 1] = values[1, 3] = -2.0
    assert found.minima().tolist() == [[1, -1, -2], [1, 1, 0.5]]
    assert found.spurious_minima().tolist() == [[1, 1, 0.5]]
    assert Surface("flat", axis, torch.zeros(5, 5).double()).minima().tolist() == []


def test_tasks_in_turn_escape_where_their_mean_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTS", 6)
    marginals = list_tasks("marginal")
    calls: list[int] = []
    joint = descend(DescentPlan("joint", list_tasks("joint")), 0, 200, calls.append)
    assert calls == [1] * 200
    mean = descend(DescentPlan("mean", marginals), 0, 200)
    turn = descend(DescentPlan("turn", marginals, 20), 0)
    hasty = descend(DescentPlan("hasty", marginals, 1), 0)
    assert 0.4 < joint.share_solved < 0.6
    assert 0.4 < mean.share_solved < 0.7
    assert hasty.share_solved < 0.9
    assert turn.share_solved == 1
    assert turn.paths.shape == (module.DESCENT_STEPS + 1, 36, 2)
    assert torch.equal(turn.paths[0], joint.paths[0])
    again = descend(DescentPlan("turn", marginals, 20), 0, 60)
    assert torch.equal(turn.paths[:61], again.paths)
    other = descend(DescentPlan("turn", marginals, 20), 1, 60)
    assert not torch.equal(again.paths, other.paths)


def test_descents_depend_on_the_choice() -> None:
    joint = ("joint only", 1, None)
    marginals = [
        ("mean of marginals", 12, None),
        ("a marginal for every step", 12, 1),
        ("marginals in turn", 12, 20),
    ]
    for choice, expected in {
        "joint": [joint],
        "marginal": [joint, *marginals],
        "conditional": [joint, ("conditionals in turn", 12, 20)],
        "big": [joint, *marginals, ("all tasks in turn", 25, 20)],
    }.items():
        found = [
            (plan.name, len(plan.tasks), plan.steps_per_task) for plan in list_descents(choice)
        ]
        assert found == expected
