"""The moving average of weights."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from biglearn_gan.training.ema import update_ema


def test_an_update_interpolates_each_weight() -> None:
    average = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    weights = [torch.tensor([5.0, -2.0]), torch.tensor([[7.0]])]
    update_ema(average, weights, decay=0.75)
    assert_close(average, [torch.tensor([2.0, 1.0]), torch.tensor([[4.0]])])


def test_a_constant_weight_is_approached_with_the_half_life() -> None:
    average, weights = [torch.zeros(3)], [torch.ones(3)]
    for _ in range(10):
        update_ema(average, weights, decay=0.5**0.1)
    assert_close(average[0], torch.full((3,), 0.5))
