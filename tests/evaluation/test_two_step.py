"""Images drawn in two steps, compared with those drawn in one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_models import TEST, Noise, by_metric

from biglearn_gan.evaluation.task import (
    ModelSamples,
    TwoStepSamples,
    draw_half_holes,
    make_sourceless_task,
)
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.rng import Stream, make_rng


def test_an_inconsistent_model_is_far_above_its_floor(metric_models: MetricModels) -> None:
    class Inconsistent(Noise):
        """Fills with noise if nothing is known, else with black."""

        def complete(self, images: Tensor, hole: Tensor, **options) -> Tensor:
            absent = options.get("absent")
            unknown = hole if absent is None else hole | absent
            if unknown.all():
                return super().complete(images, hole, **options)
            originals = images[:, None].repeat(1, options.get("variations", 1), 1, 1, 1)
            return torch.where(hole[:, None, None], -torch.ones(()), originals)

    name = "fd130_classifier_joint_two-step"
    consistent = by_metric(Noise(), metric_models, tasks=["joint"])[name]
    assert consistent.value < 1.5 * consistent.floor
    inconsistent = by_metric(Inconsistent(), metric_models, tasks=["joint"])[name]
    assert inconsistent.value > 5 * inconsistent.floor


def test_the_error_leaves_each_row_out_of_both_sets(metric_models: MetricModels) -> None:
    """Computed by hand; both sets are random."""
    record = by_metric(Noise(), metric_models, tasks=["joint"])["fd130_classifier_joint_two-step"]
    task = make_sourceless_task("joint", 130, TEST, 2, 0)
    rngs = [make_rng(Stream.HALVES, 0, row) for row in range(130)]
    first = draw_half_holes(task.hole, 2, rngs)
    once = metric_models.features(ModelSamples(Noise(), task, 0).read(0, 130, 2)[:, 0])
    two_step = metric_models.features(
        TwoStepSamples(Noise(), task, first, (1, 2)).read(0, 130, 1)[:, 0]
    )

    def distance(rows: Tensor) -> float:
        sets = []
        for features in (two_step, once):
            sets.append(GaussianStatistics(64))
            sets[-1].update(features[rows])
        return frechet_distance(*sets)

    rows = torch.arange(130)
    assert record.value == pytest.approx(distance(rows), rel=1e-6)
    left_out = torch.tensor([distance(rows[rows // 13 != group]) for group in range(10)])
    error = ((left_out - left_out.mean()).square().sum() * 9 / 10).sqrt()
    assert record.error == pytest.approx(float(error), rel=1e-4)
