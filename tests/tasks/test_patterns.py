"""What each pattern promises about its first n tokens, for every n."""

from __future__ import annotations

import math
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from biglearn_gan.config import PatternName
from biglearn_gan.tasks.patterns import pattern_scores, select_lowest

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)


SEEDS = st.integers(0, 10_000)


PATTERNS = [name for name in get_args(PatternName) if name != "everything"]


GRIDS = [(7, 5), (3, 11), (4, 6)]


def orders(pattern: str, grid_size: tuple[int, int], rows: int, seed: int = 0) -> Tensor:
    return pattern_scores(pattern, grid_size, rows, torch.Generator().manual_seed(seed))


def first(scores: Tensor, n: int) -> Tensor:
    """The first n tokens of every row."""
    eligible = torch.ones(scores.shape, dtype=torch.bool)
    return select_lowest(scores, eligible, torch.full((len(scores),), n))


def cells(chosen: Tensor, grid_size: tuple[int, int]) -> np.ndarray:
    """Row and column of the chosen tokens of one image, (n, 2)."""
    return np.argwhere(chosen.view(grid_size).numpy())


def booleans(*rows: str) -> Tensor:
    return torch.tensor([[character == "1" for character in row] for row in rows])


def uniform_pvalue(counts: list[int]) -> float:
    return float(stats.chisquare(counts).pvalue)


class TestSelectLowest:
    def test_by_hand(self) -> None:
        scores = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
        chosen = select_lowest(scores, booleans("1110", "1111"), torch.tensor([2, 1]))
        assert torch.equal(chosen, booleans("0110", "1000"))

    @given(SEEDS)
    @PROPERTY
    def test_it_marks_exactly_the_lowest_eligible_scores(self, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        scores = torch.randint(-3, 3, (5, 13), generator=rng).float()  # with ties
        eligible = torch.rand(5, 13, generator=rng) < 0.6
        shares = torch.rand(5, generator=rng)
        counts = (shares * (eligible.sum(dim=1) + 1)).long()  # none up to all of them
        chosen = select_lowest(scores, eligible, counts)
        assert torch.equal(chosen.sum(dim=1), counts)
        assert not (chosen & ~eligible).any()
        last_in = scores.masked_fill(~chosen, -math.inf).amax(dim=1)
        first_out = scores.masked_fill(chosen | ~eligible, math.inf).amin(dim=1)
        assert (last_in <= first_out).all()


class TestEveryPattern:
    @pytest.mark.parametrize("grid_size", GRIDS)
    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_every_size_exists_and_grows_out_of_the_one_before(
        self, pattern: str, grid_size: tuple[int, int]
    ) -> None:
        length = grid_size[0] * grid_size[1]
        scores = orders(pattern, grid_size, 13)
        assert scores.shape == (13, length)
        assert scores.isfinite().all()
        before = first(scores, 0)
        for n in range(1, length + 1):
            chosen = first(scores, n)
            assert (chosen.sum(dim=1) == n).all()
            assert not (before & ~chosen).any()
            before = chosen

    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_the_seed_decides(self, pattern: str) -> None:
        assert torch.equal(orders(pattern, (7, 5), 11), orders(pattern, (7, 5), 11))
        differs = not torch.equal(orders(pattern, (7, 5), 11), orders(pattern, (7, 5), 11, seed=1))
        assert differs == (pattern != "raster_prefix")

    @pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - {"raster_prefix"}))
    def test_rows_are_independent(self, pattern: str) -> None:
        scores = orders(pattern, (7, 5), 11)
        assert all(not torch.equal(scores[a], scores[b]) for a, b in combinations(range(11), 2))


class TestIid:
    def test_every_token_is_first_equally_often(self) -> None:
        firsts = orders("iid", (5, 7), 7000).argmin(dim=1)
        assert uniform_pvalue(torch.bincount(firsts, minlength=35).tolist()) > 1e-4

    def test_every_pair_is_equally_likely(self) -> None:
        chosen = first(orders("iid", (2, 3), 6000), 2)
        pairs = [int(chosen[:, [a, b]].all(dim=1).sum()) for a, b in combinations(range(6), 2)]
        assert sum(pairs) == 6000
        assert uniform_pvalue(pairs) > 1e-4


