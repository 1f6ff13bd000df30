"""Which pixels target patches keep, so that a hole need not follow the borders of patches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan.tasks.patches import patchify
from biglearn_gan.tasks.token_masks import TokenMasks

SCATTERED_SHARE = 0.25
"""Of the tasks that keep pixels: so many generate scattered ones."""

BRUSHED_SHARE = 0.25
"""So many generate what a brush paints, the others the whole hole, moved off the grid."""

UPRIGHT_SHARE = 0.5
"""Of the holes that are moved: so many are not turned."""

Uniform = Callable[..., Float[Tensor, "..."]]
"""Numbers in [0, 1), (B, *shape) for ``shape``."""


@dataclass(frozen=True)
class PartialPatchSampler:
    """The law of what is kept of the targets of a batch of tasks.

    Args:
        share: of the tasks with a source; those without are given nothing.
        grid_size: (tokens per column, tokens per row) of an image.
        patch_size: pixels on a side of a token.
        channels: of an image; a pixel keeps all of them or none.
    """

    share: float
    grid_size: tuple[int, int]
    patch_size: int
    channels: int

    def draw(self, masks: TokenMasks, rng: torch.Generator) -> TokenMasks:
        """Tasks of the same unions, of which some ask for pixels instead of whole tokens.

        A token is a target where one of its pixels is generated, and keeps the others; so tokens of
        the source may become targets, and the other way round.
        """

        def uniform(*shape: int) -> Float[Tensor, "..."]:
            return torch.rand(len(masks.target), *shape, generator=rng)

        keeps = masks.source.any(dim=1) & (uniform() < self.share)
        way = uniform(1, 1)
        generated = torch.where(
            way < SCATTERED_SHARE + BRUSHED_SHARE,
            torch.where(
                way < SCATTERED_SHARE, self._scattered(uniform), self._brushed(masks, uniform)
            ),
            self._moved(masks, uniform),
        )
        generated &= masks.union[..., None]
        keeps &= generated.any(dim=(1, 2))
        generated = torch.where(keeps[:, None, None], generated, masks.target[..., None])
        target = generated.any(dim=2)
        kept = target[..., None] & ~generated
        return TokenMasks(masks.union & ~target, target, kept.repeat(1, 1, self.channels))

    def _scattered(self, uniform: Uniform) -> Bool[Tensor, "B L pixels"]:
        """Single pixels anywhere, any share of them."""
        return uniform(math.prod(self.grid_size), self.patch_size**2) < uniform(1, 1)

    def _brushed(self, masks: TokenMasks, uniform: Uniform) -> Bool[Tensor, "B L pixels"]:
        """Of any share of the targets a band, of any direction, width and place, each its own; a
        wide one at the border leaves a half or a corner."""
        length = math.prod(self.grid_size)
        steps = self._centers(1)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        angle = 2 * math.pi * uniform(length, 1)
        reach = (angle.cos().abs() + angle.sin().abs()) / 2
        along = angle.cos() * y.flatten() + angle.sin() * x.flatten()  # (B, L, pixels)
        middle = (2 * uniform(length, 1) - 1) * reach
        band = (along - middle).abs() < uniform(length, 1) * reach
        whole = uniform(length, 1) >= uniform(1, 1)
        return masks.target[..., None] & (whole | band)

    def _moved(self, masks: TokenMasks, uniform: Uniform) -> Bool[Tensor, "B L pixels"]:
        """The targets as one picture, moved by up to a token, turned about the middle and zoomed to
        between half and twice; what lies at the border goes on beyond it."""
        height, width = self.grid_size
        y, x = torch.meshgrid(self._centers(height), self._centers(width), indexing="ij")
        zoom = 2 ** (2 * uniform(1, 1) - 1)
        turned = uniform(1, 1) >= UPRIGHT_SHARE
        angle = 2 * math.pi * uniform(1, 1) * turned
        cosine, sine = angle.cos(), angle.sin()
        by = 2 * uniform(2, 1, 1) - 1
        row = (zoom * (cosine * y - sine * x) + by[:, 0] + height / 2).floor().clamp(0, height - 1)
        column = (zoom * (sine * y + cosine * x) + by[:, 1] + width / 2).floor().clamp(0, width - 1)
        places = (row * width + column).long()
        picture = masks.target.gather(1, places.flatten(1)).view(-1, 1, *y.shape)
        return patchify(picture, self.patch_size)

    def _centers(self, tokens: int) -> Float[Tensor, " pixels"]:
        """Where the pixels of a row of so many tokens lie, in tokens from its middle."""
        pixels = tokens * self.patch_size
        return (torch.arange(pixels) + 0.5) / self.patch_size - tokens / 2
