"""Standardization of tokens: what the networks read has mean 0 and variance 1 in each channel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from biglearn_gan.config import Config

MIN_DEVIATION = 0.01
"""Smallest deviation that values are divided by, in units of [-1, 1]: that of images which differ
by about one gray level."""


class Standardization(nn.Module):
    """Maps tokens of pixel values to the tokens of the networks, and back.

    The statistics are buffers, so a checkpoint contains them. Without ``data.standardize`` there
    are none, and both directions return their input.

    Args:
        config: of the model.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.mean: Float[Tensor, " C"]
        self.deviation: Float[Tensor, " C"]
        self.enabled = config.data.standardize
        self._pixels = config.model.patch_size**2
        self._is_bounded = config.model.generator.output == "tanh"
        if self.enabled:
            self.register_buffer("mean", torch.zeros(config.data.channels))
            self.register_buffer("deviation", torch.ones(config.data.channels))

    def set_statistics(self, mean: Float[Tensor, " C"], deviation: Float[Tensor, " C"]) -> None:
        """Take over the mean and the deviation of each channel; nothing if there are no statistics.

        Deviations below ``MIN_DEVIATION`` are raised to it.
        """
        if self.enabled:
            self.mean.copy_(mean)
            self.deviation.copy_(deviation.clamp_min(MIN_DEVIATION))

    def forward(self, tokens: Float[Tensor, "*B P"]) -> Float[Tensor, "*B P"]:
        """Tokens of pixel values to tokens of the networks."""
        if not self.enabled:
            return tokens
        return (tokens - self._per_value(self.mean)) / self._per_value(self.deviation)

    def restore(
        self, tokens: Float[Tensor, "*B P"], *, clamped: bool = True
    ) -> Float[Tensor, "*B P"]:
        """Tokens of the networks to tokens of pixel values.

        Args:
            tokens: of the networks.
            clamped: whether values of images are clamped to [-1, 1].
        """
        if not self.enabled:
            return tokens
        values = tokens * self._per_value(self.deviation) + self._per_value(self.mean)
        return values.clamp(-1, 1) if clamped and self._is_bounded else values

    def _per_value(self, statistic: Float[Tensor, " C"]) -> Float[Tensor, " P"]:
        """One number for each value of a token, which holds its pixels channel by channel."""
        return statistic.repeat_interleave(self._pixels)
