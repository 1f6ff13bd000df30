"""Conversions between images and tokens, and between pixel masks and token masks.

A token is one square patch, flattened channel by channel. Tokens are numbered row by row from the
top left. An image has ``L`` tokens, each with ``P = C * patch_size**2`` values.
"""

from __future__ import annotations

from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


def patchify(images: Shaped[Tensor, "B C H W"], patch_size: int) -> Shaped[Tensor, "B L P"]:
    """Cut images into tokens.

    Raises:
        ValueError: the height or width is not a multiple of ``patch_size``.
    """
    batch, channels, height, width = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(f"images of {height} x {width} do not divide into patches of {patch_size}")
    rows, columns = height // patch_size, width // patch_size
    grid = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    token_dim = channels * patch_size**2
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, token_dim)


def unpatchify(
    tokens: Shaped[Tensor, "B L P"], grid_size: tuple[int, int], patch_size: int
) -> Shaped[Tensor, "B C H W"]:
    """The inverse of :func:`patchify`; ``grid_size`` is (tokens per column, tokens per row)."""
    rows, columns = grid_size
    channels = tokens.shape[-1] // patch_size**2
    grid = tokens.reshape(tokens.shape[0], rows, columns, channels, patch_size, patch_size)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(
        tokens.shape[0], channels, rows * patch_size, columns * patch_size
    )


def gather_tokens(
    tokens: Shaped[Tensor, "B L P"], positions: Int64[Tensor, "B M"]
) -> Shaped[Tensor, "B M P"]:
    """The tokens at ``positions``, in that order."""
    return tokens.gather(1, positions[..., None].expand(-1, -1, tokens.shape[-1]))


def scatter_tokens(
    onto: Shaped[Tensor, "B L P"],
    tokens: Shaped[Tensor, "B M P"],
    positions: Int64[Tensor, "B M"],
) -> Shaped[Tensor, "B L P"]:
    """A copy of ``onto`` with ``tokens`` written at ``positions``."""
    return onto.scatter(1, positions[..., None].expand(-1, -1, tokens.shape[-1]), tokens)


def tokens_touched(pixels: Bool[Tensor, "B H W"], patch_size: int) -> Bool[Tensor, "B L"]:
    """Mark each token in which at least one pixel is True."""
    return patchify(pixels[:, None], patch_size).any(-1)


def tokens_covered(pixels: Bool[Tensor, "B H W"], patch_size: int) -> Bool[Tensor, "B L"]:
    """Mark each token in which every pixel is True."""
    return patchify(pixels[:, None], patch_size).all(-1)


def pixels_of_tokens(
    tokens: Bool[Tensor, "B L"], grid_size: tuple[int, int], patch_size: int
) -> Bool[Tensor, "B H W"]:
    """Mark every pixel of each token that is True."""
    values = tokens[..., None].expand(-1, -1, patch_size**2)
    return unpatchify(values, grid_size, patch_size)[:, 0]
