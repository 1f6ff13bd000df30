"""The kernel distance: closed forms, no bias, and an error that is right."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.metrics import kernel_distance as module
from biglearn_gan.metrics.kernel_distance import kernel_distance, squared_discrepancy


def normal(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)) + shift


def test_the_estimate_by_hand() -> None:
    """Vectors of one dimension: the kernel is (x y + 1)³."""
    first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    within = (0 * 1 + 1) ** 3 + (1 * 2 + 1) ** 3
    between = (1 + 1 + (1 + 1) ** 3 + (2 + 1) ** 3) / 4
    assert squared_discrepancy(first, second) == pytest.approx(within - 2 * between)


def test_equal_distributions_are_at_zero_whatever_the_number() -> None:
    for count in (40, 400, 4000):
        value, error = kernel_distance(normal(count, 1), normal(count, 2))
        assert abs(value) < 3 * error


def test_the_value_is_that_of_the_moments() -> None:
    """E k(x, y) of N(m, I) in 4 dimensions, with x·y of mean m·n and known second moments."""
    value, error = kernel_distance(normal(40_000, 1), normal(40_000, 2, shift=1.0))
    # With s = x·y / 4: E(1 + s)³ = 1 + 3 E s + 3 E s² + E s³, by the Gaussians' moments.
    inside = 1 + 3 * 0.25  # both at 0: E s = E s³ = 0, E s² = 4 / 16
    across = 1 + 3 * 0.5  # one at (1, 1, 1, 1): E s² = (4 + 4) / 16
    shifted = 1 + 3 * 1 + 3 * (16 + 8 + 4) / 16 + (64 + 3 * 4 * 12 + 24) / 64
    assert value == pytest.approx(inside + shifted - 2 * across, abs=4 * error)


def test_the_error_is_the_deviation_of_independent_estimates() -> None:
    found = [kernel_distance(normal(100, s), normal(100, 1000 + s, 0.3)) for s in range(200)]
    values, errors = (torch.tensor(each, dtype=torch.float64) for each in zip(*found, strict=True))
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(values.std()), rel=0.15)


def test_subsets_cover_the_smaller_set_and_few_vectors_have_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kernel_distance(normal(19, 1), normal(500, 2)) is None
    sizes = []
    monkeypatch.setattr(
        module, "squared_discrepancy", lambda a, b: float(sizes.append((len(a), len(b))) or 0)
    )
    kernel_distance(normal(20, 1), normal(500, 2))
    kernel_distance(normal(12_345, 1), normal(30_000, 2))
    assert sizes == [(2, 2)] * 10 + [(1000, 1000)] * 12
