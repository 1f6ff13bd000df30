"""Complete a photo of any size from Python, at its own size."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from biglearn_gan.config import FitMode, HoleColor
from biglearn_gan.data.image_files import MemoryImage
from biglearn_gan.errors import UsageError
from biglearn_gan.inference.batched import draw_samples
from biglearn_gan.inference.photos import MaskChoice, PhotoReader
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import Labels
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.pixel_values import to_channels_last


def complete_photo(
    model: BigLearnGAN,
    photo: str | Path | Image.Image,
    mask: str | Path | Image.Image | None = None,
    *,
    fit: FitMode = "crop",
    mask_color: HoleColor | None = None,
    labels: Labels | None = None,
    variations: int = 1,
    seed: int = 0,
) -> list[Image.Image]:
    """The photo at its own size, completed ``variations`` times, as by ``sample --full-size``.

    Only pixels of the hole differ from the photo, which is upright and has 8 bits per channel.

        model = BigLearnGAN.from_pretrained("colored_mnist")
        first, second = complete_photo(model, "photo.png", "mask.png", variations=2)

    Args:
        model: completes the photo at the model's size; the result is enlarged.
        photo: an image file or a PIL image, of any size. The EXIF orientation is applied.
        mask: an image file or a PIL image of the photo's size or the model's, see
            :func:`~biglearn_gan.data.mask_files.read_mask_file`; None for the photo's transparent
            part.
        fit: how a photo of another shape is fitted to the model's image: its center (``crop``), all
            of it with repeated edges (``pad``), or all of it, stretched (``stretch``).
        mask_color: the color of the hole in the mask; None for white, or what transparency says.
        labels: the class of the photo or of each completion (1, K), for a model with labels.
        variations: completions, at least 1.
        seed: at least 0.

    Raises:
        DataError: the photo cannot be read.
        HoleError: the mask cannot be used, or the photo has no transparent part.
        LabelError: the model has no labels, or not this one.
        UsageError: ``fit`` or ``mask_color`` is not a choice, there is a color without a mask,
            ``variations`` or ``seed`` is out of range, or an image is neither a path nor a PIL
            image.
    """
    if mask is None and mask_color is not None:
        raise UsageError(f"mask_color {mask_color!r} requires a mask: give one, or leave it out")
    source = _source("photo", photo, "the photo (a PIL image)")
    masks: MaskChoice = "transparent"
    if mask is not None:
        mask_source = _source("mask", mask, "(a PIL image)")
        masks = {source.name: mask_source}.__getitem__
    fitted = PhotoReader(model.config.data, fit, masks, mask_color).read(source.name, source)
    samples = draw_samples(
        model,
        torch.tensor(fitted.image)[None],
        torch.tensor(fitted.hole)[None],
        SamplingOptions(labels, variations, seed),
        batch_size=1,
    )
    images = to_channels_last(samples.images[0])  # (K, H, W, C)
    return [fitted.photo.paste(image, samples.hole[0].numpy()) for image in images]


def _source(parameter: str, image: str | Path | Image.Image, name: str) -> Path | MemoryImage:
    """What a photo or a mask is read from; ``name`` is that of a PIL image in messages.

    Raises:
        UsageError: it is neither a path nor a PIL image.
    """
    if isinstance(image, str | Path):
        return Path(image)
    if not isinstance(image, Image.Image):
        raise UsageError(f"{parameter} must be a path or a PIL image, not {type(image).__name__}")
    return MemoryImage(image, name)
