"""Tokens as one picture again: convolutions that reach across the borders of patches.

A canvas holds the values of all present tokens and two maps of their roles. Absent pixels are 0 in
all of its channels, as are pixels beyond the image. Their values are never read.
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
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, "B _ H W"]:
        """The canvas, (B, C + 2, H, W): values, and maps of given and generated pixels.

        Args:
            tokens: values of the present tokens.
            sequence: positions and roles of the tokens.
        """
        rows, length, _ = tokens.shape
        pixels = self.patch_size**2
        generated = sequence.generated_values[..., :pixels]  # channels of a pixel share a role
        generated = generated.expand(rows, length, pixels).to(tokens.dtype)
        return self.place(torch.cat([tokens, 1 - generated, generated], dim=-1), sequence)

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
        hidden_channels: channels between the two convolutions.
    """

    def __init__(self, grid: PatchGrid, hidden_channels: int):
        super().__init__()
        self.grid = grid
        self.conv1 = nn.Conv2d(grid.channels + ROLE_CHANNELS, hidden_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden_channels, grid.channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        assert self.conv2.bias is not None
        nn.init.zeros_(self.conv2.bias)

    def forward(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, "B M P"]:
        """What to add to each token.

        Args:
            tokens: values of the present tokens, source and generated target.
            sequence: positions and roles of the tokens.
        """
        canvas = self.grid.compose(tokens, sequence)  # (B, C + 2, H, W)
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
