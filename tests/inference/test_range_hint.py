"""Images of files and data sets are in a known range: bright ones get no hint about [0, 1]."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.task import ModelSamples, TwoStepSamples, make_task
from biglearn_gan.inference.batched import draw_samples
from biglearn_gan.inference.classification import classify_images
from biglearn_gan.inference.inputs import Inputs
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.training.monitor import training_grid

BRIGHT = torch.randint(
    140, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)
TASK = make_task("center", BRIGHT, None, patch_size=2, seed=0)


@pytest.fixture
def model(tiny_config: Callable[..., Config]) -> BigLearnGAN:
    return BigLearnGAN(tiny_config({"data.labels": True}))


@pytest.fixture(autouse=True)
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings(action="error"):
        yield


def test_a_tensor_of_a_user_gets_it(model: BigLearnGAN) -> None:
    with pytest.raises(UserWarning, match="no known pixel is below 0"):
        model.complete(BRIGHT / 255, TASK.hole)


def test_completing_and_ranking(model: BigLearnGAN) -> None:
    draw_samples(model, BRIGHT, TASK.hole, SamplingOptions(), batch_size=3, best_of=2)


def test_classifying(model: BigLearnGAN) -> None:
    names = tuple("abcde")
    classify_images(model, Inputs(BRIGHT, TASK.hole, names=names), batch_size=3)


def test_the_preview_of_training(model: BigLearnGAN) -> None:
    training_grid(model, ImageDataset("bright", BRIGHT, torch.arange(5), 10))


def test_evaluation(model: BigLearnGAN) -> None:
    ModelSamples(model, TASK, 0).read(0, 5, 2)
    half = TASK.hole.clone()
    half[:, :, :4] = False
    TwoStepSamples(model, TASK, half, (0, 1)).read(0, 5, 2)
