"""How unusual an image is for a model, and where.

A window slides over the image. At each place, the model completes the hidden window several times,
given the rest. The part in the window is unusual if it lies far from its completions, and if the
critic takes the completions for real and the part for generated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from biglearn_gan.argument_checks import check_integer
from biglearn_gan.config import Config
from biglearn_gan.errors import UsageError
from biglearn_gan.inference.batched import rank_candidates
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.image_formats import Images, ReadImages, read_images
from biglearn_gan.models.input_checks import check_values, range_is_known
from biglearn_gan.models.model_inputs import completion_inputs, is_bounded
from biglearn_gan.models.token_model import SamplingOptions

WINDOW_SHARE = 3 / 8
"""Side of a window by default, as a share of the image's shorter side."""

STRIDES_PER_WINDOW = 3
"""By default, a window moves by its side over this."""

SPREAD_FLOOR = 0.2
"""Joins the standard deviation of a pixel's completions: a tenth of the range [-1, 1].

Without it, the faintest noise on a black background, of which all completions are black, would be
infinitely surprising. It was chosen on training images of MNIST.
"""

VARIATIONS = 8
"""Completions of each window."""

OWN_IMAGES = 1000
"""Images of the model that an image is compared with."""

BATCH_IMAGES = 64
"""Whole images that are drawn or judged at a time, which changes no result."""

_STACKLEVEL = 4
"""Frames from :func:`check_values` through this file to the user's call."""


def surprise_map(
    model: BigLearnGAN,
    images: Images,
    *,
    window: int | None = None,
    stride: int | None = None,
    variations: int = VARIATIONS,
    seed: int = 0,
) -> Tensor | np.ndarray:
    """How unusual each pixel's surroundings are given the rest, (N, H, W), or (H, W) for one image.

    Values are at least 0. The value of a pixel is the mean over the windows that cover it of
    ``distance * critic_loss``; see :func:`part_distance` and :func:`critic_loss`. It is an array if
    the images are one, else a tensor.

    >>> model = BigLearnGAN.from_pretrained("digits")
    >>> surprise_map(model, model.sample(2)).shape
    torch.Size([2, 8, 8])

    Args:
        model: completes the windows, and judges the completions.
        images: in any format of :meth:`BigLearnGAN.complete`.
        window: side of a window in pixels; None for 3/8 of the image's shorter side. A model
            without ``tasks.partial_patches`` needs a multiple of the patch size, and rounds 3/8 up
            to one.
        stride: pixels between windows, at most ``window``; None for a third of it. For a model
            without ``tasks.partial_patches``, a multiple of the patch size.
        variations: K, completions of each window, at least 2.
        seed: at least 0. All images get the same noise, so neither their number nor their order
            changes a map.

    Raises:
        ValueError: an image has the wrong size or type, or a number is out of range.
    """
    read = _read(model.config, images)
    holes = sliding_windows(model.config, window, stride)
    parts = judge_parts(model, read.pixels, holes, variations=variations, seed=seed)
    return read.format.write_numbers(torch.stack([part.surprise_map() for part in parts]))


def critic_quantile(
    model: BigLearnGAN, images: Images, *, num: int = OWN_IMAGES, seed: int = 0
) -> Tensor | np.ndarray:
    """The share of the model's own images that its critic finds less real than each image, (N,).

    Values are in [0, 1]; 0 means that all of the model's images look more real. The critic judges
    whole images, without a label. It is an array if the images are one, else a tensor.

    >>> model = BigLearnGAN.from_pretrained("digits")
    >>> critic_quantile(model, model.sample(3, seed=1)).shape
    torch.Size([3])

    Args:
        model: draws and judges.
        images: in any format of :meth:`BigLearnGAN.complete`.
        num: images that the model draws, at least 1.
        seed: of these images, at least 0.

    Raises:
        ValueError: an image has the wrong size or type, or a number is out of range.
    """
    read = _read(model.config, images)
    own = own_logits(model, num, seed)
    return read.format.write_numbers(quantile_among(joint_logits(model, read.pixels), own))


