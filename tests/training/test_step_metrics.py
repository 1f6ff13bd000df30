"""Metrics are averaged over steps, and the first step that is not finite is named."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator

from biglearn_gan.training import step_metrics
from biglearn_gan.training.adversarial import StepResult
from biglearn_gan.training.step_metrics import NonFiniteMetricError, StepMetrics


def result(per_sample: float = 0.0, **metrics: float) -> StepResult:
    values = {name: torch.tensor(value) for name, value in metrics.items()}
    return StepResult(values, torch.tensor([0.0, per_sample, 0.0]))


@pytest.mark.parametrize("max_pending", [1, 2, 256])
def test_each_metric_is_averaged_over_the_steps_that_have_it(
    max_pending: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_metrics, "MAX_PENDING", max_pending)
    metrics = StepMetrics(Accelerator(cpu=True))
    metrics.add(0, result(loss=1.0, penalty=5.0))
    metrics.add(4, result(loss=2.0))
    metrics.add(8, result(loss=6.0))
    assert metrics.take() == {"loss": 3.0, "penalty": 5.0}
    assert metrics.take() == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_step_that_is_not_finite_is_named(bad: float) -> None:
    metrics = StepMetrics(Accelerator(cpu=True))
    metrics.add(0, result(loss=1.0))
    metrics.add(4, result(per_sample=bad, loss=1.0, penalty=bad))
    metrics.add(8, result(loss=bad))
    with pytest.raises(NonFiniteMetricError) as caught:
        metrics.collect()
    assert (caught.value.name, caught.value.images_seen) == ("penalty", 4)
    assert caught.value.rows.tolist() == [1]
