"""Checked images and masks of a call, cut into tokens once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.models.input_checks import Mask, check_images, check_mask, check_values
from biglearn_gan.tasks.patches import patchify, tokens_covered, tokens_touched
from biglearn_gan.tasks.token_masks import TokenMasks

_STACKLEVEL = 4
"""Frames from :func:`check_values` through this file and a method of the model to the user."""


@dataclass(frozen=True)
class CompletionInputs:
    """Images with holes on the CPU, in pixels and in tokens.

    Attributes:
        images: in [-1, 1].
        hole: True = generate.
        tokens: the images cut into tokens.
        masks: source and target tokens.
    """

    images: Float[Tensor, "N C H W"]
    hole: Bool[Tensor, "N H W"]
    tokens: Float[Tensor, "N L P"]
    masks: TokenMasks


def completion_inputs(
    config: Config,
    images: object,
    hole: Mask,
    absent: Mask | None = None,
    *,
    is_completed: bool = False,
) -> CompletionInputs:
    """Check images and holes, and cut them into tokens.

    Args:
        config: the model's configuration.
        images: in [-1, 1].
        hole: True = generate. A patch that it touches is a target.
        absent: True = neither given nor generated. A patch that it touches, and the hole does not,
            is absent.
        is_completed: whether the model also reads the images inside the hole.

    Raises:
        ValueError: an argument has the wrong type, shape or values, or an image has no hole.
    """
    images = check_images(images, config.data)
    hole = check_mask("hole", hole, images)
    empty = (~hole.flatten(1).any(dim=1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"the hole of image {empty[0]} is empty: mark a pixel to generate")
    absent = torch.zeros_like(hole) if absent is None else check_mask("absent", absent, images)
    read = ~absent if is_completed else ~(hole | absent)
    check_values(images, read, _is_bounded(config), _STACKLEVEL)
    patch_size = config.model.patch_size
    target = tokens_touched(hole, patch_size)
    source = ~target & ~tokens_touched(absent, patch_size)
    masks = TokenMasks(source, target, _known_values(config, ~(hole | absent), target))
    return CompletionInputs(images, hole, patchify(images, patch_size), masks)


def score_inputs(
    config: Config, images: object, source: Mask, target: Mask
) -> tuple[Float[Tensor, "N L P"], TokenMasks]:
    """Check images and masks, and cut them into tokens.

    Args:
        config: the model's configuration.
        images: in [-1, 1].
        source: True = given. A patch is a source if all of it is given and none of it is target.
        target: True = scored. A patch that it touches is a target.

    Raises:
        ValueError: an argument has the wrong type, shape or values, or an image has no target.
    """
    images = check_images(images, config.data)
    source = check_mask("source", source, images)
    target = check_mask("target", target, images)
    check_values(images, source | target, _is_bounded(config), _STACKLEVEL)
    patch_size = config.model.patch_size
    target_tokens = tokens_touched(target, patch_size)
    source_tokens = tokens_covered(source, patch_size) & ~target_tokens
    known_values = _known_values(config, source & ~target, target_tokens)
    return patchify(images, patch_size), TokenMasks(source_tokens, target_tokens, known_values)


def classification_inputs(
    config: Config, images: object, observed: Mask | None
) -> tuple[Float[Tensor, "N L P"], Bool[Tensor, "N L"], Bool[Tensor, "N L P"] | None]:
    """Tokens, source tokens and known values of images that are observed in part.

    Raises:
        ValueError: an argument has the wrong type, shape or values.
    """
    images = check_images(images, config.data)
    if observed is None:
        observed = torch.ones_like(images[:, 0], dtype=torch.bool)
    observed = check_mask("observed", observed, images)
    check_values(images, observed, _is_bounded(config), _STACKLEVEL)
    patch_size = config.model.patch_size
    source = tokens_covered(observed, patch_size)
    return patchify(images, patch_size), source, _known_values(config, observed, ~source)


def _is_bounded(config: Config) -> bool:
    """Whether pixel values must lie in [-1, 1]."""
    return config.model.generator.output == "tanh"


def _known_values(
    config: Config, known: Bool[Tensor, "N H W"], target: Bool[Tensor, "N L"]
) -> Bool[Tensor, "N L P"] | None:
    """The known values of target tokens; None for a model that cannot read them."""
    if not config.reads_partial_patches:
        return None
    values = known[:, None].expand(-1, config.data.channels, -1, -1)
    return patchify(values, config.model.patch_size) & target[..., None]
