"""Sample for many images in batches; optionally keep the candidates with the best critic scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.data.image_files import to_signed_float, to_uint8
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.progressive import OrderName


@dataclass(frozen=True)
class Samples:
    """K samples for each of N images.

    Attributes:
        images: the samples, in [0, 255].
        inputs: the images that were completed; black for samples from nothing.
        hole: True = generated.
        seed: sample k of image i depends on (seed, i, ``candidate_index[i, k]``) only.
        candidate_index: which of the candidates of an image a sample is; 0, 1, ... without ranking.
        scores: the critic's logits of the samples, or None without ranking.
        labels: the classes that were generated, or None for a model without labels.
        data: the name of the model's data set.
    """

    images: UInt8[Tensor, "N K C H W"]
    inputs: UInt8[Tensor, "N C H W"]
    hole: Bool[Tensor, "N H W"]
    seed: int
    candidate_index: Int64[Tensor, "N K"]
    scores: Float[Tensor, "N K"] | None = None
    labels: Int64[Tensor, "N K"] | None = None
    data: str | None = None


def draw_samples(
    model: BigLearnGAN,
    inputs: UInt8[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    *,
    labels: Int64[Tensor, " N"] | None = None,
    variations: int,
    seed: int,
    batch_size: int,
    steps: int = 1,
    order: OrderName = "random",
    best_of: int | None = None,
    on_images: Callable[[int], None] = lambda count: None,
) -> Samples:
    """Complete all images, ``batch_size`` at a time, which changes no sample.

    Args:
        model: generates and ranks.
        inputs: the images to complete, in [0, 255].
        hole: True = generate.
        labels: the class of each image, for a model with labels; None to draw it.
        variations: K, samples of each image.
        seed: see :meth:`~biglearn_gan.models.biglearn_gan.BigLearnGAN.complete`.
        batch_size: images in memory at a time.
        steps: as ``seed``.
        order: as ``seed``.
        best_of: candidates for each sample; the one with the highest critic score is kept. None
            draws one candidate without a score.
        on_images: called after each batch with its number of images.
    """
    batches = []
    for first in range(0, len(inputs), batch_size):
        rows = slice(first, first + batch_size)
        batches.append(
            complete_best(
                model,
                to_signed_float(inputs[rows]),
                hole[rows],
                None if labels is None else labels[rows],
                variations=variations,
                best_of=best_of,
                seed=seed,
                first_image=first,
                steps=steps,
                order=order,
            )
        )
        on_images(len(batches[-1].images))
    return Samples(
        torch.cat([to_uint8(batch.images) for batch in batches]),
        inputs,
        hole,
        seed,
        torch.cat([batch.candidate_index for batch in batches]),
        _concatenate([batch.scores for batch in batches]),
        _concatenate([batch.labels for batch in batches]),
        model.config.data.name,
    )


@dataclass(frozen=True)
class BestCompletions:
    """The completions with the highest critic scores; see :class:`Samples` for the attributes."""

    images: Float[Tensor, "N K C H W"]
    candidate_index: Int64[Tensor, "N K"]
    scores: Float[Tensor, "N K"] | None
    labels: Int64[Tensor, "N K"] | None


def complete_best(
    model: BigLearnGAN,
    images: Float[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    labels: Int64[Tensor, " N"] | None = None,
    *,
    absent: Bool[Tensor, "N H W"] | None = None,
    variations: int,
    best_of: int | None,
    seed: int,
    first_image: int = 0,
    steps: int = 1,
    order: OrderName = "random",
) -> BestCompletions:
    """Complete each image ``variations`` times; each is the best of ``best_of`` candidates.

    If a model with labels gets none, it draws one label for all candidates of a variation: the
    label is part of the source, and logits compare for equal sources only. See
    :meth:`~biglearn_gan.models.biglearn_gan.BigLearnGAN.complete` for the other arguments.

    Args:
        model: generates and ranks.
        images: in [-1, 1].
        hole: True = generate.
        labels: the class of each image; None to draw it.
        absent: True = neither given nor generated nor judged.
        variations: K.
        best_of: candidates for each variation, of which the one with the highest critic score is
            kept. None draws one candidate without a score.
        seed: at least 0.
        first_image: number of the first image.
        steps: passes of the generator.
        order: in which the hole's patches are drawn.
    """
    candidates = 1 if best_of is None else best_of
    count = variations * candidates
    all_labels = None
    if labels is not None:
        all_labels = labels[:, None].repeat(1, count)
    elif model.config.data.labels:
        all_labels = model.draw_labels(
            images, hole, absent=absent, variations=variations, seed=seed, first_image=first_image
        ).repeat_interleave(candidates, dim=1)
    drawn = model.complete(
        images,
        hole,
        absent=absent,
        labels=all_labels,
        variations=count,
        seed=seed,
        first_image=first_image,
        steps=steps,
        order=order,
    )
    if best_of is None:
        return BestCompletions(drawn, torch.arange(count).repeat(len(drawn), 1), None, all_labels)
    logits = rank_candidates(model, drawn, hole, all_labels, absent)
    scores, choice = logits.unflatten(1, (variations, best_of)).max(dim=2)
    index = best_of * torch.arange(variations) + choice
    chosen = drawn[torch.arange(len(drawn))[:, None], index]
    chosen_labels = None if all_labels is None else all_labels.gather(1, index)
    return BestCompletions(chosen, index, scores, chosen_labels)


def rank_candidates(
    model: BigLearnGAN,
    images: Float[Tensor, "N K C H W"],
    hole: Bool[Tensor, "N H W"],
    labels: Int64[Tensor, "N K"] | None = None,
    absent: Bool[Tensor, "N H W"] | None = None,
) -> Float[Tensor, "N K"]:
    """The critic's logits of K candidates for each image.

    See :meth:`~biglearn_gan.models.biglearn_gan.BigLearnGAN.rank`.
    """
    rows, count = images.shape[:2]
    logits = model.rank(
        images.flatten(0, 1),
        hole.repeat_interleave(count, dim=0),
        absent=None if absent is None else absent.repeat_interleave(count, dim=0),
        labels=None if labels is None else labels.flatten(),
    )
    return logits.view(rows, count)


def _concatenate(parts: Sequence[Tensor | None]) -> Tensor | None:
    """One tensor of all parts; None if they are all None."""
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None
