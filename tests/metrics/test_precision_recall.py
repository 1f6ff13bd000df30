"""Precision and recall: by hand, at their extremes, and against a literal implementation."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.metrics import precision_recall as neighbors
from biglearn_gan.metrics.precision_recall import precision_recall


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_one_dimension_computed_by_hand() -> None:
    # With k = 1 the real radii are 1, 1, 2 and 7: balls [-1, 1], [0, 2], [1, 5] and [3, 17].
    real = column(0, 1, 3, 10)
    # Of -1.5, 18 and 2.5 only the last is in them. Their own radii are 4, 15.5 and 4, which makes
    # balls [-5.5, 2.5], [2.5, 33.5] and [-1.5, 6.5]: every real one is in them.
    assert precision_recall(real, column(-1.5, 18, 2.5), neighbors=1) == (1 / 3, 1.0)
    # Generated 20 and 21 have radius 1 and reach no real one; real 10 reaches 17 only.
    assert precision_recall(real, column(20, 21), neighbors=1) == (0.0, 0.0)
    # Generated 0.4 and 0.5 have radius 0.1: in the real manifold, but no real one is near them.
    assert precision_recall(real, column(0.4, 0.5), neighbors=1) == (1.0, 0.0)
    # Generated 0.9 and 1.1 have radius 0.2 and hold the real 1 alone.
    assert precision_recall(real, column(0.9, 1.1), neighbors=1) == (1.0, 0.25)


def random_sets(n: int = 53, m: int = 47) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(n, 3, generator=rng)
    return real, 0.8 * torch.randn(m, 3, generator=rng) + 0.4


@pytest.mark.parametrize("k", [1, 3, 7])
def test_values_equal_a_literal_implementation(k: int) -> None:
    real, generated = random_sets()

    def share(points: torch.Tensor, members: torch.Tensor) -> float:
        inside = 0
        for point in points:
            for number, member in enumerate(members):
                others = torch.cat([members[:number], members[number + 1 :]])
                radius = (others - member).norm(dim=1).sort().values[k - 1]
                if (point - member).norm() <= radius:
                    inside += 1
                    break
        return inside / len(points)

    expected = (share(generated, real), share(real, generated))
    assert min(expected) > 0.2 and expected[0] != expected[1]
    assert precision_recall(real, generated, neighbors=k) == pytest.approx(expected)


def test_a_set_covers_itself() -> None:
    real, _ = random_sets()
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(1))
    assert precision_recall(real, real[order]) == (1.0, 1.0)


def test_constant_images_have_no_recall() -> None:
    real, _ = random_sets()
    precision, recall = precision_recall(real, real[5].expand(50, 3))
    assert precision == 1.0
    assert recall <= 1 / 53  # at most the image itself


def test_distant_sets_have_neither_precision_nor_recall() -> None:
    real, generated = random_sets()
    assert precision_recall(real, generated + 1000) == (0.0, 0.0)


def test_exchanging_the_sets_exchanges_precision_and_recall() -> None:
    real, generated = random_sets()
    precision, recall = precision_recall(real, generated)
    assert precision_recall(generated, real) == (recall, precision)


@pytest.mark.parametrize("rows", [1, 10, 53])
def test_the_batch_size_does_not_matter(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = random_sets()
    expected = precision_recall(real, generated)
    monkeypatch.setattr(neighbors, "ROWS_AT_ONCE", rows)
    assert precision_recall(real, generated) == expected


def test_a_common_offset_and_scale_do_not_matter() -> None:
    real, generated = random_sets()
    expected = precision_recall(real, generated)
    assert precision_recall(5 * real + 100, 5 * generated + 100) == expected


def test_too_few_vectors_are_rejected() -> None:
    real, generated = random_sets()
    message = "3 images are too few for 3 nearest neighbors"
    for pair in ((real[:3], generated), (real, generated[:3])):
        with pytest.raises(ValueError, match=message):
            precision_recall(*pair)
    precision_recall(real[:4], generated[:4])
