"""PSNR and SSIM: values by hand."""

from __future__ import annotations

import math

import pytest
import torch

from biglearn_gan.metrics.image_similarity import psnr, ssim


def test_psnr_counts_the_pixels_of_the_hole_only() -> None:
    originals = torch.full((1, 3, 2, 4), 100, dtype=torch.uint8)
    images = originals[:, None].repeat(1, 2, 1, 1, 1)
    hole = torch.zeros(1, 2, 4, dtype=torch.bool)
    hole[..., 2:] = True
    images[0, 0, :, :, 3] = 110  # half of the hole is off by 10
    images[0, 1, 0, :, 3] = 130  # one of three channels is off by 30
    images[..., :2] = 255  # known pixels do not count
    expected = [10 * math.log10(255**2 / each) for each in (100 / 2, 900 / 6)]
    assert psnr(images, originals, hole)[0].tolist() == pytest.approx(expected)


def test_psnr_of_equal_images_is_that_of_rounding() -> None:
    images = torch.full((1, 1, 1, 2, 2), 7, dtype=torch.uint8)
    hole = torch.ones(1, 2, 2, dtype=torch.bool)
    found = float(psnr(images, images[:, 0], hole))
    assert found == pytest.approx(10 * math.log10(12 * 255**2)) == pytest.approx(58.92, abs=0.01)
    images[..., 0, 0] = 8  # the smallest other error of four pixels
    assert float(psnr(images, torch.full((1, 1, 2, 2), 7, dtype=torch.uint8), hole)) < found


def test_ssim_of_constant_images_is_that_of_their_means() -> None:
    first = torch.full((2, 3, 16, 20), 51, dtype=torch.uint8)
    second = torch.full((2, 3, 16, 20), 153, dtype=torch.uint8)
    second[1] = 51
    a, b, c = 51 / 255, 153 / 255, 0.01**2
    expected = [(2 * a * b + c) / (a * a + b * b + c), 1.0]
    assert ssim(first, second).tolist() == pytest.approx(expected, rel=1e-3)


def test_ssim_of_opposite_images_is_negative_and_of_small_ones_absent() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 1, 32, 32), generator=rng, dtype=torch.uint8)
    torch.testing.assert_close(ssim(images, images), torch.ones(3, dtype=torch.float64))
    assert bool((ssim(images, 255 - images) < -0.5).all())
    assert ssim(images[..., :10], images[..., :10]) is None
