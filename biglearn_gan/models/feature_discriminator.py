"""A discriminator that reads the feature maps of a frozen network instead of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.config import NetworkConfig
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.models.feature_networks import normalize_channels
from biglearn_gan.tasks.patches import gather_tokens
from biglearn_gan.tasks.token_masks import TokenSequence


class FeatureDiscriminator(nn.Module):
    """f(φ(x); S, T): one logit for the feature maps φ(x) of a picture and the roles of its tokens.

    It is a :class:`Discriminator` whose tokens hold, instead of pixels, what the maps show at the
    places of the patches. A discriminator of frozen features learns from much fewer images
    (Projected GAN, Sauer et al. 2021, arXiv 2111.01007).

    Args:
        grid_size: tokens per column and per row of an image.
        map_shapes: channels, height and width of each map.
        config: sizes of the transformer.
        num_classes: classes of the label; None for a model without labels.
    """

    def __init__(
        self,
        grid_size: tuple[int, int],
        map_shapes: Sequence[tuple[int, int, int]],
        config: NetworkConfig,
        num_classes: int | None = None,
    ):
        super().__init__()
        self.grid_size = grid_size
        rows, columns = grid_size
        self.parts = [math.ceil(height / rows) for _, height, _ in map_shapes]
        token_dim = sum(
            channels * parts**2
            for (channels, *_), parts in zip(map_shapes, self.parts, strict=True)
        )
        self.network = Discriminator(rows * columns, token_dim, config, num_classes)

    def tokens(
        self,
        maps: Sequence[Float[Tensor, "B _ _ _"]],
        sequence: TokenSequence,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> Float[Tensor, "B M Q"]:
        """What all maps show at the places of the tokens.

        Each map is divided by its root mean square over channels. A map that is finer than the grid
        of tokens has several places for each token, and a coarser one repeats its values. Maps that
        do not fit are stretched, so that no value is lost.

        Args:
            maps: of the pictures, in the order of ``map_shapes``.
            sequence: positions of the tokens.
            shift: of the pictures to the bottom and to the right, as shares of their height and
                width. Tokens read what was shifted; what lies outside now is 0.
        """
        aligned = []
        for features, parts in zip(maps, self.parts, strict=True):
            (rows, rows_shown), (columns, columns_shown) = (
                _places(parts * tokens, cells, share, features.device)
                for tokens, cells, share in zip(
                    self.grid_size, features.shape[2:], shift, strict=True
                )
            )
            placed = normalize_channels(features)[:, :, rows[:, None], columns]
            placed = placed * (rows_shown[:, None] & columns_shown)
            aligned.append(F.pixel_unshuffle(placed, parts))
        stacked = torch.cat(aligned, dim=1)  # (B, Q, rows, columns)
        return gather_tokens(stacked.flatten(2).transpose(1, 2), sequence.positions)

    def forward(
        self, tokens: Float[Tensor, "B M Q"], sequence: TokenSequence
    ) -> Float[Tensor, " B"]:
        """The logit of each row.

        Args:
            tokens: see :meth:`tokens`.
            sequence: positions and roles of the tokens; with labels in a model with labels. Which
                values of targets are known is not read.
        """
        return self.network(tokens, replace(sequence, known_values=None))


def _places(
    count: int, cells: int, shift: float, device: torch.device
) -> tuple[Int64[Tensor, " count"], Bool[Tensor, " count"]]:
    """The cells of a map where ``count`` evenly spaced places of a picture lie after a shift.

    Returns:
        A cell for each place, and whether the place is still inside of the picture.
    """
    centers = (torch.arange(count, device=device) + 0.5) / count + shift
    cell = (centers * cells).floor().long()
    return cell.clamp(0, cells - 1), (centers >= 0) & (centers < 1)
