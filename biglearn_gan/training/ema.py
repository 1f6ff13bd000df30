"""The exponential moving average (EMA) of the generator's weights, which users sample from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def update_ema(average: Iterable[Tensor], weights: Iterable[Tensor], decay: float) -> None:
    """Replace each average, in place, by ``decay`` times itself plus 1 - ``decay`` times a weight.

    Args:
        average: parameters of the averaged network.
        weights: parameters of the trained network, in the same order.
        decay: see :meth:`TrainingSchedule.at`.
    """
    old = [parameter.detach() for parameter in average]
    new = [parameter.detach() for parameter in weights]
    torch._foreach_lerp_(old, new, 1 - decay)
