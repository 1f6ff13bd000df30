"""Images that are moved by a few pixels, turned by a few degrees, and zoomed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def draw_shifts(count: int, most: int, rng: torch.Generator) -> Int64[Tensor, "N 2"]:
    """Pixels downwards and to the right for each image, uniform in [-most, most]."""
    return most - torch.randint(2 * most + 1, (2, count), generator=rng).T


def shift_images(
    images: Float[Tensor, "N C H W"], shifts: Int64[Tensor, "N 2"]
) -> Float[Tensor, "N C H W"]:
    """Each image moved downwards and to the right by its number of pixels; its edge is repeated."""
    count, _, height, width = images.shape
    device = images.device
    most = int(shifts.abs().max())
    padded = F.pad(images, (most,) * 4, mode="replicate")
    top, left = (most - shifts).T[..., None]  # (N, 1) each
    image = torch.arange(count, device=device)[:, None, None]
    rows = (top + torch.arange(height, device=device))[:, :, None]
    columns = (left + torch.arange(width, device=device))[:, None, :]
    return padded[image, :, rows, columns].permute(0, 3, 1, 2)


def draw_turns(
    count: int, rotation: float, zoom: float, rng: torch.Generator
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Degrees counterclockwise, uniform in [-rotation, rotation], and factors of the size.

    The logarithms of the factors are uniform between those of 1 / ``zoom`` and ``zoom``.
    """
    uniform = 2 * torch.rand(2, count, generator=rng) - 1
    return rotation * uniform[0], zoom ** uniform[1]


def turn_images(
    images: Float[Tensor, "N C H W"], degrees: Float[Tensor, " N"], zooms: Float[Tensor, " N"]
) -> Float[Tensor, "N C H W"]:
    """Each image turned counterclockwise about its center and enlarged; its edge is repeated."""
    height, width = images.shape[2:]
    angles = degrees * (math.pi / 180)
    cos, sin = angles.cos() / zooms, angles.sin() / zooms
    zero = torch.zeros_like(cos)
    # Where each new pixel comes from; the coordinates of both axes end at -1 and 1.
    across = torch.stack([cos, -sin * (height / width), zero], dim=1)
    down = torch.stack([sin * (width / height), cos, zero], dim=1)
    grid = F.affine_grid(torch.stack([across, down], dim=1), list(images.shape), False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
