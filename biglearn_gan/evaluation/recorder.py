"""From features and values to records: one measured number each, with its error and its name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.evaluation.records import Record, metric_name
from biglearn_gan.evaluation.task import MARGINAL
from biglearn_gan.metrics.features import Features
from biglearn_gan.metrics.frechet import (
    GaussianStatistics,
    frechet_distance,
    frechet_distance_with_error,
    jackknife_error,
)
from biglearn_gan.metrics.precision_recall import precision_recall

GROUPS = 10
"""Parts that the jackknife leaves out one by one."""

TWO_STEP = "in-two-steps"
"""Names what compares a model with itself."""


@dataclass(frozen=True)
class Recorder:
    """What all records of one evaluation share.

    Attributes:
        features: what distances and neighbors are taken in.
        split: where sources come from; part of the names of completions.
        seed: part of every record.
        allow_few: measure distances of fewer images than dimensions; names then say ``few``.
    """

    features: Features
    split: str
    seed: int
    allow_few: bool

    def moments(self, features: Float[Tensor, "N D"]) -> GaussianStatistics:
        """Mean and covariance of feature vectors."""
        statistics = GaussianStatistics(self.features.dimensions)
        statistics.update(features)
        return statistics

    def distance_between(
        self, features: Float[Tensor, "N D"], reference: GaussianStatistics
    ) -> float:
        """The Fréchet distance of feature vectors to a reference."""
        return frechet_distance(self.moments(features), reference, allow_few=self.allow_few)

    def distance(
        self,
        task: str,
        features: Float[Tensor, "N D"],
        reference: GaussianStatistics,
        floor: float | None,
        subject: str = "",
    ) -> Record:
        """A Fréchet distance to a reference that counts as exact; ``few`` if either side is."""
        groups = [self.moments(part) for part in features.tensor_split(GROUPS)]
        value, error = frechet_distance_with_error(groups, reference, allow_few=self.allow_few)
        fewest = min(len(features), reference.count)
        return self._distance(task, value, error, floor, len(features), fewest, subject)

    def two_step_distance(
        self,
        task: str,
        stepwise: Float[Tensor, "N D"],
        at_once: Float[Tensor, "N D"],
        floor: float,
    ) -> Record:
        """The distance between two drawn sets of the same rows.

        Both are samples, so the jackknife leaves the same rows out of both.
        """
        count = len(stepwise)
        value = self.distance_between(stepwise, self.moments(at_once))
        parts = torch.arange(count).tensor_split(GROUPS)
        error = None
        if count - len(parts[0]) >= self.features.dimensions:
            without = torch.empty(GROUPS, dtype=torch.float64)
            for group, part in enumerate(parts):
                kept = torch.ones(count, dtype=torch.bool)
                kept[part] = False
                without[group] = self.distance_between(stepwise[kept], self.moments(at_once[kept]))
            error = jackknife_error(without)
        return self._distance(task, value, error, floor, count, count, TWO_STEP)

    def neighbors(
        self,
        task: str,
        features: Float[Tensor, "N D"],
        real: Float[Tensor, "M D"],
        originals: Float[Tensor, "N D"],
    ) -> list[Record]:
        """Precision and recall, beside those of the originals.

        Errors are those of a share of independent images, with the manifolds held fixed.
        """
        found, best = precision_recall(real, features), precision_recall(real, originals)
        count, kind = len(features), self.features.name
        return [
            self.record(
                measure,
                kind,
                task,
                value,
                math.sqrt(value * (1 - value) / count),
                count,
                ceiling=ceiling,
            )
            for measure, value, ceiling in zip(("precision", "recall"), found, best, strict=True)
        ]

    def mean(
        self,
        measure: str,
        kind: str,
        task: str,
        values: Float[Tensor, " N"],
        samples: int,
        *,
        floor: float | None = None,
        ceiling: float | None = None,
        subject: str = "",
    ) -> Record:
        """The mean over sources, with its standard error."""
        count = len(values)
        return self.record(
            measure,
            kind,
            task,
            float(values.mean()),
            float(values.std()) / math.sqrt(count) if count > 1 else None,
            count,
            samples=samples,
            floor=floor,
            ceiling=ceiling,
            subject=subject,
        )

    def record(
        self,
        measure: str,
        kind: str,
        task: str,
        value: float,
        error: float | None,
        count: int,
        *,
        samples: int | None = None,
        floor: float | None = None,
        ceiling: float | None = None,
        few: bool = False,
        subject: str = "",
    ) -> Record:
        """One number of ``count`` sources, under the name that says how it was measured."""
        split = None if task == "joint" or task.startswith(MARGINAL) else self.split
        name = metric_name(measure, count, kind, split, task, few=few, subject=subject)
        return Record(name, task, value, error, floor, ceiling, samples or count, self.seed)

    def _distance(
        self,
        task: str,
        value: float,
        error: float | None,
        floor: float | None,
        count: int,
        fewest: int,
        subject: str,
    ) -> Record:
        few = fewest < self.features.dimensions
        kind = self.features.name
        return self.record(
            "fd", kind, task, value, error, count, floor=floor, few=few, subject=subject
        )
