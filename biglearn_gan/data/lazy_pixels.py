"""``LazyPixels``: acts as a tensor of images that are decoded when it is indexed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from biglearn_gan.data.image_files import ImageSource, fit_image, open_image, parallel_for
from biglearn_gan.data.stored_images import StoredImages


@dataclass(frozen=True)
class LazyPixels:
    """Acts as a uint8 tensor (N, C, H, W) whose images are decoded when it is indexed.

    Attributes:
        images: N images, as they are stored.
        channels: C, 1 or 3.
        image_size: (height, width) of the tensor, to which images are scaled and cropped.
        workers: threads that decode; 0 decodes in the calling thread.
        device: of the decoded batches.
        resampling: filter for images of another size.
    """

    images: StoredImages
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
        return replace(self, images=self.images.subset(indices.tolist()))

    def state(self) -> str:
        """A text that changes with the images and their format."""
        scaled = "" if self.resampling is Image.Resampling.BICUBIC else f" {self.resampling.name}"
        return f"{self.channels} {self.image_size}{scaled}\n{self.images.state()}"

    def decode(self, image: ImageSource | np.ndarray) -> UInt8[np.ndarray, "C H W"]:
        """The pixels of one image.

        Raises:
            DataError: the file is broken.
        """
        opened = open_image(image, self.channels)
        return fit_image(opened, self.image_size, self.resampling)

    def __getitem__(self, indices: Int64[Tensor, " B"]) -> UInt8[Tensor, "B C H W"]:
        pixels = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)

        def decode(position: int, image: ImageSource | np.ndarray) -> None:
            pixels[position] = self.decode(image)

        images = self.images.fetch(indices.tolist())
        parallel_for(decode, list(enumerate(images)), self.workers)
        return torch.from_numpy(pixels).to(self.device)
