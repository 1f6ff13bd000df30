"""Photos are read at the model's size, and completed at their own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from biglearn_gan.config import DataConfig
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.inference.photos import Photo, PhotoReader, describe_photos
from biglearn_gan.tasks.holes import HoleError

HEIGHT, WIDTH = 5, 7
HOLE = np.zeros((HEIGHT, WIDTH), dtype=bool)
HOLE[1:3, 4:] = True


def data(channels: int = 3, size: tuple[int, int] = (HEIGHT, WIDTH)) -> DataConfig:
    values = {"name": "folder", "root": "photos", "channels": channels, "image_size": size}
    return DataConfig.model_validate(values)


def random_pixels(channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def mask(tmp_path: Path) -> Callable[[str], Path]:
    """The same mask for every photo."""
    Image.fromarray(HOLE).save(tmp_path / "mask.png")
    return lambda name: tmp_path / "mask.png"


class TestModes:
    """Of the photo's file: what becomes the model's image, and what is written back."""

    def paste(self, path: Path, mask: Callable[[str], Path], channels: int) -> Image.Image:
        fitted = PhotoReader(data(channels), masks=mask).read(path.name, path)
        generated = 255 - np.asarray(fitted.image).transpose(1, 2, 0)
        return fitted.photo.paste(generated, fitted.hole)

    @pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
    def test_plain(
        self, mode: str, channels: int, mask: Callable[[str], Path], tmp_path: Path
    ) -> None:
        pixels = random_pixels(channels)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        result = self.paste(tmp_path / "photo.png", mask, channels)
        assert result.mode == mode
        expected = pixels.copy()
        expected[HOLE] = 255 - pixels[HOLE]
        assert np.array_equal(np.asarray(result), expected)

    def test_a_gray_photo_gets_the_colors_of_a_model_of_colors(
        self, mask: Callable[[str], Path], tmp_path: Path
    ) -> None:
        pixels = random_pixels(1)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        result = self.paste(tmp_path / "photo.png", mask, 3)
        assert result.mode == "RGB"
        assert (np.asarray(result)[~HOLE] == pixels[~HOLE, None]).all()

    def test_a_photo_keeps_its_colors_around_a_gray_hole(
        self, mask: Callable[[str], Path], tmp_path: Path
    ) -> None:
        pixels = random_pixels(3)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        result = np.asarray(self.paste(tmp_path / "photo.png", mask, 1))
        assert np.array_equal(result[~HOLE], pixels[~HOLE])
        assert (np.ptp(result[HOLE].astype(int), axis=-1) == 0).all()

    @pytest.mark.parametrize(("channels", "mode"), [(2, "LA"), (4, "RGBA")])
    def test_transparency_is_kept_and_what_is_generated_is_opaque(
        self, channels: int, mode: str, mask: Callable[[str], Path], tmp_path: Path
    ) -> None:
        pixels = random_pixels(channels)
        Image.fromarray(pixels, mode=mode).save(tmp_path / "photo.png")
        reader = PhotoReader(data(channels - 1), masks=mask)
        assert reader.read("photo.png", tmp_path / "photo.png").shown_on_white
        result = self.paste(tmp_path / "photo.png", mask, channels - 1)
        assert result.mode == mode
        assert np.array_equal(np.asarray(result)[~HOLE], pixels[~HOLE])
        assert (np.asarray(result)[HOLE][:, -1] == 255).all()

    def test_a_palette(self, mask: Callable[[str], Path], tmp_path: Path) -> None:
        image = Image.fromarray(random_pixels(3)).quantize(19)
        image.save(tmp_path / "photo.png")
        result = self.paste(tmp_path / "photo.png", mask, 3)
        assert result.mode == "RGB"
        shown = np.asarray(Image.open(tmp_path / "photo.png").convert("RGB"))
        assert np.array_equal(np.asarray(result)[~HOLE], shown[~HOLE])

    def test_sixteen_bits_are_written_with_eight(
        self, mask: Callable[[str], Path], tmp_path: Path
    ) -> None:
        pixels = random_pixels(1).astype(np.uint16) * 256 + 7
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        result = self.paste(tmp_path / "photo.png", mask, 1)
        assert result.mode == "L"
        assert np.array_equal(np.asarray(result)[~HOLE], (pixels >> 8)[~HOLE])

    def test_the_color_profile_is_kept(self, mask: Callable[[str], Path], tmp_path: Path) -> None:
        profile = b"a profile of some camera"
        Image.fromarray(random_pixels(3)).save(tmp_path / "photo.png", icc_profile=profile)
        self.paste(tmp_path / "photo.png", mask, 3).save(tmp_path / "completed.png")
        assert Image.open(tmp_path / "completed.png").info["icc_profile"] == profile


class TestErased:
    def read(self, alpha: np.ndarray, tmp_path: Path, channels: int = 3) -> Photo:
        pixels = np.dstack([random_pixels(3), alpha.astype(np.uint8)])
        Image.fromarray(pixels).save(tmp_path / "erased.png")
        return PhotoReader(data(channels), masks="transparent").read(
            "erased.png", tmp_path / "erased.png"
        )

    def test_what_is_mostly_transparent_is_the_hole(self, tmp_path: Path) -> None:
        alpha = np.where(HOLE, 0, 255)
        alpha[0, :2] = (127, 128)
        expected = HOLE.copy()
        expected[0, 0] = True
        fitted = self.read(alpha, tmp_path)
        assert np.array_equal(fitted.hole, expected)
        assert fitted.report.hole_is == "transparent"
        assert fitted.report.soft_share == 2 / 35
        colors = random_pixels(3)
        assert np.array_equal(fitted.image.transpose(1, 2, 0)[~expected], colors[~expected])
        assert (fitted.image[:, expected] == 255).all()

    def test_an_opaque_photo_has_nothing_to_fill(self, tmp_path: Path) -> None:
        Image.fromarray(random_pixels(3)).save(tmp_path / "opaque.png")
        Image.fromarray(random_pixels(4) | 128).save(tmp_path / "hardly.png")
        for file in ("opaque.png", "hardly.png"):
            with pytest.raises(HoleError, match=f"{file} has no transparent part to fill"):
                PhotoReader(data(), masks="transparent").read(file, tmp_path / file)

    def test_a_transparent_palette_color_is_a_hole(self, tmp_path: Path) -> None:
        image = Image.fromarray(HOLE.astype(np.uint8), mode="P")
        image.putpalette([10, 20, 30, 200, 210, 220])
        image.save(tmp_path / "erased.gif", transparency=1)
        reader = PhotoReader(data(), masks="transparent")
        assert np.array_equal(reader.read("erased.gif", tmp_path / "erased.gif").hole, HOLE)


class TestFolders:
    def test_broken_files_are_skipped_and_named(
        self, mask: Callable[[str], Path], tmp_path: Path
    ) -> None:
        folder = tmp_path / "photos"
        folder.mkdir()
        for number in (1, 3):
            Image.fromarray(random_pixels(3)).save(folder / f"{number}.png")
        (folder / "2.png").write_text("no image")
        reader = PhotoReader(data(), masks=mask)
        with pytest.warns(UserWarning, match=r"skipped 1 broken image file: .*2\.png is not a"):
            photos = reader.read_all(folder, None)
        assert [each.photo.name for each in photos] == ["1.png", "3.png"]
        assert len(reader.read_all(folder, 1)) == 1
        with pytest.raises(DataError, match=r"2\.png is not a readable image"):
            reader.read_all(folder / "2.png", None)

    def test_photos_of_an_archive_are_completed_at_their_size(
        self, mask: Callable[[str], Path], tmp_path: Path
    ) -> None:
        pixels = random_pixels(3)
        Image.fromarray(pixels).save(tmp_path / "cat.png")
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            archive.write(tmp_path / "cat.png", "a/cat.png")
            archive.write(tmp_path / "cat.png", "b/cat.png")
        photos = PhotoReader(data(), masks=mask).read_all(tmp_path / "photos.zip", None)
        assert [each.photo.name for each in photos] == ["a/cat.png", "b/cat.png"]
        completed = np.asarray(photos[1].photo.paste(255 - pixels, photos[1].hole))
        assert np.array_equal(completed, np.where(HOLE[..., None], 255 - pixels, pixels))

    def test_the_hole_of_the_photo_is_said_to_be_cut(self, tmp_path: Path) -> None:
        pixels = random_pixels(3, 5, 21)
        hole = np.zeros((5, 21), dtype=bool)
        hole[:, 3:9] = True  # the crop begins at 7
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        Image.fromarray(hole).save(tmp_path / "mask.png")
        reader = PhotoReader(data(), masks=lambda name: tmp_path / "mask.png")
        photos = reader.read_all(tmp_path / "photo.png", None)
        assert describe_photos(photos, "crop") == (
            "1 of 1 images had another size and were resized and center-cropped to 5 x 7",
            "photo.png: the hole reaches outside of the center crop, where nothing is generated "
            "(the fits pad and stretch show the whole photo)",
        )
        image = photos[0].image.transpose(1, 2, 0)
        completed = np.asarray(photos[0].photo.paste(255 - image, photos[0].hole))
        changed = (completed != pixels).any(axis=-1)
        assert not changed[:, :7].any() and not changed[:, 9:].any()
        assert np.array_equal(completed[:, 7:9], 255 - pixels[:, 7:9])


def test_photos_without_holes_are_those_of_training(tmp_path: Path) -> None:
    pixels = random_pixels(3, 23, 31)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    fitted = PhotoReader(data()).read("photo.png", tmp_path / "photo.png")
    expected = ImageOps.fit(Image.fromarray(pixels), (WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    assert np.array_equal(fitted.image.transpose(1, 2, 0), np.asarray(expected))
    assert fitted.hole is None
