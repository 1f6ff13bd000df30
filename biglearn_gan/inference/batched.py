"""Sample for many images in batches; optionally keep the candidates with the best critic scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import range_is_known
from biglearn_gan.models.labels import check_labels
from biglearn_gan.models.model_inputs import completion_inputs
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.pixel_values import to_signed_float, to_uint8


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


@range_is_known()
def draw_samples(
    model: BigLearnGAN,
    inputs: UInt8[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    options: SamplingOptions,
    *,
    batch_size: int,
    best_of: int | None = None,
    on_images: Callable[[int], None] = lambda count: None,
) -> Samples:
    """Complete all images, ``batch_size`` at a time, which changes no sample.

    Args:
        model: generates and ranks.
        inputs: the images to complete, in [0, 255].
        hole: True = generate.
        options: labels, variations, seed and steps.
        batch_size: images in memory at a time.
        best_of: candidates for each sample; the one with the highest critic score is kept. None
            draws one candidate without a score.
        on_images: called after each batch with its number of images.
    """
    count, labels, batches = len(inputs), None, []
    if options.labels is not None:
        labels = check_labels(options.labels, count, options.variations, model.config.data)
    for first in range(0, count, batch_size):
        rows = slice(first, first + batch_size)
        batch_labels = None if labels is None else labels[rows]
        first_image = options.first_image + first
        batch_options = replace(options, labels=batch_labels, first_image=first_image)
        images = to_signed_float(inputs[rows])
        batches.append(complete_best(model, images, hole[rows], batch_options, best_of=best_of))
        on_images(len(batches[-1].images))
    return Samples(
        torch.cat([to_uint8(batch.images) for batch in batches]),
        inputs,
        hole,
        options.seed,
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
    options: SamplingOptions,
    *,
    absent: Bool[Tensor, "N H W"] | None = None,
    best_of: int | None = None,
) -> BestCompletions:
    """Complete each image ``options.variations`` times, each the best of ``best_of`` candidates.

    If a label of a model with labels is unknown, one label is drawn for all candidates of a
    variation: the label is part of the source, and logits compare for equal sources only.

    Args:
        model: generates and ranks.
        images: in [-1, 1].
        hole: True = generate.
        options: labels, variations, seed and steps.
        absent: True = neither given nor generated nor judged.
        best_of: candidates for each variation, of which the one with the highest critic score is
            kept. None draws one candidate without a score.
    """
    candidates = 1 if best_of is None else best_of
    variations = options.variations
    inputs = completion_inputs(model.config, images, hole, absent)
    labels = None
    if options.labels is not None or model.config.data.labels:
        labels = model.draw_unknown_labels(options, inputs.tokens, inputs.masks)
        labels = labels.repeat_interleave(candidates, dim=1)
    count = variations * candidates
    drawn = model.complete_with(replace(options, labels=labels, variations=count), inputs)
    if best_of is None:
        return BestCompletions(drawn, torch.arange(count).repeat(len(drawn), 1), None, labels)
    logits = rank_candidates(model, drawn, hole, labels, absent)
    scores, choice = logits.unflatten(1, (variations, best_of)).max(dim=2)
    index = best_of * torch.arange(variations) + choice
    chosen = drawn[torch.arange(len(drawn))[:, None], index]
    chosen_labels = None if labels is None else labels.gather(1, index)
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
