"""Closed forms of Gaussian mixtures agree with quadrature, Monte Carlo and formulas by hand."""

from __future__ import annotations

import math

import pytest
import torch
from mixture_tools import covariance_of, transform
from torch import Tensor

from biglearn_gan.gaussian_mixture import GaussianError, GaussianMixture, LineMixtures

NOTHING = torch.empty(0, dtype=torch.int64)


def make_rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_mixture(components: int, dimension: int, seed: int = 0) -> GaussianMixture:
    draw = make_rng(seed)
    roots = torch.randn(components, dimension, dimension, generator=draw, dtype=torch.float64)
    covariances = 0.3 * roots @ roots.mT + 0.2 * torch.eye(dimension, dtype=torch.float64)
    means = torch.randn(components, dimension, generator=draw, dtype=torch.float64)
    weights = torch.rand(components, generator=draw, dtype=torch.float64) + 0.2
    return GaussianMixture(weights / weights.sum(), means, covariances)


def grid(low: float, high: float, steps: int) -> tuple[Tensor, float]:
    """Points of the trapezoidal rule (exponentially exact for smooth, decaying integrands)."""
    points = torch.linspace(low, high, steps, dtype=torch.float64)
    return points, float(points[1] - points[0])


def by_hand(x: list[float], mean: list[float], covariance: list[list[float]]) -> float:
    """The density of a Gaussian in two dimensions, written out."""
    (a, b), (_, d) = covariance
    u, v = x[0] - mean[0], x[1] - mean[1]
    determinant = a * d - b * b
    square = (d * u * u - 2 * b * u * v + a * v * v) / determinant
    return math.exp(-square / 2) / (2 * math.pi * math.sqrt(determinant))


def test_the_density_is_the_formula() -> None:
    means = [[0.5, -1.0], [2.0, 0.25]]
    covariances = [[[2.0, 0.6], [0.6, 0.5]], [[0.3, -0.2], [-0.2, 1.0]]]
    mixture = GaussianMixture(
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.tensor(means, dtype=torch.float64),
        torch.tensor(covariances, dtype=torch.float64),
    )
    for x in ([0.0, 0.0], [1.5, -2.0]):
        expected = 0.3 * by_hand(x, means[0], covariances[0])
        expected += 0.7 * by_hand(x, means[1], covariances[1])
        found = mixture.log_density(torch.tensor([x], dtype=torch.float64)).exp()
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_density_integrates_to_one_and_gives_the_moments() -> None:
    mixture = random_mixture(3, 2)
    points, step = grid(-9, 9, 361)
    x = torch.cartesian_prod(points, points)
    density = mixture.log_density(x).exp() * step**2
    assert float(density.sum()) == pytest.approx(1, abs=1e-8)
    mean = (density[:, None] * x).sum(dim=0)
    second = (density[:, None] * x).T @ x
    torch.testing.assert_close(mean, mixture.mean, atol=1e-7, rtol=0)
    expected = covariance_of(mixture)
    torch.testing.assert_close(second - torch.outer(mean, mean), expected, atol=1e-6, rtol=0)


def test_samples_have_the_moments_of_the_mixture() -> None:
    mixture = random_mixture(3, 4)
    x = mixture.sample(200_000, make_rng())
    deviations = covariance_of(mixture).diagonal().sqrt()
    assert (((x.mean(dim=0) - mixture.mean) / deviations).abs() < 5 / math.sqrt(len(x))).all()
    scale = torch.outer(deviations, deviations)
    assert (((x.T.cov() - covariance_of(mixture)) / scale).abs() < 0.02).all()


def test_samples_come_from_components_in_their_shares() -> None:
    weights = torch.tensor([0.1, 0.0, 0.9], dtype=torch.float64)
    means = torch.tensor([[-100.0], [0.0], [100.0]], dtype=torch.float64)
    covariances = torch.tensor([1.0, 1.0, 4.0], dtype=torch.float64).view(3, 1, 1)
    x = GaussianMixture(weights, means, covariances).sample(20_000, make_rng())[:, 0]
    assert float((x < -50).double().mean()) == pytest.approx(0.1, abs=0.01)
    assert not ((x > -50) & (x < 50)).any()
    assert float(x[x < 0].std()) == pytest.approx(1, abs=0.08)
    assert float(x[x > 0].std()) == pytest.approx(2, abs=0.05)


def test_the_same_generator_gives_the_same_samples() -> None:
    mixture = random_mixture(3, 4)
    assert torch.equal(mixture.sample(9, make_rng(5)), mixture.sample(9, make_rng(5)))
    assert not torch.equal(mixture.sample(9, make_rng(5)), mixture.sample(9, make_rng(6)))


