"""Label histograms and their distances by hand, and perfect draws against exact expectations."""

from __future__ import annotations

import math

import pytest
import torch

from biglearn_gan.metrics.completion_metrics import (
    agreement,
    entropy,
    histograms,
    total_variation,
    total_variation_of_perfect_draws,
)
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


def test_agreement_leaves_out_images_without_a_label() -> None:
    predicted = torch.tensor([[2, 2, 0, 2], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])
    found = agreement(predicted, torch.tensor([2, UNKNOWN_LABEL, 3, 1]))
    assert found is not None and found.tolist() == [0.75, 0.0, 0.25]
    assert agreement(predicted, torch.full((4,), UNKNOWN_LABEL)) is None
    assert agreement(predicted, None) is None


def test_histograms_computed_by_hand() -> None:
    labels = torch.tensor([[0, 2, 2, 2], [1, 1, 1, 1]])
    expected = torch.tensor([[0.25, 0.0, 0.75], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert torch.equal(histograms(labels, 3), expected)


def test_total_variation_computed_by_hand() -> None:
    first = torch.tensor([[0.5, 0.5, 0.0], [1, 0, 0], [0.2, 0.3, 0.5]], dtype=torch.float64)
    second = torch.tensor([[0.25, 0.25, 0.5], [0, 0, 1], [0.2, 0.3, 0.5]], dtype=torch.float64)
    expected = torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(total_variation(first, second), expected)
    torch.testing.assert_close(total_variation(second, first), expected)


def exact(p: float, draws: int) -> float:
    """E|k / draws - p| for k ~ Binomial(draws, p): the total variation of two classes."""
    return sum(
        math.comb(draws, k) * p**k * (1 - p) ** (draws - k) * abs(k / draws - p)
        for k in range(draws + 1)
    )


@pytest.mark.parametrize("draws", [1, 7, 64])
def test_perfect_draws_of_two_classes(draws: int) -> None:
    rows = torch.tensor([[0.3, 0.7], [0.9, 0.1]], dtype=torch.float64)
    count = 500  # of each row, 16 histograms each
    found = total_variation_of_perfect_draws(
        rows.repeat(count, 1), draws, torch.Generator().manual_seed(0)
    )
    expected = (exact(0.3, draws) + exact(0.9, draws)) / 2
    # A single |k/n - p| deviates by less than 0.5 / √n, and 16,000 of them are averaged.
    assert found == pytest.approx(expected, abs=4 * 0.5 / draws**0.5 / 16_000**0.5)


def test_certain_labels_are_drawn_without_error() -> None:
    p = torch.eye(3, dtype=torch.float64)
    assert total_variation_of_perfect_draws(p, 5, torch.Generator().manual_seed(0)) == 0


def test_perfect_draws_depend_on_their_seed() -> None:
    p = torch.full((7, 4), 0.25, dtype=torch.float64)
    first, again, other = (
        total_variation_of_perfect_draws(p, 5, torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    assert first == again != other


def test_entropy_computed_by_hand() -> None:
    assert entropy(torch.tensor([4, 4, 4]), 10) == 0
    assert entropy(torch.arange(10), 10) == pytest.approx(math.log(10))
    assert entropy(torch.tensor([0, 0, 0, 1]), 2) == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )
