"""Labels that a model is called with: class numbers or names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.errors import UsageError
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

Labels = (
    Int[Tensor, ""]
    | Int[Tensor, " N"]
    | Int[Tensor, "N K"]
    | np.ndarray
    | Sequence[int]
    | Sequence[str]
    | int
    | str
)
"""The class of each image or of each sample, by number or by name. A single one is used for all
images."""

NAMES_IN_MESSAGE = 20
"""Classes that a message lists; with more, it says how many there are."""


class LabelError(UsageError):
    """Labels that the model cannot use, in one sentence."""


def require_labels(data: DataConfig) -> int:
    """The number of classes that a model knows.

    Raises:
        LabelError: it was trained without labels.
    """
    if data.num_classes is None:
        raise LabelError("this model was trained without labels; data.labels: true teaches them")
    return data.num_classes


def label_number(text: str, data: DataConfig) -> int:
    """The number of the class with this name; also of a number, unless names are numbers.

    Raises:
        LabelError: the model has no labels, or not this one.
    """
    require_labels(data)
    names = data.label_names
    if text in names:
        return names.index(text)
    named = not any(name.isdecimal() for name in names)
    if named and text.isascii() and text.isdecimal() and int(text) < len(names):
        return int(text)
    numbers = f"0 to {len(names) - 1}"
    choices = ", ".join(names) if len(names) <= NAMES_IN_MESSAGE else f"{len(names)} class names"
    allowed = f"one of {choices}, or {numbers}" if named else f"one of {choices}"
    raise LabelError(f"label must be {allowed}, not {text!r}")


def check_labels(
    labels: Labels | None, count: int, variations: int, data: DataConfig
) -> Int64[Tensor, "N K"]:
    """One label for each sample, on the CPU; ``UNKNOWN_LABEL`` if it is not given.

    Args:
        labels: None if no label is given; -1 for a single unknown one. Names are those of
            ``data.label_names``.
        count: N, the number of images.
        variations: K, the samples of each image.
        data: the data that the model was trained on.

    Raises:
        LabelError: the model has no labels or not this one, or the number of labels is wrong.
    """
    if labels is None:
        return torch.full((count, variations), UNKNOWN_LABEL)
    num_classes = require_labels(data)
    labels = _numbers(labels, data)
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


def _numbers(labels: Labels, data: DataConfig) -> Labels:
    """The same labels with numbers in place of names."""
    if isinstance(labels, str):
        return label_number(labels, data)
    if isinstance(labels, list | tuple):
        return [label_number(each, data) if isinstance(each, str) else each for each in labels]
    return labels
