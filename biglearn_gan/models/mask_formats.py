"""Masks in any usual format: Boolean, 0 and 1, black and white; tensors, arrays, PIL images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from PIL import Image
from torch import Tensor

from biglearn_gan.models.image_formats import array_to_tensor, has_transparent_pixels
from biglearn_gan.orientation import upright_copy
from biglearn_gan.pixel_values import to_convertible
from biglearn_gan.tasks.holes import MAX_SOFT_SHARE

Mask = Tensor | np.ndarray | Image.Image | Sequence[Any]
"""Pixels of each image, (N, H, W), or of all images, (H, W). True, 1, and white mark pixels."""


def read_mask_argument(
    name: str, mask: object, count: int, image_size: tuple[int, int]
) -> Bool[Tensor, "N H W"]:
    """A mask for each image, on the CPU.

    Numbers are cut at half: they lie in [0, 1], in [0, 255], or, of 16 bits, in [0, 65535].

    Args:
        name: of the parameter, for messages.
        mask: Boolean or of numbers, with the shape (H, W), (N, H, W), (N, 1, H, W) or
            (N, H, W, 1), where N may be 1; a PIL image; or a list of masks.
        count: N, the number of images.
        image_size: (H, W).

    Raises:
        ValueError: it is not a mask, or has another size than the images.
    """
    values = _stack_masks(name, mask)
    height, width = image_size
    for axis in (1, -1):
        if values.ndim == 4 and values.shape[axis] == 1:
            squeezed = values.squeeze(axis)
            values = squeezed if tuple(squeezed.shape[1:]) == image_size else values
    if values.shape == (height, width, 1):
        values = values.squeeze(-1)
    if tuple(values.shape) not in ((height, width), (1, height, width), (count, height, width)):
        raise ValueError(
            f"{name} must have the shape (N, H, W) = ({count}, {height}, {width}), (N, 1, H, W) or "
            f"(H, W), not {tuple(values.shape)}"
        )
    return _to_boolean(name, values.detach().cpu()).expand(count, height, width)


def _stack_masks(name: str, mask: object) -> Tensor:
    if isinstance(mask, Tensor):
        return mask
    if isinstance(mask, np.ndarray):
        return array_to_tensor(name, mask)
    if isinstance(mask, Image.Image):
        mask = to_convertible(upright_copy(mask))
        if has_transparent_pixels(mask):
            raise ValueError(
                f"{name} must be opaque, but a PIL image has transparent pixels: "
                "mask.getchannel('A') gives its alpha channel"
            )
        keeps_mode = mask.mode in ("1", "L") or mask.mode[0] in "IF"
        return array_to_tensor(name, np.asarray(mask if keeps_mode else mask.convert("L")))
    if isinstance(mask, list | tuple) and mask:
        parts = [_stack_masks(name, each) for each in mask]
        if len({(part.shape, part.dtype) for part in parts}) == 1:
            return torch.stack(parts)
        raise ValueError(f"{name}: masks in a list must be of one kind and size")
    if isinstance(mask, str):
        raise ValueError(
            f"{name} must be pixels, not {mask!r}: named_hole gives the pixels of a name, and "
            "complete_photo takes names and files"
        )
    raise ValueError(
        f"{name} must be a Boolean torch tensor, a NumPy array or a PIL image, not "
        f"{'an empty list' if isinstance(mask, list | tuple) else type(mask).__name__}"
    )


def _to_boolean(name: str, values: Shaped[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """The values above half of their range."""
    if values.dtype == torch.bool or values.numel() == 0:
        return values.bool()
    numbers = values.double()
    low, high = float(numbers.min()), float(numbers.max())
    white = next((white for white in (1, 255) if high <= white), 65_535)
    if not 0 <= low <= high <= white or 1 < high < white / 2:
        raise ValueError(
            f"{name} must be Boolean, 0 and 1, or black and white (255, or 65535 of 16 bits), but "
            f"its values are from {low:.5g} to {high:.5g}"
        )
    soft = ((numbers > white / 8) & (numbers < white * 7 / 8)).double().mean()
    if float(soft) > MAX_SOFT_SHARE:
        raise ValueError(
            f"{name} must be black and white, but {float(soft):.0%} of its values are gray"
        )
    return numbers >= white / 2
