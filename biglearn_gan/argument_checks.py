"""Checks of the numbers and choices that functions of the package are called with."""

from __future__ import annotations

from numbers import Integral

from biglearn_gan.errors import UsageError


def check_integer(name: str, number: object, least: int) -> None:
    """Check that a number is an integer of at least ``least``.

    Raises:
        UsageError: it is not.
    """
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise UsageError(f"{name} must be an integer of at least {least}, not {number!r}")
    if int(number) < least:
        raise UsageError(f"{name} must be at least {least}, not {number}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that a value is one of ``choices``.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, str) or value not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_image_size(image_size: object) -> None:
    """Check that a size is (height, width), two integers of at least 1.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(image_size, tuple | list) or len(image_size) != 2:
        raise UsageError(f"image_size must be (height, width), not {image_size!r}")
    for name, side in zip(("height", "width"), image_size, strict=True):
        check_integer(f"the {name} of image_size", side, least=1)