class TestRectangle:
    @pytest.mark.parametrize("grid_size", [*GRIDS, (11, 2), (1, 13)])
    def test_n_tokens_fill_a_box_up_to_one_of_its_sides(self, grid_size: tuple[int, int]) -> None:
        scores = orders("rectangle", grid_size, 23)
        for n in range(1, grid_size[0] * grid_size[1] + 1):
            for chosen in first(scores, n):
                at = cells(chosen, grid_size)
                height, width = at.max(axis=0) - at.min(axis=0) + 1
                assert 0 <= height * width - n < max(height, width)

    def test_boxes_are_everywhere_in_the_image(self) -> None:
        """A box of one token at 11 x 3 places, as often as chance allows, corners included."""
        places = first(orders("rectangle", (11, 3), 6600), 1).sum(dim=0)  # 200 each on average
        assert int(places.min()) > 100
        assert int(places.max()) < 300

    def test_boxes_are_wide_as_often_as_tall(self) -> None:
        """Height over width goes from 1/4 to 4, with log-uniform density."""
        grid_size, n = (29, 31), 36
        ratios = []
        for chosen in first(orders("rectangle", grid_size, 1500), n):
            at = cells(chosen, grid_size)
            if (at.min(axis=0) > 0).all() and (at.max(axis=0) < np.array(grid_size) - 1).all():
                height, width = at.max(axis=0) - at.min(axis=0) + 1
                ratios.append(math.log2(height / width))
        assert len(ratios) > 500
        assert abs(np.mean(ratios)) < 5 * np.std(ratios) / math.sqrt(len(ratios))
        assert -2.5 < min(ratios) < -1.5
        assert 1.5 < max(ratios) < 2.5
        assert np.std(ratios) == pytest.approx(4 / math.sqrt(12), rel=0.1)  # uniform on [-2, 2]


class TestHalfPlane:
    @pytest.mark.parametrize("grid_size", GRIDS)
    def test_a_line_separates_it_from_the_rest(self, grid_size: tuple[int, int]) -> None:
        angles = torch.linspace(0, 2 * math.pi, 2881)[:-1]
        at = torch.cartesian_prod(torch.arange(grid_size[0]), torch.arange(grid_size[1])).float()
        along = angles.cos()[:, None] * at[:, 0] + angles.sin()[:, None] * at[:, 1]
        scores = orders("half_plane", grid_size, 31)
        for n in range(1, len(at)):
            for chosen in first(scores, n):
                gaps = along[:, ~chosen].amin(dim=1) - along[:, chosen].amax(dim=1)
                assert gaps.max() > -0.02  # jitter, and the coarseness of the angles

    def test_half_of_the_lines_are_parallel_to_an_axis_and_every_side_is_as_likely(self) -> None:
        rows, grid_size = 8000, (3, 5)
        scores = orders("half_plane", grid_size, rows).view(rows, *grid_size)
        down = scores[:, 2].mean(dim=1) - scores[:, 0].mean(dim=1)
        right = scores[:, :, 4].mean(dim=1) - scores[:, :, 0].mean(dim=1)
        across_rows, across_columns = down.abs() < 2e-3, right.abs() < 2e-3
        assert not (across_rows & across_columns).any()
        oblique = ~(across_rows | across_columns)
        counts = [
            int(mask.sum())
            for mask in (
                across_columns & (down > 0),
                across_columns & (down < 0),
                across_rows & (right > 0),
                across_rows & (right < 0),
                oblique & (down > 0) & (right > 0),
                oblique & (down > 0) & (right < 0),
                oblique & (down < 0) & (right > 0),
                oblique & (down < 0) & (right < 0),
            )
        ]
        assert sum(counts) == rows
        assert uniform_pvalue(counts) > 1e-4

    def test_steps_along_both_axes_have_the_length_of_one_angle(self) -> None:
        scores = orders("half_plane", (3, 5), 500).view(500, 3, 5)
        down = (scores[:, 2] - scores[:, 0]).mean(dim=1) / 2
        right = (scores[:, :, 4] - scores[:, :, 0]).mean(dim=1) / 4
        assert torch.allclose(down.square() + right.square(), torch.ones(500), atol=5e-3)


