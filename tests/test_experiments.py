"""Every shipped configuration trains: a warm-start step, a hand-over and a step of the game."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from biglearn_gan.config import load_config
from biglearn_gan.data import ImageDataset
from biglearn_gan.fit import make_accelerator
from biglearn_gan.trainer import Trainer

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_trains(path: Path) -> None:
    config = load_config(
        path, ["train.batch_size=2", "train.precision=float32", "train.warm_start.share=0.5"]
    )
    shape = (3, config.data.channels, *config.data.image_size)
    pixels = torch.randint(256, shape, dtype=torch.uint8)
    trainer = Trainer(config, ImageDataset("random", pixels), make_accelerator("cpu"), 4)
    assert trainer.warm
    trainer.step()
    assert not trainer.warm
    players = trainer.players
    networks = (players.generator, players.discriminator)
    before = [network.trunk.blocks[0].attention.out.weight.clone() for network in networks]
    trainer.step()
    assert trainer.finished
    for network, old in zip(networks, before, strict=True):
        assert not torch.equal(network.trunk.blocks[0].attention.out.weight, old)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_says_what_it_needs(path: Path) -> None:
    assert path.read_text().startswith("# ")
