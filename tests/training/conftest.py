"""Fixtures of the tests of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accelerate import Accelerator
from training_tools import TwoLayers

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.training import fit, perceptual, throughput
from biglearn_gan.training.trainer import Trainer


@pytest.fixture
def make_trainer(
    tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
) -> Callable[..., Trainer]:
    """Make a trainer of the tiny configuration with changes, on the tiny data set."""

    def make(changes: dict[str, Any] | None = None) -> Trainer:
        config = tiny_config(changes)
        return Trainer(config, tiny_dataset, Accelerator(cpu=True), config.train.max_images)

    return make


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers with random weights in place of EfficientNet, which need not be installed."""
    for module in (perceptual, fit, throughput):
        monkeypatch.setattr(module, "load_feature_network", lambda name, layers: TwoLayers())
