"""Read image files as uint8 pixels, and convert between uint8 and [-1, 1].

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

import hashlib
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from biglearn_gan.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

MASK_SUFFIX = ".mask.png"
"""A file with this ending is the mask of the image of the same name, never an image."""

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
"""Exceptions that Pillow raises for broken files, depending on the format."""


class DataError(UserError):
    """Data are missing, empty or broken; the message says how to provide or repair them."""


def load_images(
    path: Path, image_size: tuple[int, int], channels: int, limit: int | None
) -> tuple[UInt8[Tensor, "N C H W"], int]:
    """Load an image file, or the first ``limit`` (None: all) image files of a folder, by name.

    Returns:
        Images in [0, 255], and how many of them had another size.

    Raises:
        DataError: the path does not exist, the folder has no image files, or a file is broken.
    """
    height, width = image_size
    pixels, resized = [], 0
    for file in image_files_at(path)[:limit]:
        image = open_image(file, channels)
        resized += image.size != (width, height)
        pixels.append(fit_image(image, image_size))
    return torch.from_numpy(np.stack(pixels)), resized


def image_files_at(path: Path) -> list[Path]:
    """The image file, or the image files directly in the folder, sorted by name.

    Raises:
        DataError: the path does not exist, or the folder has no image files.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; name an image file or a folder of image files")
    files = list_image_files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} has no image files ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def to_signed_float(images: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Convert uint8 in [0, 255] to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Round floats in [-1, 1] (others are clipped) to uint8: the inverse of `to_signed_float`."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class LazyPixels:
    """Acts as a uint8 tensor (N, C, H, W) whose images are decoded when it is indexed."""

    images: Sequence[Path] | np.ndarray
    channels: int
    image_size: tuple[int, int]
    workers: int = 0
    device: torch.device | str = "cpu"
    resampling: Image.Resampling = Image.Resampling.BICUBIC

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.images), self.channels, *self.image_size)

    def to(self, device: torch.device | str) -> LazyPixels:
        return replace(self, device=device)

    def subset(self, indices: Int64[Tensor, " K"]) -> LazyPixels:
        """The images of ``indices``."""
        return replace(self, images=select_images(self.images, indices.tolist()))

    def state(self) -> str:
        """A text that changes with the images: names, sizes and times of files, and the format."""
        lines = [f"{self.channels} {self.image_size}"]
        for image in self.images:
            if isinstance(image, Path):
                stat = image.stat()
                lines.append(f"{image} {stat.st_size} {stat.st_mtime_ns}")
            else:
                lines.append(hashlib.sha256(image.tobytes()).hexdigest())
        return "\n".join(lines)

    def __getitem__(self, indices: Int64[Tensor, " B"]) -> UInt8[Tensor, "B C H W"]:
        pixels = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)

        def decode(position: int, index: int) -> None:
            image = open_image(self.images[index], self.channels)
            pixels[position] = fit_image(image, self.image_size, self.resampling)

        parallel_for(decode, list(enumerate(indices.tolist())), self.workers)
        return torch.from_numpy(pixels).to(self.device)


def select_images(
    images: Sequence[Path] | np.ndarray, indices: Sequence[int]
) -> Sequence[Path] | np.ndarray:
    """The files or arrays of ``indices``."""
    if isinstance(images, np.ndarray):
        return images[list(indices)]
    return [images[i] for i in indices]


def list_image_files(folder: Path, pattern: str = "*") -> list[Path]:
    """The image files of a folder that match ``pattern``, sorted; no masks, no hidden files."""
    return sorted(
        file
        for file in folder.glob(pattern)
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not file.name.endswith(MASK_SUFFIX)
        and not file.name.startswith(".")
        and file.is_file()
    )


def parallel_for(function: Callable[..., None], arguments: list[tuple], workers: int) -> None:
    """Call ``function(*a)`` for every ``a`` of ``arguments``, in ``workers`` threads (0: none)."""

    def run(part: list[tuple]) -> None:
        for each in part:
            function(*each)

    if workers == 0:
        return run(arguments)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, [arguments[start::workers] for start in range(workers)]))


def open_image(source: Path | np.ndarray, channels: int, check_only: bool = False) -> Image.Image:
    """Open an upright "L" or "RGB" image of any size.

    Args:
        source: a file, or an array (H, W) or (H, W, 3).
        channels: 1 or 3.
        check_only: decode a JPEG at an eighth of its size, which is faster and still reads every
            byte. (Pillow's ``verify`` accepts a truncated JPEG.)

    Raises:
        DataError: the file is broken.
    """
    if isinstance(source, np.ndarray):
        return _convert(Image.fromarray(source), channels)
    try:
        with Image.open(source) as image:
            if check_only:
                image.draft(None, (1, 1))
            return _convert(image, channels)
    except UNREADABLE as error:
        raise DataError(f"{source} is not a readable image ({error})") from error


def _convert(image: Image.Image, channels: int) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no known range")
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