class TestCenter:
    def test_the_middle_quarter_by_hand(self) -> None:
        expected = torch.zeros(8, 12, dtype=torch.bool)
        expected[2:6, 3:9] = True
        inner = first(orders("center", (8, 12), 7), 24)
        assert (inner.view(7, 8, 12) == expected).all()

    @pytest.mark.parametrize("grid_size", GRIDS)
    def test_it_is_symmetric_around_the_middle_up_to_ties(self, grid_size: tuple[int, int]) -> None:
        scores = orders("center", grid_size, 7).view(7, *grid_size)
        for mirrored in (scores.flip(1), scores.flip(2)):
            assert torch.allclose(scores, mirrored, atol=1e-3, rtol=0)

    def test_ties_are_in_random_order(self) -> None:
        firsts = orders("center", (4, 6), 2000).argmin(dim=1)
        middle = [1 * 6 + 2, 1 * 6 + 3, 2 * 6 + 2, 2 * 6 + 3]
        counts = [int((firsts == token).sum()) for token in middle]
        assert sum(counts) == 2000
        assert uniform_pvalue(counts) > 1e-4


class TestStrokes:
    def test_the_order_is_the_distance_to_a_line_of_two_segments(self) -> None:
        """Its three corners are the generator's first numbers, spread over the whole grid."""
        rows, (height, width) = 5, (7, 11)
        scores = orders("strokes", (height, width), rows, seed=3).view(rows, height, width)
        draws = torch.rand(rows, 3, 2, generator=torch.Generator().manual_seed(3)).double()
        corners = draws * torch.tensor([height, width]) - 0.5
        shares = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
        at = torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()
        for row in range(rows):
            a, b, c = corners[row]
            line = torch.cat([a + shares * (b - a), b + shares * (c - b)])
            nearest = torch.cdist(at, line).amin(dim=1).view(height, width)
            assert torch.allclose(scores[row].double().sqrt(), nearest, atol=5e-3)

    @pytest.mark.parametrize("grid_size", [(7, 11), (13, 5)])
    def test_a_brush_that_is_no_thinner_than_a_token_paints_one_piece(
        self, grid_size: tuple[int, int]
    ) -> None:
        for row in orders("strokes", grid_size, 50):
            painted = {tuple(at) for at in cells(row <= 0.5, grid_size).tolist()}
            reached = set()
            waiting = [min(painted)]
            while waiting:
                y, x = waiting.pop()
                if (y, x) in painted and (y, x) not in reached:
                    reached.add((y, x))
                    waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            assert reached == painted


class TestRasterPrefix:
    @pytest.mark.parametrize("grid_size", GRIDS)
    def test_it_is_exact(self, grid_size: tuple[int, int]) -> None:
        length = grid_size[0] * grid_size[1]
        scores = orders("raster_prefix", grid_size, 3)
        for n in range(length + 1):
            expected = [i < n for i in range(length)]
            assert first(scores, n).tolist() == [expected] * 3


class TestGrid:
    @pytest.mark.parametrize("grid_size", [*GRIDS, (8, 8)])
    def test_a_quarter_is_every_other_row_and_column_and_a_half_a_checkerboard(
        self, grid_size: tuple[int, int]
    ) -> None:
        """The first quarter, or half, as far as the smallest such set of an odd grid goes."""
        height, width = grid_size
        scores = orders("grid", grid_size, 40)
        for n in range(1, (height // 2) * (width // 2) + 1):
            for chosen in first(scores, n):
                at = cells(chosen, grid_size) % 2
                assert (at == at[0]).all()
        for n in range(1, height * width // 2 + 1):
            for chosen in first(scores, n):
                assert len(set(cells(chosen, grid_size).sum(axis=1) % 2)) == 1

    def test_on_an_even_grid_by_hand(self) -> None:
        quarters, halves = set(), set()
        scores = orders("grid", (4, 6), 60)
        for quarter, half in zip(first(scores, 6), first(scores, 12), strict=True):
            quarters.add(tuple(quarter.nonzero()[:, 0].tolist()))
            halves.add(tuple(half.nonzero()[:, 0].tolist()))
        assert quarters == {
            (0, 2, 4, 12, 14, 16),
            (1, 3, 5, 13, 15, 17),
            (6, 8, 10, 18, 20, 22),
            (7, 9, 11, 19, 21, 23),
        }
        assert halves == {
            (0, 2, 4, 7, 9, 11, 12, 14, 16, 19, 21, 23),
            (1, 3, 5, 6, 8, 10, 13, 15, 17, 18, 20, 22),
        }
