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
        image_size: height and width of the pictures in pixels.
        grid_size: tokens per column and per row of an image.
        map_shapes: channels, height and width of each map.
        config: sizes of the transformer.
        num_classes: classes of the label; None for a model without labels.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        grid_size: tuple[int, int],
        map_shapes: Sequence[tuple[int, int, int]],
        config: NetworkConfig,
        num_classes: int | None = None,
    ):
        super().__init__()
        self.image_size = image_size
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
        shift: tuple[int, int] = (0, 0),
    ) -> Float[Tensor, "B M Q"]:
        """What all maps show at the places of the tokens.

        Each map is divided by its root mean square over channels. A map that is finer than the grid
        of tokens has several places for each token, and a coarser one repeats its values. Maps that
        do not fit are stretched; without a shift, no value is lost.

        Args:
            maps: of the pictures, in the order of ``map_shapes``.
            sequence: positions of the tokens.
            shift: pixels by which the pictures were shifted to the bottom and to the right. A token
                reads the maps where its patch went; places outside of the picture read 0.
        """
        aligned = []
        for features, parts in zip(maps, self.parts, strict=True):
            placed = normalize_channels(features)
            for axis in (0, 1):
                cells, is_inside = _cell_indices(
                    parts * self.grid_size[axis],
                    placed.shape[2 + axis],
                    self.image_size[axis],
                    shift[axis],
                )
                is_inside = is_inside.view(-1, 1) if axis == 0 else is_inside
                placed = placed.index_select(2 + axis, cells.to(placed.device))
                placed = placed * is_inside.to(placed.device)
            aligned.append(F.pixel_unshuffle(placed, parts))  # (B, C parts², rows, columns)
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


def _cell_indices(
    count: int, cells: int, side: int, shift: int
) -> tuple[Int64[Tensor, " count"], Bool[Tensor, " count"]]:
    """The cells of a map that show ``count`` evenly spaced places of a shifted picture.

    Args:
        count: places along one side of the picture.
        cells: of the map along this side.
        side: of the picture, in pixels.
        shift: of the picture along this side, in pixels.

    Returns:
        A cell for each place, and whether the place is still inside of the picture.
    """
    # Centers of the places in units of 1 / (2 count) pixels; integers, because many lie on borders.
    centers = (2 * torch.arange(count) + 1) * side + 2 * count * shift
    length = 2 * count * side
    return (centers * cells // length).clamp(0, cells - 1), (centers >= 0) & (centers < length)
