"""Named holes: True = generate, and every refusal is one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from biglearn_gan.config import HOLE_NAMES
from biglearn_gan.errors import UsageError
from biglearn_gan.tasks.holes import HoleError, named_hole

SIZE = (6, 10)


def picture(hole: Tensor) -> list[str]:
    """``#`` is generated, ``.`` is known."""
    return ["".join(".#"[int(pixel)] for pixel in row) for row in hole.tolist()]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("joint", ["##########"] * 6),
            ("left-half", ["#####....."] * 6),
            ("right-half", [".....#####"] * 6),
            ("top-half", ["##########"] * 3 + [".........."] * 3),
            ("bottom-half", [".........."] * 3 + ["##########"] * 3),
            ("center", [".........."] + ["..######.."] * 4 + [".........."]),
            ("border", ["##########"] + ["##......##"] * 4 + ["##########"]),
            (
                "checkerboard",
                ["##..##..##"] * 2 + ["..##..##.."] * 2 + ["##..##..##"] * 2,
            ),
        ],
    )
    def test_fixed_holes_pixel_by_pixel(self, name: str, expected: list[str]) -> None:
        holes = named_hole(name, SIZE, patch_size=2, count=3, seed=0)
        assert holes.shape == (3, *SIZE)
        assert [picture(hole) for hole in holes] == [expected] * 3

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("left-half", ["###...."] * 5),
            ("right-half", ["...####"] * 5),
            ("top-half", ["#######"] * 2 + ["......."] * 3),
            ("bottom-half", ["......."] * 2 + ["#######"] * 3),
            ("center", ["......."] + [".#####."] * 3 + ["......."]),
            ("border", ["#######"] + ["#.....#"] * 3 + ["#######"]),
        ],
    )
    def test_odd_sizes(self, name: str, expected: list[str]) -> None:
        assert picture(named_hole(name, (5, 7), patch_size=1, count=1, seed=0)[0]) == expected

    def test_the_center_of_a_common_size_is_its_exact_middle_half(self) -> None:
        center = named_hole("center", (28, 32), patch_size=4, count=1, seed=0)[0]
        expected = torch.zeros(28, 32, dtype=torch.bool)
        expected[7:21, 8:24] = True
        assert torch.equal(center, expected)

    def test_every_listed_name_is_a_hole(self) -> None:
        for name in HOLE_NAMES:
            complete = name.replace("R[:BLOCK]", "0.5").replace("SIZE", "3")
            assert named_hole(complete, SIZE, 2, 1, 0).any()

    def test_strokes_cover_their_share_and_differ_from_image_to_image(self) -> None:
        holes = named_hole("strokes", (19, 23), patch_size=1, count=5, seed=0)
        assert holes.flatten(1).sum(dim=1).tolist() == [131] * 5  # 30% of 437 is 131.1
        assert all(not torch.equal(holes[0], hole) for hole in holes[1:])

    def test_strokes_do_not_depend_on_the_patches(self) -> None:
        fine, coarse = (named_hole("strokes", SIZE, patch, 3, 0) for patch in (1, 2))
        assert torch.equal(fine, coarse)


