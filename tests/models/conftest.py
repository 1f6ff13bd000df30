"""An untrained model, which most tests of models use."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.config import Config
from biglearn_gan.models.biglearn_gan import BigLearnGAN


@pytest.fixture
def model(oblong_config: Config) -> BigLearnGAN:
    """A model of RGB images of 6 x 10 pixels, with weights far enough from 0 that all matter."""
    result = BigLearnGAN(oblong_config).eval()
    with torch.no_grad():
        result.generator.head.weight.mul_(3)
    return result
