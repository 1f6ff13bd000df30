"""Image files of every kind become uint8 pixels, and these floats in [-1, 1]."""

import numpy as np
import pytest
import torch
from image_folders import HEIGHT, WIDTH, random_pixels, save
from PIL import Image

from biglearn_gan.data.image_files import DataError, load_images, to_signed_float, to_uint8


class TestRange:
    def test_every_uint8_value_survives_the_round_trip(self):
        values = torch.arange(256, dtype=torch.uint8)
        assert torch.equal(to_uint8(to_signed_float(values)), values)

    def test_the_range_is_minus_one_to_one(self):
        floats = to_signed_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        assert floats.dtype == torch.float32
        assert torch.allclose(floats, torch.tensor([-1.0, -0.6, 1.0]))

    def test_floats_are_clipped_and_rounded(self):
        floats = torch.tensor([-1.5, 0.0, 0.002, 7.0])
        assert to_uint8(floats).tolist() == [0, 128, 128, 255]


class TestImageKinds:
    """Files of each kind, read by `load_images`, which the data sets use as well."""

    def read(self, path, channels=3, image_size=(HEIGHT, WIDTH)):
        pixels, _ = load_images(path, image_size, channels, 1)
        return pixels[0].numpy()

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


class TestLoadImages:
    def test_files_of_a_folder_come_by_name_and_resized_ones_are_counted(self, tmp_path):
        second = save(tmp_path / "b.png", random_pixels(HEIGHT, WIDTH, 3))
        save(tmp_path / "a.JPG", random_pixels(17, 19, 3))
        (tmp_path / "notes.txt").write_text("not an image")
        pixels, resized = load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
        assert pixels.shape == (2, 3, HEIGHT, WIDTH)
        assert pixels.dtype == torch.uint8
        assert resized == 1
        assert torch.equal(pixels[1:], load_images(second, (HEIGHT, WIDTH), 3, 9)[0])

    def test_a_missing_or_broken_file_is_named(self, tmp_path):
        with pytest.raises(DataError, match="nowhere does not exist"):
            load_images(tmp_path / "nowhere", (HEIGHT, WIDTH), 3, 9)
        with pytest.raises(DataError, match="has no image files"):
            load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
        (tmp_path / "broken.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"broken.png is not a readable image"):
            load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
