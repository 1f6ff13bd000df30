"""Random changes of what the discriminator sees, alike for a real image and its fakes.

On few images, the discriminator memorizes the real ones. If it sees each of them changed in
many ways, it cannot, and the generator still learns the images as they are, because its own are
changed in the same way (Karras et al. 2020, arXiv 2006.06676).

Every change maps present tokens to present tokens, so absent ones stay absent: symmetries of the
square and cyclic shifts by whole patches move tokens together with their roles, and colors change
pixel by pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from biglearn_gan.config.schema_training import AugmentationConfig
from biglearn_gan.devices import copy_to
from biglearn_gan.models.canvas import PatchGrid
from biglearn_gan.tasks.patches import patchify, unpatchify
from biglearn_gan.tasks.token_masks import TokenSequence

BRIGHTNESS_DEVIATION = 0.2
LOG2_CONTRAST_DEVIATION = 0.5
LOG2_SATURATION_DEVIATION = 1.0
"""As in StyleGAN2-ADA (Karras et al. 2020, arXiv 2006.06676, appendix B), in units of the values
that the networks read."""


@dataclass(frozen=True)
class Augmentation:
    """The changes of each image of a batch.

    Attributes:
        positions: where the token of each position goes.
        values: for each value of a new token, which value of the old one it is.
        color: matrices on the channels of a pixel.
        brightness: what is then added to all channels.
    """

    positions: Int64[Tensor, "B L"]
    values: Int64[Tensor, "B P"]
    color: Float[Tensor, "B C C"]
    brightness: Float[Tensor, " B"]

    @classmethod
    def draw(
        cls, config: AugmentationConfig, grid: PatchGrid, count: int, rng: torch.Generator
    ) -> Augmentation:
        """Random changes of ``count`` images."""
        rows, columns = grid.size
        positions, values = _symmetries(grid)
        chosen = torch.randint(len(positions), (count,), generator=rng)
        shift = torch.stack(
            [torch.randint(side, (count,), generator=rng) for side in (rows, columns)], dim=1
        )
        shift[_skipped(config.translation, count, rng)] = 0
        chosen[_skipped(config.flip_rotate, count, rng)] = 0
        at = positions[chosen]  # (B, L)
        row = (at // columns + shift[:, :1]) % rows
        column = (at % columns + shift[:, 1:]) % columns
        color, brightness = _draw_colors(grid.channels, count, rng)
        plain = _skipped(config.color, count, rng)
        color[plain], brightness[plain] = torch.eye(grid.channels), 0.0
        return cls(row * columns + column, values[chosen], color, brightness)

    def rows(self, index: slice) -> Augmentation:
        """The changes of some images."""
        return Augmentation(
            self.positions[index], self.values[index], self.color[index], self.brightness[index]
        )

    def to(self, device: torch.device) -> Augmentation:
        """The same changes on another device; copies to CUDA do not wait for it."""
        return Augmentation(
            copy_to(self.positions, device),
            copy_to(self.values, device),
            copy_to(self.color, device),
            copy_to(self.brightness, device),
        )

    def __call__(
        self, tokens: Float[Tensor, "KB M P"], sequence: TokenSequence
    ) -> tuple[Float[Tensor, "KB M P"], TokenSequence]:
        """The changed tokens and where they stand.

        Args:
            tokens: the present tokens of the whole batch, K times in a row.
            sequence: positions and roles of the tokens.
        """
        times = len(tokens) // len(self.positions)
        values = self.values.repeat(times, 1)[:, None].expand_as(tokens)  # (K B, M, P)
        positions = self.positions.repeat(times, 1).gather(1, sequence.positions)
        known = sequence.known_values
        if known is not None:
            known = known.gather(2, values)
        channels = self.color.shape[1]
        pixels = tokens.gather(2, values).unflatten(2, (channels, -1))  # (K B, M, C, pixels)
        color, brightness = self.color.repeat(times, 1, 1), self.brightness.repeat(times)
        changed = color[:, None] @ pixels + brightness[:, None, None, None]
        return changed.flatten(2), replace(sequence, positions=positions, known_values=known)


def _skipped(probability: float, count: int, rng: torch.Generator) -> Tensor:
    """Which images a change leaves out."""
    return torch.rand(count, generator=rng) >= probability


@lru_cache(maxsize=8)
def _symmetries(grid: PatchGrid) -> tuple[Int64[Tensor, "S L"], Int64[Tensor, "S P"]]:
    """The symmetries of the picture: where each token goes, and the order of its values.

    The first one changes nothing. A square has 8, any other picture 4.
    """
    rows, columns = grid.size
    dim = grid.channels * grid.patch_size**2
    numbers = torch.arange(rows * columns * dim).view(1, rows * columns, dim)
    picture = unpatchify(numbers, grid.size, grid.patch_size)
    pictures = [picture, picture.flip(3), picture.flip(2), picture.flip(2, 3)]
    if rows == columns:
        pictures += [turned.transpose(2, 3) for turned in pictures]
    old = patchify(torch.cat(pictures), grid.patch_size)  # (S, L, P)
    return (old[..., 0] // dim).argsort(dim=1), old[:, 0] % dim


def _draw_colors(
    channels: int, count: int, rng: torch.Generator
) -> tuple[Float[Tensor, "B C C"], Float[Tensor, " B"]]:
    """Brightness and contrast; of three channels also the hue and the saturation."""

    def normal() -> Float[Tensor, "B 1 1"]:
        return torch.randn(count, 1, 1, generator=rng)

    brightness = BRIGHTNESS_DEVIATION * normal().flatten()
    gray = torch.full((channels, channels), 1 / channels)  # projects onto the axis of grays
    color = torch.eye(channels).expand(count, -1, -1)
    if channels == 3:
        angle = 2 * math.pi * torch.rand(count, 1, 1, generator=rng)
        axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        turned = angle.cos() * (color - gray) + angle.sin() * axis  # Rodrigues' formula
        color = gray + 2 ** (LOG2_SATURATION_DEVIATION * normal()) * turned
    return 2 ** (LOG2_CONTRAST_DEVIATION * normal()) * color, brightness
