"""What the demo page does, without the page: paint to hole, completions, and their command line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import load_images
from biglearn_gan.image_grid import image_grid
from biglearn_gan.inference.batched import Samples, draw_samples
from biglearn_gan.inference.inputs import describe_resize
from biglearn_gan.inference.outputs import sample_grid
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import SamplingOptions
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
    """

    grid: Image.Image
    command: str
    files: dict[str, Image.Image]


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

    def test_image(self, number: int) -> UInt8[Tensor, "C H W"]:
        """The test image of a number.

        Raises:
            ValueError: there is no such image.
        """
        count = 0 if self.images is None else len(self.images)
        if self.images is None or not 0 <= number < count:
            raise ValueError(f"the number of a test image must be 0 to {count - 1}, not {number}")
        return self.images.images_uint8(torch.tensor([number]))[0]

    def load_upload(self, path: Path) -> tuple[UInt8[Tensor, "C H W"], str]:
        """Load an image file at the model's size and channels.

        Returns:
            The image, and a sentence if it was resized, else "".

        Raises:
            DataError: the file is not a readable image.
        """
        data = self.model.config.data
        loaded = load_images(path, data.image_size, data.channels, 1)
        note = describe_resize("the image was", data.image_size) if loaded.resized else ""
        return loaded.pixels[0], note

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
        image: UInt8[Tensor, "C H W"],
        hole: Bool[Tensor, "H W"],
        *,
        variations: int,
        seed: int,
        label: int = UNKNOWN_LABEL,
    ) -> DemoResult:
        """Fill the hole ``variations`` times."""
        samples = self._draw(image[None], hole[None], variations, seed, label)
        files = {"input.png": to_pil(image), "mask.png": Image.fromarray(hole.numpy())}
        options = ["--images", "input.png", "--mask", "mask.png", "--num", "1"]
        options += ["--variations", str(variations)]
        return DemoResult(sample_grid(samples), self._command(options, seed, label), files)

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
            words += ["--label", str(label)]
        if self._device != "cpu":
            words += ["--device", self._device]
        return shlex.join([*words, "--seed", str(seed), "--output", "samples/demo"])


def to_pil(image: UInt8[Tensor, "C H W"]) -> Image.Image:
    """Convert an image with 1 or 3 channels."""
    pixels = image.movedim(0, -1).contiguous().numpy()
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
