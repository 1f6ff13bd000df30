"""Holes by name and from files: True = generate, and every refusal in one sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from biglearn_gan.data.mask_files import GRAY_TOLERANCE, read_hole
from biglearn_gan.tasks.holes import HOLE_NAMES, HoleError, named_hole

SIZE = (6, 10)


def picture(hole: Tensor) -> list[str]:
    """``#`` is generated, ``.`` is kept."""
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

    def test_the_middle_half_of_a_common_size_is_exact(self) -> None:
        center = named_hole("center", (28, 32), patch_size=4, count=1, seed=0)[0]
        expected = torch.zeros(28, 32, dtype=torch.bool)
        expected[7:21, 8:24] = True
        assert torch.equal(center, expected)

    def test_every_name_in_the_list_is_understood(self) -> None:
        for name in HOLE_NAMES:
            given = name.replace("R[:BLOCK]", "0.5").replace("SIZE", "3")
            assert named_hole(given, SIZE, 2, 1, 0).any()

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
            ("random:0.001", 2, 1),  # never none
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

    def test_every_block_is_as_likely(self) -> None:
        holes = named_hole("random:0.06", SIZE, patch_size=2, count=1500, seed=0)  # 1 of 15
        counts = holes[:, ::2, ::2].flatten(1).sum(dim=0)
        assert int(counts.sum()) == 1500
        assert stats.chisquare(counts.tolist()).pvalue > 1e-4

    def test_the_block_is_the_patch_unless_it_is_given(self) -> None:
        default = named_hole("random:0.5", SIZE, patch_size=2, count=3, seed=0)
        assert torch.equal(default, named_hole("random:0.5:2", SIZE, 2, 3, 0))
        assert torch.equal(default, named_hole("random:0.5:2", SIZE, 5, 3, 0))
        assert not torch.equal(default, named_hole("random:0.5", SIZE, 1, 3, 0))

    @pytest.mark.parametrize("name", ["random:0.5", "random:0.3:1", "strokes"])
    def test_hole_i_depends_on_the_seed_and_i_alone(self, name: str) -> None:
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

    def test_outside_is_all_but_that(self) -> None:
        inside, outside = (named_hole(f"{p}side:4", SIZE, 2, 9, 1) for p in ("in", "out"))
        assert torch.equal(inside, ~outside)

    def test_image_i_has_the_same_hole_however_many_are_asked_for(self) -> None:
        many = named_hole("outside:2", SIZE, 1, 9, seed=4)
        assert torch.equal(named_hole("outside:2", SIZE, 1, 4, seed=4, first_image=5), many[5:])

    @pytest.mark.parametrize(
        "name", ["outside:0", "inside:7", "outside:x", "inside:", "outside:-1"]
    )
    def test_a_square_that_does_not_fit(self, name: str) -> None:
        with pytest.raises(HoleError, match=r"side:SIZE with a square of 1 to 6 pixels"):
            named_hole(name, SIZE, 1, 1, 0)


class TestNamesThatAreRefused:
    @pytest.mark.parametrize("name", ["lefthalf", "", "random", "LEFT-HALF", "strokes:0.5"])
    def test_an_unknown_name_and_all_known_ones(self, name: str) -> None:
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
    def test_a_share_or_block_that_cannot_be(self, name: str) -> None:
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
        assert f"blocks of {block} do not divide" in str(caught.value)
        assert f"{size[0]} x {size[1]}" in str(caught.value)


HEIGHT, WIDTH = 5, 7
EXPECTED = np.zeros((HEIGHT, WIDTH), dtype=bool)
EXPECTED[1:3, 4:] = True
EXPECTED[4, 0] = True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hole.png"


def save(values: np.ndarray, path: Path) -> None:
    Image.fromarray(values).save(path)


def gray(hole: np.ndarray, white: int = 255, black: int = 0) -> np.ndarray:
    return np.where(hole, white, black).astype(np.uint8)


def same(hole: Tensor) -> bool:
    return hole.dtype == torch.bool and np.array_equal(hole.numpy(), EXPECTED)


