"""Checks of the values of images, the seed, and the layer that a model is called with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan.config.schema import ModelConfig

RANGE_TOLERANCE = 1e-3
"""How far pixel values may lie outside [-1, 1]: enough for rounding, not for a missing scaling."""

NetworkName = Literal["generator", "discriminator"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)

_hints: ContextVar[bool] = ContextVar("hints", default=True)


@contextmanager
def range_is_known() -> Iterator[None]:
    """Within, a model gives no hint on the range of images: they come from files or data sets."""
    token = _hints.set(False)
    try:
        yield
    finally:
        _hints.reset(token)


def check_values(
    images: Float[Tensor, "N C H W"],
    read: Bool[Tensor, "N H W"],
    bounded: bool,
    stacklevel: int,
    range_is_certain: bool = False,
) -> None:
    """Check the values of the pixels that the model reads, and warn if they seem to be in [0, 1].

    Args:
        images: the images.
        read: True = the model reads this pixel.
        bounded: whether values must lie in [-1, 1].
        stacklevel: frames from here up to the user's call, for the warning about [0, 1].
        range_is_certain: whether the images cannot be in [0, 1], which needs no warning.

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
    if bounded and 0 <= low < high and not range_is_certain and _hints.get():
        warnings.warn(
            "no known pixel is below 0: images must be in [-1, 1], and 2 * x - 1 converts x in "
            "[0, 1]",
            stacklevel=stacklevel,
        )


def choose_seed(seed: int, generator: torch.Generator | None) -> int:
    """The seed, or a random one that the generator draws if there is one.

    Raises:
        ValueError: both are given, or the generator is not a torch.Generator.
    """
    if generator is None:
        return seed
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    if seed != 0:
        raise ValueError(f"give a seed or a generator, not seed {seed} and a generator")
    return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))


def check_layer(network: str, layer: object, config: ModelConfig) -> None:
    """Raise ValueError unless the network exists and has a block of this number, from 1."""
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, not {network!r}")
    depth = getattr(config, network).depth
    if layer is None:
        return
    is_integer = isinstance(layer, Integral) and not isinstance(layer, bool)
    if not is_integer or layer not in range(1, depth + 1):
        raise ValueError(
            f"layer must be an integer from 1 to {depth}, the {network}'s depth, not {layer!r}"
        )
