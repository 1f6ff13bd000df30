"""Checks of the images, masks, labels and numbers that a model is called with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.errors import UsageError
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

RANGE_TOLERANCE = 1e-3
"""How far pixel values may lie outside [-1, 1]: enough for rounding, not for a missing scaling."""

Mask = Bool[Tensor, "H W"] | Bool[Tensor, "#N H W"] | Bool[Tensor, "#N 1 H W"]
"""Pixels of each image. One mask, (H, W), (1, H, W) or (1, 1, H, W), is used for all images."""

Labels = Int[Tensor, ""] | Int[Tensor, " N"] | Int[Tensor, "N K"] | Sequence[int] | int
"""The class of each image or of each sample. One integer is used for all images."""


_hints: ContextVar[bool] = ContextVar("hints", default=True)


class LabelError(UsageError):
    """Labels that the model cannot use, in one sentence."""


@contextmanager
def range_is_known() -> Iterator[None]:
    """Within, a model gives no hint on the range of images: they come from files or data sets."""
    token = _hints.set(False)
    try:
        yield
    finally:
        _hints.reset(token)


def require_labels(data: DataConfig) -> int:
    """The number of classes that a model knows.

    Raises:
        LabelError: it was trained without labels.
    """
    if data.num_classes is None:
        raise LabelError("this model was trained without labels; data.labels: true teaches them")
    return data.num_classes


def check_images(images: object, data: DataConfig) -> Float[Tensor, "N C H W"]:
    """The images, moved to the CPU.

    Raises:
        ValueError: they are not float32 tensors of the model's size.
    """
    expected = ", ".join(map(str, (data.channels, *data.image_size)))
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images must be a torch tensor of shape (N, {expected}), not {type(images).__name__}; "
            "torch.from_numpy converts an array"
        )
    if images.ndim != 4 or tuple(images.shape[1:]) != (data.channels, *data.image_size):
        raise ValueError(
            f"images must have the shape (N, C, H, W) = (N, {expected}), not {tuple(images.shape)}"
        )
    if images.dtype != torch.float32:
        raise ValueError(f"images must be torch.float32 in [-1, 1], not {images.dtype}")
    return images.cpu()


def check_mask(name: str, mask: object, images: Tensor) -> Bool[Tensor, "N H W"]:
    """A mask for each image, moved to the CPU.

    Raises:
        ValueError: it is not boolean, or not of the images' size.
    """
    count, _, height, width = images.shape
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"{name} must be a boolean torch tensor, not {found}")
    flat = mask.squeeze(1) if mask.ndim == 4 else mask
    if tuple(flat.shape) not in ((height, width), (1, height, width), (count, height, width)):
        raise ValueError(
            f"{name} must have the shape (N, H, W) = ({count}, {height}, {width}), (N, 1, H, W) or "
            f"(H, W), not {tuple(mask.shape)}"
        )
    return flat.cpu().expand(count, height, width)


def check_values(
    images: Float[Tensor, "N C H W"],
    read: Bool[Tensor, "N H W"],
    bounded: bool,
    stacklevel: int,
) -> None:
    """Check the values of the pixels that the model reads, and warn if they seem to be in [0, 1].

    Args:
        images: the images.
        read: True = the model reads this pixel.
        bounded: whether values must lie in [-1, 1].
        stacklevel: frames from here up to the user's call, for the warning about [0, 1].

    Raises:
        ValueError: a value is not finite, or out of range.
    """
    values = images[read[:, None].expand_as(images)]
    if len(values) == 0:
        return
    if not bool(values.isfinite().all()):
        raise ValueError("images must be finite, but a pixel that the model reads is not")
    low, high = float(values.min()), float(values.max())
    if bounded and max(-low, high) > 1 + RANGE_TOLERANCE:
        raise ValueError(f"images must be in [-1, 1], not in [{low:.4g}, {high:.4g}]")
    if bounded and 0 <= low < high and _hints.get():
        warnings.warn(
            "no known pixel is below 0: images must be in [-1, 1], and 2 * x - 1 converts x in "
            "[0, 1]",
            stacklevel=stacklevel,
        )


def check_integer(name: str, number: object, least: int) -> None:
    """Check that a number is an integer of at least ``least``.

    Raises:
        ValueError: it is not.
    """
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise ValueError(f"{name} must be an integer of at least {least}, not {number!r}")
    if int(number) < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")


def check_labels(
    labels: Labels | None, count: int, variations: int, data: DataConfig
) -> Int64[Tensor, "N K"]:
    """One label for each sample, on the CPU; ``UNKNOWN_LABEL`` if it is not given.

    Args:
        labels: None if no label is given; -1 for a single unknown one.
        count: N, the number of images.
        variations: K, the samples of each image.
        data: the data that the model was trained on.

    Raises:
        LabelError: the model has no labels or not this one, or the number of labels is wrong.
    """
    if labels is None:
        return torch.full((count, variations), UNKNOWN_LABEL)
    num_classes = require_labels(data)
    try:
        values = labels if isinstance(labels, Tensor) else torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise LabelError(f"labels must be {count} integers, not {labels!r}") from None
    if values.ndim == 0:
        values = values.expand(count)
    is_integer = not (
        values.is_floating_point() or values.is_complex() or values.dtype == torch.bool
    )
    if not is_integer or tuple(values.shape) not in ((count,), (count, variations)):
        raise LabelError(
            f"labels must be {count} integers, or {variations} for each of {count}, "
            f"not {values.dtype} of shape {tuple(values.shape)}"
        )
    for label in values.unique().tolist():
        if label != UNKNOWN_LABEL and not 0 <= label < num_classes:
            raise LabelError(
                f"label {label} must be one of this model's {num_classes} classes, 0 to "
                f"{num_classes - 1}"
            )
    return values.cpu().long().view(count, -1).expand(count, variations)
