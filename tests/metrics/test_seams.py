"""Seams: closed forms, and which pairs of pixels count."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.metrics.seams import border_steps, seam_error, seam_ratio


def whole(images: torch.Tensor, patch_size: int) -> torch.Tensor:
    """The steps of images (N, C, H, W) that are generated as a whole."""
    hole = torch.ones(len(images), *images.shape[-2:], dtype=torch.bool)
    return border_steps(images[:, None], hole, ~hole, patch_size)


def test_a_linear_ramp_has_no_seams() -> None:
    rows, columns = torch.arange(8)[:, None], torch.arange(12)[None, :]
    ramp = (3 * rows + 5 * columns).to(torch.uint8).expand(1, 3, 8, 12)
    for patch_size in (2, 4):
        steps = whole(ramp, patch_size)
        horizontal, vertical = 12 // patch_size - 1, 8 // patch_size - 1
        assert steps[0].tolist() == [
            5 * 8 * horizontal + 3 * 12 * vertical,
            8 * horizontal + 12 * vertical,
            5 * 8 * (11 - horizontal) + 3 * 12 * (7 - vertical),
            8 * (11 - horizontal) + 12 * (7 - vertical),
        ]
    along_one_axis = (5 * columns).to(torch.uint8).expand(1, 1, 12, 12)
    assert seam_ratio(whole(along_one_axis, 4)) == pytest.approx(1)


def test_one_color_per_patch_has_no_finite_ratio() -> None:
    patches = torch.tensor([[0, 100], [30, 200]], dtype=torch.uint8)
    image = patches.repeat_interleave(4, 0).repeat_interleave(4, 1)[None, None]
    steps = whole(image, 4)
    assert steps[0].tolist() == [4 * (100 + 170 + 30 + 100), 16, 0, 96]
    assert seam_ratio(steps) is None
    assert seam_ratio(whole(image, 3)) == 0  # all steps are elsewhere
    assert seam_ratio(whole(image, 8)) is None  # there is no border
    assert seam_ratio(whole(image, 1)) is None  # there is nothing else


def test_a_step_at_each_border_counts_in_proportion() -> None:
    """Steps of 6 across the borders of patches and of 2 elsewhere."""
    line = torch.tensor([0, 2, 8, 10, 16, 18], dtype=torch.uint8)
    image = line.expand(1, 1, 6, 6)
    steps = whole(torch.cat([image, image.transpose(2, 3)]), 2)
    across, inside = (6 * 12 + 0 * 12) / 24, (2 * 18 + 0 * 18) / 36
    assert seam_ratio(steps) == pytest.approx(across / inside) == pytest.approx(3)
    assert seam_error(steps, 2) == pytest.approx(0)
    assert seam_error(steps, 3) is None


def test_pairs_count_if_a_pixel_is_generated_and_none_is_absent() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (1, 2, 1, 1, 6), generator=generator, dtype=torch.uint8)
    hole = torch.tensor([[[False, False, True, False, False, False]]])
    known = torch.tensor([[[True, True, False, True, True, False]]])
    x = images[0, :, 0, 0].double()
    border = (x[:, 2] - x[:, 1]).abs().sum()  # patches of 2 pixels: known 1, generated 2
    inside = (x[:, 3] - x[:, 2]).abs().sum()
    steps = border_steps(images, hole, known, 2)
    assert steps[0].tolist() == [float(border), 2, float(inside), 2]
    known[..., 3] = False  # absent
    assert border_steps(images, hole, known, 2)[0].tolist() == [float(border), 2, 0, 0]


def test_rows_are_independent_and_errors_shrink_with_their_number() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (400, 3, 8, 8), generator=generator, dtype=torch.uint8)
    steps = whole(images, 4)
    torch.testing.assert_close(torch.cat([whole(images[:7], 4), whole(images[7:], 4)]), steps)
    error = seam_error(steps, 10)
    assert seam_ratio(steps) == pytest.approx(1, abs=4 * error)
    assert 0 < error < seam_error(steps[:40], 10)
