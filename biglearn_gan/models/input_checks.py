"""Images, masks and labels that people hand to a model: what is wrong is one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.errors import UsageError
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

RANGE_TOLERANCE = 1e-3
"""By how much an image may leave [-1, 1]: rounding, but not a forgotten scaling."""

Mask = Bool[Tensor, "H W"] | Bool[Tensor, "#N H W"] | Bool[Tensor, "#N 1 H W"]
"""Pixels of each image; a single one, (H, W), (1, H, W) or (1, 1, H, W), is that of all."""

WITHOUT_LABELS = "this model was trained without labels; data.labels: true teaches them"

Labels = Int[Tensor, ""] | Int[Tensor, " N"] | Int[Tensor, "N K"] | Sequence[int] | int
"""The class of each image or of each draw; one integer is the class of all."""


class LabelError(UsageError):
    """A label that the model does not know, in one sentence."""


def checked_images(images: object, data: DataConfig) -> Float[Tensor, "N C H W"]:
    """The images, on the CPU.

    Raises:
        ValueError: they are not float32 tensors of the model's size.
    """
    expected = ", ".join(map(str, (data.channels, *data.image_size)))
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images must be a torch tensor of shape (N, {expected}), not {type(images).__name__}"
            " (torch.from_numpy makes one of an array)"
        )
    if images.ndim != 4 or tuple(images.shape[1:]) != (data.channels, *data.image_size):
        raise ValueError(
            f"images of shape (N, C, H, W) = (N, {expected}) are expected, not "
            f"{tuple(images.shape)}"
        )
    if images.dtype != torch.float32:
        raise ValueError(f"images must be torch.float32 in [-1, 1], not {images.dtype}")
    return images.cpu()


def checked_mask(name: str, mask: object, images: Tensor) -> Bool[Tensor, "N H W"]:
    """A mask for each image, on the CPU; a single one is that of all.

    Raises:
        ValueError: it is not boolean, or of another size.
    """
    count, _, height, width = images.shape
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        given = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"{name} must be a boolean torch tensor, not {given}")
    flat = mask.squeeze(1) if mask.ndim == 4 else mask
    if tuple(flat.shape) not in ((height, width), (1, height, width), (count, height, width)):
        raise ValueError(
            f"{name} must have the shape (N, H, W) = ({count}, {height}, {width}), (N, 1, H, W) or "
            f"(H, W), not {tuple(mask.shape)}"
        )
    return flat.cpu().expand(count, height, width)


def check_values(
    images: Float[Tensor, "N C H W"], used: Bool[Tensor, "N H W"], bounded: bool
) -> None:
    """Refuse pixels that are used and that no image has.

    Args:
        images: to be looked at.
        used: which pixels the model will see.
        bounded: whether they belong in [-1, 1], as those of images do.

    Raises:
        ValueError: one is not finite, or out of range.
    """
    seen = images[used[:, None].expand_as(images)]
    if len(seen) == 0:
        return
    if not bool(seen.isfinite().all()):
        raise ValueError("images hold pixels that are given and not finite")
    low, high = float(seen.min()), float(seen.max())
    if bounded and max(-low, high) > 1 + RANGE_TOLERANCE:
        raise ValueError(f"images must be in [-1, 1], not in [{low:.4g}, {high:.4g}]")
    if bounded and 0 <= low < high:
        warnings.warn(
            "no given pixel is below 0: images are expected in [-1, 1], "
            "which 2 * x - 1 makes of x in [0, 1]",
            stacklevel=4,
        )


def check_draws(variations: int, seed: int) -> None:
    """Refuse fewer draws of an image than one, and a seed below 0.

    Raises:
        ValueError: either, or one that is no whole number.
    """
    check_whole("variations", variations, least=1)
    check_whole("seed", seed, least=0)


def check_whole(name: str, number: object, least: int) -> None:
    """Refuse what is no whole number, or a smaller one.

    Raises:
        ValueError: either.
    """
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise ValueError(f"{name} must be a whole number of at least {least}, not {number!r}")
    if int(number) < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")


def checked_labels(
    labels: Labels | None, count: int, variations: int, classes: int | None
) -> Int64[Tensor, "N K"]:
    """One label for each draw, ``UNKNOWN_LABEL`` where there is none.

    Args:
        labels: None for none; -1 for one that is unknown.
        count: N, the images.
        variations: K, the draws of each.
        classes: what the model knows, None for a model without labels.

    Raises:
        LabelError: the model has no labels, or not that one, or they are too few or too many.
    """
    if labels is None:
        return torch.full((count, variations), UNKNOWN_LABEL)
    if classes is None:
        raise LabelError(WITHOUT_LABELS)
    try:
        given = labels if isinstance(labels, Tensor) else torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise LabelError(f"labels must be {count} integers, not {labels!r}") from None
    if given.ndim == 0:
        given = given.expand(count)
    whole = not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
    if not whole or tuple(given.shape) not in ((count,), (count, variations)):
        raise LabelError(
            f"labels must be {count} integers, or {variations} for each of {count}, "
            f"not {given.dtype} of shape {tuple(given.shape)}"
        )
    for label in given.unique().tolist():
        if label != UNKNOWN_LABEL and not 0 <= label < classes:
            raise LabelError(
                f"label {label} is none of this model's {classes} classes, 0 to {classes - 1}"
            )
    return given.cpu().long().view(count, -1).expand(count, variations)
