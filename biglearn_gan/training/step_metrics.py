"""Metrics of steps. They stay on the device until they are logged: no step waits for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int64
from torch import Tensor

from biglearn_gan.training.adversarial import StepResult

MAX_PENDING = 256
"""Steps after which metrics are fetched, even if nothing is logged."""


class NonFiniteMetricError(Exception):
    """A metric is NaN or infinite.

    Attributes:
        name: of the metric.
        images_seen: of the first such step.
        rows: the images of this process's batch whose terms are not finite.
    """

    def __init__(self, name: str, images_seen: int, rows: Int64[Tensor, " R"]):
        super().__init__(f"{name} is not finite at {images_seen:,} images")
        self.name = name
        self.images_seen = images_seen
        self.rows = rows


@dataclass(frozen=True)
class _Step:
    images_seen: int
    names: tuple[str, ...]
    values: Float[Tensor, " names"]
    per_sample: Float[Tensor, " B"]


class StepMetrics:
    """Sums of the metrics of all steps since they were last taken.

    Attributes:
        sums: by name, the sum over steps of the mean over processes, and the number of steps; those
            of the steps since :meth:`collect` are missing.
    """

    def __init__(self, accelerator: Accelerator):
        self.sums: dict[str, tuple[float, int]] = {}
        self._accelerator = accelerator
        self._pending: list[_Step] = []

    def add(self, images_seen: int, result: StepResult) -> None:
        """Add a step that began at ``images_seen``.

        Raises:
            NonFiniteMetricError: see :meth:`collect`.
        """
        values = torch.stack(list(result.metrics.values()))
        self._pending.append(_Step(images_seen, tuple(result.metrics), values, result.per_sample))
        if len(self._pending) >= MAX_PENDING:
            self.collect()

    def collect(self) -> None:
        """Fetch the metrics of all steps, averaged over processes. All processes must call this.

        Raises:
            NonFiniteMetricError: a metric is not finite, in any process.
        """
        steps, self._pending = self._pending, []
        if not steps:
            return
        flat = torch.cat([step.values for step in steps])
        means = iter(self._accelerator.reduce(flat, "mean").double().tolist())
        for step in steps:
            for name in step.names:
                value = next(means)
                if not math.isfinite(value):
                    rows = (~step.per_sample.isfinite()).nonzero()[:, 0]
                    raise NonFiniteMetricError(name, step.images_seen, rows)
                total, count = self.sums.get(name, (0.0, 0))
                self.sums[name] = (total + value, count + 1)

    def take(self) -> dict[str, float]:
        """The mean of each metric since the last call. All processes must call this.

        Raises:
            NonFiniteMetricError: see :meth:`collect`.
        """
        self.collect()
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means
