"""Holes in image files: white or transparent = generate, and every refusal is one sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from biglearn_gan.data.mask_files import GRAY_TOLERANCE, read_hole
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


def same(hole: Tensor) -> bool:
    return hole.dtype == torch.bool and np.array_equal(hole.numpy(), EXPECTED)


class TestFiles:
    def test_white_is_the_hole(self, path: Path) -> None:
        save(gray(EXPECTED), path)
        assert same(read_hole(path, (HEIGHT, WIDTH)))

    def test_black_is_the_hole_on_request(self, path: Path) -> None:
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
        rng = np.random.default_rng(0)
        values = rng.integers(0, 256, (HEIGHT, WIDTH, len(mode)), dtype=np.uint8)
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


class TestWrongFiles:
    @pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (HEIGHT, WIDTH + 1), (1, 1)])
    def test_the_message_has_both_sizes(self, path: Path, shape: tuple[int, int]) -> None:
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
    def test_a_file_without_a_hole(self, path: Path, value: int, hole_color: str) -> None:
        save(np.full((HEIGHT, WIDTH), value, dtype=np.uint8), path)
        with pytest.raises(HoleError, match=f"no hole: no pixel of it is {hole_color}"):
            read_hole(path, (HEIGHT, WIDTH), hole_color)

    def test_an_opaque_file(self, path: Path) -> None:
        rgba = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
        rgba[..., 3] = 255
        save(rgba, path)
        with pytest.raises(HoleError, match="is transparent; its colors are not read"):
            read_hole(path, (HEIGHT, WIDTH))
        for color in ("white", "black"):
            message = rf"has an alpha channel, .*: leave out --mask-color {color}"
            with pytest.raises(HoleError, match=message):
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

    def test_text_a_folder_and_a_missing_file(self, tmp_path: Path) -> None:
        text = tmp_path / "notes.png"
        text.write_text("white is the hole")
        for path in (text, tmp_path, tmp_path / "nothing.png"):
            with pytest.raises(HoleError) as caught:
                read_hole(path, (HEIGHT, WIDTH))
            assert f"{path} cannot be read as an image" in str(caught.value)
