"""Grids of images, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import random_images

from biglearn_gan.image_grid import (
    GAP,
    HOLE_COLOR,
    MARGIN,
    MIN_CELL_SIZE,
    completion_grid,
    image_grid,
    with_names,
)

N, K, H, W = 2, 3, 5, 7
WHITE = [255, 255, 255]


def pasted(rows: list[list[Tensor]], factor: int) -> np.ndarray:
    """The expected picture of cells (3, H, W), one pixel at a time."""
    _, height, width = rows[0][0].shape
    cell_height, cell_width = height * factor, width * factor
    columns = max(map(len, rows))
    size = (2 + len(rows) * (cell_height + 2), 2 + columns * (cell_width + 2))
    canvas = np.full((*size, 3), 255, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            for y in range(cell_height):
                for x in range(cell_width):
                    color = cell[:, y // factor, x // factor]
                    at = (2 + r * (cell_height + 2) + y, 2 + c * (cell_width + 2) + x)
                    canvas[at] = color.numpy()
    return canvas


def test_a_grid_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biglearn_gan.image_grid.MIN_CELL_SIZE", 2)
    red, blue, one, two = [9, 0, 0], [0, 0, 9], [1, 1, 1], [2, 2, 2]
    images = torch.tensor([[red, blue], [one, two]], dtype=torch.uint8)  # two of 1 x 2 pixels
    grid = np.asarray(image_grid(images.permute(0, 2, 1)[:, :, None], columns=2))
    line = [WHITE, WHITE, red, red, blue, blue, WHITE, WHITE, one, one, two, two, WHITE, WHITE]
    empty = [WHITE] * 14
    assert grid.tolist() == [empty, empty, line, line, empty, empty]
    assert GAP == 2


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [
        (5, 7, 12),  # 56 / 5 = 11.2
        (7, 5, 12),
        (8, 11, 7),  # 56 / 8 = 7, no more
        (28, 28, 2),
        (55, 61, 2),
        (56, 61, 1),
        (64, 57, 1),
    ],
)
def test_cells_are_enlarged_by_the_smallest_sufficient_factor(
    height: int, width: int, factor: int
) -> None:
    image = random_images(1, 3, height, width)
    assert min(height, width) * factor >= MIN_CELL_SIZE
    grid = np.asarray(image_grid(image, columns=1))
    assert np.array_equal(grid, pasted([[image[0]]], factor))


def test_images_go_row_by_row_and_the_last_row_may_end_early() -> None:
    images = random_images(5, 3, H, W)
    grid = np.asarray(image_grid(images, columns=3))
    assert np.array_equal(grid, pasted([[*images[:3]], [*images[3:]]], factor=12))


def test_missing_cells_are_white() -> None:
    images = random_images(1, 3, H, W)
    grid = np.asarray(image_grid(images, columns=2))
    assert grid.shape == (2 + 60 + 2, 2 + 2 * (84 + 2), 3)
    assert (grid[:, 2 + 84 :] == 255).all()


def test_gray_is_repeated_to_red_green_and_blue() -> None:
    images = random_images(2, 1, H, W)
    grid = np.asarray(image_grid(images, columns=2))
    assert np.array_equal(grid, pasted([[*images.expand(-1, 3, -1, -1)]], factor=12))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_completion_row_has_input_masked_input_and_completions(
    channels: int,
) -> None:
    images = random_images(N, channels, H, W)
    completions = 255 - random_images(N, K, channels, H, W)
    hole = torch.zeros(N, H, W, dtype=torch.bool)
    hole[0, 1:3, 4:] = True
    hole[1, :, 0] = True
    grid = np.asarray(completion_grid(images, hole, completions))
    expected = []
    for n in range(N):
        rgb = images[n].expand(3, -1, -1)
        holed = rgb.clone()
        for y, x in hole[n].nonzero().tolist():
            holed[:, y, x] = torch.tensor(HOLE_COLOR, dtype=torch.uint8)
        expected.append([rgb, holed, *completions[n].expand(-1, 3, -1, -1)])
    assert np.array_equal(grid, pasted(expected, factor=12))


def test_names_are_next_to_their_rows_and_do_not_change_the_grid() -> None:
    grid = image_grid(random_images(6, 1, H, W), columns=1)
    named = np.asarray(with_names(grid, ("best", "", "worst")))
    assert np.array_equal(named[:, MARGIN:], np.asarray(grid))
    text = (named[:, : MARGIN - 8] < 128).any(axis=(1, 2)).nonzero()[0]
    third = grid.height / 3
    assert set((text // third).astype(int)) == {0, 2}  # the second third has no name
    for rows, middle in ((text[text < third], third / 2), (text[text > third], 2.5 * third)):
        assert abs(rows.mean() - middle) < 4
    line = (named[:, MARGIN - 4] < 128).all(axis=1)
    assert line.sum() > 0.9 * grid.height and not line[round(third)]


def test_the_color_of_a_hole_is_not_gray() -> None:
    assert len(set(HOLE_COLOR)) == 3


def test_the_arguments_are_not_changed() -> None:
    images, completions = random_images(N, 1, H, W), random_images(N, K, 1, H, W)
    before = images.clone(), completions.clone()
    completion_grid(images, torch.ones(N, H, W, dtype=torch.bool), completions)
    assert torch.equal(images, before[0])
    assert torch.equal(completions, before[1])
