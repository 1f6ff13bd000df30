"""Images of any system, measured with the protocol of a model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_models import TEST, TRAIN, Noise, by_metric

from biglearn_gan.evaluation.protocol import evaluate_samples
from biglearn_gan.evaluation.sample_reader import SavedSamples
from biglearn_gan.evaluation.task import (
    ModelSamples,
    ProtocolError,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.rng import Stream, make_rng


@pytest.mark.parametrize(
    ("name", "variations"), [("joint", 1), ("random:0.5", 64), ("outside:4", 64)]
)
def test_samples_score_like_the_model_that_drew_them(
    name: str, variations: int, metric_models: MetricModels
) -> None:
    order = torch.randperm(397, generator=make_rng(Stream.SOURCES, 0))
    expected = by_metric(Noise(), metric_models, num=397, variations=variations, tasks=[name])
    task = make_task(name, TEST.images_uint8(order), TEST.labels[order], 2, 0)
    drawn = ModelSamples(Noise(), task, 0)
    samples = SavedSamples(
        torch.cat([drawn.read(start, start + 250, variations) for start in (0, 250)])
    )
    report = evaluate_samples(task, samples, metric_models, TRAIN, TEST, patch_size=2)
    assert not report.images_per_second
    found = {record.metric: record for record in report.records}
    assert found == {
        metric: record for metric, record in expected.items() if record.subject != "two-step"
    }


def test_every_variation_of_a_joint_sample_counts(metric_models: MetricModels) -> None:
    """9 rows of 8 variations are 72 images, compared with as many real ones."""
    task = make_sourceless_task("joint", 9, TEST, 2, 0)
    samples = SavedSamples(ModelSamples(Noise(), task, 0).read(0, 9, 8))
    report = evaluate_samples(task, samples, metric_models, TRAIN, TEST)
    found = {record.metric: record for record in report.records}
    assert found["fd72_classifier_joint"].floor is not None


def test_sources_from_the_reference_are_rejected(metric_models: MetricModels) -> None:
    images = TRAIN.images_uint8(torch.arange(100))
    task = make_task("center", images, TRAIN.labels[:100], 2, 0)
    with pytest.raises(ProtocolError, match="100 of 100 sources are training images"):
        evaluate_samples(task, SavedSamples(images[:, None]), metric_models, TRAIN, TEST)


def test_sources_of_neither_split_and_names_that_are_not_allowed(
    metric_models: MetricModels,
) -> None:
    mirrored = TRAIN.images_uint8(torch.arange(100)).flip(-1)
    task = make_task("center", mirrored, None, 2, 0)
    samples = SavedSamples(mirrored[:, None])
    records = evaluate_samples(task, samples, metric_models, TRAIN, TEST).records
    assert "fd100_classifier_given_center" in [record.metric for record in records]
    for name in ("joint", "marginal:center", "a/b", "random:abc", "outside:abc"):
        with pytest.raises(ProtocolError, match="cannot name completions"):
            evaluate_samples(replace(task, name=name), samples, metric_models, TRAIN, TEST)
