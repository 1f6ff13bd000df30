"""Seams: how much larger the steps between neighboring pixels are at the borders of patches.

The value is the mean absolute step across borders divided by that elsewhere. A model whose patches
do not fit together is far above the value of real images, which is about 1. A value below that of
real images means that the borders are smoother than the rest.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from biglearn_gan.metrics.jackknife import jackknife_error, leave_out


def border_steps(
    images: UInt8[Tensor, "N K C H W"],
    hole: Bool[Tensor, "N H W"],
    known: Bool[Tensor, "N H W"],
    patch_size: int,
) -> Float[Tensor, "N 4"]:
    """The steps of each row that :func:`seam_ratio` needs.

    A pair of neighbors counts if at least one of them is generated and both are in the image that
    the model returns. Pairs of known pixels are copied and show nothing of the model. A pair of a
    known and a generated pixel shows whether the completion fits its source.

    Args:
        images: K images for each row.
        hole: True = generated.
        known: True = given. Pixels in neither ``hole`` nor ``known`` are ignored.
        patch_size: side of a patch in pixels.

    Returns:
        Sum and number of the absolute steps across borders of patches, then those elsewhere. A step
        is averaged over the channels.
    """
    result = torch.zeros(len(images), 4, dtype=torch.float64)
    present = hole | known
    for axis in (1, 2):
        length = hole.shape[axis] - 1
        counts = present.narrow(axis, 0, length) & present.narrow(axis, 1, length)
        counts &= hole.narrow(axis, 0, length) | hole.narrow(axis, 1, length)  # (N, H', W')
        pixels = images.short()
        steps = pixels.narrow(axis + 2, 1, length) - pixels.narrow(axis + 2, 0, length)
        steps = steps.abs().double().mean(dim=2).sum(dim=1)  # (N, H', W')
        is_border = (torch.arange(1, length + 1) % patch_size == 0).view(
            (-1, 1) if axis == 1 else (1, -1)
        )
        for column, chosen in ((0, counts & is_border), (2, counts & ~is_border)):
            result[:, column] += (steps * chosen).sum(dim=(1, 2))
            result[:, column + 1] += chosen.sum(dim=(1, 2)) * images.shape[1]
    return result


def seam_ratio(steps: Float[Tensor, "N 4"]) -> float | None:
    """The mean step across borders over that elsewhere, for the rows of :func:`border_steps`.

    None if there are no borders, nothing else, or no differences between pixels elsewhere, such as
    in images of one color per patch.
    """
    border_sum, borders, other_sum, others = steps.sum(dim=0).tolist()
    if not borders or not other_sum:
        return None
    return (border_sum / borders) / (other_sum / others)


def seam_error(steps: Float[Tensor, "N 4"], groups: int) -> float | None:
    """Jackknife error of :func:`seam_ratio` over ``groups`` parts of the rows; None if too few."""
    if len(steps) < groups:
        return None
    values = [seam_ratio(steps[kept]) for kept in leave_out(len(steps), groups)]
    if None in values:
        return None
    return jackknife_error(torch.tensor(values, dtype=torch.float64))
