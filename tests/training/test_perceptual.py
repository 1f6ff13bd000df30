"""The energy score in features: a proper score of what is present, by a network that is frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor
from torch.autograd import gradcheck
from toys import random_images
from training_tools import TwoLayers, assert_same, head_gradient, train

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.models.efficientnet import FeatureNetworkError
from biglearn_gan.models.feature_networks import IMAGENET_DEVIATION, IMAGENET_MEAN
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.tasks.patches import gather_tokens, patchify, pixels_of_tokens
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training import fit as fit_module
from biglearn_gan.training import losses
from biglearn_gan.training.fit import fit
from biglearn_gan.training.perceptual import PerceptualFeatures, View
from biglearn_gan.training.trainer import Trainer

ON: dict[str, Any] = {
    "data": {"name": "cifar10", "image_size": 8, "channels": 3, "standardize": True},
    "loss.perceptual": {"layers": [1, 2], "size": 16},
    "train.max_images": 24,
}

pytestmark = pytest.mark.usefixtures("small_network")

ORTHOGONAL: dict[str, Any] = {
    "tasks": {"components": [{"name": "x", "weight": 1, "domain": "orthogonal"}]},
    "model.generator.output": "linear",
    "train.warm_start.share": 0.0,
}


@pytest.fixture
def dataset() -> ImageDataset:
    return ImageDataset("toy:train", random_images(13, 3, 8, 8))


@pytest.fixture
def config(tiny_config: Callable[..., Config]) -> Config:
    return tiny_config(ON)


@pytest.fixture
def features(config: Config) -> PerceptualFeatures:
    standardization = Standardization(config)
    standardization.set_statistics(torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 0.25, 1.5]))
    return PerceptualFeatures(config, standardization, torch.device("cpu"))


def test_a_score_by_hand() -> None:
    """Two channels at one place: after the division, (3, 4) is (3, 4) / sqrt(12.5)."""
    real, first, second = (torch.tensor(v).view(1, 2, 1, 1) for v in ([3.0, 4], [6.0, 8], [4.0, 3]))
    apart = math.sqrt(1 / 12.5)
    value = losses.feature_energy_score([real], [first], [second])
    assert value.tolist() == [pytest.approx(0.5 * (0 + apart) - 0.5 * apart, abs=1e-3)]
    away = losses.feature_energy_score([real], [second], [second])
    assert away.tolist() == [pytest.approx(apart, abs=1e-3)]
    both = losses.feature_energy_score([real, real], [second, real], [second, real])
    assert both.tolist() == [pytest.approx(apart / 2, abs=1e-3)]


def test_the_network_reads_pictures_with_the_statistics_of_imagenet(
    features: PerceptualFeatures, draw_masks: Callable[..., TokenMasks]
) -> None:
    """Absent pixels are 0, ImageNet's mean."""
    images = 3 * torch.randn(2, 3, 8, 8)  # fakes are not clamped here
    masks = draw_masks(2, 16, 7)
    sequence = masks.sequence()
    tokens = gather_tokens(features._standardization(patchify(images, 2)), sequence.positions)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    present = pixels_of_tokens(masks.union, (4, 4), 2)[:, None]
    expected = torch.where(present, ((images + 1) / 2 - mean) / deviation, 0.0)
    torch.testing.assert_close(features.pictures(tokens, sequence), expected)


def test_a_view_shifts_and_mirrors_all_pictures_alike() -> None:
    picture = torch.arange(1.0, 7.0).view(1, 1, 2, 3)
    assert View((1, 0)).show(picture)[0, 0].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert View((0, -1)).show(picture)[0, 0].tolist() == [[2, 3, 0], [5, 6, 0]]
    assert View((-1, 1), True).show(picture)[0, 0].tolist() == [[5, 4, 0], [0, 0, 0]]
    assert torch.equal(View().show(picture), picture)
    rng = torch.Generator().manual_seed(0)
    views = {View.draw((16, 8), rng) for _ in range(300)}
    assert {view.shift for view in views} == {(y, x) for y in range(-2, 3) for x in (-1, 0, 1)}
    assert {view.is_flipped for view in views} == {False, True}


def test_absent_tokens_change_neither_the_loss_nor_its_gradients(
    features: PerceptualFeatures, draw_masks: Callable[..., TokenMasks]
) -> None:
    masks = draw_masks(3, 16, 9)
    sequence = masks.sequence()
    whole = torch.randn(9, 16, 12)

    def results(whole: Tensor) -> tuple[Tensor, Tensor]:
        leaf = whole.clone().requires_grad_()
        tokens = gather_tokens(leaf, sequence.repeat(3).positions)
        values = features(tokens[:3], tokens[3:], sequence, View((1, -1), True)).energy_score()
        values.sum().backward()
        assert leaf.grad is not None
        return values.detach(), leaf.grad

    value, gradient = results(whole)
    absent = ~masks.union[..., None].repeat(3, 1, 1)
    for disturbance in (torch.randn(9, 16, 12), torch.full((9, 16, 12), math.nan)):
        other_value, other_gradient = results(torch.where(absent, disturbance, whole))
        assert torch.equal(other_value, value)
        assert torch.equal(other_gradient, gradient)
    assert not gradient[absent.expand_as(gradient)].any()