@dataclass(frozen=True)
class JudgedParts:
    """The V windows of one image, as the model sees them.

    Attributes:
        holes: True = inside the window.
        completions: of each window, given the rest of the image.
        distance: see :func:`part_distance`.
        critic_loss: see :func:`critic_loss`.
    """

    holes: Bool[Tensor, "V H W"]
    completions: Float[Tensor, "V K C H W"]
    distance: Float[Tensor, " V"]
    critic_loss: Float[Tensor, " V"]

    def surprise_map(self) -> Float[Tensor, "H W"]:
        """The surprise around each pixel; see :func:`surprise_map`."""
        return mean_over_windows(self.distance * self.critic_loss, self.holes)


def judge_parts(
    model: BigLearnGAN,
    images: Float[Tensor, "N C H W"],
    holes: Bool[Tensor, "V H W"],
    *,
    variations: int = VARIATIONS,
    seed: int = 0,
) -> Iterator[JudgedParts]:
    """Complete each window of each image, and compare the image with its completions.

    Images are judged one at a time, so their number does not change the memory that it takes.

    Args:
        model: completes the windows, and judges the completions.
        images: in [-1, 1].
        holes: True = hidden, and then completed.
        variations: K, completions of each window, at least 2.
        seed: at least 0; completion k of window v gets the same noise in all images.

    Raises:
        UsageError: ``variations`` or ``seed`` is out of range.
    """
    check_integer("variations", variations, least=2)
    options = SamplingOptions(variations=variations, seed=seed)
    for image in images:
        copies = image.expand(len(holes), -1, -1, -1)  # one for each window
        with range_is_known():
            inputs = completion_inputs(model.config, copies, holes)
            completions = model.complete_with(options, inputs)  # (V, K, C, H, W)
            candidates = torch.cat([copies[:, None], completions], dim=1)
            logits = rank_candidates(model, candidates, holes)  # (V, 1 + K)
        distance = part_distance(image, holes, completions)
        loss = critic_loss(logits[:, 0], logits[:, 1:])
        yield JudgedParts(holes, completions, distance, loss)


def part_distance(
    image: Float[Tensor, "C H W"],
    holes: Bool[Tensor, "V H W"],
    completions: Float[Tensor, "V K C H W"],
) -> Float[Tensor, " V"]:
    """How far each window lies from its completions, in units of their spread.

    It is the root mean square over the pixels in the window, and over channels, of::

        (x - mean_k y_k) / sqrt((1 + 1/K) * (var_k y_k + SPREAD_FLOOR**2))

    The factor belongs to a part that is one more completion: its distance is near 1 if the spread
    is far above the floor.

    Args:
        image: x, in [-1, 1].
        holes: True = inside the window.
        completions: y_1 to y_K, which equal the image outside of the window; K is at least 2.
    """
    variations, channels = completions.shape[1:3]
    variance = completions.var(dim=1) + SPREAD_FLOOR**2  # (V, C, H, W)
    squares = (image - completions.mean(dim=1)).square() / ((1 + 1 / variations) * variance)
    inside = (squares * holes[:, None]).sum(dim=(1, 2, 3))
    return (inside / (channels * holes.sum(dim=(1, 2)))).sqrt()


def critic_loss(
    logits: Float[Tensor, " V"], completion_logits: Float[Tensor, "V K"]
) -> Float[Tensor, " V"]:
    """The critic's loss if each window is real, and its completions are generated, in bits.

    It is the mean over k of ``log2(1 + exp(f(y_k) - f(x)))``, the relativistic loss
    (Jolicoeur-Martineau 2018, arXiv 1807.00734): 1 if it cannot tell the two apart, 0 if it finds
    the window much more real, and large if it finds the completion more real. Logits of the same
    source can be compared whatever loss the critic was trained with.

    Args:
        logits: f(x), of the windows themselves.
        completion_logits: f(y_k), of their completions.
    """
    return softplus(completion_logits - logits[:, None]).mean(dim=1) / log(2)


