"""The generator and the discriminator: both read the tokens of S ∪ T, their places and their roles.

Absent tokens never enter a network: callers gather the M present tokens of each row (any order,
see ``TokenMasks.sequence``), so cost follows ``|S| + |T|``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.generator import Generator


def build_networks(config: Config) -> tuple[Generator, Discriminator]:
    """Both networks of a configuration, with random weights."""
    shape = (config.token_count, config.token_dim)
    reads = (config.data.num_classes, config.reads_partial_patches)
    generator = Generator(*shape, config.model.generator, *reads)
    return generator, Discriminator(*shape, config.model.discriminator, *reads)


def adapt_state_dict(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a trained network, for one of the same settings but for what it reads.

    Where it read no kept pixels, that layer is 0; what reads and predicts labels stays ours where
    it knew none, or another number of classes.
    """

    def label_rows(weights: dict[str, Tensor]) -> int:
        return len(weights.get("label.value", ()))  # one more than classes, for unknown

    def of_labels(name: str) -> bool:
        return name.startswith(("label.", "label_head."))

    taken = {name: torch.zeros_like(ours[name]) for name in ours if ".kept." in name} | theirs
    if label_rows(theirs) != label_rows(ours):
        taken = {name: value for name, value in taken.items() if not of_labels(name)}
        taken |= {name: value for name, value in ours.items() if of_labels(name)}
    return taken
