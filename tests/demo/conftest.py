"""A session of the demo with a tiny model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.demo.session import DemoSession
from biglearn_gan.models.biglearn_gan import BigLearnGAN


@pytest.fixture
def session(tiny_config: Callable[..., Config], tiny_dataset: ImageDataset) -> DemoSession:
    model = BigLearnGAN(tiny_config({"data.labels": True}))
    return DemoSession("my model", model, tiny_dataset)
