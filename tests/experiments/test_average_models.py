"""The average of models: the generators' mean weights, and all else of the last model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import average_models
import pytest
import torch

from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import Config
from biglearn_gan.files import OutputError
from biglearn_gan.models.biglearn_gan import BigLearnGAN


def test_generators_are_averaged_and_the_last_critic_stays(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    models = []
    for number in range(3):
        torch.manual_seed(number)
        models.append(BigLearnGAN(tiny_config({"train.seed": number})))
        models[-1].save_pretrained(tmp_path / str(number))
    folders = [str(tmp_path / str(number)) for number in range(3)]
    average_models.main(folders, tmp_path / "averaged")
    averaged = BigLearnGAN.from_pretrained(tmp_path / "averaged")
    for name, weight in averaged.generator.state_dict().items():
        values = [model.generator.state_dict()[name] for model in models]
        torch.testing.assert_close(weight, sum(values) / 3)
    for name, weight in averaged.discriminator.state_dict().items():
        assert torch.equal(weight, models[-1].discriminator.state_dict()[name])
    assert averaged.config.train.seed == 2


def test_the_average_of_a_model_and_itself_is_the_model(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    model = BigLearnGAN(tiny_config())
    model.save_pretrained(tmp_path / "model")
    average_models.main([str(tmp_path / "model")] * 2, tmp_path / "averaged")
    averaged = BigLearnGAN.from_pretrained(tmp_path / "averaged")
    assert torch.equal(averaged.sample(num=3, seed=1), model.sample(num=3, seed=1))


def test_models_that_cannot_be_averaged_are_refused(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """With weights of the same shapes, but other noise, or other values of a pixel."""
    on = {"data.standardize": True}
    models = {
        "one": BigLearnGAN(tiny_config(on)),
        "noise": BigLearnGAN(tiny_config(on | {"model.generator.token_noise_scale": 0.5})),
        "pixels": BigLearnGAN(tiny_config(on)),
    }
    models["pixels"].standardization.set_statistics(torch.tensor([0.5]), torch.tensor([0.5]))
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    for name, message in (
        ("noise", "different settings of model.generator"),
        ("pixels", "standardize pixels differently"),
    ):
        pair = [str(tmp_path / "one"), str(tmp_path / name)]
        with pytest.raises(CommandError, match=message):
            average_models.main(pair, tmp_path / "averaged")


def test_the_average_does_not_replace_a_model(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config()).save_pretrained(tmp_path / "model")
    with pytest.raises(OutputError, match="would mix with the input"):
        average_models.main([str(tmp_path / "model")] * 2, tmp_path / "model")
