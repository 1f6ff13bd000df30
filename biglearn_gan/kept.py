"""Which pixels target patches keep, so that a hole need not follow the borders of patches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.masks import TokenMasks

SCATTERED_SHARE = 0.25
"""Of the tasks that keep pixels: so many keep scattered ones, the others what a brush leaves."""


@dataclass(frozen=True)
class KeptPixels:
    """The law of what is kept of the targets of a batch of tasks.

    Args:
        share: of the tasks with a source; those without are given nothing.
        patch_size: pixels on a side of a token.
        channels: of an image; a pixel keeps all of them or none.
    """

    share: float
    patch_size: int
    channels: int

    def draw(self, masks: TokenMasks, generator: torch.Generator) -> TokenMasks:
        """Tasks of the same unions that keep some pixels of some targets, never all of one.

        A brush leaves what is outside of a band, of any direction, width and place, of its own in
        each token; a wide one at the border leaves a half or a corner. Scattered pixels are kept
        of the whole union, any share of them, so there the source turns into targets, too.
        """
        rows, length = masks.target.shape

        def uniform(*shape: int) -> Float[Tensor, "..."]:
            return torch.rand(rows, *shape, generator=generator)

        keeps = masks.source.any(dim=1, keepdim=True) & (uniform(1) < self.share)
        scatters = keeps & (uniform(1) < SCATTERED_SHARE)
        target = masks.target | (masks.source & scatters)
        touched = keeps & target & (scatters | (uniform(length) < uniform(1)))
        steps = (torch.arange(self.patch_size) + 0.5) / self.patch_size - 0.5
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        angle = 2 * math.pi * uniform(length, 1)
        reach = (angle.cos().abs() + angle.sin().abs()) / 2
        along = angle.cos() * y.flatten() + angle.sin() * x.flatten()  # (B, L, pixels)
        middle = (2 * uniform(length, 1) - 1) * reach
        band = (along - middle).abs() < uniform(length, 1) * reach
        scattered = uniform(length, self.patch_size**2) < uniform(1, 1)
        kept = torch.where(scatters[..., None], scattered, ~band)
        kept &= touched[..., None] & ~kept.all(dim=2, keepdim=True)
        return TokenMasks(masks.source & ~target, target, kept.repeat(1, 1, self.channels))
