"""A mask file is matched with its image, whatever their sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from biglearn_gan.data.mask_files import MaskFile
from biglearn_gan.inference.masks import (
    MaskReport,
    describe_masks,
    describe_reading,
    fit_mask,
    turn_hole_upright,
)
from biglearn_gan.inference.photo_resizing import make_resizing
from biglearn_gan.tasks.holes import HoleError

PATH = Path("masks/hole.png")


def mask_of(hole: np.ndarray, turned: bool = False) -> MaskFile:
    return MaskFile(hole.astype(np.float32), "white", turned=turned)


def corner(height: int, width: int) -> np.ndarray:
    """The upper left quarter."""
    hole = np.zeros((height, width), dtype=bool)
    hole[: height // 2, : width // 2] = True
    return hole


class TestSizes:
    def test_of_the_photo(self) -> None:
        fitted = fit_mask(PATH, mask_of(corner(12, 20)), make_resizing((12, 20), (6, 10), "crop"))
        assert np.array_equal(fitted.hole, corner(6, 10))
        assert fitted.own_hole is not None and np.array_equal(fitted.own_hole, corner(12, 20))
        assert fitted.report == MaskReport("hole.png", "white", path="masks/hole.png")

    def test_of_the_model(self) -> None:
        fitted = fit_mask(PATH, mask_of(corner(6, 10)), make_resizing((12, 20), (6, 10), "crop"))
        assert np.array_equal(fitted.hole, corner(6, 10))
        assert fitted.own_hole is None

    @pytest.mark.parametrize("size", [(24, 40), (6, 10), (30, 50)])
    def test_of_the_photos_shape_in_another_resolution(self, size: tuple[int, int]) -> None:
        """As people have who reduced their photo after they drew the mask."""
        fitted = fit_mask(PATH, mask_of(corner(*size)), make_resizing((12, 20), (4, 4), "stretch"))
        assert np.array_equal(fitted.hole, corner(4, 4))
        assert fitted.own_hole is not None and np.array_equal(fitted.own_hole, corner(12, 20))
        assert fitted.report.resized

    @pytest.mark.parametrize(
        ("size", "mine", "photo"), [((299, 199), 1000, 1500), ((67, 45), 667, 1000)]
    )
    def test_a_shape_is_equal_up_to_rounding(
        self, size: tuple[int, int], mine: int, photo: int
    ) -> None:
        fitted = fit_mask(
            PATH, mask_of(corner(*size)), make_resizing((photo, mine), (6, 4), "crop")
        )
        assert np.array_equal(fitted.hole, corner(6, 4))

    @pytest.mark.parametrize(
        ("photo", "expected"),
        [
            ((12, 21), "but its photo has 12 x 21 and the model's images have 6 x 10"),
            ((6, 10), "but the model's images have 6 x 10"),
        ],
    )
    def test_another_shape_is_refused(self, photo: tuple[int, int], expected: str) -> None:
        with pytest.raises(HoleError, match=rf"hole.png has 20 x 12 pixels .*, {expected}$"):
            fit_mask(PATH, mask_of(corner(20, 12)), make_resizing(photo, (6, 10), "crop"))

    def test_without_a_hole(self) -> None:
        with pytest.raises(HoleError, match=r"hole.png has no hole: no pixel of it is white$"):
            fit_mask(PATH, mask_of(np.zeros((6, 10))), make_resizing((6, 10), (6, 10), "crop"))


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_turning_is_that_of_photos(self, orientation: int) -> None:
        hole = np.random.default_rng(0).random((5, 7)) < 0.5
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(hole)
        image.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(turn_hole_upright(hole, orientation), expected)
        assert (expected.shape == (7, 5)) == (orientation > 4)

    def test_a_stored_mask_is_turned_like_its_photo(self) -> None:
        resizing = make_resizing((20, 12), (10, 6), "crop")
        stored = np.rot90(corner(20, 12))
        fitted = fit_mask(PATH, mask_of(stored), resizing, orientation=6)
        assert fitted.own_hole is not None and np.array_equal(fitted.own_hole, corner(20, 12))
        assert fitted.report.turned

    def test_an_upright_mask_is_not(self) -> None:
        resizing = make_resizing((20, 12), (10, 6), "crop")
        fitted = fit_mask(PATH, mask_of(corner(20, 12)), resizing, orientation=6)
        assert np.array_equal(fitted.hole, corner(10, 6))
        assert not fitted.report.turned

    def test_one_that_was_turned_by_itself_is_not_turned_again(self) -> None:
        resizing = make_resizing((20, 12), (10, 6), "crop")
        with pytest.raises(HoleError, match="has 12 x 20 pixels"):
            fit_mask(PATH, mask_of(corner(12, 20), turned=True), resizing, orientation=6)


class TestSentences:
    def test_plain_masks_need_none(self) -> None:
        assert describe_masks([MaskReport("a.png", "white")] * 3) == ()
        assert describe_reading([MaskReport("a.png", "white")] * 3) == "white"
        assert describe_reading([]) == ""

    def test_each_fact_is_said_once(self) -> None:
        reports = [
            MaskReport("a.png", "white", soft_share=0.1),
            MaskReport("b.png", "transparent", soft_share=0.2, turned=True),
            MaskReport("c.png", "white", values=(0.0, 1.0), resized=True),
        ]
        assert describe_masks(reports) == (
            "2 of 3 masks: gray or half transparent pixels were cut at half",
            "c.png: resized to the size of the image",
            "b.png: turned by the EXIF orientation of the photo",
            "c.png: the values 0 and 1 were read as black and white",
        )
        assert describe_reading(reports) == "white in 2 masks, transparent in 1"

    def test_files_of_one_name_in_two_folders_are_two_masks(self) -> None:
        reports = [
            MaskReport("0.png", "white", resized=True, path="a/0.png"),
            MaskReport("0.png", "white", resized=True, path="b/0.png"),
            MaskReport("1.png", "transparent", turned=True, path="b/1.png"),
        ]
        assert describe_masks(reports) == (
            "2 of 3 masks: resized to the size of the image",
            "1.png: turned by the EXIF orientation of the photo",
        )
        assert describe_reading(reports) == "white in 2 masks, transparent in 1"
        plain = MaskReport("0.png", "white", path="c/0.png")
        assert describe_masks([reports[0], plain]) == ("a/0.png: resized to the size of the image",)

    def test_a_mask_of_several_photos_is_one(self) -> None:
        reports = [
            MaskReport("hole.png", "white", path="hole.png"),
            MaskReport("hole.png", "white", resized=True, path="hole.png"),
        ]
        assert describe_masks(reports) == ("hole.png: resized to the size of the image",)
        assert describe_reading(reports) == "white"
