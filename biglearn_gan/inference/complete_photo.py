"""Complete a photo of any size from Python, at its own size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from biglearn_gan.config import Config, FitMode, HoleColor
from biglearn_gan.data.image_files import MemoryImage
from biglearn_gan.data.image_listing import DataError, is_archive
from biglearn_gan.errors import UsageError
from biglearn_gan.inference.batched import draw_samples
from biglearn_gan.inference.masks import check_mask, is_mask_path, mask_chooser, named_holes
from biglearn_gan.inference.photos import MaskChoice, PhotoReader
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.image_formats import array_to_tensor
from biglearn_gan.models.labels import Labels
from biglearn_gan.models.mask_formats import read_mask_argument
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.pixel_values import to_channels_last
from biglearn_gan.tasks.holes import HoleError

MaskArgument = str | Path | Image.Image | np.ndarray | Tensor
"""A hole's name, a file, a folder of masks, or a picture."""


def complete_photo(
    model: BigLearnGAN,
    photo: str | Path | Image.Image,
    mask: MaskArgument | None = None,
    *,
    fit: FitMode = "crop",
    mask_color: HoleColor | None = None,
    labels: Labels | None = None,
    variations: int = 1,
    seed: int = 0,
) -> list[Image.Image]:
    """The photo at its own size, completed ``variations`` times, as by ``sample --full-size``.

    Only pixels of the hole differ from the photo, which is upright and has 8 bits per channel. A
    model of gray images reads a photo with colors as gray, and generates gray.

        model = BigLearnGAN.from_pretrained("colored_mnist")
        first, second = complete_photo(model, "photo.png", "mask.png", variations=2)
        (third,) = complete_photo(model, "photo.png", "right-half")

    ``mask`` is what ``sample --mask`` calls a mask: it names or shows the pixels to generate, and
    belongs to the photo, of any size. ``hole``, in the methods of the model, is these pixels
    themselves (True = generate), at the size of the model's images.

    Args:
        model: completes the photo at the model's size; the result is enlarged.
        photo: an image file or a PIL image, of any size. The EXIF orientation is applied.
        mask: all that ``sample --mask`` takes: a name, such as ``center`` or ``random:0.5``, which
            marks the part of the photo that ``fit`` shows to the model; an image file of the
            photo's size or the model's, see
            :func:`~biglearn_gan.data.mask_files.read_mask_file`; or a folder or ZIP archive that
            holds a mask named like the photo. Also a PIL image, a Boolean or black and white array
            or tensor (h, w), also with an axis of length 1, or a uint8 array (h, w, 3) or
            (h, w, 4), read as a PIL image. None for the photo's transparent part.
        fit: how a photo of another shape is fitted to the model's image: its center (``crop``), all
            of it with repeated edges (``pad``), or all of it, stretched (``stretch``).
        mask_color: the color of the hole in the mask; None for white, or what transparency says.
        labels: the class of the photo or of each completion (1, K), for a model with labels.
        variations: completions, at least 1.
        seed: at least 0; it also draws random masks.

    Raises:
        DataError: the photo does not exist or cannot be read.
        HoleError: the mask cannot be used, or the photo has no transparent part.
        LabelError: the model has no labels, or not this one.
        UsageError: ``fit`` or ``mask_color`` is not a choice, there is a color without a mask that
            shows it, ``variations`` or ``seed`` is out of range, or the photo or the mask has
            another type, or the model is not a BigLearnGAN.
    """
    if not isinstance(model, BigLearnGAN):
        raise UsageError(
            f"model must be a BigLearnGAN, not {type(model).__name__}: "
            "BigLearnGAN.from_pretrained loads one"
        )
    name = str(mask) if isinstance(mask, str | Path) and not is_mask_path(str(mask)) else None
    if mask_color is not None and (mask is None or name is not None):
        raise UsageError(
            f"mask_color {mask_color!r} requires a mask that is a file or a picture, not {mask}"
        )
    source = _photo_source(photo)
    hole = None if name is None else _named_hole(name, model.config, seed)
    masks = None if name is not None else _choose_mask(mask, source, model.config)
    fitted = PhotoReader(model.config.data, fit, masks, mask_color).read(source.name, source)
    samples = draw_samples(
        model,
        torch.tensor(fitted.image)[None],
        torch.tensor(fitted.hole)[None] if hole is None else hole,
        SamplingOptions(labels, variations, seed),
        batch_size=1,
    )
    images = to_channels_last(samples.images[0])  # (K, H, W, C)
    return [fitted.photo.paste(image, samples.hole[0].numpy()) for image in images]


def _photo_source(photo: object) -> Path | MemoryImage:
    """What a photo is read from.

    Raises:
        DataError: there is no such file.
        UsageError: it is neither a path nor a PIL image.
    """
    if isinstance(photo, str | Path):
        if not Path(photo).is_file():
            problem = "is a folder" if Path(photo).is_dir() else "does not exist"
            raise DataError(f"{photo} {problem}: name an image file")
        return Path(photo)
    if not isinstance(photo, Image.Image):
        hint = ": Image.fromarray makes one of RGB" if isinstance(photo, np.ndarray) else ""
        raise UsageError(f"photo must be a path or a PIL image, not {type(photo).__name__}{hint}")
    return MemoryImage(photo, "the photo (a PIL image)")


def _named_hole(name: str, config: Config, seed: int) -> Tensor:
    """The hole (1, H, W) of a name.

    Raises:
        HoleError: there is no such name, or nothing of the photo would be left.
    """
    if name == "joint":
        raise HoleError("the mask joint leaves nothing of the photo: name another, or call sample")
    return named_holes(name, config, 1, seed)


def _choose_mask(mask: object, source: Path | MemoryImage, config: Config) -> MaskChoice:
    """Where the mask of a photo comes from.

    Raises:
        HoleError: the mask is a file that does not exist or a folder without masks, or a folder
            for a photo that has no name.
        UsageError: it has another type, or its values are no mask's.
    """
    if mask is None:
        return "transparent"
    if isinstance(mask, str | Path):
        check_mask(str(mask), config)
        if isinstance(source, MemoryImage) and (Path(mask).is_dir() or is_archive(Path(mask))):
            raise HoleError(f"{source} has no name that chooses a mask in {mask}: name the file")
        return mask_chooser(str(mask))
    name = "(a PIL image)"
    if isinstance(mask, np.ndarray | Tensor):
        name = "(an array)"
        mask = _draw_mask(mask if isinstance(mask, Tensor) else array_to_tensor("mask", mask))
    if not isinstance(mask, Image.Image):
        raise UsageError(
            "mask must be a hole's name, a path, a PIL image or an array, not "
            f"{type(mask).__name__}"
        )
    return {source.name: MemoryImage(mask, name)}.__getitem__


def _draw_mask(values: Tensor) -> Image.Image:
    """An array of one mask as an image.

    Raises:
        UsageError: it has another shape than (h, w), or its values are no mask's.
    """
    shape = tuple(values.shape)
    if values.ndim == 3 and shape[2] in (3, 4) and values.dtype == torch.uint8:
        return Image.fromarray(values.numpy(force=True))
    if values.ndim == 3 and 1 in (shape[0], shape[2]):
        values = values.squeeze(0 if shape[0] == 1 else 2)
    if values.ndim != 2:
        raise UsageError(f"mask must have the shape (h, w), or (h, w, 3) for uint8, not {shape}")
    try:
        hole = read_mask_argument("mask", values, 1, (values.shape[0], values.shape[1]))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return Image.fromarray(hole[0].numpy())
