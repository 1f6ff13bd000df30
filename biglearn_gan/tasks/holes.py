"""Named holes, such as ``right-half`` and ``random:0.5``: True = generate, per pixel.

The hole of image i depends on (seed, i) only, not on the number of images. ``data/mask_files.py``
reads holes from image files.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from biglearn_gan.argument_checks import check_image_size, check_integer
from biglearn_gan.config import HOLE_NAMES, PatternName
from biglearn_gan.errors import UsageError
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import pixels_of_tokens
from biglearn_gan.tasks.patterns import pattern_scores, select_lowest

COMPLETION_TASKS = (
    "random:0.25",
    "random:0.5",
    "random:0.75",
    "center",
    "right-half",
    "strokes",
    "checkerboard",
)
"""The holes that an evaluation uses by default."""

PREFIXES = ("random:", "inside:", "outside:")
"""How the names with a parameter begin."""

STROKE_SHARE = 0.3
"""Share of the pixels in a ``strokes`` hole, between the usual sizes of MAT and LaMa."""

MAX_SOFT_SHARE = 0.5
"""A mask with a larger share of gray or half transparent pixels is refused."""


class HoleError(UsageError):
    """A hole that cannot be used, in one sentence."""


class UnknownHoleError(HoleError):
    """An unknown name of a hole."""


def named_hole(
    name: str,
    image_size: tuple[int, int],
    patch_size: int,
    count: int,
    seed: int,
    first_image: int = 0,
) -> Bool[Tensor, "N H W"]:
    """Draw ``count`` holes of one name.

    ====================  =================================================================
    name                  hole
    ====================  =================================================================
    ``joint``             all pixels
    ``left-half``, ...    one half of the image: left, right, top or bottom
    ``center``            the middle half of both axes
    ``border``            all but ``center``
    ``checkerboard``      every other patch
    ``strokes``           brush strokes over 30% of the pixels
    ``random:R[:BLOCK]``  a share R of the blocks of BLOCK pixels (default: ``patch_size``)
    ``inside:SIZE``       a square of SIZE pixels, at a random place
    ``outside:SIZE``      all but such a square
    ====================  =================================================================

    Args:
        name: see the table.
        image_size: height and width in pixels.
        patch_size: height and width of the model's patches in pixels.
        count: number of holes, at least 0.
        seed: seed of random holes, at least 0.
        first_image: number i of the first image, at least 0, so that a long job can be split.

    Raises:
        UnknownHoleError: the name is unknown.
        HoleError: R is not in (0, 1], blocks do not divide the image, or the square does not fit
            into the image or leaves no pixel outside.
        UsageError: a size, the count, the seed or ``first_image`` is not such an integer.
    """
    check_image_size(image_size)
    check_integer("patch_size", patch_size, least=1)
    for number_name, number in (("count", count), ("seed", seed), ("first_image", first_image)):
        check_integer(number_name, number, least=0)
    height, width = image_size
    y, x = torch.arange(height)[:, None], torch.arange(width)[None]
    middle = (
        (y >= height // 4)
        & (y < height - height // 4)
        & (x >= width // 4)
        & (x < width - width // 4)
    )
    fixed = {
        "joint": torch.ones(height, width, dtype=torch.bool),
        "left-half": (x < width // 2).expand(height, width),
        "right-half": (x >= width // 2).expand(height, width),
        "top-half": (y < height // 2).expand(height, width),
        "bottom-half": (y >= height // 2).expand(height, width),
        "center": middle,
        "border": ~middle,
        "checkerboard": (y // patch_size + x // patch_size) % 2 == 0,
    }
    if name in fixed:
        return fixed[name].repeat(count, 1, 1)
    images = range(first_image, first_image + count)
    if name == "strokes":
        return _random_holes("strokes", image_size, 1, STROKE_SHARE, images, seed)
    if name.startswith("random:"):
        share, block = _parse_random(name, image_size, patch_size)
        return _random_holes("iid", image_size, block, share, images, seed)
    if name.startswith("inside:"):
        return _squares(name, image_size, images, seed)
    if name.startswith("outside:"):
        return ~_squares(name, image_size, images, seed)
    raise UnknownHoleError(f"unknown mask {name!r}: choose one of {', '.join(HOLE_NAMES)}")


def is_hole_name(text: str) -> bool:
    """Whether a text is the name of a hole, and not of a file."""
    return text in HOLE_NAMES or text.startswith(PREFIXES)


def _parse_random(name: str, image_size: tuple[int, int], patch_size: int) -> tuple[float, int]:
    parts = name.split(":")[1:]
    try:
        share = float(parts[0])
        block = int(parts[1]) if len(parts) > 1 else patch_size
    except ValueError:
        share, block = 0.0, 0
    if len(parts) > 2 or not 0 < share <= 1 or block < 1:
        raise HoleError(
            f"mask {name!r} must be random:R or random:R:BLOCK, with a share R above 0 and at most "
            "1 and a block of at least 1 pixel"
        )
    if image_size[0] % block or image_size[1] % block:
        raise HoleError(
            f"mask {name!r}: blocks of {block} pixels do not divide images of "
            f"{image_size[0]} x {image_size[1]} pixels"
        )
    return share, block


def _squares(
    name: str, image_size: tuple[int, int], images: range, seed: int
) -> Bool[Tensor, "N H W"]:
    kind, _, text = name.partition(":")
    size = int(text) if text.isdecimal() else 0
    can_be_empty = kind == "outside" and image_size[0] == image_size[1]
    largest = min(image_size) - can_be_empty
    if not 1 <= size <= largest:
        raise HoleError(f"mask {name!r} must be {kind}:SIZE, with a SIZE of 1 to {largest} pixels")
    squares = torch.zeros(len(images), *image_size, dtype=torch.bool)
    for square, index in zip(squares, images, strict=True):
        rng = make_rng(Stream.HOLES, seed, index)
        top, left = (
            int(torch.randint(side - size + 1, (1,), generator=rng)) for side in image_size
        )
        square[top : top + size, left : left + size] = True
    return squares


def _random_holes(
    pattern: PatternName,
    image_size: tuple[int, int],
    block: int,
    share: float,
    images: range,
    seed: int,
) -> Bool[Tensor, "N H W"]:
    grid_size = (image_size[0] // block, image_size[1] // block)
    cells = grid_size[0] * grid_size[1]
    scores = torch.cat(
        [
            pattern_scores(pattern, grid_size, 1, make_rng(Stream.HOLES, seed, index))
            for index in images
        ]
    )
    chosen = torch.full((len(images),), max(1, round(share * cells)))
    blocks = select_lowest(scores, torch.ones(len(images), cells, dtype=torch.bool), chosen)
    return pixels_of_tokens(blocks, grid_size, block)
