"""Objectives and metrics of the simulations against quadrature, Monte Carlo and formulas."""

from __future__ import annotations

import math

import pytest
import torch
from mixture_tools import transform
from torch import Tensor

from biglearn_gan.gaussian_mixture import GaussianMixture
from biglearn_gan.simulations import objectives as simulations
from biglearn_gan.simulations.objectives import (
    EqualMixture,
    PlaneGrid,
    RotatedTask,
    TaskKind,
    exact_objective,
    grid_data,
    line_grid,
    mode_statistics,
    modes_covered,
    reverse_kl_on_lines,
    sampled_objective,
    two_data,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of_three() -> EqualMixture:
    """Three different components near the data."""
    model = EqualMixture(3, generator())
    with torch.no_grad():
        model.means.copy_(torch.tensor([[-1.0, 0.5], [1.5, -0.3], [0.2, 2.0]]))
        model.log_diagonal.copy_(torch.tensor([[-0.5, 0.1], [-0.2, -0.4], [0.2, -0.6]]))
        model.lower.copy_(torch.tensor([0.3, -0.2, 0.1]))
    return model


def wide_data() -> GaussianMixture:
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.5]], dtype=torch.float64)
    covariance = torch.tensor([[0.6, 0.2], [0.2, 0.9]], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    return GaussianMixture(weights, means, torch.stack([covariance, 0.5 * covariance]))


def task(kind: TaskKind, noise: float = 0.0, *degrees: float) -> RotatedTask:
    return RotatedTask(
        kind, torch.tensor(degrees or (20.0, 110.0), dtype=torch.float64).deg2rad(), noise
    )


def blurred(mixture: GaussianMixture, noise: float) -> GaussianMixture:
    more = noise * torch.eye(2, dtype=torch.float64)
    return GaussianMixture(mixture.weights, mixture.means, mixture.covariances + more)


def rotated(mixture: GaussianMixture, task: RotatedTask, number: int) -> GaussianMixture:
    angle = float(task.angles[number])
    matrix = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    return transform(mixture, torch.tensor(matrix, dtype=torch.float64))


def monte_carlo(
    kind: TaskKind, model: GaussianMixture, data: GaussianMixture, task: RotatedTask
) -> float:
    """The objective by its definition, with closed forms of `GaussianMixture` only."""
    results = []
    for number in range(len(task.angles)):
        laws = [rotated(blurred(law, task.noise), task, number) for law in (model, data)]
        draw, count = generator(number), 200_000
        if kind is TaskKind.conditional:
            given = laws[1].sample(count, draw)[:, 1:]
            q, p = (law.conditional([0], [1]) for law in laws)
            y = q.sample(given, 1, draw)[:, 0]
            ratio = q.log_density(y, given) - p.log_density(y, given)
        else:
            q, p = (law.marginal([0]) if kind is TaskKind.marginal else law for law in laws)
            y = q.sample(count, draw)
            ratio = q.log_density(y) - p.log_density(y)
        results.append(float(ratio.mean()))
    return sum(results) / len(results)


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("kind", list(TaskKind))
@torch.no_grad()
def test_both_objectives_are_the_reverse_kl_by_definition(
    kind: TaskKind, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "SAMPLES", 40_000)
    monkeypatch.setattr(simulations, "SOURCES", 4_000)
    monkeypatch.setattr(simulations, "NODES", 16)
    model, data, here = model_of_three(), wide_data(), task(kind, noise)
    expected = monte_carlo(kind, model.mixture(), data, here)
    assert expected > 0.05
    exact = float(exact_objective(model, data, here, generator()))
    sampled = float(sampled_objective(model, data, here, generator()))
    assert exact == pytest.approx(expected, rel=0.03)
    assert sampled == pytest.approx(expected, rel=0.06)


def gradient_of(model: EqualMixture, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    parts = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("kind", list(TaskKind))
def test_path_derivatives_agree_with_the_gradient_of_the_exact_objective(
    kind: TaskKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "SAMPLES", 60_000)
    monkeypatch.setattr(simulations, "SOURCES", 6_000)
    monkeypatch.setattr(simulations, "NODES", 16)
    model, data, here = model_of_three(), wide_data(), task(kind, 0.2)
    exact = gradient_of(model, exact_objective(model, data, here, generator(1)))
    sampled = gradient_of(model, sampled_objective(model, data, here, generator(2)))
    assert float((exact - sampled).norm() / exact.norm()) < 0.05


def test_the_gradient_of_the_exact_marginal_is_its_finite_difference() -> None:
    model, here = model_of_three(), task(TaskKind.marginal)
    gradient = gradient_of(model, exact_objective(model, wide_data(), here, generator()))
    position, step = 0, 1e-5
    for parameter in model.parameters():
        for index in range(parameter.numel()):
            values = []
            for change in (step, -2 * step, step):
                with torch.no_grad():
                    parameter.view(-1)[index] += change
                    values.append(float(exact_objective(model, wide_data(), here, generator())))
            slope = (values[0] - values[1]) / (2 * step)
            assert slope == pytest.approx(float(gradient[position]), abs=1e-7)
            position += 1


@pytest.mark.parametrize("kind", list(TaskKind))
def test_the_objective_is_minimal_if_the_model_equals_the_data(kind: TaskKind) -> None:
    model = model_of_three()
    data = model.mixture()
    data = GaussianMixture(data.weights, data.means.detach(), data.covariances.detach())
    for objective in (exact_objective, sampled_objective):
        loss = objective(model, data, task(kind, 0.1), generator())
        assert float(loss.detach()) == pytest.approx(0, abs=1e-9)
        assert float(gradient_of(model, loss).abs().max()) < 1e-9


def test_two_gaussians_match_the_formula() -> None:
    one = torch.ones(1, dtype=torch.float64)
    q = GaussianMixture(one, one[None] * 0.3, 0.25 * one[None, None]).on_lines(one[None])
    p = GaussianMixture(one, one[None] * -0.5, 1.44 * one[None, None]).on_lines(one[None])
    expected = math.log(1.2 / 0.5) + (0.25 + 0.8**2) / (2 * 1.44) - 0.5
    assert float(reverse_kl_on_lines(q, p, line_grid(8.0, 0.2))) == pytest.approx(
        expected, abs=1e-9
    )


def test_a_model_beyond_the_quadrature_has_a_positive_divergence() -> None:
    one = torch.ones(1, dtype=torch.float64)
    q = GaussianMixture(one, 100 * one[None], one[None, None]).on_lines(one[None])
    p = GaussianMixture(one, 0 * one[None], one[None, None]).on_lines(one[None])
    assert float(reverse_kl_on_lines(q, p, line_grid(8.0, 0.2))) == pytest.approx(1)


def test_quadrature_on_the_plane_gives_both_divergences() -> None:
    one = torch.ones(1, dtype=torch.float64)
    data = GaussianMixture(
        one, torch.tensor([[1.0, -2.0]]).double(), 0.5 * torch.eye(2).double()[None]
    )
    covariance = torch.tensor([[[0.4, 0.1], [0.1, 0.9]]], dtype=torch.float64)
    model = GaussianMixture(one, torch.tensor([[0.5, -1.0]]).double(), covariance)

    def formula(q: GaussianMixture, p: GaussianMixture) -> float:
        inverse = torch.linalg.inv(p.covariances[0])
        difference = p.means[0] - q.means[0]
        quadratic = torch.trace(inverse @ q.covariances[0]) + difference @ inverse @ difference
        ratio = torch.logdet(p.covariances[0]) - torch.logdet(q.covariances[0])
        return 0.5 * float(quadratic - 2 + ratio)

    reverse, forward = PlaneGrid(data).divergences(model)
    assert reverse == pytest.approx(formula(model, data), abs=1e-8)
    assert forward == pytest.approx(formula(data, model), abs=1e-8)


def test_one_mode_of_25_costs_the_logarithm_of_25() -> None:
    data = grid_data()
    collapsed = GaussianMixture(data.weights, data.means[7].repeat(25, 1), data.covariances)
    reverse, _ = PlaneGrid(data).divergences(collapsed)
    assert reverse == pytest.approx(math.log(25), abs=1e-3)
    assert modes_covered(collapsed.means, data.means) == 1


def test_a_mode_is_covered_within_three_standard_deviations() -> None:
    modes = grid_data().means
    assert modes_covered(modes[:9] + torch.tensor([0.66, 0.0]).double(), modes) == 9
    assert modes_covered(modes[:9] + torch.tensor([0.68, 0.0]).double(), modes) == 0


def test_samples_are_counted_at_their_modes() -> None:
    data = grid_data()
    found = mode_statistics(data.means[:5].repeat(8, 1), data)
    assert (found.covered, found.good_share) == (5, 1)
    assert found.histogram_kl == pytest.approx(math.log(5))
    astray = torch.tensor([[0.0, 0.68], [0.0, -0.66]]).double()
    found = mode_statistics(data.means[12] + astray, data)
    assert (found.covered, found.good_share) == (1, 0.5)


def test_exact_samples_have_the_expected_mode_statistics() -> None:
    data, number = grid_data(), 40_000
    found = mode_statistics(data.sample(number, generator()), data)
    assert found.covered == 25
    expected = 1 - math.exp(-4.5)
    assert abs(found.good_share - expected) < 4 * math.sqrt(expected * (1 - expected) / number)
    assert found.histogram_kl < 3 * 24 / (2 * number)  # its mean is 24 / 2N


def test_the_data_have_their_means_and_covariances() -> None:
    data = grid_data()
    assert data.means.shape == (25, 2)
    assert {tuple(mean) for mean in data.means.tolist()} == {
        (x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)
    }
    assert torch.equal(data.covariances, (0.05 * torch.eye(2).double()).expand(25, 2, 2))
    assert two_data().means.tolist() == [[1, 0], [-1, 0]]
    assert torch.equal(two_data().covariances, (0.1 * torch.eye(2).double()).expand(2, 2, 2))


def test_the_model_starts_in_the_corner() -> None:
    with torch.no_grad():
        law = EqualMixture(25, generator()).mixture()
    assert float((law.means.detach() + 5).abs().max()) < 0.5
    assert float(law.means.detach().std()) == pytest.approx(0.1, abs=0.03)
    assert torch.equal(law.covariances, torch.eye(2).double().expand(25, 2, 2))
    assert float(law.weights.sum()) == pytest.approx(1)


def test_covariances_are_the_squares_of_their_factors() -> None:
    model = model_of_three()
    factor = model.factors()[0].detach().tolist()
    expected = [[math.exp(-0.5), 0.0], [0.3, math.exp(0.1)]]
    torch.testing.assert_close(torch.tensor(factor), torch.tensor(expected))


def test_shared_gradients_are_the_mean_and_exclude_the_means() -> None:
    model = model_of_three()
    exact_objective(model, wide_data(), task(TaskKind.marginal), generator()).backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]  # type: ignore[union-attr]
    model.share_shape_gradients()
    means, diagonal, lower = (parameter.grad for parameter in model.parameters())
    assert torch.equal(means, before[0])
    torch.testing.assert_close(diagonal, before[1].mean(dim=0).expand(3, 2))
    torch.testing.assert_close(lower, before[2].mean().expand(3))
