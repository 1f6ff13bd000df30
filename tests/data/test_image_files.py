"""Image files of every kind become uint8 pixels."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import HEIGHT, WIDTH, channels_first, random_pixels, save, save_many
from PIL import Image

from biglearn_gan.data.image_files import DataError, load_images


class TestImageKinds:
    """Files of each kind, read by `load_images`, which the data sets use as well."""

    def read(self, path, channels=3, image_size=(HEIGHT, WIDTH)):
        return load_images(path, image_size, channels, 1).pixels[0].numpy()

    def test_gray_is_repeated_over_three_channels(self, tmp_path):
        gray = random_pixels(HEIGHT, WIDTH)
        path = save(tmp_path / "gray.png", gray)
        assert np.array_equal(self.read(path), np.stack([gray] * 3))
        assert np.array_equal(self.read(path, channels=1), gray[None])

    def test_rgb_becomes_its_luminance(self, tmp_path):
        rgb = random_pixels(HEIGHT, WIDTH, 3)
        luminance = self.read(save(tmp_path / "rgb.png", rgb), channels=1)
        expected = rgb @ np.array([0.299, 0.587, 0.114])
        assert luminance.shape == (1, HEIGHT, WIDTH)
        assert np.abs(luminance[0] - expected).max() <= 0.51

    @pytest.mark.parametrize("channels", [1, 3])
    def test_alpha_is_composited_onto_white(self, tmp_path, channels):
        rgba = random_pixels(HEIGHT, WIDTH, 4)
        rgba[..., :3] = rgba[..., :1]
        rgba[0, :, 3], rgba[1, :, 3] = 0, 255
        read = self.read(save(tmp_path / "rgba.png", rgba), channels)
        share = rgba[..., 3] / 255
        expected = share * rgba[..., 0] + (1 - share) * 255
        assert (read[:, 0] == 255).all()
        assert (read[:, 1] == rgba[1, :, 0]).all()
        assert np.abs(read - expected).max() <= 1

    def test_a_transparent_palette_color_is_white(self, tmp_path):
        image = Image.new("P", (WIDTH, HEIGHT), 1)
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putpixel((3, 2), 0)
        image.save(tmp_path / "palette.png", transparency=0)
        read = self.read(tmp_path / "palette.png")
        assert read[:, 2, 3].tolist() == [255, 255, 255]
        assert read[:, 3, 2].tolist() == [40, 50, 60]

    def test_a_palette_without_transparency_gives_its_colors(self, tmp_path):
        image = Image.new("P", (WIDTH, HEIGHT), 1)
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.save(tmp_path / "palette.gif")
        assert (self.read(tmp_path / "palette.gif").T == [40, 50, 60]).all()

    def test_sixteen_bits_keep_the_upper_eight(self, tmp_path):
        deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 458
        read = self.read(save(tmp_path / "deep.png", deep), channels=1)
        assert np.array_equal(read[0], deep // 256)

    def test_a_photo_is_turned_upright(self, tmp_path):
        rgb = random_pixels(HEIGHT, WIDTH, 3)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.rot90(rgb)).save(tmp_path / "turned.png", exif=exif)
        assert np.array_equal(self.read(tmp_path / "turned.png"), rgb.transpose(2, 0, 1))

    def test_an_image_that_covers_the_size_is_cropped_at_its_center(self, tmp_path):
        rgb = random_pixels(HEIGHT, WIDTH + 10, 3)
        read = self.read(save(tmp_path / "wide.png", rgb))
        assert np.array_equal(read, rgb[:, 5:-5].transpose(2, 0, 1))

    def test_a_larger_image_is_resized_with_antialiasing(self, tmp_path):
        checks = np.indices((HEIGHT * 8, WIDTH * 8)).sum(0) % 2 * 255
        read = self.read(save(tmp_path / "checks.png", checks.astype(np.uint8)), channels=1)
        assert np.abs(read.astype(int) - 127.5).max() < 3

    def test_a_smaller_image_is_enlarged(self, tmp_path):
        left_dark = np.repeat(np.array([[0, 255]], dtype=np.uint8), 2, axis=0)
        read = self.read(save(tmp_path / "small.png", left_dark), channels=1, image_size=(17, 29))
        assert read.shape == (1, 17, 29)
        assert (read[..., 0] == 0).all()
        assert (read[..., -1] == 255).all()


class TestFilesAsPeopleHaveThem:
    """Formats, modes and faults of real collections, all read by `load_images`."""

    def read(self, path: Path, channels: int = 3) -> np.ndarray:
        return load_images(path, (HEIGHT, WIDTH), channels, 1).pixels[0].numpy()

    @pytest.mark.parametrize("ending", ["gif", "png", "webp"])
    def test_of_an_animation_the_first_picture_is_read(self, tmp_path: Path, ending: str) -> None:
        shades = [Image.new("RGB", (WIDTH, HEIGHT), (level, level, level)) for level in (40, 200)]
        path = tmp_path / f"animation.{ending}"
        lossless = {"lossless": True} if ending == "webp" else {}
        shades[0].save(path, save_all=True, append_images=shades[1:], **lossless)
        assert (self.read(path) == 40).all()

    def test_cmyk_is_read_as_its_colors(self, tmp_path: Path) -> None:
        path = tmp_path / "print.jpg"
        Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0)).save(path, quality=100)
        red, green, blue = self.read(path)
        assert red.min() > 250 and green.max() < 5 and blue.max() < 5

    def test_lab_is_read_as_its_gray_and_its_color(self, tmp_path: Path) -> None:
        path = tmp_path / "lab.tif"
        Image.new("RGB", (WIDTH, HEIGHT), (200, 40, 40)).convert("LAB").save(path)
        red, green, blue = self.read(path)
        assert abs(int(red[0, 0]) - 200) < 3 and abs(int(green[0, 0]) - 40) < 3
        luminance = 0.299 * int(red[0, 0]) + 0.587 * int(green[0, 0]) + 0.114 * int(blue[0, 0])
        assert np.abs(self.read(path, channels=1) - luminance).max() < 1

    @pytest.mark.parametrize("ending", ["tga", "jp2"])
    def test_targa_and_jpeg_2000_are_read_from_a_folder(self, tmp_path: Path, ending: str) -> None:
        pixels = random_pixels(HEIGHT, WIDTH, 3)
        Image.fromarray(pixels).save(tmp_path / f"a.{ending}")
        loaded = load_images(tmp_path, (HEIGHT, WIDTH), 3, None)
        assert np.array_equal(loaded.pixels[0].numpy(), pixels.transpose(2, 0, 1))

    def test_gray_with_alpha_lies_on_white(self, tmp_path: Path) -> None:
        pixels = np.stack([np.full((HEIGHT, WIDTH), 60), np.full((HEIGHT, WIDTH), 255)], axis=-1)
        pixels[0, :, 1] = 0
        Image.fromarray(pixels.astype(np.uint8), "LA").save(tmp_path / "la.png")
        read = self.read(tmp_path / "la.png", channels=1)
        assert (read[0, 0] == 255).all() and (read[0, 1:] == 60).all()

    @pytest.mark.parametrize(("kind", "depth"), [(0, 1), (4, 2), (2, 3), (6, 4)])
    def test_sixteen_bit_png_keeps_the_upper_eight(
        self, kind: int, depth: int, tmp_path: Path
    ) -> None:
        """Gray, gray with alpha, RGB and RGBA, the alpha opaque (Pillow cannot write them)."""
        deep = np.arange(HEIGHT * WIDTH * depth, dtype=np.uint16).reshape(HEIGHT, WIDTH, -1) * 113
        if depth in (2, 4):
            deep[..., -1] = 65535

        def chunk(name: bytes, data: bytes) -> bytes:
            check = struct.pack(">I", zlib.crc32(name + data))
            return struct.pack(">I", len(data)) + name + data + check

        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
        parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
        channels = 3 if depth > 2 else 1
        expected = (deep[..., :channels] // 256).transpose(2, 0, 1)
        assert np.array_equal(self.read(tmp_path / "deep.png", channels), expected)

    def test_sixteen_bit_pgm_keeps_the_upper_eight(self, tmp_path: Path) -> None:
        deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 458
        header = f"P5 {WIDTH} {HEIGHT} 65535\n".encode()
        (tmp_path / "deep.pgm").write_bytes(header + deep.astype(">u2").tobytes())
        assert np.array_equal(self.read(tmp_path / "deep.pgm", channels=1)[0], deep // 256)

    def test_black_and_white_of_one_bit_is_0_and_255(self, tmp_path: Path) -> None:
        drawn = random_pixels(HEIGHT, WIDTH) > 127
        Image.fromarray(drawn).save(tmp_path / "scan.tif")
        assert np.array_equal(self.read(tmp_path / "scan.tif", 1)[0], 255 * drawn.astype(np.uint8))

    def test_a_wrong_ending_does_not_matter(self, tmp_path: Path) -> None:
        pixels = random_pixels(HEIGHT, WIDTH, 3)
        Image.fromarray(pixels).save(tmp_path / "really_png.jpg", "PNG")
        assert np.array_equal(self.read(tmp_path / "really_png.jpg"), pixels.transpose(2, 0, 1))

    @pytest.mark.parametrize("ending", ["png", "webp"])
    def test_broken_metadata_do_not_matter(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"edited.{ending}"
        Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(path, exif=b"no EXIF", lossless=True)
        assert self.read(path)[:, 0, 0].tolist() == [1, 2, 3]

    def test_unreadable_files_of_a_folder_are_named_and_left_out(self, tmp_path: Path) -> None:
        broken = save(tmp_path / "cut.jpg", random_pixels(101, 103, 3))
        broken.write_bytes(broken.read_bytes()[:2000])
        (tmp_path / "empty.png").touch()
        (tmp_path / "page.png").write_text("<html>404</html>")
        Image.fromarray(np.full((5, 7), 0.5, np.float32)).save(tmp_path / "float.tif")
        Image.fromarray(np.full((5, 7), 70_000, np.int32)).save(tmp_path / "int.tif")
        save(tmp_path / "a.png", random_pixels(HEIGHT, WIDTH, 3))
        save(tmp_path / "z.png", random_pixels(HEIGHT, WIDTH, 3, seed=1))
        with pytest.warns(UserWarning) as caught:
            loaded = load_images(tmp_path, (HEIGHT, WIDTH), 3, None)
        assert loaded.names == ("a.png", "z.png")
        (warning,) = caught
        message = str(warning.message)
        assert message.startswith(f"{tmp_path}: skipped 5 broken image files: ")
        reasons = {
            "cut.jpg": "image file is truncated (",
            "empty.png": "it has no known image format",
            "float.tif": "pixels of mode F have no known range",
            "int.tif": "pixels of mode I have no known range",
            "page.png": "it has no known image format",
        }
        for listed, (name, reason) in zip(message.split("; "), reasons.items(), strict=True):
            assert f"{name} is not a readable image ({reason}" in listed

    def test_the_limit_counts_readable_files(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").touch()
        for name in ("b.png", "c.png", "d.png"):
            save(tmp_path / name, random_pixels(HEIGHT, WIDTH))
        with pytest.warns(UserWarning, match="skipped 1 broken image file: .*a.png"):
            assert load_images(tmp_path, (HEIGHT, WIDTH), 3, 2).names == ("b.png", "c.png")

    def test_a_picture_too_large_to_decode_is_one_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = save(tmp_path / "poster.png", random_pixels(HEIGHT, WIDTH))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 2 - 1)
        with pytest.raises(DataError, match=r"poster.png is not a readable image \(Image size \("):
            self.read(path)

    def test_an_archive_is_read_like_its_folder(self, tmp_path: Path) -> None:
        pixels = save_many(tmp_path / "photos" / "below", 3)
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            for file in sorted((tmp_path / "photos" / "below").iterdir()):
                archive.write(file, f"photos/below/{file.name}")
        loaded = load_images(tmp_path / "photos.zip", (HEIGHT, WIDTH), 3, None)
        assert torch.equal(loaded.pixels, channels_first(pixels))
        assert loaded.names == ("000.png", "001.png", "002.png")
        of_folder = load_images(tmp_path / "photos", (HEIGHT, WIDTH), 3, None)
        assert of_folder.names == ("below/000.png", "below/001.png", "below/002.png")
        assert torch.equal(of_folder.pixels, loaded.pixels)


class TestLoadImages:
    def test_files_of_a_folder_come_by_name_and_resized_ones_are_counted(self, tmp_path):
        second = save(tmp_path / "b.png", random_pixels(HEIGHT, WIDTH, 3))
        save(tmp_path / "a.JPG", random_pixels(17, 19, 3))
        (tmp_path / "notes.txt").write_text("not an image")
        loaded = load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
        assert loaded.pixels.shape == (2, 3, HEIGHT, WIDTH)
        assert loaded.pixels.dtype == torch.uint8
        assert loaded.names == ("a.JPG", "b.png")
        assert loaded.resized == 1
        alone = load_images(second, (HEIGHT, WIDTH), 3, 9)
        assert torch.equal(loaded.pixels[1:], alone.pixels)

    def test_a_missing_or_broken_file_is_named(self, tmp_path):
        with pytest.raises(DataError, match="nowhere does not exist"):
            load_images(tmp_path / "nowhere", (HEIGHT, WIDTH), 3, 9)
        with pytest.raises(DataError, match="has no image files"):
            load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"no image")
        message = r"broken.png is not a readable image \(it has no known image format\)$"
        with pytest.raises(DataError, match="^[^;]*" + message):
            load_images(broken, (HEIGHT, WIDTH), 3, 9)
        with pytest.raises(DataError, match="has no readable image file: .*" + message):
            load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
