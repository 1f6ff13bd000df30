"""``complete_photo`` takes files and PIL images alike, and refuses what it does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from biglearn_gan.config import Config
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.errors import UsageError
from biglearn_gan.inference.complete_photo import complete_photo
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.tasks.holes import HoleError

ROWS, COLUMNS = 20, 30
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def model(tiny_config: Callable[..., Config]) -> BigLearnGAN:
    """An untrained model of 8 x 8 RGB images."""
    values = {"data.name": "folder", "data.root": "photos", "data.channels": 3}
    return BigLearnGAN(tiny_config(values))


def photo_of(channels: int = 3) -> Image.Image:
    shape = (ROWS, COLUMNS, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels.squeeze())


def mask_of(rows: int = ROWS, columns: int = COLUMNS) -> Image.Image:
    hole = np.zeros((rows, columns), dtype=bool)
    hole[rows // 4 : rows // 2, columns // 4 : columns // 2] = True
    return Image.fromarray(hole)


def turned(image: Image.Image, orientation: int = 6) -> Image.Image:
    image.getexif()[ORIENTATION] = orientation
    return image


def same(first: list[Image.Image], second: list[Image.Image]) -> bool:
    return len(first) == len(second) and all(
        a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    ("suffix", "orientation"),
    [("png", 1), ("png", 6), ("jpg", 1), ("jpg", 3), ("jpg", 6), ("tif", 1), ("tif", 3)],
)
def test_pil_images_are_read_as_their_files(
    suffix: str, orientation: int, model: BigLearnGAN, tmp_path: Path
) -> None:
    photo, mask = tmp_path / f"photo.{suffix}", tmp_path / "mask.png"
    image = turned(photo_of(), orientation)
    image.save(photo, exif=image.getexif())
    mask_of().save(mask)
    expected = complete_photo(model, photo, mask, seed=3, variations=2)
    assert expected[0].size == ((ROWS, COLUMNS) if orientation == 6 else (COLUMNS, ROWS))
    with Image.open(photo) as opened_photo, Image.open(mask) as opened_mask:
        assert same(complete_photo(model, opened_photo, mask, seed=3, variations=2), expected)
        assert same(
            complete_photo(model, opened_photo, opened_mask, seed=3, variations=2), expected
        )
        assert opened_photo.size == (COLUMNS, ROWS)
        if suffix != "tif":  # which Pillow turns upright itself
            assert opened_photo.getexif().get(ORIENTATION, 1) == orientation


def test_images_that_no_file_holds(model: BigLearnGAN) -> None:
    photo, mask = turned(photo_of()), mask_of(COLUMNS, ROWS)  # the mask of the upright photo
    (completed,) = complete_photo(model, photo, mask)
    upright = np.rot90(np.asarray(photo), -1)
    hole = np.asarray(mask)
    assert np.array_equal(np.asarray(completed)[~hole], upright[~hole])
    assert (np.asarray(completed)[hole] != upright[hole]).any()
    assert photo.size == (COLUMNS, ROWS)


def test_the_transparent_part_of_an_image(model: BigLearnGAN, tmp_path: Path) -> None:
    photo = photo_of()
    photo.putalpha(Image.fromarray(~np.asarray(mask_of())).convert("L"))
    photo.save(tmp_path / "erased.png")
    assert same(complete_photo(model, photo), complete_photo(model, tmp_path / "erased.png"))


def test_a_mask_in_an_array(model: BigLearnGAN) -> None:
    photo, mask = photo_of(), mask_of()
    expected = complete_photo(model, photo, mask)
    hole = np.asarray(mask)
    white = 255 * hole.astype(np.uint8)
    layer = np.stack([white, 0 * white, 0 * white, white], axis=-1)  # red paint
    arrays = [hole, white, 257 * white.astype(np.uint16), 1.0 * white, torch.tensor(hole).float()]
    arrays += [white[..., None], torch.from_numpy(white)[None], np.stack([white] * 3, -1), layer]
    for array in arrays:
        assert same(complete_photo(model, photo, array), expected)


def test_a_photo_that_does_not_exist_is_named_as_it_was(model: BigLearnGAN, tmp_path: Path) -> None:
    address = "https://example.com/cat.png"
    with pytest.raises(DataError, match=rf"^{address} does not exist: name an image file$"):
        complete_photo(model, address, "center")
    with pytest.raises(DataError, match=rf"^{tmp_path} is a folder: name an image file$"):
        complete_photo(model, tmp_path, "center")


def test_a_folder_of_masks_needs_a_photo_with_a_name(model: BigLearnGAN, tmp_path: Path) -> None:
    photo_of().save(tmp_path / "cat.jpg", quality=95)
    mask_of().save(tmp_path / "cat.mask.png")
    expected = complete_photo(model, tmp_path / "cat.jpg", tmp_path / "cat.mask.png")
    assert same(complete_photo(model, tmp_path / "cat.jpg", tmp_path), expected)
    with pytest.raises(HoleError, match=r"photo \(a PIL image\) has no name that chooses a mask"):
        complete_photo(model, photo_of(), tmp_path)


def test_messages_on_images_name_the_parameter(model: BigLearnGAN) -> None:
    with pytest.raises(HoleError, match=r"^the photo \(a PIL image\) has no transparent part to"):
        complete_photo(model, photo_of())
    with pytest.raises(HoleError, match=r"^the mask \(a PIL image\) has no hole: no pixel of it"):
        complete_photo(model, photo_of(), Image.new("L", (COLUMNS, ROWS)))
    with pytest.raises(DataError, match=r"^the photo \(a PIL image\) is not a readable image"):
        complete_photo(model, photo_of(1).convert("F"), mask_of())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fit": "Crop"}, "fit must be one of crop, pad, stretch, not 'Crop'"),
        ({"fit": "zoom"}, "fit must be one of crop, pad, stretch, not 'zoom'"),
        ({"mask_color": "White"}, "mask_color must be one of white, black, not 'White'"),
        ({"mask_color": "red"}, "mask_color must be one of white, black, not 'red'"),
        ({"mask": None, "mask_color": "white"}, "mask_color 'white' requires a mask"),
        (
            {"photo": np.zeros((8, 8, 3))},
            "photo must be a path or a PIL image, not ndarray: Image.from",
        ),
        (
            {"mask": [[True]]},
            "mask must be a hole's name, a path, a PIL image or an array",
        ),
        (
            {"mask": np.zeros((2, 8, 8))},
            r"mask must have the shape \(h, w\), or \(h, w, 3\) for uint8, not \(2, 8, 8\)",
        ),
        (
            {"mask": np.zeros((8, 8, 3))},
            r"mask must have the shape \(h, w\), or \(h, w, 3\) for uint8, not \(8, 8, 3\)",
        ),
        (
            {"model": "digits"},
            r"^model must be a BigLearnGAN, not str: BigLearnGAN.from_pretrained loads one$",
        ),
        ({"mask": np.full((8, 8), -1)}, "mask must be Boolean, 0 and 1, or black and white"),
        ({"mask": "heart"}, "unknown mask 'heart'.*, or name an image file or a folder of masks"),
        ({"mask": "joint"}, "the mask joint leaves nothing of the photo: name another"),
        ({"mask": "no.png"}, r"the mask no\.png does not exist"),
        (
            {"mask": "center", "mask_color": "white"},
            "requires a mask that is .*, not center",
        ),
        ({"variations": 0}, "variations must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    unchecked: None, arguments: dict[str, Any], message: str, model: BigLearnGAN
) -> None:
    with pytest.raises(UsageError, match=message):
        complete_photo(**{"model": model, "photo": photo_of(), "mask": mask_of(), **arguments})
