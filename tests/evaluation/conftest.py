"""The shipped networks that measure digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.metrics.features import ClassifierFeatures
from biglearn_gan.metrics.masked_classifier import MaskedClassifier
from biglearn_gan.metrics.metric_models import MetricModels

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


@pytest.fixture(scope="session")
def metric_models() -> MetricModels:
    classifier = ImageClassifier.from_pretrained(CHECKPOINTS / "classifier_digits")
    return MetricModels(
        ClassifierFeatures(classifier),
        classifier,
        MaskedClassifier.from_pretrained(CHECKPOINTS / "masked_classifier_digits"),
    )
