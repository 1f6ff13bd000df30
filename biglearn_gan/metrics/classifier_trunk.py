"""The convolutions of the classifiers: plain ones for digits, deeper ones for photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

NetworkName = Literal["plain", "deep"]
"""Kinds of convolutions: one per size of the image, or two and a global maximum."""

DEEP_GROWTH = 4
"""Channels of the later convolutions of a deep network, as a multiple of those of the first."""


def make_trunk(
    network: NetworkName, image_size: Sequence[int], channels: int, width: int
) -> tuple[list[nn.Module], int]:
    """Layers that turn images into vectors, and the length of these.

    - ``plain`` halves images to fewer than 8 pixels, with one convolution per size. The first layer
      has ``width`` channels, each later one twice as many.
    - ``deep`` does so with two convolutions per size and at most ``4 * width`` channels, and takes
      the maximum of each channel over the image.

    Raises:
        ValueError: ``network`` is none of these.
    """
    if network not in get_args(NetworkName):
        raise ValueError(f"network must be one of {get_args(NetworkName)}, not {network!r}")
    rows, columns = image_size
    if network == "deep":
        return _deep_layers(min(rows, columns), channels, width)
    layers = [_convolution(channels, width), _convolution(width, 2 * width)]
    outputs = 2 * width
    while min(rows, columns) >= 8:
        layers += [nn.MaxPool2d(2), _convolution(outputs, 2 * outputs)]
        rows, columns, outputs = rows // 2, columns // 2, 2 * outputs
    return [*layers, nn.Flatten()], outputs * rows * columns


def _deep_layers(side: int, channels: int, width: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = [_ChannelsLast(), _convolution(channels, width)]
    inputs = width
    while True:
        outputs = min(2 * inputs, DEEP_GROWTH * width)
        pooling = [nn.MaxPool2d(2)] if side >= 8 else []
        layers.append(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                *pooling,  # before the normalization, which is then four times faster
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                _convolution(outputs, outputs),
            )
        )
        side, inputs = side // 2, outputs
        if side < 8:
            return [*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten()], outputs


class _ChannelsLast(nn.Module):
    """The same images with adjacent channels in memory, which convolutions on a CPU prefer."""

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return images.contiguous(memory_format=torch.channels_last)


def _convolution(inputs: int, outputs: int) -> nn.Module:
    """A 3 x 3 convolution that keeps the size, batch normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
