"""Networks of a configuration, and weights that one network takes from another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from biglearn_gan.config import Config, GeneratorConfig, NetworkConfig
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.factory import adapt_state_dict, build_networks, upgrade_state_dict
from biglearn_gan.models.generator import Generator

L, P = 13, 5
GENERATOR = GeneratorConfig(width=8, depth=2, heads=2, latent_dim=11, token_noise_dim=2)
DISCRIMINATOR = NetworkConfig(width=8, depth=2, heads=2)
EMBEDDING = {
    "embedding.position",
    "embedding.role",
    "embedding.value.weight",
    "embedding.value.bias",
}


BLOCK = {
    f"{layer}.{kind}"
    for layer in (
        "attention.query_key_value",
        "attention.out",
        "feed_forward.0",
        "feed_forward.2",
    )
    for kind in ("weight", "bias")
}


@pytest.mark.parametrize(("generator_depth", "discriminator_depth"), [(3, 2), (2, 3)])
@pytest.mark.parametrize("transfer", ["nothing", "trunk"])
def test_init_from_generator_copies_embeddings_and_blocks_only(
    transfer: str, generator_depth: int, discriminator_depth: int
) -> None:
    generator = Generator(L, P, GENERATOR.model_copy(update={"depth": generator_depth}))
    discriminator = Discriminator(
        L, P, DISCRIMINATOR.model_copy(update={"depth": discriminator_depth})
    )
    for network in (generator, discriminator):  # no parameter is equal by its initialization
        for parameter in network.parameters():
            nn.init.normal_(parameter)
    trained = {name: value.clone() for name, value in generator.state_dict().items()}
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    copied = {
        "nothing": set(),
        "trunk": EMBEDDING | {f"trunk.blocks.{block}.{name}" for block in (0, 1) for name in BLOCK},
    }[transfer]

    discriminator.init_from_generator(generator, transfer)

    after = discriminator.state_dict()
    assert after.keys() == before.keys()
    for name, value in after.items():
        assert torch.equal(value, trained[name] if name in copied else before[name]), name
    for parameter in discriminator.parameters():  # a copy, not the same memory
        nn.init.zeros_(parameter)
    assert all(torch.equal(value, trained[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize("partial_patches", [0.0, 0.5])
def test_old_names_of_weights_are_upgraded_and_new_ones_stay(
    partial_patches: float, tiny_config: Callable[..., Config]
) -> None:
    generator, discriminator = build_networks(
        tiny_config({"tasks.partial_patches": partial_patches, "data.labels": True})
    )
    for network in (generator, discriminator, nn.ModuleDict({"generator": generator})):
        weights = network.state_dict()
        upgraded = upgrade_state_dict(old_names(weights))
        assert list(upgraded) == list(weights)
        assert all(upgraded[name] is value for name, value in weights.items())
        assert list(upgrade_state_dict(weights)) == list(weights)


def test_weights_of_other_inputs_are_adapted(tiny_config: Callable[..., Config]) -> None:
    """The layer of known values starts at 0; labels stay new if their number differs."""
    trained, _ = build_networks(tiny_config())
    new, _ = build_networks(tiny_config({"tasks.partial_patches": 0.5, "data.labels": True}))
    adapted = adapt_state_dict(trained.state_dict(), new.state_dict())
    assert adapted.keys() == new.state_dict().keys()
    for name, value in adapted.items():
        if "known_values" in name:
            assert not value.any()
        elif name.startswith("label"):
            assert torch.equal(value, new.state_dict()[name])
        else:
            assert torch.equal(value, trained.state_dict()[name])


def old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as an older version named them."""
    renamed = {
        "embedding.known_values.": "embedding.kept.",
        "embedding.mask_token": "embedding.unknown",
        "summary.fc1.": "summary.rise.",
        "summary.fc2.": "summary.fall.",
    }
    result = {}
    for name, value in weights.items():
        old = name
        for new_part, old_part in renamed.items():
            old = old.replace(new_part, old_part)
        result[old] = value
    return result


def test_init_from_generator_copies_labels(
    tiny_config: Callable[..., Config],
) -> None:
    generator, discriminator = build_networks(tiny_config({"data.labels": True}))
    discriminator.init_from_generator(generator, "trunk")
    assert generator.label is not None and discriminator.label is not None
    assert torch.equal(discriminator.label.value, generator.label.value)