def test_a_linear_map_of_samples_has_the_transformed_distribution() -> None:
    mixture = random_mixture(2, 3)
    matrix = torch.tensor([[1.0, 2.0, -1.0], [0.0, 1.0, 0.5]], dtype=torch.float64)
    image = transform(mixture, matrix)
    torch.testing.assert_close(image.mean, matrix @ mixture.mean)
    torch.testing.assert_close(covariance_of(image), matrix @ covariance_of(mixture) @ matrix.T)
    torch.testing.assert_close(image.weights, mixture.weights)


def test_an_invertible_map_scales_densities_by_its_determinant() -> None:
    mixture = random_mixture(3, 3)
    matrix = torch.randn(3, 3, generator=make_rng(), dtype=torch.float64)
    x = mixture.sample(20, make_rng())
    expected = mixture.log_density(x) - torch.linalg.det(matrix).abs().log()
    torch.testing.assert_close(transform(mixture, matrix).log_density(x @ matrix.T), expected)


def test_a_marginal_is_the_density_with_the_rest_integrated_out() -> None:
    mixture = random_mixture(3, 3)
    kept = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    points, step = grid(-12, 12, 2401)
    whole = torch.stack([kept[0, 1].expand_as(points), points, kept[0, 0].expand_as(points)], 1)
    expected = float(mixture.log_density(whole).exp().sum() * step)
    found = mixture.marginal([2, 0]).log_density(kept).exp()
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_a_marginal_is_a_selection_as_a_linear_map() -> None:
    mixture = random_mixture(3, 4)
    selection = torch.eye(4, dtype=torch.float64)[[3, 1]]
    one, other = mixture.marginal([3, 1]), transform(mixture, selection)
    torch.testing.assert_close(one.means, other.means)
    torch.testing.assert_close(one.covariances, other.covariances)


class TestConditional:
    mixture = random_mixture(3, 5, seed=3)
    target, source = (4, 1), (0, 3)

    def x(self, count: int = 7) -> Tensor:
        return self.mixture.sample(count, make_rng(1))

    def test_it_is_the_joint_density_over_the_sources(self) -> None:
        x, joint = self.x(), self.mixture.marginal([*self.target, *self.source])
        together = x[:, [*self.target, *self.source]]
        expected = joint.log_density(together)
        expected -= self.mixture.marginal(self.source).log_density(x[:, self.source])
        conditional = self.mixture.conditional(self.target, self.source)
        found = conditional.log_density(x[:, self.target], x[:, self.source])
        torch.testing.assert_close(found, expected)

    def test_its_moments_are_those_of_its_density(self) -> None:
        conditional = self.mixture.conditional([2], self.source)
        given = self.x()[:3, self.source]
        points, step = grid(-15, 15, 3001)
        for row in given.split(1):
            rows = row.expand(len(points), -1)
            density = conditional.log_density(points[:, None], rows).exp() * step
            mean = float((density * points).sum())
            variance = float((density * points.square()).sum()) - mean**2
            assert float(density.sum()) == pytest.approx(1, abs=1e-9)
            assert float(conditional.mean(row)) == pytest.approx(mean, abs=1e-8)
            assert float(conditional.covariance(row)) == pytest.approx(variance, abs=1e-7)

    def test_one_component_follows_the_formula_of_regression(self) -> None:
        one = random_mixture(1, 2, seed=4)
        (a, b), (_, d) = one.covariances[0].tolist()
        conditional = one.conditional([0], [1])
        given = torch.tensor([[0.7]], dtype=torch.float64)
        expected = float(one.means[0, 0]) + b / d * (0.7 - float(one.means[0, 1]))
        assert float(conditional.mean(given)) == pytest.approx(expected)
        assert float(conditional.covariances) == pytest.approx(a - b * b / d)

    def test_weights_follow_bayes(self) -> None:
        given = self.x()[:, self.source]
        explained = self.mixture.marginal(self.source).component_log_densities(given).exp()
        expected = self.mixture.weights * explained
        expected = expected / expected.sum(dim=1, keepdim=True)
        found = self.mixture.conditional(self.target, self.source).weights(given)
        torch.testing.assert_close(found, expected)

    def test_responsibilities_follow_bayes_and_average_to_the_weights(self) -> None:
        x = self.x()
        conditional = self.mixture.conditional(self.target, self.source)
        given = x[:, self.source]
        union = self.mixture.marginal([*self.target, *self.source])
        both = torch.cat([x[:, self.target], given], dim=1)
        expected = (union.weights.log() + union.component_log_densities(both)).softmax(dim=1)
        found = conditional.responsibilities(x[:, None, self.target], given)
        torch.testing.assert_close(found[:, 0], expected)
        drawn = conditional.sample(given, 20_000, make_rng())
        average = conditional.responsibilities(drawn, given).mean(dim=1)
        assert (average - conditional.weights(given)).abs().max() < 0.02

    def test_samples_have_its_moments_for_each_source(self) -> None:
        conditional = self.mixture.conditional(self.target, self.source)
        given = self.x(3)[:, self.source]
        drawn = conditional.sample(given, 60_000, make_rng())
        assert drawn.shape == (3, 60_000, 2)
        exact = conditional.covariance(given)
        deviation = exact.diagonal(dim1=1, dim2=2).sqrt()
        error = (drawn.mean(dim=1) - conditional.mean(given)) / deviation
        assert (error.abs() < 5 / math.sqrt(60_000)).all()
        for each, expected in zip(drawn, exact, strict=True):
            assert float((each.T.cov() - expected).norm() / expected.norm()) < 0.03

    def test_sources_and_conditional_samples_have_the_joint_distribution(self) -> None:
        x = self.x(100_000)
        given = x[:, self.source]
        drawn = self.mixture.conditional(self.target, self.source).sample(given, 1, make_rng(2))
        again = torch.cat([drawn[:, 0], given], dim=1)
        expected = covariance_of(self.mixture.marginal([*self.target, *self.source]))
        assert float((again.T.cov() - expected).norm() / expected.norm()) < 0.03

    def test_without_a_source_it_is_the_marginal(self) -> None:
        conditional = self.mixture.conditional(self.target, NOTHING)
        marginal = self.mixture.marginal(self.target)
        x, empty = self.x()[:, self.target], torch.zeros(7, 0, dtype=torch.float64)
        torch.testing.assert_close(conditional.log_density(x, empty), marginal.log_density(x))
        torch.testing.assert_close(conditional.mean(empty), marginal.mean.expand(7, -1))
        torch.testing.assert_close(conditional.covariance(empty)[6], covariance_of(marginal))
        torch.testing.assert_close(conditional.weights(empty)[6], self.mixture.weights)
        assert conditional.sample(empty, 2, make_rng()).shape == (7, 2, 2)
        assert torch.equal(
            conditional.mean(empty), self.mixture.conditional([4, 1], []).mean(empty)
        )

    def test_far_away_sources_give_finite_numbers(self) -> None:
        conditional = self.mixture.conditional(self.target, self.source)
        far = torch.full((1, 2), 300.0, dtype=torch.float64)
        assert float(conditional.weights(far).sum()) == pytest.approx(1)
        assert conditional.log_density(conditional.mean(far), far).isfinite().all()


