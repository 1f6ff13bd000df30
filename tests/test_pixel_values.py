"""Floats in [-1, 1], uint8 in [0, 255] and PIL images hold the same pixels."""

from __future__ import annotations

import numpy as np
import torch

from biglearn_gan.pixel_values import to_channels_last, to_pil, to_signed_float, to_uint8


def test_every_uint8_value_survives_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_signed_float(values)), values)


def test_the_range_is_minus_one_to_one() -> None:
    floats = to_signed_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert floats.dtype == torch.float32
    assert torch.allclose(floats, torch.tensor([-1.0, -0.6, 1.0]))


def test_floats_are_clipped_and_rounded() -> None:
    floats = torch.tensor([-1.5, 0.0, 0.002, 7.0])
    assert to_uint8(floats).tolist() == [0, 128, 128, 255]


def test_the_channels_of_each_pixel_come_last() -> None:
    images = torch.arange(24, dtype=torch.uint8).view(1, 3, 2, 4)
    assert to_channels_last(images)[0, 1, 2].tolist() == [6, 14, 22]


def test_a_pil_image_has_the_mode_of_the_channels() -> None:
    image = torch.arange(24, dtype=torch.uint8).view(3, 2, 4)
    color, gray = to_pil(image), to_pil(image[:1])
    assert (color.mode, color.size, gray.mode, gray.size) == ("RGB", (4, 2), "L", (4, 2))
    assert np.array_equal(np.asarray(color), image.movedim(0, -1).numpy())
    assert np.array_equal(np.asarray(gray), image[0].numpy())
