"""Masks of every format become Boolean pixels of each image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from biglearn_gan.models.mask_formats import read_mask_argument

MASK = np.array([[0, 1, 0], [1, 1, 0]], dtype=bool)


@pytest.mark.parametrize(
    "mask",
    [
        MASK,
        torch.from_numpy(MASK)[None],
        MASK[None, None].astype(np.uint8),
        MASK[None, :, :, None].astype(np.float32),
        MASK[..., None],
        255 * MASK.astype(np.uint8),
        65_535 * MASK.astype(np.uint16),
        255.0 * MASK,
        np.where(MASK, 0.9, 0.1),
        Image.fromarray(MASK),
        Image.fromarray(65_535 * MASK.astype(np.uint16)),
        Image.fromarray(255 * MASK.astype(np.float32)),
        Image.fromarray(255 * np.stack([MASK] * 3, -1).astype(np.uint8)).convert("LAB"),
        [MASK, MASK],
    ],
    ids=[
        *("2d", "3d", "first", "last", "one", "bytes", "words", "0 to 255.0", "soft"),
        *("pil", "pil I;16", "pil F", "pil LAB", "list"),
    ],
)
def test_each_format_is_the_same_mask_of_all_images(mask: Any) -> None:
    read = read_mask_argument("hole", mask, 2, (2, 3))
    assert read.dtype == torch.bool
    assert np.array_equal(read.numpy(), np.stack([MASK, MASK]))


def test_mostly_gray_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="absent must be black and white, but 67% of its values"):
        read_mask_argument("absent", np.array([[0.5, 0.5, 1.0], [0.5, 0.5, 0.0]]), 1, (2, 3))
