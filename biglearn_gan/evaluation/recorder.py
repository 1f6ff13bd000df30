"""Turn features and values into records: one measured number each, with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.evaluation.records import TWO_STEP, Record
from biglearn_gan.evaluation.task import MARGINAL, EvaluationSettings
from biglearn_gan.metrics.features import Features
from biglearn_gan.metrics.frechet import (
    GaussianStatistics,
    frechet_distance,
    frechet_distance_with_error,
)
from biglearn_gan.metrics.jackknife import jackknife_error, leave_out
from biglearn_gan.metrics.kernel_distance import kernel_distance
from biglearn_gan.metrics.precision_recall import precision_recall

JACKKNIFE_GROUPS = 10
"""Parts that the jackknife leaves out one by one."""


@dataclass(frozen=True)
class Recorder:
    """Makes the records of one evaluation.

    Attributes:
        features: space of distances and neighbors.
        split: split of the source images.
        settings: of the evaluation.
    """

    features: Features
    split: str
    settings: EvaluationSettings

    def statistics(self, features: Float[Tensor, "N D"]) -> GaussianStatistics:
        """Mean and covariance of feature vectors."""
        statistics = GaussianStatistics(self.features.dimensions)
        statistics.update(features)
        return statistics

    def compute_distance(
        self, features: Float[Tensor, "N D"], reference: GaussianStatistics
    ) -> float:
        """The Fréchet distance of feature vectors to a reference."""
        return frechet_distance(
            self.statistics(features), reference, allow_few=self.settings.allow_few
        )

    def distance(
        self,
        task: str,
        features: Float[Tensor, "N D"],
        reference: GaussianStatistics,
        floor: float | None,
        subject: str | None = None,
    ) -> Record:
        """A Fréchet distance to a reference, which counts as exact.

        The record is marked as ``few`` if either side has fewer images than dimensions.
        """
        groups = [self.statistics(part) for part in features.tensor_split(JACKKNIFE_GROUPS)]
        value, error = frechet_distance_with_error(
            groups, reference, allow_few=self.settings.allow_few
        )
        count = len(features)
        few = min(count, reference.count) < self.features.dimensions
        record = self.record("fd", self.features.name, task, count, value, error)
        return replace(record, floor=floor, few=few, subject=subject)

    def two_step_distance(
        self,
        task: str,
        two_step: Float[Tensor, "N D"],
        one_step: Float[Tensor, "N D"],
        floor: float,
    ) -> Record:
        """The distance between two generated sets of the same rows.

        Both are samples, so the jackknife leaves the same rows out of both.
        """
        count = len(two_step)
        value = self.compute_distance(two_step, self.statistics(one_step))
        rests = list(leave_out(count, JACKKNIFE_GROUPS))
        error = None
        if int(rests[0].sum()) >= self.features.dimensions:
            values = [
                self.compute_distance(two_step[kept], self.statistics(one_step[kept]))
                for kept in rests
            ]
            error = jackknife_error(torch.tensor(values, dtype=torch.float64))
        few = count < self.features.dimensions
        record = self.record("fd", self.features.name, task, count, value, error)
        return replace(record, floor=floor, few=few, subject=TWO_STEP)

    def comparisons(
        self,
        task: str,
        features: Float[Tensor, "N D"],
        training: Float[Tensor, "M D"],
        originals: Float[Tensor, "N D"],
    ) -> list[Record]:
        """Precision, recall and kernel distance to training images, with those of the originals."""
        records = self._precision_and_recall(task, features, training, originals)
        found, floor = (kernel_distance(each, training) for each in (features, originals))
        if found is not None and floor is not None:
            value, error = found
            record = self.record("kid", self.features.name, task, len(features), value, error)
            records.append(replace(record, floor=floor[0]))
        return records

    def _precision_and_recall(
        self,
        task: str,
        features: Float[Tensor, "N D"],
        training: Float[Tensor, "M D"],
        originals: Float[Tensor, "N D"],
    ) -> list[Record]:
        """Precision and recall; the ceilings are those of the original images.

        Errors are those of a share of independent images, with the manifolds held fixed.
        """
        values = precision_recall(training, features)
        ceilings = precision_recall(training, originals)
        count, records = len(features), []
        for measure, value, ceiling in zip(("precision", "recall"), values, ceilings, strict=True):
            error = math.sqrt(value * (1 - value) / count)
            record = self.record(measure, self.features.name, task, count, value, error)
            records.append(replace(record, ceiling=ceiling))
        return records

    def mean(
        self,
        measure: str,
        features: str,
        task: str,
        values: Float[Tensor, " N"],
        samples: int,
        *,
        floor: float | None = None,
        ceiling: float | None = None,
        subject: str | None = None,
    ) -> Record:
        """The mean of one value per source, with its standard error."""
        count = len(values)
        error = float(values.std()) / math.sqrt(count) if count > 1 else None
        record = self.record(measure, features, task, count, float(values.mean()), error)
        return replace(record, samples=samples, floor=floor, ceiling=ceiling, subject=subject)

    def record(
        self,
        measure: str,
        features: str,
        task: str,
        count: int,
        value: float,
        error: float | None,
    ) -> Record:
        """One number of ``count`` images, without a bound."""
        return Record(
            measure=measure,
            features=features,
            count=count,
            split=None if task == "joint" or task.startswith(MARGINAL) else self.split,
            task=task,
            subject=None,
            value=value,
            error=error,
            floor=None,
            ceiling=None,
            samples=count,
            seed=self.settings.seed,
        )