def test_a_score_is_least_for_the_real_picture_and_only_fakes_get_gradients(
    features: PerceptualFeatures, draw_masks: Callable[..., TokenMasks]
) -> None:
    sequence = draw_masks(3, 16, 9).sequence()
    real = torch.randn(3, 9, 12, requires_grad=True)
    fakes = torch.randn(6, 9, 12, requires_grad=True)
    perfect = features(real, real.detach().repeat(2, 1, 1), sequence, View()).energy_score()
    assert (perfect.abs() < 1e-3).all()
    values = features(real, fakes, sequence, View()).energy_score()
    assert (values > 0.01).all()
    values.sum().backward()
    assert real.grad is None and fakes.grad is not None and fakes.grad.any(dim=2).all()
    third = torch.cat([fakes, torch.randn(3, 9, 12)])
    assert torch.equal(features(real, third, sequence).energy_score(), values)


def test_gradients_against_finite_differences(
    float64: None, features: PerceptualFeatures, draw_masks: Callable[..., TokenMasks]
) -> None:
    sequence = draw_masks(1, 16, 3).sequence()
    real, fakes = torch.randn(1, 3, 12), torch.randn(2, 3, 12, requires_grad=True)
    assert gradcheck(
        lambda x: features(real, x, sequence, View((0, 1), True)).energy_score(), fakes
    )


def test_a_run_is_reproducible_resumes_exactly_and_does_not_train_the_network(
    config: Config, dataset: ImageDataset
) -> None:
    def trainer() -> Trainer:
        return Trainer(config, dataset, Accelerator(cpu=True), 24)

    whole = train(trainer())
    frozen = TwoLayers()
    assert whole.adversarial.perceptual is not None
    assert torch.equal(whole.adversarial.perceptual.network.first, frozen.first)
    resumed = trainer()
    resumed.load_state_dict(train(trainer(), steps=3).state_dict())
    assert_same(train(resumed).state_dict(), whole.state_dict())
    assert whole.take_metrics()["loss/perceptual"] > 0
    assert whole.batch_sampler.draw(20)[0].view == trainer().batch_sampler.draw(20)[0].view


def test_the_term_is_added_with_its_weight(config: Config, dataset: ImageDataset) -> None:
    """The gradients of the generator change in proportion to the weight."""

    def gradient(weight: float) -> Tensor:
        settings = config.loss.perceptual
        assert settings is not None
        loss = config.loss.model_copy(
            update={"perceptual": settings.model_copy(update={"weight": weight})}
        )
        other = config.model_copy(update={"loss": loss})
        trainer = Trainer(other, dataset, Accelerator(cpu=True), 24)
        trainer.images_seen = trainer.schedule.warm_start_images
        return head_gradient(trainer)

    at_1, at_2, at_3 = (gradient(weight) for weight in (1.0, 2.0, 3.0))
    assert not torch.equal(at_1, at_2)
    torch.testing.assert_close(at_3 - at_2, at_2 - at_1, rtol=1e-3, atol=1e-6)


def test_the_network_is_no_part_of_checkpoint_or_state(
    config: Config, dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fit_module, "load_dataset", lambda *_: dataset)
    result = fit(config, tmp_path / "on", device="cpu")
    plain = config.model_copy(update={"loss": config.loss.model_copy(update={"perceptual": None})})
    without = fit(plain, tmp_path / "off", device="cpu")
    on, off = (load_file(r.checkpoint / "model.safetensors") for r in (result, without))
    assert {name: value.shape for name, value in on.items()} == {
        name: value.shape for name, value in off.items()
    }
    assert any(not torch.equal(value, off[name]) for name, value in on.items())


def test_without_the_extra_a_run_ends_before_its_folder_is_made(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str, layers: object) -> None:
        raise FeatureNetworkError("install it")

    monkeypatch.setattr(fit_module, "load_feature_network", missing)
    with pytest.raises(FeatureNetworkError, match="install it"):
        fit(config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss.perceptual": {"layers": [16]}}, "layers 0 to 15, not 16"),
        ({"loss.perceptual": {"layers": []}}, "layers"),
        ({"data": {"name": "digits", "image_size": 8, "channels": 1}}, "reads color images"),
        ({"loss.fakes_per_real": 1, "loss.energy_score": 0.0}, "fakes_per_real of at least 2"),
        (ORTHOGONAL, "loss.perceptual: a token of an 'orthogonal' domain holds no pixels"),
    ],
)
def test_impossible_settings_are_refused(
    tiny_config: Callable[..., Config], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        tiny_config(ON | changes)


def test_pictures_that_are_not_square_keep_their_shape(
    tiny_config: Callable[..., Config],
) -> None:
    data = {"name": "folder", "image_size": [6, 10], "channels": 3}
    config = tiny_config(ON | {"data": data})
    features = PerceptualFeatures(config, Standardization(config), torch.device("cpu"))
    assert features._size == (16, 27)
