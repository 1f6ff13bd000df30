"""Gradients of several processes, averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor


def average_over_processes(
    gradients: Sequence[Tensor], accelerator: Accelerator
) -> tuple[Tensor, ...]:
    """The mean of each gradient over all processes, by one all-reduce."""
    if accelerator.num_processes == 1:
        return tuple(gradients)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    flat = accelerator.reduce(flat, reduction="mean")
    pieces = flat.split([gradient.numel() for gradient in gradients])
    return tuple(p.view_as(g) for p, g in zip(pieces, gradients, strict=True))
