"""Check what a person entered on the page, or what a program sent to its endpoints.

A number out of range is a mistake of the person, who reads an :class:`EntryError` on the page. A
value of a kind that the page never sends, such as a word in place of a number, is a
:class:`gradio.Error`, which ends the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

import gradio as gr

from biglearn_gan.config import FitMode
from biglearn_gan.errors import UserError
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

MAX_SEED = 2**53 - 1
"""The largest integer that every browser represents exactly."""

ANY_LABEL = "any"
"""The choice of a label that the model draws."""


class EntryError(UserError):
    """A number on the page is out of range."""


def broken_request(sentence: str) -> gr.Error:
    """The error for a request that the page does not send; the log has no traceback of it."""
    return gr.Error(sentence, print_exception=False)


def check_number(entry: object, name: str, low: int, high: int) -> int:
    """The number in a field.

    Args:
        entry: what was sent.
        name: of the number, for messages, such as ``the seed``.
        low: the smallest number allowed.
        high: the largest.

    Raises:
        EntryError: it is out of range, or no whole number.
        gradio.Error: it is no number at all.
    """
    expected = f"{name} must be {low} to {high}, not {shorten(entry)}"
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        raise broken_request(expected)
    if not low <= entry <= high:  # nor is NaN
        raise EntryError(expected)
    if entry != round(entry):
        raise EntryError(f"{name} must be a whole number, not {entry}")
    return round(entry)


def check_seed(entry: object) -> int:
    """The seed in a field; 0 if it is empty. See :func:`check_number`."""
    return 0 if entry is None else check_number(entry, "the seed", 0, MAX_SEED)


def check_label(entry: object, classes: Sequence[str]) -> int:
    """The label that was chosen; ``UNKNOWN_LABEL`` for any.

    Args:
        entry: what was sent.
        classes: names of the model's classes; none for one without labels.

    Raises:
        gradio.Error: there is no such label.
    """
    choices = label_choices(classes)
    if entry is None or entry == ANY_LABEL:
        return UNKNOWN_LABEL
    if not isinstance(entry, str) or entry not in choices:
        raise broken_request(f"the label must be one of {', '.join(choices)}, not {shorten(entry)}")
    return list(classes).index(entry)


def check_fit(entry: object) -> FitMode:
    """The fit that was chosen.

    Raises:
        gradio.Error: there is no such fit.
    """
    for mode in get_args(FitMode):
        if entry == mode:
            return cast(FitMode, mode)
    choices = ", ".join(get_args(FitMode))
    raise broken_request(f"the fit must be one of {choices}, not {shorten(entry)}")


def check_upload(entry: object) -> str:
    """The path of an uploaded file.

    Raises:
        gradio.Error: no file was uploaded.
    """
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str):
        raise broken_request("the upload is missing: send one file")
    return path


def shorten(entry: object) -> str:
    """The first 40 characters of what was sent."""
    return str(entry)[:40]


def label_choices(classes: Sequence[str]) -> list[str]:
    """The labels to choose from."""
    return [ANY_LABEL, *classes]
