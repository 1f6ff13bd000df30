"""Builds the two networks of a configuration, and fits the weights of trained ones to it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.models.canvas import PatchGrid
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.generator import Generator

_RENAMED_KEYS = {
    "embedding.kept.": "embedding.known_values.",
    "embedding.unknown": "embedding.mask_token",
    "summary.rise.": "summary.fc1.",
    "summary.fall.": "summary.fc2.",
}
"""Parts of the names of weights in older files, and what replaced them."""


def build_networks(config: Config) -> tuple[Generator, Discriminator]:
    """The generator and the discriminator of a configuration, with random weights."""
    shape = (config.token_count, config.token_dim)
    inputs = (config.data.num_classes, config.reads_partial_patches)
    generator_config = config.model.generator
    if config.data.standardize:  # tanh would bound standardized values
        generator_config = generator_config.model_copy(update={"output": "linear"})
    grid, discriminator_config = PatchGrid.of(config), config.model.discriminator
    generator = Generator(*shape, generator_config, *inputs, grid)
    overlap = discriminator_config.overlap
    return generator, Discriminator(*shape, discriminator_config, *inputs, grid, overlap)


def adapt_state_dict(trained: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a trained network for a new one with other inputs, labels or convolutions.

    Args:
        trained: state dict of the trained network.
        new: state dict of the new network, with random weights.

    Returns:
        The trained weights. The layer of known values is 0 if the trained network had none. All
        weights of labels stay those of ``new`` if the number of classes differs, and those of the
        convolutions if their sizes differ. Then the layer before trained convolutions is also that
        of ``new``, because it was trained for them.
    """
    adapted = {name: torch.zeros_like(new[name]) for name in new if ".known_values." in name}
    adapted |= trained
    output = ("canvas.", "head.") if _select(trained, ("canvas.",)) else ("canvas.",)
    for part in (("label.", "label_head."), output):
        old, fresh = _select(trained, part), _select(new, part)
        if _shapes(old) != _shapes(fresh):
            adapted = {name: value for name, value in adapted.items() if name not in old}
            adapted |= fresh
    return adapted


def upgrade_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights, in the same order, under the names that the networks have now.

    Weights may be those of one network or of a whole model, whose names begin with the network's.
    """
    upgraded = {}
    for name, value in weights.items():
        new_name = name
        for old, new in _RENAMED_KEYS.items():
            new_name = new_name.replace(old, new)
        upgraded[new_name] = value
    return upgraded


def _select(weights: Mapping[str, Tensor], part: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name.startswith(part)}


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
