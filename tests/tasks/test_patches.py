"""Images to tokens and back, and pixel masks to token masks and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biglearn_gan.tasks.patches import (
    gather_tokens,
    patchify,
    pixels_of_tokens,
    scatter_tokens,
    tokens_covered,
    tokens_touched,
    unpatchify,
)

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)

B, C, L, M, P = 2, 3, 11, 5, 7
SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))  # rows, columns, patch
SEEDS = st.integers(0, 10_000)


def seeded_rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixel_masks(rows: int, columns: int, patch_size: int, seed: int) -> Tensor:
    """Masks with whole patches in them as well as single pixels and single gaps, (B, H, W)."""
    shares = torch.tensor([0.0, 0.1, 0.9, 1.0])
    chosen = torch.randint(0, 4, (B, rows, columns), generator=seeded_rng(seed))
    share = shares[chosen].repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)
    return torch.rand(share.shape, generator=seeded_rng(seed + 1)) < share


def test_layout_of_the_tokens_by_hand() -> None:
    y, x = torch.arange(4)[:, None], torch.arange(6)[None]
    image = torch.stack([10 * y + x, 100 + 10 * y + x])[None]  # 2 channels of 4 x 6 pixels
    assert patchify(image, 2)[0].tolist() == [
        [0, 1, 10, 11, 100, 101, 110, 111],
        [2, 3, 12, 13, 102, 103, 112, 113],
        [4, 5, 14, 15, 104, 105, 114, 115],
        [20, 21, 30, 31, 120, 121, 130, 131],
        [22, 23, 32, 33, 122, 123, 132, 133],
        [24, 25, 34, 35, 124, 125, 134, 135],
    ]


@given(SIZES, st.sampled_from([torch.float32, torch.float64, torch.uint8, torch.bool]), SEEDS)
@PROPERTY
def test_unpatchify_is_the_inverse_of_patchify(
    size: tuple[int, int, int], dtype: torch.dtype, seed: int
) -> None:
    rows, columns, patch_size = size
    shape = (B, C, rows * patch_size, columns * patch_size)
    images = torch.randint(0, 256, shape, generator=seeded_rng(seed)).to(dtype)
    tokens = patchify(images, patch_size)
    assert tokens.shape == (B, rows * columns, C * patch_size**2)
    assert tokens.dtype == dtype
    back = unpatchify(tokens, (rows, columns), patch_size)
    assert back.dtype == dtype
    assert torch.equal(back, images)


@given(SIZES, SEEDS)
@PROPERTY
def test_patchify_is_the_inverse_of_unpatchify(size: tuple[int, int, int], seed: int) -> None:
    rows, columns, patch_size = size
    tokens = torch.rand(B, rows * columns, C * patch_size**2, generator=seeded_rng(seed))
    images = unpatchify(tokens, (rows, columns), patch_size)
    assert images.shape == (B, C, rows * patch_size, columns * patch_size)
    assert torch.equal(patchify(images, patch_size), tokens)


@given(SIZES, SEEDS)
@PROPERTY
def test_each_token_is_the_patch_at_its_position(size: tuple[int, int, int], seed: int) -> None:
    rows, columns, p = size
    images = torch.rand(B, C, rows * p, columns * p, generator=seeded_rng(seed))
    tokens = patchify(images, p)
    for row in range(rows):
        for column in range(columns):
            patch = images[:, :, row * p : (row + 1) * p, column * p : (column + 1) * p]
            assert torch.equal(tokens[:, row * columns + column], patch.reshape(B, -1))


@pytest.mark.parametrize(("height", "width"), [(6, 7), (7, 6), (5, 7)])
def test_images_that_do_not_divide_are_refused_with_their_size(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{height} x {width} .* patches of 2"):
        patchify(torch.zeros(B, C, height, width), 2)


@given(SEEDS)
@PROPERTY
def test_gather_takes_the_tokens_at_the_positions_in_their_order(seed: int) -> None:
    tokens = torch.rand(B, L, P, generator=seeded_rng(seed))
    positions = torch.rand(B, L, generator=seeded_rng(seed + 1)).argsort(dim=1)[:, :M]
    gathered = gather_tokens(tokens, positions)
    expected = [[tokens[b, i].tolist() for i in positions[b]] for b in range(B)]
    assert gathered.tolist() == expected


@given(SEEDS)
@PROPERTY
def test_scatter_writes_at_the_positions_and_nowhere_else(seed: int) -> None:
    onto = torch.rand(B, L, P, generator=seeded_rng(seed))
    before = onto.clone()
    tokens = torch.rand(B, M, P, generator=seeded_rng(seed + 1))
    positions = torch.rand(B, L, generator=seeded_rng(seed + 2)).argsort(dim=1)[:, :M]
    result = scatter_tokens(onto, tokens, positions)
    assert torch.equal(onto, before)
    assert torch.equal(gather_tokens(result, positions), tokens)
    for b in range(B):
        others = [i for i in range(L) if i not in positions[b].tolist()]
        assert len(others) == L - M
        assert torch.equal(result[b, others], onto[b, others])


def test_touched_and_covered_by_hand() -> None:
    pixels = torch.tensor(
        [
            [1, 1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 1],
            [0, 0, 1, 1, 0, 0],
            [0, 0, 0, 1, 0, 0],
        ],
        dtype=torch.bool,
    )[None]
    assert tokens_touched(pixels, 2).int().tolist() == [[1, 0, 1, 0, 1, 0]]
    assert tokens_covered(pixels, 2).int().tolist() == [[1, 0, 0, 0, 0, 0]]


def test_pixels_of_tokens_by_hand() -> None:
    tokens = torch.tensor([[0, 1, 0, 1, 0, 0]], dtype=torch.bool)
    assert pixels_of_tokens(tokens, (2, 3), 2)[0].int().tolist() == [
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
    ]


@given(SIZES, SEEDS)
@PROPERTY
def test_covered_tokens_lie_inside_the_pixels_and_touched_ones_around_them(
    size: tuple[int, int, int], seed: int
) -> None:
    rows, columns, patch_size = size
    pixels = pixel_masks(rows, columns, patch_size, seed)
    touched, covered = tokens_touched(pixels, patch_size), tokens_covered(pixels, patch_size)
    outer = pixels_of_tokens(touched, (rows, columns), patch_size)
    inner = pixels_of_tokens(covered, (rows, columns), patch_size)
    assert not (inner & ~pixels).any()
    assert not (pixels & ~outer).any()
    assert torch.equal(covered, ~tokens_touched(~pixels, patch_size))
    for row in range(rows):
        for column in range(columns):
            y, x = row * patch_size, column * patch_size
            patch = pixels[:, y : y + patch_size, x : x + patch_size].flatten(1)
            inside = patch.sum(dim=1)
            token = row * columns + column
            assert torch.equal(touched[:, token], inside > 0)
            assert torch.equal(covered[:, token], inside == patch_size**2)


@given(SIZES, SEEDS)
@PROPERTY
def test_token_masks_to_pixels_and_back_are_unchanged(
    size: tuple[int, int, int], seed: int
) -> None:
    rows, columns, patch_size = size
    tokens = torch.rand(B, rows * columns, generator=seeded_rng(seed)) < 0.5
    pixels = pixels_of_tokens(tokens, (rows, columns), patch_size)
    assert pixels.shape == (B, rows * patch_size, columns * patch_size)
    assert int(pixels.sum()) == int(tokens.sum()) * patch_size**2
    assert torch.equal(tokens_touched(pixels, patch_size), tokens)
    assert torch.equal(tokens_covered(pixels, patch_size), tokens)
