"""Mask files are read as what they show, and every refusal is one sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from biglearn_gan.config import HoleColor
from biglearn_gan.data.mask_files import GRAY_TOLERANCE, read_mask_file
from biglearn_gan.errors import UsageError
from biglearn_gan.tasks.holes import HoleError

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


def layer(color: tuple[int, ...], opaque: np.ndarray, alpha: int = 255) -> np.ndarray:
    """One color, opaque in a part, RGBA."""
    pixels = np.zeros((*opaque.shape, 4), dtype=np.uint8)
    pixels[...] = (*color, 0)
    pixels[..., 3] = gray(opaque, alpha)
    return pixels


def check(
    path: Path, hole_is: str, hole_color: HoleColor | None = None, hole: np.ndarray = EXPECTED
) -> None:
    mask = read_mask_file(path, hole_color)
    assert np.array_equal(mask.hole, hole)
    assert (mask.hole_is, mask.soft_share, mask.values) == (hole_is, 0, None)


class TestColors:
    def test_white_is_the_hole(self, path: Path) -> None:
        save(gray(EXPECTED), path)
        check(path, "white")
        check(path, "white", "white")

    def test_black_is_the_hole_on_request(self, path: Path) -> None:
        save(gray(~EXPECTED), path)
        check(path, "black", "black")

    @pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "webp"])
    def test_any_file_format_and_color_mode(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"hole.{suffix}"
        rgb = np.repeat(gray(EXPECTED)[..., None], 3, axis=-1)
        image = Image.fromarray(rgb)
        image.save(path, **({"lossless": True} if suffix == "webp" else {}))
        check(path, "white")

    def test_one_bit_per_pixel(self, path: Path) -> None:
        Image.fromarray(EXPECTED).save(path)
        check(path, "white")

    def test_a_jpeg(self, tmp_path: Path) -> None:
        hole = np.kron(EXPECTED, np.ones((16, 16), dtype=bool))
        save(gray(hole), tmp_path / "hole.jpg")
        check(tmp_path / "hole.jpg", "white", hole=hole)

    def test_a_palette_shows_its_colors(self, path: Path) -> None:
        image = Image.fromarray(EXPECTED.astype(np.uint8), mode="P")
        image.putpalette([255, 255, 255, 0, 0, 0])
        image.save(path)
        check(path, "white", hole=~EXPECTED)

    def test_gray_values_near_black_and_white_pass(self, path: Path) -> None:
        save(gray(EXPECTED, 255 - GRAY_TOLERANCE, GRAY_TOLERANCE), path)
        check(path, "white")

    def test_sixteen_bits_are_scaled(self, path: Path) -> None:
        save(np.where(EXPECTED, 65_000, 700).astype(np.uint16), path)
        check(path, "white")

    @pytest.mark.parametrize("white", [1, 255, 65_535])
    def test_floats_of_a_usual_range(self, tmp_path: Path, white: int) -> None:
        path = tmp_path / "hole.tif"
        save(np.where(EXPECTED, white, 0.01 * white).astype(np.float32), path)
        assert np.array_equal(read_mask_file(path).hole, EXPECTED)

    def test_the_mask_is_turned_upright(self, path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(gray(np.rot90(EXPECTED))).save(path, exif=exif)
        check(path, "white")
        assert read_mask_file(path).turned

    def test_an_opaque_alpha_channel_is_ignored(self, path: Path) -> None:
        pixels = np.full((HEIGHT, WIDTH, 4), 255, dtype=np.uint8)
        pixels[..., :3] = gray(EXPECTED)[..., None]
        save(pixels, path)
        check(path, "white")
        check(path, "black", "black", hole=~EXPECTED)
        save(pixels[..., 2:], path)
        assert Image.open(path).mode == "LA"
        check(path, "white")


class TestTwoOtherValues:
    @pytest.mark.parametrize(
        ("low", "high", "dtype"),
        [(0, 1, "u1"), (0, 1, "u2"), (0, 255, "u2"), (3, 128, "u1"), (100, 255, "u1")],
    )
    def test_they_are_black_and_white(self, path: Path, low: int, high: int, dtype: str) -> None:
        save(np.where(EXPECTED, high, low).astype(dtype), path)
        mask = read_mask_file(path)
        assert np.array_equal(mask.hole, EXPECTED)
        assert mask.values == (None if high == 255 and low == 0 and dtype == "u2" else (low, high))
        assert np.array_equal(read_mask_file(path, "black").hole, ~EXPECTED)

    def test_a_dark_color_of_a_segmentation_is_white(self, path: Path) -> None:
        image = Image.fromarray(EXPECTED.astype(np.uint8), mode="P")
        image.putpalette([0, 0, 0, 128, 0, 0])
        image.save(path)
        mask = read_mask_file(path)
        assert np.array_equal(mask.hole, EXPECTED)
        assert mask.values == (0, 38)

    def test_two_whites_are_white(self, path: Path) -> None:
        save(gray(EXPECTED, 255, 240), path)
        check(path, "white", hole=np.ones_like(EXPECTED))

    def test_a_jpeg_of_noise_around_black_has_no_hole(self, tmp_path: Path) -> None:
        path = tmp_path / "hole.jpg"
        save(np.tile(np.array([[0, 2]], dtype=np.uint8), (8, 8)), path)
        assert not read_mask_file(path).hole.any()


class TestSoftEdges:
    @pytest.mark.parametrize(("value", "is_hole"), [(127, False), (128, True)])
    def test_gray_is_cut_at_half(self, path: Path, value: int, is_hole: bool) -> None:
        values = gray(EXPECTED)
        values[3] = value  # 7 of 35 pixels
        save(values, path)
        expected = EXPECTED.copy()
        expected[3] = is_hole
        for color, hole in (("white", expected), ("black", ~expected)):
            mask = read_mask_file(path, color)
            assert np.array_equal(mask.hole, hole)
            assert mask.soft_share == 0.2

    @pytest.mark.parametrize(("alpha", "is_hole"), [(127, True), (128, False)])
    def test_half_transparency_too(self, path: Path, alpha: int, is_hole: bool) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
        pixels[..., 3] = gray(~EXPECTED)
        pixels[3, :, 3] = alpha
        save(pixels, path)
        expected = EXPECTED.copy()
        expected[3] = is_hole
        mask = read_mask_file(path)
        assert np.array_equal(mask.hole, expected)
        assert mask.soft_share == 0.2


class TestLayers:
    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparent_is_the_hole_of_many_colors(self, path: Path, mode: str) -> None:
        generator = np.random.default_rng(0)
        values = generator.integers(0, 256, (HEIGHT, WIDTH, len(mode)), dtype=np.uint8)
        values[..., -1] = gray(~EXPECTED)
        Image.fromarray(values, mode=mode).save(path)
        check(path, "transparent")

    @pytest.mark.parametrize(
        ("color", "name"),
        [
            ((255, 255, 255), "the white paint"),
            ((0, 0, 0), "the black paint"),
            ((200, 30, 30), "the paint"),
        ],
    )
    def test_paint_of_one_color_is_the_hole(
        self, path: Path, color: tuple[int, ...], name: str
    ) -> None:
        save(layer(color, EXPECTED), path)
        check(path, name)

    def test_pale_paint_is_paint(self, path: Path) -> None:
        save(layer((255, 255, 255), EXPECTED, alpha=90), path)
        check(path, "the white paint")

    def test_paint_of_a_palette(self, path: Path) -> None:
        image = Image.fromarray(EXPECTED.astype(np.uint8), mode="P")
        image.putpalette([255, 255, 255, 255, 255, 255])
        image.save(path, transparency=1)
        assert Image.open(path).mode == "P"
        check(path, "the white paint", hole=~EXPECTED)

    def test_a_transparent_palette_color_of_many_is_the_hole(self, path: Path) -> None:
        indices = EXPECTED.astype(np.uint8)
        indices[0, 0] = 2
        image = Image.fromarray(indices, mode="P")
        image.putpalette([255, 255, 255, 255, 255, 255, 0, 0, 0])
        image.save(path, transparency=1)
        check(path, "transparent")

    def test_the_color_of_the_hole_decides(self, path: Path) -> None:
        for color, name in (((255,) * 3, "white"), ((0,) * 3, "black")):
            other: HoleColor = "black" if name == "white" else "white"
            save(layer(color, EXPECTED), path)
            check(path, f"the {name} paint", name)
            check(path, "what is not painted", other, hole=~EXPECTED)

    def test_black_and_white_beside_transparency(self, path: Path) -> None:
        pixels = layer((0, 0, 0), np.ones_like(EXPECTED))
        pixels[EXPECTED, :3] = 255
        pixels[0, :, 3] = 0
        save(pixels, path)
        transparent = np.zeros_like(EXPECTED)
        transparent[0] = True
        check(path, "transparent", hole=transparent)
        check(path, "white", "white", hole=EXPECTED & ~transparent)
        check(path, "black", "black", hole=~EXPECTED & ~transparent)

    @pytest.mark.parametrize("hole_color", ["white", "black"])
    def test_other_colors_have_no_color_of_the_hole(
        self, path: Path, hole_color: HoleColor
    ) -> None:
        save(layer((200, 30, 30), EXPECTED), path)
        with pytest.raises(HoleError, match=f"leave out the mask color {hole_color}$"):
            read_mask_file(path, hole_color)

    def test_nothing_painted_is_all_transparent(self, path: Path) -> None:
        save(layer((255, 255, 255), np.zeros_like(EXPECTED)), path)
        check(path, "transparent", hole=np.ones_like(EXPECTED))


class TestWrongFiles:
    @pytest.mark.parametrize("value", [GRAY_TOLERANCE + 1, 127, 128, 254 - GRAY_TOLERANCE])
    def test_mostly_gray(self, path: Path, value: int) -> None:
        values = gray(EXPECTED)
        values[1:] = value
        values[4] = 255
        save(values, path)
        with pytest.raises(HoleError, match=r"not black and white: 60% .* between 32 and 223"):
            read_mask_file(path)

    def test_mostly_half_transparent(self, path: Path) -> None:
        rgba = layer((0, 0, 0), EXPECTED)
        rgba[2:, :, 3] = 128
        save(rgba, path)
        with pytest.raises(HoleError, match="is not opaque or transparent: 60%"):
            read_mask_file(path)

    def test_gray_values_of_sixteen_bits(self, path: Path) -> None:
        save(np.full((HEIGHT, WIDTH), 30_000, dtype=np.uint16), path)
        with pytest.raises(HoleError, match="not black and white: 100%"):
            read_mask_file(path)

    def test_floats_without_a_known_range(self, tmp_path: Path) -> None:
        for low, high in ((-1, 1), (0, 70_000), (0, np.nan)):
            save(np.where(EXPECTED, high, low).astype(np.float32), tmp_path / "hole.tif")
            with pytest.raises(HoleError, match=r"its values from .* have no known range"):
                read_mask_file(tmp_path / "hole.tif")

    @pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "PPM"])
    def test_a_truncated_file(self, tmp_path: Path, file_format: str) -> None:
        path = tmp_path / "truncated"
        whole = io.BytesIO()
        Image.fromarray(gray(np.ones((50, 70), dtype=bool))).save(whole, file_format)
        data = whole.getvalue()
        for length in (0, 1, 7, len(data) // 3, len(data) // 2):
            path.write_bytes(data[:length])
            with pytest.raises(HoleError, match="truncated cannot be read as an image"):
                read_mask_file(path)

    def test_text_a_folder_and_a_missing_file(self, tmp_path: Path) -> None:
        text = tmp_path / "notes.png"
        text.write_text("white is the hole")
        for path in (text, tmp_path, tmp_path / "nothing.png"):
            with pytest.raises(HoleError) as caught:
                read_mask_file(path)
            assert f"{path} cannot be read as an image" in str(caught.value)


@pytest.mark.parametrize("color", ["White", "red", ""])
def test_another_mask_color_is_refused(unchecked: None, color: Any, path: Path) -> None:
    save(gray(EXPECTED), path)
    with pytest.raises(UsageError, match=f"mask_color must be one of white, black, not '{color}'"):
        read_mask_file(path, color)
