"""Read image files as uint8 pixels.

All images go through the same steps, whichever data set they come from:

1. turn upright, by the EXIF orientation;
2. composite onto white, if there is an alpha channel or a transparent color;
3. convert to 1 channel (ITU-R 601 luminance) or 3 (gray is repeated);
4. center-crop to the aspect ratio of ``image_size`` and resize to it (bicubic, antialiased), unless
   the image has that size already.

So a square CelebA is the usual center crop of 178 pixels, and MNIST at 32 x 32 is resized, not
padded. If pixels of files are unknown, a resized pixel is the mean of the pixels that it covers (a
box filter), so that unknown pixels do not leak into known ones.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from biglearn_gan.data.image_listing import DataError, ImagePath, named_images
from biglearn_gan.orientation import copied, turn_upright
from biglearn_gan.pixel_values import to_8_bits

T = TypeVar("T")

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
)
"""Exceptions that Pillow and zipfile raise for broken files, depending on the format."""


@dataclass(frozen=True, eq=False)
class MemoryImage:
    """A PIL image that is read as its file would be.

    Attributes:
        image: it is not changed.
        name: for messages.
    """

    image: Image.Image
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """The content of an image file that is stored in another file.

    Attributes:
        name: for messages.
        read_bytes: reads the content.
    """

    name: str
    read_bytes: Callable[[], bytes]

    def __str__(self) -> str:
        return self.name


ImageSource = ImagePath | EncodedImage | MemoryImage
"""A file on disk, in an archive or in a table, or a PIL image."""


@dataclass(frozen=True)
class LoadedImages:
    """Images of files, at one size.

    Attributes:
        pixels: in [0, 255].
        names: one per image: the file's name, or its path from the folder that was named.
        resized: how many of them had another size.
    """

    pixels: UInt8[Tensor, "N C H W"]
    names: tuple[str, ...]
    resized: int


def load_images(
    path: Path,
    image_size: tuple[int, int],
    channels: int,
    limit: int | None,
) -> LoadedImages:
    """Load an image file, or the first ``limit`` (None: all) image files of a folder, by name.

    Args:
        path: a file, a folder or an archive, see :func:`named_images`.
        image_size: (height, width).
        channels: 1 or 3.
        limit: the largest number of images.

    Raises:
        DataError: see :func:`read_named`.
    """

    def read(name: str, file: ImagePath) -> tuple[np.ndarray, str, bool]:
        image = open_image(file, channels)
        return fit_image(image, image_size), name, image.size != image_size[::-1]

    pixels, names, resized = zip(*read_named(path, read, limit), strict=True)
    return LoadedImages(torch.from_numpy(np.stack(pixels)), names, sum(resized))


def read_named(
    path: Path,
    read: Callable[[str, ImagePath], T],
    limit: int | None,
    leave_out: Path | None = None,
) -> list[T]:
    """Read an image file, or the first ``limit`` (None: all) image files of a folder, by name.

    Broken files of a folder are skipped with a warning that names them.

    Args:
        path: a file, a folder or an archive, see :func:`named_images`.
        read: gives a result for the name and the file of an image, or raises a DataError.
        limit: the largest number of results.
        leave_out: a folder below the path whose files are not read, such as one of masks, or a
            file that is not.

    Raises:
        DataError: the path does not exist, it has no image files, or none of them can be read.
    """
    results: list[T] = []
    broken: list[str] = []
    for name, file in named_images(path, leave_out).items():
        if len(results) == limit:
            break
        try:
            results.append(read(str(name), file))
        except DataError as error:
            if file == path:
                raise
            broken.append(str(error))
    if not results:
        raise DataError(f"{path} has no readable image file: {list_broken(broken)}")
    if broken:
        warnings.warn(skipped_files(str(path), broken), stacklevel=2)
    return results


def skipped_files(source: str, reasons: Sequence[str]) -> str:
    """The sentence that names the broken files of a data set or of a folder."""
    files = "file" if len(reasons) == 1 else "files"
    return f"{source}: skipped {len(reasons)} broken image {files}: {list_broken(reasons)}"


def list_broken(reasons: Sequence[str]) -> str:
    """Why files are broken, at most ten of them."""
    return "; ".join(reasons[:10]) + ("; ..." if len(reasons) > 10 else "")


def parallel_for(function: Callable[..., None], arguments: list[tuple], workers: int) -> None:
    """Call ``function(*a)`` for every ``a`` of ``arguments``, in ``workers`` threads (0: none)."""

    def run(part: list[tuple]) -> None:
        for each in part:
            function(*each)

    if workers == 0:
        return run(arguments)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, [arguments[start::workers] for start in range(workers)]))


def open_image(
    source: ImageSource | np.ndarray, channels: int, check_only: bool = False
) -> Image.Image:
    """Open an upright "L" or "RGB" image of any size; of an animation, its first picture.

    Args:
        source: a file, a PIL image, or an array (H, W) or (H, W, 3).
        channels: 1 or 3.
        check_only: decode a JPEG at an eighth of its size, which is faster and still reads every
            byte. (Pillow's ``verify`` accepts a truncated JPEG.)

    Raises:
        DataError: the file is broken, or its pixels have no known range.
    """
    if isinstance(source, np.ndarray):
        return _convert(Image.fromarray(source), channels)
    try:
        with opened(source) as image:
            if check_only:
                image.draft(None, (1, 1))
            return _convert(image, channels)
    except UNREADABLE as error:
        raise unreadable(source, error) from error


def unreadable(source: ImageSource, error: BaseException) -> DataError:
    """The error for a file that Pillow cannot read."""
    return DataError(f"{source} is not a readable image ({reason_of(error)})")


@contextmanager
def opened(source: ImageSource) -> Iterator[Image.Image]:
    """Pillow's image of a file, whose pixels are not decoded yet, or a copy of an image."""
    if isinstance(source, MemoryImage):
        yield copied(source.image)
        return
    with (
        open(source, "rb") if isinstance(source, Path) else io.BytesIO(source.read_bytes()) as file,
        Image.open(file) as image,
    ):
        yield image


def reason_of(error: BaseException) -> str:
    """Why a file cannot be read, for the end of a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return "it has no known image format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


def open_upright(source: ImageSource) -> Image.Image:
    """Open an upright "L", "LA", "RGB" or "RGBA" image of any size, with its colors as they are.

    Raises:
        DataError: the file is broken.
    """
    try:
        with opened(source) as image:
            turn_upright(image)
            if image.mode in ("CMYK", "LAB", "YCbCr"):
                image.info.pop("icc_profile", None)  # is not one of RGB
            upright = to_8_bits(image)
            gray = "L" if upright.mode in ("1", "L", "LA") else "RGB"
            return upright.convert(gray + "A" * upright.has_transparency_data)
    except UNREADABLE as error:
        raise unreadable(source, error) from error


def _convert(image: Image.Image, channels: int) -> Image.Image:
    turn_upright(image)
    image = to_8_bits(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if channels == 1 else "RGB")


def fit_image(
    image: Image.Image,
    image_size: tuple[int, int],
    resampling: Image.Resampling = Image.Resampling.BICUBIC,
) -> np.ndarray:
    """Center-crop and resize an image to (height, width); the result is uint8 (C, H, W)."""
    height, width = image_size
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), resampling)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