def mean_over_windows(
    values: Float[Tensor, " V"], holes: Bool[Tensor, "V H W"]
) -> Float[Tensor, "H W"]:
    """For each pixel, the mean value of the windows that cover it."""
    return (values[:, None, None] * holes).sum(dim=0) / holes.sum(dim=0)


def sliding_windows(
    config: Config, window: int | None = None, stride: int | None = None
) -> Bool[Tensor, "V H W"]:
    """Square windows that cover every pixel, row by row; True = inside.

    Args:
        config: the model's configuration.
        window: see :func:`surprise_map`.
        stride: see :func:`surprise_map`. The last window of a row or column may be nearer, so that
            it ends with the image.

    Raises:
        UsageError: a number is out of range, or windows would cut through patches that the model
            only reads whole.
    """
    height, width = config.data.image_size
    shorter = min(height, width)
    unit = 1 if config.reads_partial_patches else config.model.patch_size
    if window is None:
        window = round_up(int(WINDOW_SHARE * shorter), unit)
    _check_multiple("window", window, unit, shorter)
    if stride is None:
        stride = round_up(window // STRIDES_PER_WINDOW, unit)
    _check_multiple("stride", stride, unit, window)
    tops, lefts = ([*range(0, side - window, stride), side - window] for side in (height, width))
    holes = torch.zeros(len(tops) * len(lefts), height, width, dtype=torch.bool)
    for number, (top, left) in enumerate((top, left) for top in tops for left in lefts):
        holes[number, top : top + window, left : left + window] = True
    return holes


def round_up(number: int, unit: int) -> int:
    """The smallest multiple of ``unit`` from 1 up that is at least ``number``."""
    return unit * max(1, -(-number // unit))


def _check_multiple(name: str, number: int, unit: int, most: int) -> None:
    """Raise UsageError unless a length is at most ``most`` and a multiple of ``unit``."""
    check_integer(name, number, least=1)
    if number > most:
        raise UsageError(f"{name} must be at most {most} pixels, not {number}")
    if number % unit:
        raise UsageError(
            f"{name} must be a multiple of {unit} pixels, because this model only reads whole "
            f"patches, not {number}"
        )


def joint_logits(model: BigLearnGAN, images: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """The critic's logits of whole images in [-1, 1], without a source or a label."""
    hole = torch.ones(model.config.data.image_size, dtype=torch.bool)
    with range_is_known():
        return torch.cat([model.rank(batch, hole) for batch in images.split(BATCH_IMAGES)])


def own_logits(
    model: BigLearnGAN,
    num: int,
    seed: int,
    on_images: Callable[[int], None] = lambda count: None,
) -> Float[Tensor, " M"]:
    """The critic's logits of the images that ``model.sample(num, seed=seed)`` draws.

    Args:
        model: draws and judges, a batch at a time.
        num: M, images that are drawn, at least 1.
        seed: at least 0.
        on_images: called after each batch with its number of images.

    Raises:
        UsageError: a number is out of range.
    """
    check_integer("num", num, least=1)
    data = model.config.data
    hole = torch.ones(data.image_size, dtype=torch.bool)
    logits = []
    for first in range(0, num, BATCH_IMAGES):
        empty = torch.zeros(min(BATCH_IMAGES, num - first), data.channels, *data.image_size)
        images = model.complete(empty, hole, seed=seed, first_image=first)[:, 0]
        logits.append(joint_logits(model, images))
        on_images(len(images))
    return torch.cat(logits)


def quantile_among(logits: Float[Tensor, " N"], own: Float[Tensor, " M"]) -> Float[Tensor, " N"]:
    """The share of the model's own logits that lie below each logit, in [0, 1]."""
    return (own < logits[:, None]).float().mean(dim=1)


def _read(config: Config, images: Images) -> ReadImages:
    """Checked images of the model's size."""
    bounded = is_bounded(config)
    read = read_images(images, config.data, bounded=bounded)
    shown = torch.ones_like(read.pixels[:, 0], dtype=torch.bool)
    check_values(read.pixels, shown, bounded, _STACKLEVEL, read.range_is_certain)
    return read