class TestFiles:
    def test_white_is_the_hole(self, path: Path) -> None:
        save(gray(EXPECTED), path)
        assert same(read_hole(path, (HEIGHT, WIDTH)))

    def test_or_black_is(self, path: Path) -> None:
        save(gray(~EXPECTED), path)
        assert same(read_hole(path, (HEIGHT, WIDTH), "black"))

    @pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "webp"])
    def test_any_file_format_and_color_mode(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"hole.{suffix}"
        rgb = np.repeat(gray(EXPECTED)[..., None], 3, axis=-1)
        image = Image.fromarray(rgb)
        image.save(path, **({"lossless": True} if suffix == "webp" else {}))
        assert same(read_hole(path, (HEIGHT, WIDTH)))

    def test_one_bit_per_pixel(self, path: Path) -> None:
        Image.fromarray(EXPECTED).save(path)
        assert same(read_hole(path, (HEIGHT, WIDTH)))

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparent_is_the_hole_whatever_the_colors_are(self, path: Path, mode: str) -> None:
        generator = np.random.default_rng(0)
        values = generator.integers(0, 256, (HEIGHT, WIDTH, len(mode)), dtype=np.uint8)
        values[..., -1] = gray(~EXPECTED)
        image = Image.fromarray(values, mode=mode)
        image.save(path)
        assert same(read_hole(path, (HEIGHT, WIDTH)))

    def test_a_transparent_palette_color_is_the_hole(self, path: Path) -> None:
        image = Image.fromarray(EXPECTED.astype(np.uint8), mode="P")
        image.putpalette([255, 255, 255, 255, 255, 255])
        image.save(path, transparency=1)
        assert Image.open(path).mode == "P"
        assert same(read_hole(path, (HEIGHT, WIDTH)))

    def test_gray_values_near_black_and_white_pass(self, path: Path) -> None:
        save(gray(EXPECTED, 255 - GRAY_TOLERANCE, GRAY_TOLERANCE), path)
        assert same(read_hole(path, (HEIGHT, WIDTH)))

    def test_sixteen_bits_are_scaled(self, path: Path) -> None:
        save(np.where(EXPECTED, 65_000, 700).astype(np.uint16), path)
        assert same(read_hole(path, (HEIGHT, WIDTH)))


class TestFilesThatAreRefused:
    @pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (HEIGHT, WIDTH + 1), (1, 1)])
    def test_another_size_and_both_are_named(self, path: Path, shape: tuple[int, int]) -> None:
        save(np.full(shape, 255, dtype=np.uint8), path)
        with pytest.raises(HoleError) as caught:
            read_hole(path, (HEIGHT, WIDTH))
        message = str(caught.value)
        assert str(path) in message
        assert f"{shape[0]} x {shape[1]} pixels (height x width)" in message
        assert f"the model's images have {HEIGHT} x {WIDTH}" in message

    @pytest.mark.parametrize(
        ("value", "hole_color"), [(0, "white"), (GRAY_TOLERANCE, "white"), (255, "black")]
    )
    def test_no_hole_in_it(self, path: Path, value: int, hole_color: str) -> None:
        save(np.full((HEIGHT, WIDTH), value, dtype=np.uint8), path)
        with pytest.raises(HoleError, match=f"no hole: no pixel of it is {hole_color}"):
            read_hole(path, (HEIGHT, WIDTH), hole_color)

    def test_nothing_transparent(self, path: Path) -> None:
        rgba = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
        rgba[..., 3] = 255
        save(rgba, path)
        with pytest.raises(HoleError, match="is transparent; its colors are not read"):
            read_hole(path, (HEIGHT, WIDTH))
        for color in ("white", "black"):
            told = rf"has an alpha channel, .*: leave out --mask-color {color}"
            with pytest.raises(HoleError, match=told):
                read_hole(path, (HEIGHT, WIDTH), color)

    @pytest.mark.parametrize("value", [GRAY_TOLERANCE + 1, 127, 128, 254 - GRAY_TOLERANCE])
    def test_gray_values_and_their_share(self, path: Path, value: int) -> None:
        values = gray(EXPECTED)
        values[3] = value  # 7 of 35 pixels
        save(values, path)
        with pytest.raises(HoleError, match=r"not black and white: 20% .* between 32 and 223"):
            read_hole(path, (HEIGHT, WIDTH))

    def test_half_transparent_pixels(self, path: Path) -> None:
        rgba = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
        rgba[2:, :, 3] = 128
        save(rgba, path)
        with pytest.raises(HoleError, match="is not opaque or transparent: 60%"):
            read_hole(path, (HEIGHT, WIDTH))

    def test_gray_values_of_sixteen_bits(self, path: Path) -> None:
        save(np.full((HEIGHT, WIDTH), 30_000, dtype=np.uint16), path)
        with pytest.raises(HoleError, match="not black and white: 100%"):
            read_hole(path, (HEIGHT, WIDTH))

    @pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "PPM"])
    def test_a_truncated_file(self, tmp_path: Path, file_format: str) -> None:
        path = tmp_path / "truncated"
        whole = io.BytesIO()
        Image.fromarray(gray(np.ones((50, 70), dtype=bool))).save(whole, file_format)
        data = whole.getvalue()
        for length in (0, 1, 7, len(data) // 3, len(data) // 2):
            path.write_bytes(data[:length])
            with pytest.raises(HoleError, match="truncated cannot be read as an image"):
                read_hole(path, (50, 70))

    def test_a_file_that_is_no_image_a_folder_and_a_file_that_is_not_there(
        self, tmp_path: Path
    ) -> None:
        text = tmp_path / "notes.png"
        text.write_text("white is the hole")
        for path in (text, tmp_path, tmp_path / "nothing.png"):
            with pytest.raises(HoleError) as caught:
                read_hole(path, (HEIGHT, WIDTH))
            assert f"{path} cannot be read as an image" in str(caught.value)