def test_densities_are_differentiable_in_all_parameters() -> None:
    mixture = random_mixture(2, 3, seed=1)
    x = mixture.sample(4, make_rng())
    logits = mixture.weights.log().requires_grad_()
    means = mixture.means.clone().requires_grad_()
    roots = torch.linalg.cholesky(mixture.covariances).requires_grad_()

    def densities(logits: Tensor, means: Tensor, roots: Tensor) -> tuple[Tensor, ...]:
        made = GaussianMixture(logits.softmax(0), means, roots @ roots.mT)
        conditional = made.conditional([0, 2], [1])
        return (
            made.log_density(x),
            conditional.log_density(x[:, [0, 2]], x[:, [1]]),
            conditional.mean(x[:, [1]]),
            conditional.covariance(x[:, [1]]),
        )

    assert torch.autograd.gradcheck(densities, (logits, means, roots))


def test_samples_are_differentiable_given_component_and_noise() -> None:
    mean = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    mixture = GaussianMixture(
        torch.ones(1, dtype=torch.float64), mean, torch.eye(2, dtype=torch.float64)[None]
    )
    mixture.sample(6, make_rng()).sum().backward()
    assert mean.grad is not None
    assert mean.grad.tolist() == [[6.0, 6.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weights": torch.ones(3).double() / 3},
            r"weights \(K,\), means .* not \(3,\) and \(2, 2",
        ),
        ({"means": torch.zeros(2, 2)}, "must be float64, not torch.float64 and torch.float32"),
        ({"weights": torch.tensor([0.5, 0.6]).double()}, "sum to one, not"),
        ({"weights": torch.tensor([-0.5, 1.5]).double()}, "at least 0 and sum"),
        ({"covariances": torch.tensor([[1.0, 0.5], [0.0, 1.0]]).double().repeat(2, 1, 1)}, "symm"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_parameters_of_no_mixture_are_refused(change: dict[str, Tensor], message: str) -> None:
    sound = {
        "weights": torch.tensor([0.5, 0.5]).double(),
        "means": torch.zeros(2, 2).double(),
        "covariances": torch.eye(2).double().repeat(2, 1, 1),
    }
    GaussianMixture(**sound)
    with pytest.raises(GaussianError, match=message):
        GaussianMixture(**(sound | change))


def test_missing_and_repeated_coordinates_are_refused() -> None:
    mixture = random_mixture(2, 3)
    with pytest.raises(GaussianError, match=r"0 to 2, not \[0, 3\]"):
        mixture.marginal([0, 3])
    with pytest.raises(GaussianError, match=r"0 to 2, not \[-1\]"):
        mixture.marginal([-1])
    with pytest.raises(GaussianError, match=r"must be distinct, not \[0, 1, 1\]"):
        mixture.conditional([0, 1], [1])
    with pytest.raises(GaussianError, match="name at least one target"):
        mixture.conditional([], [1])


def test_a_singular_mixture_has_moments_but_no_density() -> None:
    flat = transform(random_mixture(1, 2), torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double())
    assert covariance_of(flat)[1].tolist() == [0, 0]
    with pytest.raises(GaussianError, match="component 0 is not positive definite"):
        flat.log_density(torch.zeros(1, 2).double())
    with pytest.raises(GaussianError, match="component 0 is not positive definite"):
        flat.sample(1, make_rng())


class TestLines:
    mixture = random_mixture(3, 5, seed=6)
    directions = torch.tensor([[0.6, 0.8, 0.0, 0.0, 0.0], [0.0, 1.0, -1.0, 2.0, 0.5]]).double()
    others = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0, 0.0]]).double()

    def test_lines_are_projections(self) -> None:
        y = torch.linspace(-3, 3, 11, dtype=torch.float64)
        found = self.mixture.on_lines(self.directions).log_density(y.expand(2, -1))
        for row, direction in zip(found, self.directions, strict=True):
            image = transform(self.mixture, direction[None])
            torch.testing.assert_close(row, image.log_density(y[:, None]))

    def test_a_line_given_another_is_the_conditional_of_both_projections(self) -> None:
        y, given = torch.randn(2, 2, 7, generator=make_rng(), dtype=torch.float64)
        lines = self.mixture.on_lines(self.directions)
        sources = self.mixture.on_lines(self.others)
        cross = self.mixture.covariances_between(self.directions, self.others)
        conditional = lines.conditional(sources, cross, given)
        assert conditional.means.shape == (2, 7, 3)
        found = conditional.log_density(y[..., None])[..., 0]
        for row, u, v in zip(range(2), self.directions, self.others, strict=True):
            exact = transform(self.mixture, torch.stack([u, v])).conditional([0], [1])
            expected = exact.log_density(y[row, :, None], given[row, :, None])
            torch.testing.assert_close(found[row], expected)

    def test_noise_adds_its_variance(self) -> None:
        lines = self.mixture.on_lines(self.directions)
        noisy = lines.add_noise(0.7)
        torch.testing.assert_close(
            noisy.variances - lines.variances, torch.full((2, 3), 0.7).double()
        )
        assert torch.equal(noisy.means, lines.means)

    def test_samples_have_the_moments_of_their_line(self) -> None:
        lines = self.mixture.on_lines(self.directions)
        drawn = lines.sample(100_000, make_rng())
        assert drawn.shape == (2, 100_000)
        image = transform(self.mixture, self.directions)
        variances = covariance_of(image).diagonal()
        error = (drawn.mean(dim=1) - image.mean) / variances.sqrt()
        assert (error.abs() < 5 / math.sqrt(100_000)).all()
        torch.testing.assert_close(drawn.var(dim=1), variances, rtol=0.03, atol=0)

    def test_densities_are_differentiable(self) -> None:
        y, given = torch.randn(2, 2, 3, generator=make_rng(), dtype=torch.float64)

        def densities(means: Tensor, roots: Tensor) -> Tensor:
            made = GaussianMixture(self.mixture.weights, means, roots @ roots.mT)
            u, v = self.directions, self.others
            lines, sources = made.on_lines(u), made.on_lines(v)
            given_lines = lines.conditional(sources, made.covariances_between(u, v), given)
            return lines.log_density(y).sum() + given_lines.log_density(y[..., None]).sum()

        means = self.mixture.means.clone().requires_grad_()
        roots = torch.linalg.cholesky(self.mixture.covariances).requires_grad_()
        assert torch.autograd.gradcheck(densities, (means, roots))

    def test_detached_lines_are_equal_and_give_no_gradient(self) -> None:
        means = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
        one = torch.ones(1, 1, dtype=torch.float64)
        lines = LineMixtures(0 * one, means, one)
        assert lines.log_density(one).requires_grad
        assert not lines.detach().log_density(one).requires_grad
        assert torch.equal(lines.detach().log_density(one), lines.log_density(one))
