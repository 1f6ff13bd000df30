"""The EXIF orientation of PIL images: how a camera was held."""

from __future__ import annotations

from PIL import Image, ImageOps

ORIENTATION = 0x0112
"""The EXIF tag of a photo's orientation."""


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1, upright, if there is none that can be read."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken metadata can raise anything
        return 1
    return orientation if orientation in range(1, 9) else 1


def turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; metadata that cannot be read are ignored."""
    if orientation_of(image) != 1:
        ImageOps.exif_transpose(image, in_place=True)


def copied(image: Image.Image) -> Image.Image:
    """A copy that keeps the format and the orientation of its file, which Pillow's may lose."""
    copy = image.copy()
    orientation = orientation_of(image)  # after loading, which turns a TIFF upright
    copy.format = image.format
    if orientation != orientation_of(copy):
        copy.getexif()[ORIENTATION] = orientation
    return copy


def upright_copy(image: Image.Image) -> Image.Image:
    """A copy of an image, turned by its EXIF orientation."""
    copy = copied(image)
    turn_upright(copy)
    return copy
