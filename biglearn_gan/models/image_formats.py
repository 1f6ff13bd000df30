"""Images as people have them, read for the model and given back: tensors, NumPy arrays, PIL images.

The shape of an array tells its layout: channels first as in PyTorch, or channels last as in most
other libraries; with or without a batch axis; gray images also without a channel axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from PIL import Image
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.orientation import upright_copy
from biglearn_gan.pixel_values import to_8_bits, to_pil, to_signed_float, to_uint8

Images = Tensor | np.ndarray | Image.Image | Sequence[Any]
"""Images of the model's size: a tensor or array of floats in [-1, 1] or uint8 in [0, 255], a PIL
image, or a list of them of one kind and shape, which are read as one batch."""

OutputName = Literal["pt", "np", "pil"]
"""Tensors, NumPy arrays, or PIL images."""

Layout = Literal["first", "last", "none"]


@dataclass(frozen=True)
class ImageFormat:
    """How images are handed in or given back.

    Attributes:
        kind: tensors, arrays or PIL images.
        dtype: floats in [-1, 1], or uint8 in [0, 255].
        channels: the place of the channel axis; ``none`` for gray images (H, W).
        batched: whether there is a batch axis, or a list.
        device: of tensors.
    """

    kind: OutputName
    dtype: torch.dtype
    channels: Layout
    batched: bool
    device: torch.device

    def write_images(self, images: Shaped[Tensor, "N *K C H W"]) -> Any:
        """The images as a tensor, an array, or nested lists of PIL images.

        Args:
            images: of this format's dtype, on the CPU.
        """
        pixels = images if self.batched else images[0]
        if self.kind == "pil":
            return _to_pil_images(pixels)
        if self.channels != "first":
            pixels = pixels.movedim(-3, -1) if self.channels == "last" else pixels.squeeze(-3)
        return pixels.contiguous().numpy() if self.kind == "np" else pixels.to(self.device)

    def write_numbers(self, numbers: Shaped[Tensor, "N ..."]) -> Any:
        """Numbers of each image, as an array if the images were one, else as a tensor."""
        values = numbers if self.batched else numbers[0]
        return values.numpy() if self.kind == "np" else values.to(self.device)


@dataclass(frozen=True)
class ReadImages:
    """Images of a user.

    Attributes:
        pixels: in [-1, 1] (or unbounded), on the CPU, for the model.
        original: the same pixels as they came, on the CPU.
        format: how they came.
    """

    pixels: Float[Tensor, "N C H W"]
    original: Shaped[Tensor, "N C H W"]
    format: ImageFormat

    @property
    def range_is_certain(self) -> bool:
        """Whether the type of the images tells the range of their values."""
        return self.original.dtype == torch.uint8

    def write_completions(
        self,
        completions: Float[Tensor, "N K C H W"],
        hole: Bool[Tensor, "N H W"],
        output: OutputName | None,
        *,
        bounded: bool = True,
    ) -> Any:
        """Completions in the format that the images came in, or another one.

        Known pixels are copied from the original, so that no rounding changes them.

        Args:
            completions: in [-1, 1].
            hole: True = generated.
            output: see :func:`choose_format`.
            bounded: see :func:`choose_format`.
        """
        form = choose_format(output, self.format, bounded=bounded)
        original = convert_range(self.original, form.dtype)[:, None]
        generated = convert_range(completions, form.dtype)
        return form.write_images(torch.where(hole[:, None, None], generated, original))


TENSORS = ImageFormat("pt", torch.float32, "first", True, torch.device("cpu"))
"""The model's own format."""


def choose_format(
    output: OutputName | None, given: ImageFormat = TENSORS, *, bounded: bool = True
) -> ImageFormat:
    """The format of results.

    Args:
        output: ``pt`` for tensors, which are float32 with channels first; ``np`` for arrays, which
            are uint8 with channels last; ``pil`` for PIL images; None for the given format.
        given: the format of the inputs, which also counts if it is of the kind of ``output``.
        bounded: whether the model's values lie in [-1, 1]. Arrays of others are float32.

    Raises:
        ValueError: there is no such output, or the values cannot become PIL images.
    """
    if output is None or output == given.kind:
        return given
    if output not in get_args(OutputName):
        names = ", ".join(map(repr, get_args(OutputName)))
        raise ValueError(f"output must be one of {names}, or None, not {output!r}")
    if output == "pil" and not bounded:
        raise ValueError("output must be 'pt' or 'np': the model's values have no bounds")
    dtype = torch.uint8 if bounded and output != "pt" else torch.float32
    layout: Layout = "first" if output == "pt" else "last"
    return ImageFormat(output, dtype, layout, given.batched, TENSORS.device)


def read_images(images: object, data: DataConfig, *, bounded: bool = True) -> ReadImages:
    """Images of the model's size.

    Args:
        images: see :data:`Images`.
        data: the model's data, for its size and channels.
        bounded: whether the model's values lie in [-1, 1], so that uint8 has a meaning.

    Raises:
        ValueError: they have another kind, size or type of numbers.
    """
    pixels, form = _read_images(images, data)
    if not pixels.is_floating_point() and pixels.dtype != torch.uint8:
        raise ValueError(
            f"images must be floats in [-1, 1] or uint8 in [0, 255], not {pixels.dtype}"
        )
    if pixels.dtype == torch.uint8 and not bounded:
        raise ValueError("images must be floats, not uint8: the model's values have no bounds")
    if form.channels != "first":
        pixels = pixels.movedim(-1, -3) if form.channels == "last" else pixels.unsqueeze(-3)
    original = (pixels if pixels.ndim == 4 else pixels[None]).detach().cpu()
    return ReadImages(convert_range(original, torch.float32), original, form)


