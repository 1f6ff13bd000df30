"""Image files to uint8 pixels, and uint8 to and from [-1, 1].

Every image goes through one pipeline, whichever data set it comes from: turned upright by its EXIF
orientation, composited onto white where it has an alpha channel or a transparent color, converted
to 1 channel (ITU-R 601 luminance) or 3 (gray is repeated), then center-cropped to the aspect ratio
of ``image_size`` and resized to it (bicubic, antialiased), unless it already has that size. So a
square CelebA is the usual center crop of 178 pixels, and MNIST at 32 x 32 is resized, not padded.
Where pixels of files are unobserved, each new pixel is the mean of those that it covers (a box), so
that it tells nothing of any other.
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
"""A file with this ending is the mask of the image beside it, never an image."""

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
"""What Pillow raises for a broken file, by format."""


class DataError(UserError):
    """Data that is missing, empty or broken; the message says what would provide or repair it."""


def load_images(
    path: Path, image_size: tuple[int, int], channels: int, limit: int | None
) -> tuple[UInt8[Tensor, "N C H W"], int]:
    """A user's image file, or the first ``limit`` (None: all) files directly in a folder, by name.

    Returns:
        uint8 images (N, C, H, W), and how many of them had another size.

    Raises:
        DataError: nothing is there, the folder has no image file, or a file is broken.
    """
    height, width = image_size
    pixels, resized = [], 0
    for file in files_at(path)[:limit]:
        image = open_image(file, channels)
        resized += image.size != (width, height)
        pixels.append(fit_image(image, image_size))
    return torch.from_numpy(np.stack(pixels)), resized


def files_at(path: Path) -> list[Path]:
    """An image file, or the image files directly in a folder, by name.

    Raises:
        DataError: nothing is there, or the folder has no image file.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; name an image file or a folder of image files")
    files = image_files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no image files ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def to_signed_float(images: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """uint8 in [0, 255] to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Floats in [-1, 1] (clipped to it) to the nearest uint8; the inverse of `to_signed_float`."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class LazyPixels:
    """Stands in for a uint8 tensor (N, C, H, W) whose images are decoded when it is indexed."""

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
        """Some of the images."""
        numbers = indices.tolist()
        images = self.images
        kept = images[numbers] if isinstance(images, np.ndarray) else [images[i] for i in numbers]
        return replace(self, images=kept)

    def description(self) -> str:
        """Size and channels, and name, size and time of every file: another one, other images."""
        lines = [f"{self.channels} {self.image_size}"]
        for image in self.images:
            if isinstance(image, Path):
                state = image.stat()
                lines.append(f"{image} {state.st_size} {state.st_mtime_ns}")
            else:
                lines.append(hashlib.sha256(image.tobytes()).hexdigest())
        return "\n".join(lines)

    def __getitem__(self, indices: Int64[Tensor, " B"]) -> UInt8[Tensor, "B C H W"]:
        pixels = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)

        def decode(position: int, index: int) -> None:
            image = open_image(self.images[index], self.channels)
            pixels[position] = fit_image(image, self.image_size, self.resampling)

        for_each(decode, list(enumerate(indices.tolist())), self.workers)
        return torch.from_numpy(pixels).to(self.device)


def image_files(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(
        file
        for file in folder.glob(pattern)
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not file.name.endswith(MASK_SUFFIX)
        and not file.name.startswith(".")
        and file.is_file()
    )


def for_each(function: Callable[..., None], arguments: list[tuple], workers: int) -> None:
    """Call ``function(*a)`` for every ``a``, in ``workers`` threads, or in line for 0."""

    def run(part: list[tuple]) -> None:
        for each in part:
            function(*each)

    if workers == 0:
        return run(arguments)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, [arguments[start::workers] for start in range(workers)]))


def open_image(source: Path | np.ndarray, channels: int, check_only: bool = False) -> Image.Image:
    """An upright "L" or "RGB" image of any size; DataError for a broken file.

    ``check_only`` decodes a JPEG at an eighth of its size: faster, and still every byte is read
    (PIL's ``verify`` passes a truncated JPEG).
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
    """Center-cropped and resized to (height, width): uint8 (C, H, W)."""
    height, width = image_size
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), resampling)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
