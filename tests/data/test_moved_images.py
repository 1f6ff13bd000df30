"""Images are moved, turned and zoomed as far as was drawn, and repeat their edges."""

from __future__ import annotations

import math

import pytest
import torch

from biglearn_gan.data.moved_images import draw_shifts, draw_turns, shift_images, turn_images


def test_an_image_moves_down_and_right_by_its_pixels() -> None:
    images = torch.arange(24.0).view(2, 1, 3, 4)
    moved = shift_images(images, torch.tensor([[1, 2], [0, -1]]))
    assert moved[0, 0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [4, 4, 4, 5]]
    assert moved[1, 0].tolist() == [[13, 14, 15, 15], [17, 18, 19, 19], [21, 22, 23, 23]]


def test_no_shift_changes_nothing() -> None:
    images = torch.rand(3, 2, 4, 4)
    assert torch.equal(shift_images(images, torch.zeros(3, 2, dtype=torch.int64)), images)


def test_all_shifts_are_equally_likely() -> None:
    shifts = draw_shifts(30_000, 2, torch.Generator().manual_seed(0))
    for axis in shifts.T:
        counts = torch.bincount(axis + 2)
        assert len(counts) == 5
        assert (counts - 6000).abs().max() < 5 * 6000**0.5


def turned(images: torch.Tensor, degrees: float, zoom: float = 1.0) -> torch.Tensor:
    count = len(images)
    return turn_images(images, torch.full((count,), degrees), torch.full((count,), zoom))


def test_a_quarter_turn_is_counterclockwise() -> None:
    images = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(turned(images, 90.0), images.rot90(1, (2, 3)))
    torch.testing.assert_close(turned(images, 0.0), images)


def test_an_oblong_image_keeps_its_proportions() -> None:
    image = torch.zeros(1, 1, 6, 10)
    image[..., 2:4, 3:7] = 1
    upright = torch.zeros(1, 1, 6, 10)
    upright[..., 1:5, 4:6] = 1
    torch.testing.assert_close(turned(image, 90.0), upright)


def test_a_zoom_enlarges_about_the_center() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    larger = turned(ramp, 0.0, 2.0)[0, 0, 0]
    torch.testing.assert_close(larger, 3.5 + (torch.arange(8.0) - 3.5) / 2)
    smaller = turned(ramp, 0.0, 0.5)[0, 0, 0]
    torch.testing.assert_close(smaller, (3.5 + 2 * (torch.arange(8.0) - 3.5)).clamp(0, 7))


def test_turns_are_uniform_and_bounded() -> None:
    degrees, zooms = draw_turns(30_000, 15.0, 1.25, torch.Generator().manual_seed(0))
    for values, most in ((degrees, 15.0), (zooms.log(), math.log(1.25))):
        assert values.abs().max() <= most * (1 + 1e-6)
        assert values.mean() == pytest.approx(0, abs=0.02 * most)
        assert values.square().mean() == pytest.approx(most**2 / 3, rel=0.03)