def convert_range(images: Shaped[Tensor, "*shape"], dtype: torch.dtype) -> Shaped[Tensor, "*shape"]:
    """Images converted to another type: floats in [-1, 1], or uint8 in [0, 255]."""
    if images.dtype == dtype:
        return images
    if images.dtype == torch.uint8:
        return to_signed_float(images).to(dtype)
    if dtype == torch.uint8:
        return to_uint8(images)
    return images.to(dtype)


def _read_images(images: object, data: DataConfig) -> tuple[Tensor, ImageFormat]:
    """All pixels as one tensor in the layout that they came in, and their format."""
    if isinstance(images, Image.Image):
        pixels = _read_pil(images, data)
        return pixels, ImageFormat("pil", pixels.dtype, "first", False, pixels.device)
    if isinstance(images, Tensor | np.ndarray):
        kind: OutputName = "np" if isinstance(images, np.ndarray) else "pt"
        pixels = images if isinstance(images, Tensor) else array_to_tensor("images", images)
        layout, batched = _find_layout(pixels, data)
        return pixels, ImageFormat(kind, pixels.dtype, layout, batched, pixels.device)
    if isinstance(images, list | tuple) and images and not isinstance(images[0], list | tuple):
        return _stack_images([_read_images(image, data) for image in images])
    height, width = data.image_size
    found = type(images).__name__
    if isinstance(images, list | tuple):
        found = "a list of lists" if images else "an empty list"
    raise ValueError(
        "images must be a torch tensor, a NumPy array, a PIL image or a list of them, "
        f"{height} x {width} pixels each, not {found}"
    )


def _stack_images(parts: Sequence[tuple[Tensor, ImageFormat]]) -> tuple[Tensor, ImageFormat]:
    """The images of a list, which may also be batches, as one batch.

    Raises:
        ValueError: they differ in their kind, shape, type of numbers or device.
    """
    for facts in (
        {form.kind for _, form in parts},
        {tuple(pixels.shape) for pixels, _ in parts},
        {pixels.dtype for pixels, _ in parts},
        {pixels.device for pixels, _ in parts},
    ):
        if len(facts) > 1:
            raise ValueError(
                "images in a list must be of one kind, size and type, not "
                f"{' and '.join(sorted(map(str, facts)))}"
            )
    tensors, form = [pixels for pixels, _ in parts], parts[0][1]
    stacked = torch.cat(tensors) if form.batched else torch.stack(tensors)
    return stacked, replace(form, batched=True)


def array_to_tensor(name: str, array: np.ndarray) -> Tensor:
    """A copy of an array as a tensor.

    Raises:
        ValueError: PyTorch has no such type of numbers.
    """
    try:
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except TypeError:
        raise ValueError(f"{name} must hold numbers of PyTorch, not {array.dtype}") from None


def _find_layout(pixels: Tensor, data: DataConfig) -> tuple[Layout, bool]:
    """Where the channels are, and whether there is a batch axis."""
    first = (data.channels, *data.image_size)
    last = (*data.image_size, data.channels)
    shape = tuple(pixels.shape)
    for layout, single in (("first", first), ("last", last)):
        if shape[-3:] == single and pixels.ndim in (3, 4):
            return ("first" if layout == "first" else "last"), pixels.ndim == 4
    if shape == data.image_size and data.channels == 1:
        return "none", False
    hint = ""
    if data.channels == 1 and pixels.ndim == 3 and shape[1:] == data.image_size:
        hint = "; images[:, None] adds the channel axis"
    raise ValueError(
        f"images must have the shape (N, C, H, W) = (N, {', '.join(map(str, first))}) or "
        f"(N, H, W, C) = (N, {', '.join(map(str, last))}), or one of them without N, "
        f"not {shape}{hint}"
    )


def _read_pil(image: Image.Image, data: DataConfig) -> Tensor:
    """The pixels (C, H, W) of a PIL image, upright, with as many channels as the model has."""
    height, width = data.image_size
    image = upright_copy(image)
    if image.size != (width, height):
        raise ValueError(
            f"images must have {width} x {height} pixels (width x height), not "
            f"{image.size[0]} x {image.size[1]}: image.resize(({width}, {height})) makes them fit, "
            "and complete_photo takes photos of any size, as files or PIL images"
        )
    try:
        image = to_8_bits(image)
    except ValueError:
        raise ValueError(f"images must be of PIL's mode L or RGB, not {image.mode}") from None
    if has_transparent_pixels(image):
        raise ValueError(
            "images must be opaque, but a PIL image has transparent pixels: "
            "image.convert('RGB') drops its alpha channel"
        )
    array = np.array(image.convert("L" if data.channels == 1 else "RGB"))
    return torch.from_numpy(array).view(height, width, data.channels).movedim(-1, 0)


def has_transparent_pixels(image: Image.Image) -> bool:
    """Whether a PIL image has an alpha channel that is not opaque everywhere."""
    if not image.has_transparency_data:
        return False
    return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


def _to_pil_images(pixels: UInt8[Tensor, "*N C H W"]) -> Any:
    """One image for (C, H, W), and lists of them for more axes."""
    return to_pil(pixels) if pixels.ndim == 3 else [_to_pil_images(part) for part in pixels]
