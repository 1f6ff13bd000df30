"""Images that are moved by a few pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def draw_shifts(count: int, most: int, rng: torch.Generator) -> Int64[Tensor, "N 2"]:
    """Pixels downwards and to the right for each image, uniform in [-most, most]."""
    return most - torch.randint(2 * most + 1, (2, count), generator=rng).T


def shift_images(
    images: Float[Tensor, "N C H W"], shifts: Int64[Tensor, "N 2"], most: int
) -> Float[Tensor, "N C H W"]:
    """Each image moved downwards and to the right by its number of pixels; its edge is repeated.

    Args:
        images: to move.
        shifts: in pixels, from [-most, most].
        most: the largest shift, as a number, since a GPU need not be waited for to know it.
    """
    count, _, height, width = images.shape
    device = images.device
    padded = F.pad(images, (most,) * 4, mode="replicate")
    top, left = (most - shifts).T[..., None]  # (N, 1) each
    image = torch.arange(count, device=device)[:, None, None]
    rows = (top + torch.arange(height, device=device))[:, :, None]
    columns = (left + torch.arange(width, device=device))[:, None, :]
    return padded[image, :, rows, columns].permute(0, 3, 1, 2)
