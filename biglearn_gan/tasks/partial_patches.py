"""Tasks whose holes cut through patches, so that a target patch can keep some known pixels."""

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
"""Share of the tasks with partial patches that generate scattered pixels."""

BRUSHED_SHARE = 0.25
"""Share that generates a band inside some of the patches. All others move the hole off the grid."""

UNROTATED_SHARE = 0.5
"""Share of the moved holes that are not rotated."""

UniformSampler = Callable[..., Float[Tensor, "..."]]
"""``uniform(*shape)`` returns (B, *shape) numbers in [0, 1)."""


@dataclass(frozen=True)
class PartialPatchSampler:
    """Turns some tasks of a batch into tasks whose holes do not follow the patches.

    Args:
        share: share of the tasks with a source. Tasks without a source stay as they are.
        grid_size: tokens per column and per row of an image.
        patch_size: height and width of a token in pixels.
        channels: channels of an image; all channels of a pixel are known or none.
    """

    share: float
    grid_size: tuple[int, int]
    patch_size: int
    channels: int

    def draw(self, masks: TokenMasks, rng: torch.Generator) -> TokenMasks:
        """Tasks with the same unions S ∪ T, some of them with known pixels in target patches.

        A token becomes a target if at least one of its pixels is generated, so source and target
        tokens can change places.
        """

        has_source = masks.source.any(dim=1)
        is_partial = has_source & (torch.rand(len(has_source), generator=rng) < self.share)
        rows = is_partial.nonzero()[:, 0]
        kind = torch.rand(len(rows), generator=rng)
        is_scattered = kind < SCATTERED_SHARE
        is_brushed = ~is_scattered & (kind < SCATTERED_SHARE + BRUSHED_SHARE)
        union, target = masks.union, masks.target.clone()
        pixels = self.patch_size**2
        known_values = torch.zeros(*target.shape, self.channels, pixels, dtype=torch.bool)
        for chosen, draw_pixels in (
            (is_scattered, self._scattered_pixels),
            (is_brushed, self._bands_in_patches),
            (~is_scattered & ~is_brushed, self._moved_hole),
        ):
            of_kind = rows[chosen]
            generated = draw_pixels(target[of_kind], _uniform_sampler(len(of_kind), rng))
            generated &= union[of_kind][..., None]  # (R, L, pixels)
            is_target = generated.view(torch.uint8).amax(dim=2).bool()  # faster than any
            if not bool((has_hole := is_target.any(dim=1)).all()):
                of_kind, generated = of_kind[has_hole], generated[has_hole]
                is_target = is_target[has_hole]
            target[of_kind] = is_target
            known_values[of_kind] = (is_target[..., None] ^ generated)[:, :, None]
        return TokenMasks(union & ~target, target, known_values.flatten(2))

    def _scattered_pixels(
        self, target: Bool[Tensor, "B L"], uniform: UniformSampler
    ) -> Bool[Tensor, "B L pixels"]:
        """Pixels anywhere in the image, with a share that is uniform on [0, 1]."""
        return uniform(math.prod(self.grid_size), self.patch_size**2) < uniform(1, 1)

    def _bands_in_patches(
        self, target: Bool[Tensor, "B L"], uniform: UniformSampler
    ) -> Bool[Tensor, "B L pixels"]:
        """In some target patches a band of random direction, width and place; the others whole.

        A wide band that touches the border of its patch leaves a half or a corner of it.
        """
        length = math.prod(self.grid_size)
        steps = self._pixel_centers(1)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        angle = 2 * math.pi * uniform(length, 1)
        half_extent = (angle.cos().abs() + angle.sin().abs()) / 2
        along = angle.cos() * y.flatten() + angle.sin() * x.flatten()  # (B, L, pixels)
        middle = (2 * uniform(length, 1) - 1) * half_extent
        band = (along - middle).abs() < uniform(length, 1) * half_extent
        whole = uniform(length, 1) >= uniform(1, 1)
        return target[..., None] & (whole | band)

    def _moved_hole(
        self, target: Bool[Tensor, "B L"], uniform: UniformSampler
    ) -> Bool[Tensor, "B L pixels"]:
        """The targets as one picture: shifted by up to one token, rotated, and scaled by 1/2 to 2.

        The rotation is about the middle of the image. Pixels at the border extend beyond it.
        """
        height, width = self.grid_size
        y, x = self._pixel_centers(height)[:, None], self._pixel_centers(width)
        zoom = 2 ** (2 * uniform(1, 1) - 1)
        is_rotated = uniform(1, 1) >= UNROTATED_SHARE
        angle = 2 * math.pi * uniform(1, 1) * is_rotated
        cosine, sine = angle.cos(), angle.sin()
        shift = 2 * uniform(2, 1, 1) - 1
        row = (cosine * y - sine * x).mul_(zoom).add_(shift[:, 0]).add_(height / 2)
        column = (sine * y + cosine * x).mul_(zoom).add_(shift[:, 1]).add_(width / 2)
        row, column = row.floor_().clamp_(0, height - 1), column.floor_().clamp_(0, width - 1)
        positions = row.mul_(width).add_(column).long()  # (B, H, W)
        picture = target.gather(1, positions.flatten(1)).view(positions.shape)[:, None]
        return patchify(picture, self.patch_size)

    def _pixel_centers(self, tokens: int) -> Float[Tensor, " pixels"]:
        """Centers of the pixels along ``tokens`` tokens, in tokens from their middle."""
        pixels = tokens * self.patch_size
        return (torch.arange(pixels) + 0.5) / self.patch_size - tokens / 2


def _uniform_sampler(rows: int, rng: torch.Generator) -> UniformSampler:
    def uniform(*shape: int) -> Float[Tensor, "..."]:
        return torch.rand(rows, *shape, generator=rng)

    return uniform
