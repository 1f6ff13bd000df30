"""Tokens as one picture again: convolutions that reach across the borders of patches.

A canvas holds the values of all present tokens, two maps of their roles, and features if there are
any. Absent pixels are 0 in all of its channels, as are pixels beyond the image. Their values are
never read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from biglearn_gan.config import Config
from biglearn_gan.tasks.patches import gather_tokens, patchify, scatter_tokens, unpatchify
from biglearn_gan.tasks.token_masks import TokenSequence

ROLE_CHANNELS = 2
"""Maps of a canvas: 1 where a pixel is given, and 1 where it is generated."""


@dataclass(frozen=True)
class PatchGrid:
    """How the tokens of an image are arranged.

    Attributes:
        size: tokens per column and per row of an image.
        patch_size: height and width of a token in pixels.
        channels: C, channels of an image.
    """

    size: tuple[int, int]
    patch_size: int
    channels: int

    @classmethod
    def of(cls, config: Config) -> PatchGrid:
        """The grid of a configuration."""
        return cls(config.grid_size, config.model.patch_size, config.data.channels)

    def compose(
        self,
        tokens: Float[Tensor, "B M P"],
        sequence: TokenSequence,
        features: Float[Tensor, "B M _"] | None = None,
    ) -> Float[Tensor, "B _ H W"]:
        """The canvas, (B, C + 2 + F, H, W): values, maps of given and generated pixels, features.

        Args:
            tokens: values of the present tokens.
            sequence: positions and roles of the tokens.
            features: F values for each pixel of a token, channel by channel; F = 0 if None.
        """
        rows, length, _ = tokens.shape
        pixels = self.patch_size**2
        generated = sequence.generated_values[..., :pixels]  # channels of a pixel share a role
        generated = generated.expand(rows, length, pixels).to(tokens.dtype)
        parts = [tokens, 1 - generated, generated]
        return self.place(
            torch.cat(parts if features is None else [*parts, features], dim=-1), sequence
        )

    def place(
        self, tokens: Float[Tensor, "B M Q"], sequence: TokenSequence
    ) -> Float[Tensor, "B _ H W"]:
        """Tokens with any number of channels at their places in the picture; all else is 0."""
        rows, columns = self.size
        empty = tokens.new_zeros(tokens.shape[0], rows * columns, tokens.shape[-1])
        placed = scatter_tokens(empty, tokens, sequence.positions)
        return unpatchify(placed, self.size, self.patch_size)


class CanvasConvolutions(nn.Module):
    """A correction of generated tokens by two 3 x 3 convolutions of the composed picture.

    It is 0 at first. As at the end of U-ViT (Bao et al. 2022, arXiv 2209.12152, section 3.1), the
    convolutions remove the seams between patches.

    Args:
        grid: how the tokens are arranged.
        width: D, of the transformer's states.
        hidden_channels: channels between the two convolutions.
        feature_channels: F, features of each pixel, which the states are mapped to.
    """

    def __init__(self, grid: PatchGrid, width: int, *, hidden_channels: int, feature_channels: int):
        super().__init__()
        self.grid = grid
        self.features = None
        if feature_channels > 0:
            self.features = nn.Linear(width, feature_channels * grid.patch_size**2)
        inputs = grid.channels + ROLE_CHANNELS + feature_channels
        self.conv1 = nn.Conv2d(inputs, hidden_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden_channels, grid.channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        assert self.conv2.bias is not None
        nn.init.zeros_(self.conv2.bias)

    def forward(
        self,
        tokens: Float[Tensor, "B M P"],
        sequence: TokenSequence,
        states: Float[Tensor, "B M D"],
    ) -> Float[Tensor, "B M P"]:
        """What to add to each token.

        Args:
            tokens: values of the present tokens, source and generated target.
            sequence: positions and roles of the tokens.
            states: of the transformer at the tokens, for the features.
        """
        features = None if self.features is None else self.features(states)  # (B, M, F p²)
        canvas = self.grid.compose(tokens, sequence, features)  # (B, C + 2 + F, H, W)
        correction = self.conv2(F.gelu(self.conv1(canvas)))  # (B, C, H, W)
        return gather_tokens(patchify(correction, self.grid.patch_size), sequence.positions)


class OverlapEmbedding(nn.Module):
    """Embeds patches that extend beyond their borders, into the present pixels of the neighbors.

    It is 0 at first.

    Args:
        grid: how the tokens are arranged.
        overlap: pixels that a patch extends beyond each border.
        width: D.
    """

    def __init__(self, grid: PatchGrid, overlap: int, width: int):
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(
            grid.channels + ROLE_CHANNELS,
            width,
            grid.patch_size + 2 * overlap,
            stride=grid.patch_size,
            padding=overlap,
            bias=False,
        )
        nn.init.zeros_(self.conv.weight)

    def forward(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, "B M D"]:
        """The embedding of each token's extended patch.

        Args:
            tokens: values of the present tokens.
            sequence: positions and roles of the tokens.
        """
        embedded = self.conv(self.grid.compose(tokens, sequence))  # (B, D, rows, columns)
        return gather_tokens(embedded.flatten(2).transpose(1, 2), sequence.positions)
