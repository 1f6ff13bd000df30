"""The Fréchet distance against closed forms, pytorch-fid and its own properties."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
import torch

from biglearn_gan.metrics.frechet import (
    GaussianStatistics,
    frechet_distance,
    frechet_distance_with_error,
)


def random_features(count: int, dimensions: int, seed: int) -> torch.Tensor:
    """Correlated features with means of about 3 and variances from 0.01 to 100."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=rng, dtype=torch.float64)
    scales = torch.logspace(-1, 1, dimensions, dtype=torch.float64)
    features = torch.randn(count, dimensions, generator=rng, dtype=torch.float64)
    return 3 + (features * scales) @ mixing / dimensions**0.5


def statistics_of(features: torch.Tensor) -> GaussianStatistics:
    statistics = GaussianStatistics(features.shape[1])
    statistics.update(features)
    return statistics


def of_moments(mean: torch.Tensor, covariance: torch.Tensor, count: int) -> GaussianStatistics:
    """Statistics with this mean and unbiased covariance, as if of ``count`` vectors."""
    statistics = GaussianStatistics(len(mean))
    statistics.count, statistics.mean = count, mean.double()
    statistics.scatter = covariance.double() * (count - 1)
    return statistics


def test_moments_equal_those_of_numpy() -> None:
    features = random_features(101, 7, seed=0)
    statistics = statistics_of(features)
    assert statistics.count == 101
    np.testing.assert_allclose(statistics.mean, features.numpy().mean(axis=0), rtol=1e-12)
    covariance = np.cov(features.numpy(), rowvar=False)
    np.testing.assert_allclose(statistics.covariance, covariance, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("sizes", [[1] * 101, [50, 51], [0, 3, 98, 0], [100, 1]])
def test_batches_give_the_same_statistics_as_one_update(sizes: list[int]) -> None:
    features = random_features(101, 7, seed=1)
    at_once = statistics_of(features)
    streamed, merged = GaussianStatistics(7), GaussianStatistics(7)
    for part in features.split(sizes):
        streamed.update(part)
        merged.merge(statistics_of(part))
    for statistics in (streamed, merged):
        assert statistics.count == at_once.count
        torch.testing.assert_close(statistics.mean, at_once.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(statistics.scatter, at_once.scatter, rtol=1e-11, atol=1e-11)


def test_a_large_offset_costs_no_precision() -> None:
    features = random_features(101, 7, seed=2)
    moved = statistics_of(features + 1e5)
    torch.testing.assert_close(
        moved.covariance, statistics_of(features).covariance, rtol=1e-8, atol=1e-9
    )


def test_hand_computed_distances() -> None:
    # One dimension: (m1 - m2)² + (σ1 - σ2)² = 2² + (3 - 5)²
    a = of_moments(torch.tensor([1.0]), torch.tensor([[9.0]]), count=10)
    b = of_moments(torch.tensor([3.0]), torch.tensor([[25.0]]), count=20)
    assert frechet_distance(a, b) == pytest.approx(8.0, rel=1e-12)
    # Covariances [[2, 1], [1, 2]] (eigenvalues 3, 1) and the identity: (√3 - 1)² + (1 - 1)²
    zero = torch.zeros(2)
    c = of_moments(zero, torch.tensor([[2.0, 1.0], [1.0, 2.0]]), count=5)
    d = of_moments(zero, torch.eye(2), count=5)
    assert frechet_distance(c, d) == pytest.approx((3**0.5 - 1) ** 2, rel=1e-12)


def test_gaussians_with_commuting_covariances() -> None:
    rng = torch.Generator().manual_seed(3)
    random = torch.randn(31, 31, generator=rng, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(random)
    first, second, mean = torch.rand(3, 31, generator=rng, dtype=torch.float64)
    a = of_moments(mean, rotation @ first.diag() @ rotation.T, count=99)
    b = of_moments(-mean, rotation @ second.diag() @ rotation.T, count=99)
    expected = 4 * mean.square().sum() + (first.sqrt() - second.sqrt()).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-10)


def test_covariances_that_do_not_commute_agree_with_the_matrix_root() -> None:
    a, b = (statistics_of(random_features(211, 13, seed)) for seed in (4, 5))
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    shift = (a.mean - b.mean).square().sum()
    traces = a.covariance.trace() + b.covariance.trace()
    expected = float(shift + traces) - 2 * float(np.trace(root).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


STORED_DISTANCES = {
    61: 714.6158244399699,
    192: 2401.77855776009,
    768: 9236.228833012981,
    2048: 25301.57090840929,
}
"""What pytorch-fid 0.3.0 gave for the features of the next test with SciPy 1.17.1."""


@pytest.mark.parametrize(
    ("dimensions", "count"), [(61, 401), (192, 401), (768, 1201), (2048, 2401)]
)
def test_equals_pytorch_fid(dimensions: int, count: int) -> None:
    """The stored value is used if SciPy lacks what pytorch-fid calls, or if that takes long."""
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    a, b = (statistics_of(random_features(count, dimensions, seed)) for seed in (6, 7))
    expected = STORED_DISTANCES[dimensions]
    if dimensions < 768:
        moments = (a.mean, a.covariance, b.mean, b.covariance)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                expected = fid_score.calculate_frechet_distance(*(x.numpy() for x in moments))
            except TypeError as error:
                warnings.warn(f"SciPy lacks what pytorch-fid calls: {error}", stacklevel=1)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(STORED_DISTANCES[dimensions], rel=1e-6)


def test_identical_sets_have_distance_zero() -> None:
    features = random_features(401, 61, seed=8)
    shuffled = features[torch.randperm(401, generator=torch.Generator().manual_seed(8))]
    a, b = statistics_of(features), statistics_of(shuffled)
    assert frechet_distance(a, b) <= 1e-9 * float(a.covariance.trace())


def test_rank_deficient_sets_have_distance_zero_to_themselves() -> None:
    flat = random_features(101, 3, seed=9) @ random_features(3, 17, seed=10)
    a = statistics_of(flat)
    b = GaussianStatistics(17)
    b.update(flat[:37])
    b.update(flat[37:])
    assert frechet_distance(a, b) <= 1e-9 * float(a.covariance.trace())


def test_the_distance_is_symmetric_and_grows_with_the_shift() -> None:
    features, other = random_features(101, 7, seed=11), random_features(103, 7, seed=12)
    a, b = statistics_of(features), statistics_of(other)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)
    distances = [frechet_distance(a, statistics_of(features + shift)) for shift in (0.1, 0.2, 0.4)]
    assert distances == pytest.approx([7 * 0.1**2, 7 * 0.2**2, 7 * 0.4**2], rel=1e-8)


def test_fewer_samples_than_dimensions_are_rejected_unless_allowed() -> None:
    enough, few = statistics_of(random_features(7, 7, 13)), statistics_of(random_features(6, 7, 14))
    frechet_distance(enough, enough)
    for pair in ((enough, few), (few, enough)):
        with pytest.raises(ValueError, match="6 samples are too few for features of 7 dimensions"):
            frechet_distance(*pair)
        assert frechet_distance(*pair, allow_few=True) > 0


def test_wrong_features_are_rejected() -> None:
    statistics = GaussianStatistics(7)
    with pytest.raises(ValueError, match=r"expected features of shape \(N, 7\), not \(3, 5\)"):
        statistics.update(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="must be finite, but vector"):
        statistics.update(torch.full((3, 7), float("nan")))
    assert statistics.count == 0
    with pytest.raises(ValueError, match="at least 2 feature vectors, not 0"):
        _ = statistics.covariance
    with pytest.raises(ValueError, match="5 dimensions cannot be merged into 7"):
        statistics.merge(GaussianStatistics(5))
    with pytest.raises(ValueError, match="of 7 and of 5 dimensions"):
        frechet_distance(statistics, GaussianStatistics(5))


def groups_of(features: torch.Tensor, count: int) -> list[GaussianStatistics]:
    return [statistics_of(part) for part in features.chunk(count)]


def test_the_error_is_the_spread_over_independent_sets() -> None:
    # Far from the reference the distance is nearly linear in the mean, where a jackknife is exact.
    reference = statistics_of(random_features(2003, 3, seed=20))
    measured = []
    for seed in range(60):
        rng = torch.Generator().manual_seed(1000 + seed)
        features = 3 + torch.randn(400, 3, generator=rng, dtype=torch.float64)
        measured.append(frechet_distance_with_error(groups_of(features, 10), reference))
    values, errors = torch.tensor(measured).double().T
    spread = float(values.std())
    mean_square = float(errors.square().mean().sqrt())
    assert spread > 0
    # Over 60 sets the spread itself is known to about 1 / √120 = 9%, so this is 3 of its errors.
    assert mean_square == pytest.approx(spread, rel=0.3)


def test_the_value_is_that_of_the_union_of_all_groups() -> None:
    features, reference = (
        random_features(101, 7, seed=21),
        statistics_of(random_features(50, 7, 22)),
    )
    value, error = frechet_distance_with_error(groups_of(features, 10), reference)
    assert value == pytest.approx(frechet_distance(statistics_of(features), reference), rel=1e-9)
    assert error is not None and error > 0


def test_a_jackknife_of_two_groups_computed_by_hand() -> None:
    # In one dimension with equal variances the distances without a group are (m_g - m)²: with
    # √(1/2 · ((d₁ - d̄)² + (d₂ - d̄)²)) = |d₁ - d₂| / 2.
    def set_around(mean: float) -> GaussianStatistics:
        return statistics_of(torch.tensor([[mean - 1.0], [mean + 1.0]], dtype=torch.float64))

    groups, reference = [set_around(2.0), set_around(5.0)], set_around(0.0)
    _, error = frechet_distance_with_error(groups, reference)
    assert error == pytest.approx((5.0**2 - 2.0**2) / 2, rel=1e-12)


def test_there_is_no_error_if_a_group_leaves_too_few_vectors() -> None:
    features, reference = random_features(10, 7, seed=23), statistics_of(random_features(50, 7, 24))
    assert frechet_distance_with_error(groups_of(features, 3), reference)[1] is None  # 6 are left
    assert frechet_distance_with_error(groups_of(features, 4), reference)[1] is not None  # 7 left
    assert frechet_distance_with_error([statistics_of(features)], reference)[1] is None


def test_a_reference_of_few_vectors_must_be_allowed() -> None:
    groups, few = (
        groups_of(random_features(100, 7, 25), 10),
        statistics_of(random_features(5, 7, 26)),
    )
    with pytest.raises(ValueError, match="5 samples are too few"):
        frechet_distance_with_error(groups, few)
    value, error = frechet_distance_with_error(groups, few, allow_few=True)
    assert value > 0 and error is not None and error > 0


def test_a_singular_and_a_regular_covariance_match_the_closed_form() -> None:
    # Diagonal covariances commute: Σ (√a_i - √b_i)².
    a, b = torch.tensor([4.0, 0.0, 9.0]), torch.tensor([1.0, 16.0, 0.25])
    zero = torch.zeros(3)
    first = of_moments(zero, a.diag(), count=5)
    second = of_moments(zero, b.diag(), count=5)
    expected = 1.0 + 16.0 + 2.5**2
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("first", "second"), [(11, 11), (7, 29), (2, 60), (19, 20)])
def test_few_vectors_match_the_closed_form(first: int, second: int) -> None:
    """With centered vectors as rows, S = AᵀA and BᵀB: the trace is the nuclear norm of A Bᵀ."""
    vectors = random_features(first, 61, seed=27), random_features(second, 61, seed=28)
    a, b = ((v - v.mean(dim=0)).double() / (len(v) - 1) ** 0.5 for v in vectors)
    shift = (vectors[0].double().mean(dim=0) - vectors[1].double().mean(dim=0)).square().sum()
    expected = shift + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()
    found = frechet_distance(*map(statistics_of, vectors), allow_few=True)
    assert found == pytest.approx(float(expected), rel=1e-9)


def test_constant_vectors_have_a_distance() -> None:
    constant, varying = torch.full((5, 3), 2.0), random_features(50, 3, seed=29)
    a, b = statistics_of(constant), statistics_of(varying)
    expected = float((a.mean - b.mean).square().sum() + b.covariance.trace())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
