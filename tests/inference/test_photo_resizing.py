"""A photo and its hole go through one box, and what is pasted back changes the hole alone."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from biglearn_gan.config import FitMode
from biglearn_gan.errors import UsageError
from biglearn_gan.inference.photo_resizing import PhotoResizing, make_resizing

MODES: tuple[FitMode, ...] = ("crop", "pad", "stretch")
SIZES = st.tuples(st.integers(1, 43), st.integers(1, 43))


def random_photo(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def random_hole(height: int, width: int, share: float = 0.4) -> np.ndarray:
    return np.random.default_rng(1).random((height, width)) < share


class TestGeometry:
    @pytest.mark.parametrize(
        ("mode", "box", "scale"),
        [
            ("crop", (15, 0, 38, 23), (23 / 11, 23 / 11)),
            ("pad", (0, -15, 53, 38), (53 / 11, 53 / 11)),
            ("stretch", (0, 0, 53, 23), (23 / 11, 53 / 11)),
        ],
    )
    def test_a_wide_photo_for_a_square_image(
        self, mode: FitMode, box: tuple[int, ...], scale: tuple[float, float]
    ) -> None:
        resizing = make_resizing((23, 53), (11, 11), mode)
        assert resizing.box == box
        assert resizing.scale == pytest.approx(scale)

    @pytest.mark.parametrize(
        ("mode", "box"), [("crop", (0, 15, 23, 38)), ("pad", (-15, 0, 38, 53))]
    )
    def test_a_tall_photo(self, mode: FitMode, box: tuple[int, ...]) -> None:
        assert make_resizing((53, 23), (11, 11), mode).box == box

    @given(SIZES, SIZES)
    def test_crop_and_pad_keep_the_aspect_ratio_around_the_center(
        self, photo: tuple[int, int], image: tuple[int, int]
    ) -> None:
        for mode in MODES:
            resizing = make_resizing(photo, image, mode)
            left, top, right, bottom = resizing.box
            assert (left + right, top + bottom) == pytest.approx(photo[::-1])
            if mode == "stretch":
                assert resizing.box == (0, 0, photo[1], photo[0])
                continue
            assert (right - left) / (bottom - top) == pytest.approx(image[1] / image[0])
            shown = (bottom - top, right - left)
            inside = [a <= b + 1e-9 for a, b in zip(shown, photo, strict=True)]
            outside = [a >= b - 1e-9 for a, b in zip(shown, photo, strict=True)]
            assert all(inside if mode == "crop" else outside)
            assert any(math.isclose(a, b) for a, b in zip(shown, photo, strict=True))

    @pytest.mark.parametrize("mode", MODES)
    def test_the_same_size_is_the_identity(self, mode: FitMode) -> None:
        resizing = make_resizing((11, 17), (11, 17), mode)
        photo, hole = random_photo(11, 17), random_hole(11, 17)
        assert resizing.is_identity
        assert resizing.inside().all()
        assert np.array_equal(resizing.resize_photo(photo, hole), photo)
        assert np.array_equal(resizing.resize_hole(hole), hole)
        assert np.array_equal(resizing.enlarge_hole(hole), hole)
        other = random_photo(11, 17, seed=5)
        expected = np.where(hole[..., None], other, photo)
        assert np.array_equal(resizing.paste(photo, other, hole), expected)


class TestPhotos:
    @given(SIZES, SIZES, st.sampled_from([1, 3]))
    @settings(deadline=None, max_examples=60)
    def test_crop_is_what_training_does(
        self, photo_size: tuple[int, int], size: tuple[int, int], channels: int
    ) -> None:
        photo = random_photo(*photo_size, channels)
        image = Image.fromarray(photo.squeeze(2) if channels == 1 else photo)
        expected = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC))
        fitted = make_resizing(photo_size, size, "crop").resize_photo(photo)
        assert np.array_equal(fitted, expected.reshape(*size, channels))

    def test_padding_repeats_the_edges(self) -> None:
        photo = random_photo(7, 13)
        fitted = make_resizing((7, 13), (13, 13), "pad").resize_photo(photo)
        assert np.array_equal(fitted[3:10], photo)
        assert (fitted[:3] == photo[0]).all()
        assert (fitted[10:] == photo[-1]).all()
        turned = make_resizing((13, 7), (13, 13), "pad").resize_photo(photo.transpose(1, 0, 2))
        assert np.array_equal(turned, fitted.transpose(1, 0, 2))

    def test_a_long_panorama_is_padded_in_little_memory(self) -> None:
        photo = np.full((3, 60_000, 1), 7, dtype=np.uint8)  # 3.6 GB as a square
        assert (make_resizing((3, 60_000), (5, 5), "pad").resize_photo(photo) == 7).all()

    @given(SIZES, SIZES, st.sampled_from(MODES), st.floats(0.05, 0.95))
    @settings(deadline=None, max_examples=80)
    def test_known_pixels_do_not_depend_on_the_hole(
        self, photo_size: tuple[int, int], size: tuple[int, int], mode: FitMode, share: float
    ) -> None:
        photo, hole = random_photo(*photo_size), random_hole(*photo_size, share)
        other = np.where(hole[..., None], 255 - photo, photo)
        resizing = make_resizing(photo_size, size, mode)
        known = ~resizing.resize_hole(hole)
        ours, theirs = resizing.resize_photo(photo, hole), resizing.resize_photo(other, hole)
        assert np.array_equal(ours[known], theirs[known])

    def test_known_pixels_far_from_the_hole_are_those_without_a_hole(self) -> None:
        photo, hole = random_photo(71, 101), np.zeros((71, 101), dtype=bool)
        hole[:20, :20] = True
        resizing = make_resizing((71, 101), (13, 19), "stretch")
        near = np.zeros((13, 19), dtype=bool)
        near[:7, :7] = True
        ours, plain = resizing.resize_photo(photo, hole), resizing.resize_photo(photo)
        assert np.array_equal(ours[~near], plain[~near])
        assert not np.array_equal(ours, plain)
        assert np.array_equal(ours[resizing.resize_hole(hole)], plain[resizing.resize_hole(hole)])

    def test_a_plain_photo_stays_plain_around_its_hole(self) -> None:
        photo, hole = np.full((71, 101, 3), 90, dtype=np.uint8), random_hole(71, 101)
        photo[hole] = (255, 0, 17)
        resizing = make_resizing((71, 101), (13, 19), "crop")
        assert (resizing.resize_photo(photo, hole)[~resizing.resize_hole(hole)] == 90).all()


class TestHoles:
    def test_a_pixel_with_exactly_half_of_its_area_is_hole(self) -> None:
        hole = np.zeros((6, 10), dtype=bool)  # 3 x 5 pixels of 2 x 2
        hole[0, 0:2] = True  # half of a pixel
        hole[2, 2] = True  # a quarter
        hole[4:6, 4] = hole[4, 5] = True  # three quarters
        expected = np.zeros((3, 5), dtype=bool)
        expected[0, 0] = expected[2, 2] = True
        assert np.array_equal(make_resizing((6, 10), (3, 5), "crop").resize_hole(hole), expected)

    def test_half_of_a_pixel_with_a_fractional_edge(self) -> None:
        hole = np.zeros((7, 5), dtype=bool)  # 2 x 2 pixels of 3.5 x 2.5
        hole[:, :2] = True  # 2 of 2.5 columns
        hole[3] = False  # half a row of each
        resizing = make_resizing((7, 5), (2, 2), "stretch")
        # 3 of 3.5 rows, 2 of 2.5 columns: 6 / 8.75 of the area
        assert resizing.resize_hole(hole).tolist() == [[True, False], [True, False]]
        hole[:] = False
        hole[1:3, :2] = True  # 4 / 8.75
        assert not resizing.resize_hole(hole).any()
        hole[3, 0] = True  # 4.5 / 8.75 above, 0.5 / 8.75 below
        assert resizing.resize_hole(hole).tolist() == [[True, False], [False, False]]

    @given(SIZES, SIZES)
    @settings(deadline=None, max_examples=40)
    def test_the_area_is_exact(self, photo: tuple[int, int], image: tuple[int, int]) -> None:
        """Against fractions, one axis at a time."""
        rows, height = photo[0], image[0]
        hole = random_hole(rows, 1)
        scale = Fraction(rows, height)
        expected = []
        for row in range(height):
            low, high = row * scale, (row + 1) * scale
            area = sum(
                max(Fraction(0), min(high, y + 1) - max(low, y)) for y in range(rows) if hole[y, 0]
            )
            expected.append(area >= scale / 2)
        resizing = PhotoResizing((rows, 1), (0.0, 0.0, 1.0, float(rows)), (height, 1))
        assert resizing.resize_hole(hole)[:, 0].tolist() == expected
        resizing = PhotoResizing((1, rows), (0.0, 0.0, float(rows), 1.0), (1, height))
        assert resizing.resize_hole(hole.T)[0].tolist() == expected

    def test_a_hole_outside_of_the_crop_is_lost(self) -> None:
        hole = np.zeros((7, 19), dtype=bool)
        hole[:, :6] = True
        assert not make_resizing((7, 19), (7, 7), "crop").resize_hole(hole).any()
        hole[:, 6] = True
        assert make_resizing((7, 19), (7, 7), "crop").resize_hole(hole)[:, 0].all()

    def test_padding_repeats_the_hole(self) -> None:
        hole = np.zeros((7, 13), dtype=bool)
        hole[0, 4] = hole[3, 5] = True
        fitted = make_resizing((7, 13), (13, 13), "pad").resize_hole(hole)
        expected = np.zeros((13, 13), dtype=bool)
        expected[:4, 4] = expected[6, 5] = True
        assert np.array_equal(fitted, expected)


class TestPasting:
    @given(SIZES, SIZES, st.sampled_from(MODES))
    @settings(deadline=None, max_examples=60)
    def test_only_pixels_of_the_hole_change(
        self, photo_size: tuple[int, int], size: tuple[int, int], mode: FitMode
    ) -> None:
        photo, hole = random_photo(*photo_size), random_hole(*photo_size)
        resizing = make_resizing(photo_size, size, mode)
        pasted = resizing.paste(photo, random_photo(*size, seed=3), hole)
        changed = hole & resizing.inside()
        assert np.array_equal(pasted[~changed], photo[~changed])
        assert np.array_equal(
            pasted[changed], resizing.enlarge(random_photo(*size, seed=3))[changed]
        )

    def test_what_is_cropped_stays(self) -> None:
        resizing = make_resizing((7, 17), (7, 7), "crop")
        inside = np.zeros((7, 17), dtype=bool)
        inside[:, 5:12] = True
        assert np.array_equal(resizing.inside(), inside)
        photo, image = random_photo(7, 17), random_photo(7, 7, seed=3)
        pasted = resizing.paste(photo, image, np.ones((7, 17), dtype=bool))
        assert np.array_equal(pasted[:, 5:12], image)
        assert np.array_equal(pasted[:, :5], photo[:, :5])
        assert np.array_equal(pasted[:, 12:], photo[:, 12:])

    def test_what_was_padded_is_left_out(self) -> None:
        resizing = make_resizing((7, 13), (13, 13), "pad")
        image = random_photo(13, 13)
        assert resizing.inside().all()
        assert np.array_equal(resizing.enlarge(image), image[3:10])

    @pytest.mark.parametrize("mode", MODES)
    def test_a_ramp_is_enlarged_in_place(self, mode: FitMode) -> None:
        """Bicubic interpolation reproduces a line, away from the edges of the image."""
        resizing = make_resizing((46, 106), (23, 23), mode)
        left, top, right, bottom = resizing.box
        x = left + (np.arange(23) + 0.5) / 23 * (right - left)
        y = top + (np.arange(23) + 0.5) / 23 * (bottom - top)
        ramp = 128 + 0.4 * (x - 53)[None, :] + 0.4 * (y - 23)[:, None]
        enlarged = resizing.enlarge(np.rint(ramp)[..., None].astype(np.uint8))[..., 0].astype(float)
        expected = (
            128 + 0.4 * (np.arange(106) + 0.5 - 53) + 0.4 * (np.arange(46) + 0.5 - 23)[:, None]
        )
        margin_y, margin_x = (math.ceil(3 * scale) for scale in resizing.scale)
        core = np.zeros((46, 106), dtype=bool)
        low_x, low_y = math.ceil(max(left, 0)) + margin_x, math.ceil(max(top, 0)) + margin_y
        core[low_y : 46 - low_y, low_x : 106 - low_x] = True
        assert core.any()
        assert np.abs(enlarged - expected)[core].max() < 1.5

    def test_a_hole_of_the_model_covers_the_photo_pixels_in_it(self) -> None:
        hole = np.zeros((2, 3), dtype=bool)
        hole[0, 2] = True
        enlarged = make_resizing((4, 10), (2, 3), "crop").enlarge_hole(hole)
        expected = np.zeros((4, 10), dtype=bool)
        expected[:2, 6:8] = True  # the crop is 6 of 10 columns wide
        assert np.array_equal(enlarged, expected)

    @given(SIZES, SIZES, st.sampled_from(MODES))
    @settings(deadline=None, max_examples=40)
    def test_enlarged_holes_come_back(
        self, photo_size: tuple[int, int], size: tuple[int, int], mode: FitMode
    ) -> None:
        """If each model pixel shows whole photo pixels, fitting inverts enlarging."""
        factor = 3
        photo_size = (size[0] * factor, size[1] * factor)
        hole = random_hole(*size)
        resizing = make_resizing(photo_size, size, mode)
        assert np.array_equal(resizing.resize_hole(resizing.enlarge_hole(hole)), hole)


@pytest.mark.parametrize("mode", ["Crop", "zoom", None])
def test_another_mode_is_refused(unchecked: None, mode: Any) -> None:
    with pytest.raises(UsageError, match=f"fit must be one of crop, pad, stretch, not {mode!r}"):
        make_resizing((4, 6), (4, 4), mode)
