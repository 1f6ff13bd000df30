"""Every shipped configuration trains: a warm-start step, a hand-over and a step of the game."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from ablate import Grid, check_columns

from biglearn_gan.config import load_config
from biglearn_gan.devices import make_accelerator
from biglearn_gan.training.throughput import random_images
from biglearn_gan.training.trainer import Trainer

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_trains(path: Path) -> None:
    config = load_config(
        path, ["train.batch_size=2", "train.precision=float32", "train.warm_start.share=0.5"]
    )
    accelerator = make_accelerator("cpu")
    trainer = Trainer(config, random_images(config, 3, accelerator.device), accelerator, 4)
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


@pytest.mark.parametrize(
    "path", sorted(EXPERIMENTS.glob("ablations/*.yaml")), ids=lambda path: path.stem
)
def test_every_variant_of_a_grid_is_a_configuration(path: Path) -> None:
    grid = Grid.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert grid.variants and grid.seeds
    check_columns(grid)
    for overrides in grid.variants.values():
        load_config(EXPERIMENTS.parent / grid.config, [*grid.overrides, *overrides])
