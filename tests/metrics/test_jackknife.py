"""The jackknife: closed forms for the mean, and what is left out."""

from __future__ import annotations

import math

import pytest
import torch

from biglearn_gan.metrics.jackknife import jackknife_error, leave_out


def test_every_row_is_left_out_once() -> None:
    kept = torch.stack(list(leave_out(11, 4)))
    assert (~kept).sum(dim=0).tolist() == [1] * 11
    assert (~kept).sum(dim=1).tolist() == [3, 3, 3, 2]


@pytest.mark.parametrize(("count", "groups"), [(7, 7), (12, 4)])
def test_the_error_of_a_mean_is_that_of_the_means_of_the_groups(count: int, groups: int) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = torch.stack([values[kept].mean() for kept in leave_out(count, groups)])
    expected = float(values.view(groups, -1).mean(dim=1).std()) / math.sqrt(groups)
    assert jackknife_error(means) == pytest.approx(expected)
