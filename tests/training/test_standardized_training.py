"""Training does not depend on the brightness and the contrast of the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from training_tools import assert_same, train

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.training.initial_model import load_initial_model
from biglearn_gan.training.trainer import Trainer

ON: dict[str, Any] = {"data.standardize": True}


def dataset(mean: float = 0.0, deviation: float = 1.0) -> ImageDataset:
    rng = torch.Generator().manual_seed(0)
    pixels = 0.2 * torch.randn(37, 1, 8, 8, generator=rng)
    return ImageDataset("toy:train", (mean + deviation * pixels).float())


def make_trainer(config: Config, images: ImageDataset) -> Trainer:
    return Trainer(config, images, Accelerator(cpu=True), config.train.max_images or 0)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return dict(trainer.model().named_parameters())


def test_images_of_any_brightness_and_contrast_train_the_same_weights(
    float64: None, tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config(ON | {"loss.logistic": 1.0})  # relativistic logits have no level
    one = weights(train(make_trainer(config, dataset())))
    other = weights(train(make_trainer(config, dataset(-0.5, 0.25))))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)


def test_a_resumed_run_keeps_the_statistics_that_it_began_with(
    tiny_config: Callable[..., Config],
) -> None:
    config = tiny_config(ON)
    first = train(make_trainer(config, dataset(0.5)), steps=4)
    second = make_trainer(config, dataset(-0.5))
    assert not torch.equal(second.standardization.mean, first.standardization.mean)
    second.load_state_dict(first.state_dict())
    assert_same(second.state_dict(), first.state_dict())
    assert torch.equal(second.model().standardization.mean, first.standardization.mean)


def test_a_state_from_before_there_were_statistics_is_read(
    tiny_config: Callable[..., Config],
) -> None:
    before = train(make_trainer(tiny_config(), dataset()), steps=4)
    state = before.state_dict()
    del state["standardization"]
    resumed = make_trainer(tiny_config(), dataset())
    resumed.load_state_dict(state)
    assert_same(resumed.state_dict(), before.state_dict())


def test_a_run_from_a_trained_model_keeps_its_statistics(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    model = BigLearnGAN(tiny_config(ON))
    model.standardization.set_statistics(torch.tensor([0.75]), torch.tensor([0.125]))
    model.save_pretrained(tmp_path)
    start = {"train.initial_model": str(tmp_path), "train.warm_start.share": 0.0}
    initial = load_initial_model(tiny_config(ON | start))
    assert initial is not None
    trainer = make_trainer(tiny_config(ON | start), dataset())
    trainer.init_from(initial)
    assert trainer.model().standardization.mean.tolist() == [0.75]
    with pytest.raises(ConfigError, match=r"data.standardize = True, but the run has False"):
        load_initial_model(tiny_config(start))


def test_baselines_are_the_losses_of_guessing(tiny_config: Callable[..., Config]) -> None:
    images = dataset(0.3, 0.5)
    labels = torch.arange(37) % 10
    labeled = ImageDataset("toy:train", images.batch(torch.arange(37)).images, labels, 10)
    pixels = images.batch(torch.arange(37)).images
    error = float((pixels - pixels.mean(dim=0)).square().mean())
    plain = make_trainer(tiny_config({"data.labels": True}), labeled).baselines()
    assert plain["warm_start/squared_error"] == pytest.approx(error, rel=1e-4)
    assert 2.29 < plain["loss/label"] < 2.3026
    standardized = make_trainer(tiny_config(ON), images).baselines()
    expected = error / float(pixels.var(correction=0))
    assert standardized == {"warm_start/squared_error": pytest.approx(expected, rel=1e-4)}
