"""Images are moved as far as was drawn, and repeat their edges."""

from __future__ import annotations

import torch

from biglearn_gan.data.shifts import draw_shifts, shift_images


def test_an_image_moves_down_and_right_by_its_pixels() -> None:
    images = torch.arange(24.0).view(2, 1, 3, 4)
    moved = shift_images(images, torch.tensor([[1, 2], [0, -1]]), most=2)
    assert moved[0, 0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [4, 4, 4, 5]]
    assert moved[1, 0].tolist() == [[13, 14, 15, 15], [17, 18, 19, 19], [21, 22, 23, 23]]


def test_no_shift_changes_nothing() -> None:
    images = torch.rand(3, 2, 4, 4)
    assert torch.equal(shift_images(images, torch.zeros(3, 2, dtype=torch.int64), most=1), images)


def test_all_shifts_are_equally_likely() -> None:
    shifts = draw_shifts(30_000, 2, torch.Generator().manual_seed(0))
    for axis in shifts.T:
        counts = torch.bincount(axis + 2)
        assert len(counts) == 5
        assert (counts - 6000).abs().max() < 5 * 6000**0.5
