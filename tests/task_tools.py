"""Small mixtures of tasks, and a test of counts against probabilities, that several tests share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from biglearn_gan.config import (
    Selection,
    TaskComponent,
)
from biglearn_gan.config.task_presets import PRESETS
from biglearn_gan.tasks.sampler import TaskSampler

GRID = (3, 5)
L = 15


def seeded_rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_observed(rows: int, length: int = L) -> Tensor:
    return torch.ones(rows, length, dtype=torch.bool)


def select(pattern: str, inverted: bool = False, **law: Any) -> Selection:
    return Selection.model_validate({"pattern": pattern, "ratio": law, "inverted": inverted})


def component(
    name: str, weight: float = 1.0, union: Selection | None = None, target: Selection | None = None
) -> TaskComponent:
    return TaskComponent(
        name=name, weight=weight, union=union or Selection(), target=target or Selection()
    )


def preset(name: str, grid_size: tuple[int, int] = GRID) -> TaskSampler:
    return TaskSampler(PRESETS[name], grid_size)


def uniform_law(low: float, high: float, most: int) -> list[float]:
    """P(n) for n = 1 to ``most``: the share of [low, high] that rounds to n (0 counts as 1)."""
    law = []
    for n in range(1, most + 1):
        start = (n - 0.5) / most if n > 1 else -math.inf
        overlap = min(high, (n + 0.5) / most) - max(low, start)
        law.append(max(0.0, overlap) / (high - low))
    return law


def assert_follows(counts: Sequence[int], probabilities: Sequence[float]) -> None:
    """Chi-square at a fixed seed; what has probability 0 must not occur, rare cells are pooled."""
    assert sum(probabilities) == pytest.approx(1)
    total = sum(counts)
    observed, expected = [], []
    pooled_observed, pooled_expected = 0.0, 0.0
    for count, probability in zip(counts, probabilities, strict=True):
        if probability == 0:
            assert count == 0
        elif probability * total < 5:
            pooled_observed += count
            pooled_expected += probability * total
        else:
            observed.append(float(count))
            expected.append(probability * total)
    if pooled_expected > 5:
        observed.append(pooled_observed)
        expected.append(pooled_expected)
    else:
        assert pooled_observed <= pooled_expected + 5 * math.sqrt(pooled_expected) + 1e-9
        expected = [e * sum(observed) / sum(expected) for e in expected]
    if len(observed) > 1:
        assert stats.chisquare(observed, expected).pvalue > 1e-4
