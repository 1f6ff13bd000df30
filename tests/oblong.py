"""Images and holes for models of RGB images of 6 x 10 pixels, that several tests share."""

from __future__ import annotations

import torch
from torch import Tensor

HEIGHT, WIDTH = 6, 10


def random_images(count: int) -> Tensor:
    """Images (count, 3, 6, 10) in [-1, 1]."""
    return 2 * torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) - 1


def ragged_holes(count: int) -> Tensor:
    """Holes (count, 6, 10) of other sizes, at other places, in every image."""
    rng = torch.Generator().manual_seed(2)
    shares = torch.linspace(0.02, 0.6, count)[:, None, None]
    hole = torch.rand(count, HEIGHT, WIDTH, generator=rng) < shares
    hole[:, 2, 3] = True
    return hole