class TestRandom:
    @pytest.mark.parametrize(
        ("name", "block", "blocks"),
        [
            ("random:0.4", 2, 6),  # of 15
            ("random:0.5", 2, 8),  # 7.5
            ("random:1", 2, 15),
            ("random:0.001", 2, 1),  # at least one
            ("random:0.25:1", 1, 15),  # of 60
            ("random:0.9:2", 2, 14),  # 13.5
        ],
    )
    def test_the_share_is_exact_and_blocks_are_whole(
        self, name: str, block: int, blocks: int
    ) -> None:
        holes = named_hole(name, SIZE, patch_size=2, count=7, seed=0)
        grid = holes.view(7, SIZE[0] // block, block, SIZE[1] // block, block)
        assert torch.equal(grid.any(dim=4).any(dim=2), grid.all(dim=4).all(dim=2))
        assert grid.any(dim=4).any(dim=2).flatten(1).sum(dim=1).tolist() == [blocks] * 7

    def test_all_blocks_are_equally_likely(self) -> None:
        holes = named_hole("random:0.06", SIZE, patch_size=2, count=1500, seed=0)  # 1 of 15
        counts = holes[:, ::2, ::2].flatten(1).sum(dim=0)
        assert int(counts.sum()) == 1500
        assert stats.chisquare(counts.tolist()).pvalue > 1e-4

    def test_the_default_block_is_a_patch(self) -> None:
        default = named_hole("random:0.5", SIZE, patch_size=2, count=3, seed=0)
        assert torch.equal(default, named_hole("random:0.5:2", SIZE, 2, 3, 0))
        assert torch.equal(default, named_hole("random:0.5:2", SIZE, 5, 3, 0))
        assert not torch.equal(default, named_hole("random:0.5", SIZE, 1, 3, 0))

    @pytest.mark.parametrize("name", ["random:0.5", "random:0.3:1", "strokes"])
    def test_hole_i_depends_only_on_the_seed_and_i(self, name: str) -> None:
        many = named_hole(name, SIZE, patch_size=2, count=11, seed=5)
        few = named_hole(name, SIZE, patch_size=2, count=3, seed=5)
        assert torch.equal(many[:3], few)
        assert not torch.equal(many[0], many[1])
        assert not torch.equal(many, named_hole(name, SIZE, 2, 11, seed=6))


class TestSquares:
    def test_a_square_anywhere_inside(self) -> None:
        hidden = named_hole("inside:3", SIZE, patch_size=1, count=400, seed=0)
        assert hidden.flatten(1).sum(dim=1).unique().tolist() == [9]
        rows, columns = hidden.any(dim=2), hidden.any(dim=1)
        assert rows.sum(dim=1).unique().tolist() == columns.sum(dim=1).unique().tolist() == [3]
        places = (SIZE[0] - 2) * (SIZE[1] - 2)
        assert len(hidden.unique(dim=0)) == places

    def test_outside_is_the_complement_of_inside(self) -> None:
        inside, outside = (named_hole(f"{p}side:4", SIZE, 2, 9, 1) for p in ("in", "out"))
        assert torch.equal(inside, ~outside)

    def test_hole_i_does_not_depend_on_the_number_of_images(self) -> None:
        many = named_hole("outside:2", SIZE, 1, 9, seed=4)
        assert torch.equal(named_hole("outside:2", SIZE, 1, 4, seed=4, first_image=5), many[5:])

    @pytest.mark.parametrize(
        "name", ["outside:0", "inside:7", "outside:x", "inside:", "outside:-1"]
    )
    def test_a_square_that_does_not_fit(self, name: str) -> None:
        with pytest.raises(HoleError, match=r"side:SIZE, with a SIZE of 1 to 6 pixels"):
            named_hole(name, SIZE, 1, 1, 0)


class TestWrongNames:
    @pytest.mark.parametrize("name", ["lefthalf", "", "random", "LEFT-HALF", "strokes:0.5"])
    def test_the_message_has_the_unknown_name_and_all_known_ones(self, name: str) -> None:
        with pytest.raises(HoleError) as caught:
            named_hole(name, SIZE, 2, 1, 0)
        assert repr(name) in str(caught.value)
        assert all(known in str(caught.value) for known in HOLE_NAMES)

    @pytest.mark.parametrize(
        "name",
        [
            "random:0",
            "random:1.5",
            "random:-0.5",
            "random:nan",
            "random:inf",
            "random:half",
            "random:",
            "random:0.5:",
            "random:0.5:0",
            "random:0.5:-2",
            "random:0.5:two",
            "random:0.5:1.5",
            "random:0.5:2:3",
        ],
    )
    def test_an_impossible_share_or_block(self, name: str) -> None:
        with pytest.raises(HoleError) as caught:
            named_hole(name, SIZE, 2, 1, 0)
        assert repr(name) in str(caught.value)
        assert "random:R:BLOCK" in str(caught.value)
        assert "above 0 and at most 1" in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "size", "block"),
        [
            ("random:0.5:4", (6, 8), 4),
            ("random:0.5:4", (8, 6), 4),
            ("random:0.5", (6, 8), 5),
            ("random:0.5:16", (6, 8), 16),
        ],
    )
    def test_a_block_that_does_not_divide(
        self, name: str, size: tuple[int, int], block: int
    ) -> None:
        with pytest.raises(HoleError) as caught:
            named_hole(name, size, 5, 1, 0)
        assert repr(name) in str(caught.value)
        assert f"blocks of {block} pixels do not divide" in str(caught.value)
        assert f"{size[0]} x {size[1]}" in str(caught.value)


class TestNumbers:
    @pytest.mark.parametrize(
        ("argument", "value", "message"),
        [
            ("image_size", 8, r"image_size must be \(height, width\), not 8"),
            ("image_size", (8, 0), "the width of image_size must be at least 1, not 0"),
            ("patch_size", 0, "patch_size must be at least 1, not 0"),
            ("count", -1, "count must be at least 0, not -1"),
            ("seed", -1, "seed must be at least 0, not -1"),
            ("seed", 1.5, "seed must be an integer of at least 0, not 1.5"),
            ("first_image", -1, "first_image must be at least 0, not -1"),
        ],
    )
    def test_one_out_of_range_is_named(
        self, unchecked: None, argument: str, value: Any, message: str
    ) -> None:
        arguments: dict[str, Any] = {"image_size": (8, 8), "patch_size": 2, "count": 1, "seed": 0}
        for name in ("center", "random:0.5"):
            with pytest.raises(UsageError, match=message):
                named_hole(name, **{**arguments, argument: value})
