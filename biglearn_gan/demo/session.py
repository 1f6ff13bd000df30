"""What the demo page does, without the page: paint to hole, completions, and their command line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from biglearn_gan.config import FitMode
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.mask_files import read_mask_file
from biglearn_gan.image_grid import image_grid
from biglearn_gan.inference.batched import Samples, draw_samples
from biglearn_gan.inference.masks import describe_masks, fit_mask
from biglearn_gan.inference.photo_resizing import make_resizing
from biglearn_gan.inference.photos import Photo, PhotoReader, describe_photo
from biglearn_gan.inference.sample_writer import full_size_names, sample_grid
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.pixel_values import to_channels_last, to_pil
from biglearn_gan.tasks.holes import HoleError
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

CANVAS_PIXELS = 448
"""The canvas shows an image enlarged by the largest whole factor with no side above this."""

SAMPLE_COLUMNS = 8
"""Columns of a grid of samples from nothing."""


@dataclass(frozen=True)
class DemoResult:
    """The result of a click on a button.

    Attributes:
        grid: input, input with hole, and completions in a row; or samples from nothing.
        command: the command line that draws the same.
        files: the images that the command reads, by file name.
        full_size: the completed photos at their own size, by file name, see
            :func:`~biglearn_gan.inference.sample_writer.full_size_names`; empty if not requested.
    """

    grid: Image.Image
    command: str
    files: dict[str, Image.Image]
    full_size: dict[str, Image.Image] = field(default_factory=dict)


@dataclass(frozen=True)
class CanvasImage:
    """An image to complete.

    Attributes:
        image: at the model's size, in [0, 255].
        photo: the uploaded file; None for a test image.
        hole: the hole that a file names: a mask, or the erased part of the photo. None if it is
            only painted.
        notes: how the files were read.
    """

    image: UInt8[Tensor, "C H W"]
    photo: Photo | None = None
    hole: Bool[Tensor, "H W"] | None = None
    notes: tuple[str, ...] = ()


class DemoSession:
    """A model, and the test images that the page offers.

    Args:
        checkpoint: the model's folder or hub name, for the command lines.
        model: on any device.
        images: the test images of the model's data set, or None without any.
        device: the name of the model's device, for the command lines.
    """

    def __init__(
        self,
        checkpoint: str,
        model: BigLearnGAN,
        images: ImageDataset | None,
        device: str = "cpu",
    ):
        self.model = model
        self.images = images
        self._checkpoint = checkpoint
        self._device = device

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(width, height) of the canvas, in pixels of the screen."""
        height, width = self.model.config.data.image_size
        factor = max(1, CANVAS_PIXELS // max(height, width))
        return width * factor, height * factor

    def test_image(self, number: int) -> CanvasImage:
        """The test image of a number.

        Raises:
            ValueError: there is no such image.
        """
        count = 0 if self.images is None else len(self.images)
        if self.images is None or not 0 <= number < count:
            raise ValueError(f"the number of a test image must be 0 to {count - 1}, not {number}")
        return CanvasImage(self.images.images_uint8(torch.tensor([number]))[0])

    def load_photo(
        self, path: Path, mask: Path | None = None, fit: FitMode = "crop"
    ) -> CanvasImage:
        """Load an image file, and its hole: that of a mask file, or its transparent part if any.

        Raises:
            DataError: the image file is not readable.
            HoleError: the mask is not readable, has another size, or has no hole.
        """
        data = self.model.config.data
        if mask is not None:
            photo = PhotoReader(data, fit, lambda name: mask).read(path.name, path)
        else:
            try:
                photo = PhotoReader(data, fit, "transparent").read(path.name, path)
            except HoleError:  # nothing, or nothing that the model can fill, is erased
                photo = PhotoReader(data, fit).read(path.name, path)
        notes = describe_photo(photo, fit)
        if photo.report is not None:
            notes += (f"read {photo.report.hole_is} as the hole", *describe_masks([photo.report]))
        hole = None if photo.hole is None else torch.from_numpy(photo.hole)
        return CanvasImage(torch.from_numpy(photo.image.copy()), photo.photo, hole, notes)

    def load_mask(
        self, path: Path, current: CanvasImage | None, fit: FitMode = "crop"
    ) -> CanvasImage:
        """The current image with the hole of a mask file.

        Raises:
            DataError: the current image is an upload that cannot be read any more.
            HoleError: there is no image yet, or see :meth:`load_photo`.
        """
        if current is None:
            raise HoleError("there is no image yet: upload one before its mask")
        if current.photo is not None:
            return self.load_photo(Path(str(current.photo.path)), path, fit)
        image_size = self.model.config.data.image_size
        mask = fit_mask(path, read_mask_file(path), make_resizing(image_size, image_size, "crop"))
        notes = (f"read {mask.report.hole_is} as the hole", *describe_masks([mask.report]))
        return CanvasImage(current.image, None, torch.from_numpy(mask.hole), notes)

    def hole_from_paint(self, paint: Image.Image | None) -> Bool[Tensor, "H W"]:
        """The hole: pixels of which the paint, RGBA of any size, covers at least half.

        Raises:
            HoleError: nothing is painted.
        """
        height, width = self.model.config.data.image_size
        hole = torch.zeros(height, width, dtype=torch.bool)
        if paint is not None:
            alpha = paint.convert("RGBA").getchannel("A")
            small = np.asarray(alpha.resize((width, height), Image.Resampling.BOX))
            hole = torch.from_numpy(small >= 128)
        if not hole.any():
            raise HoleError("nothing is painted: paint the area to generate")
        return hole

    def complete(
        self,
        current: CanvasImage,
        hole: Bool[Tensor, "H W"],
        *,
        variations: int,
        seed: int,
        label: int = UNKNOWN_LABEL,
        full_size: bool = False,
    ) -> DemoResult:
        """Fill the hole ``variations`` times, on request also at the size of the photo.

        Raises:
            DataError: the photo is an upload that cannot be read any more.
        """
        samples = self._draw(current.image[None], hole[None], variations, seed, label)
        files = {"input.png": to_pil(current.image), "mask.png": Image.fromarray(hole.numpy())}
        options = ["--images", "input.png", "--mask", "mask.png", "--num", "1"]
        options += ["--variations", str(variations)]
        pasted = _paste(current, hole, samples) if full_size else {}
        return DemoResult(sample_grid(samples), self._command(options, seed, label), files, pasted)

    def sample(self, num: int, *, seed: int, label: int = UNKNOWN_LABEL) -> DemoResult:
        """Draw ``num`` images from nothing."""
        data = self.model.config.data
        black = torch.zeros(num, data.channels, *data.image_size, dtype=torch.uint8)
        hole = torch.ones(num, *data.image_size, dtype=torch.bool)
        drawn = self._draw(black, hole, 1, seed, label).images[:, 0]
        command = self._command(["--num", str(num)], seed, label)
        return DemoResult(image_grid(drawn, min(num, SAMPLE_COLUMNS)), command, {})

    def _draw(
        self, images: Tensor, hole: Tensor, variations: int, seed: int, label: int
    ) -> Samples:
        rows = len(images)
        labels = None if label == UNKNOWN_LABEL else torch.full((rows,), label)
        return draw_samples(
            self.model,
            images,
            hole,
            SamplingOptions(labels=labels, variations=variations, seed=seed),
            batch_size=rows,
        )

    def _command(self, options: list[str], seed: int, label: int) -> str:
        words = ["biglearn-gan", "sample", "--checkpoint", self._checkpoint, *options]
        if label != UNKNOWN_LABEL:
            words += ["--label", self.model.config.data.label_names[label]]
        if self._device != "cpu":
            words += ["--device", self._device]
        return shlex.join([*words, "--seed", str(seed), "--output", "samples/demo"])


def _paste(
    current: CanvasImage, hole: Bool[Tensor, "H W"], samples: Samples
) -> dict[str, Image.Image]:
    """The photo at its own size with each sample pasted in, by file name; none without a photo."""
    photo = current.photo
    if photo is None:
        return {}
    if current.hole is None or not torch.equal(current.hole, hole):
        photo = replace(photo, packed_hole=None)  # the hole was painted
    images = to_channels_last(samples.images[0])  # (K, H, W, C)
    (names,) = full_size_names([photo.name], len(images))
    return {
        name: photo.paste(image, hole.numpy()) for name, image in zip(names, images, strict=True)
    }
