"""Checked images and masks of a call, cut into tokens once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.models.image_formats import Images, ReadImages, read_images
from biglearn_gan.models.input_checks import check_values
from biglearn_gan.models.mask_formats import Mask, read_mask_argument
from biglearn_gan.tasks.patches import patchify, tokens_covered, tokens_touched
from biglearn_gan.tasks.token_masks import TokenMasks

_STACKLEVEL = 4
"""Frames from :func:`check_values` through this file and a method of the model to the user."""


@dataclass(frozen=True)
class CompletionInputs:
    """Images with holes on the CPU, in pixels and in tokens.

    Attributes:
        read: the images as they came.
        images: in [-1, 1].
        hole: True = generate.
        tokens: the images cut into tokens.
        masks: source and target tokens.
    """

    read: ReadImages
    images: Float[Tensor, "N C H W"]
    hole: Bool[Tensor, "N H W"]
    tokens: Float[Tensor, "N L P"]
    masks: TokenMasks


def completion_inputs(
    config: Config,
    images: Images,
    hole: Mask,
    absent: Mask | None = None,
    *,
    is_completed: bool = False,
) -> CompletionInputs:
    """Check images and holes, and cut them into tokens.

    Args:
        config: the model's configuration.
        images: of the model's size, in any format.
        hole: True = generate. A patch that it touches is a target.
        absent: True = neither given nor generated. A patch that it touches, and the hole does not,
            is absent.
        is_completed: whether the model also reads the images inside the hole.

    Raises:
        ValueError: an argument has the wrong type, shape or values, or an image has no hole.
    """
    read = _read(config, images)
    hole = _read_mask("hole", hole, read)
    empty = (~hole.flatten(1).any(dim=1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"the hole of image {empty[0]} is empty: mark a pixel to generate")
    absent = torch.zeros_like(hole) if absent is None else _read_mask("absent", absent, read)
    shown = ~absent if is_completed else ~(hole | absent)
    check_values(read.pixels, shown, is_bounded(config), _STACKLEVEL, read.range_is_certain)
    patch_size = config.model.patch_size
    target = tokens_touched(hole, patch_size)
    source = ~target & ~tokens_touched(absent, patch_size)
    masks = TokenMasks(source, target, _known_values(config, ~(hole | absent), target))
    return CompletionInputs(read, read.pixels, hole, patchify(read.pixels, patch_size), masks)


def score_inputs(
    config: Config, images: Images, source: Mask, target: Mask
) -> tuple[ReadImages, Float[Tensor, "N L P"], TokenMasks]:
    """Check images and masks, and cut them into tokens.

    Args:
        config: the model's configuration.
        images: of the model's size, in any format.
        source: True = given. A patch is a source if all of it is given and none of it is target.
        target: True = scored. A patch that it touches is a target.

    Raises:
        ValueError: an argument has the wrong type, shape or values, or an image has no target.
    """
    read = _read(config, images)
    source = _read_mask("source", source, read)
    target = _read_mask("target", target, read)
    shown = source | target
    check_values(read.pixels, shown, is_bounded(config), _STACKLEVEL, read.range_is_certain)
    patch_size = config.model.patch_size
    target_tokens = tokens_touched(target, patch_size)
    source_tokens = tokens_covered(source, patch_size) & ~target_tokens
    known_values = _known_values(config, source & ~target, target_tokens)
    masks = TokenMasks(source_tokens, target_tokens, known_values)
    return read, patchify(read.pixels, patch_size), masks


def classification_inputs(
    config: Config, images: Images, observed: Mask | None
) -> tuple[ReadImages, Float[Tensor, "N L P"], Bool[Tensor, "N L"], Bool[Tensor, "N L P"] | None]:
    """Tokens, source tokens and known values of images that are observed in part.

    Raises:
        ValueError: an argument has the wrong type, shape or values.
    """
    read = _read(config, images)
    if observed is None:
        observed = torch.ones(config.data.image_size, dtype=torch.bool)
    shown = _read_mask("observed", observed, read)
    check_values(read.pixels, shown, is_bounded(config), _STACKLEVEL, read.range_is_certain)
    patch_size = config.model.patch_size
    source = tokens_covered(shown, patch_size)
    known_values = _known_values(config, shown, ~source)
    return read, patchify(read.pixels, patch_size), source, known_values


def is_bounded(config: Config) -> bool:
    """Whether pixel values must lie in [-1, 1]."""
    return config.model.generator.output == "tanh"


def _read(config: Config, images: Images) -> ReadImages:
    return read_images(images, config.data, bounded=is_bounded(config))


def _read_mask(name: str, mask: Mask, images: ReadImages) -> Bool[Tensor, "N H W"]:
    count, _, height, width = images.pixels.shape
    return read_mask_argument(name, mask, count, (height, width))


def _known_values(
    config: Config, known: Bool[Tensor, "N H W"], target: Bool[Tensor, "N L"]
) -> Bool[Tensor, "N L P"] | None:
    """The known values of target tokens; None for a model that cannot read them."""
    if not config.reads_partial_patches:
        return None
    values = known[:, None].expand(-1, config.data.channels, -1, -1)
    return patchify(values, config.model.patch_size) & target[..., None]
