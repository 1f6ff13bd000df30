"""Drawing for many rows: batches of completions, and the critic's favorite of several."""

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
    """Everything that was drawn; K variations for each of N rows.

    For joint samples the sources are black and the holes are everything. Sample (i, k) was drawn
    from (seed, i, ``numbers[i, k]``); ``scores`` are the critic's logits, where it chose;
    ``labels`` what a model with labels drew it for, ``data`` names the data set of the model.
    """

    images: UInt8[Tensor, "N K C H W"]
    sources: UInt8[Tensor, "N C H W"]
    hole: Bool[Tensor, "N H W"]
    seed: int
    numbers: Int64[Tensor, "N K"]
    scores: Float[Tensor, "N K"] | None = None
    labels: Int64[Tensor, "N K"] | None = None
    data: str | None = None


def draw(
    model: BigLearnGAN,
    sources: UInt8[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    *,
    labels: Int64[Tensor, " N"] | None = None,
    variations: int,
    seed: int,
    batch_size: int,
    steps: int = 1,
    order: OrderName = "random",
    best_of: int | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Samples:
    """Complete all rows, ``batch_size`` at a time.

    Args:
        model: draws, and ranks.
        sources: what is completed.
        hole: True = generated.
        labels: the class of each row, for a model with labels.
        variations: K, of each row.
        seed: see :meth:`biglearn_gan.models.biglearn_gan.BigLearnGAN.complete`, as ``steps`` and ``order``.
        batch_size: rows in memory at once, which changes no sample.
        best_of: candidates for each variation, of which the critic's favorite is kept and scored;
            None draws one and asks no critic.
        on_rows: hears how many rows were done.
    """
    parts = []
    for first in range(0, len(sources), batch_size):
        rows = slice(first, first + batch_size)
        parts.append(
            complete_best(
                model,
                to_signed_float(sources[rows]),
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
        on_rows(len(parts[-1].images))
    return Samples(
        torch.cat([to_uint8(part.images) for part in parts]),
        sources,
        hole,
        seed,
        torch.cat([part.numbers for part in parts]),
        _joined([part.scores for part in parts]),
        _joined([part.labels for part in parts]),
        model.config.data.name,
    )


@dataclass(frozen=True)
class Best:
    """Completions that a critic liked best; see :class:`Samples` for the rest."""

    images: Float[Tensor, "N K C H W"]
    numbers: Int64[Tensor, "N K"]
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
) -> Best:
    """Complete each image; of ``best_of`` candidates for each variation, keep one, with its score.

    Where ``best_of`` is None, there is one candidate and no score.
    Where a model with labels is given none, each variation draws one for all its candidates, since
    logits of different sources, of which the label is a part, do not compare.
    What is ``absent`` is neither given nor generated nor judged.
    """
    candidates = 1 if best_of is None else best_of
    count = variations * candidates
    known = None
    if labels is not None:
        known = labels[:, None].repeat(1, count)
    elif model.config.data.labels:
        known = model.draw_labels(
            images, hole, absent=absent, variations=variations, seed=seed, first_image=first_image
        ).repeat_interleave(candidates, dim=1)
    drawn = model.complete(
        images,
        hole,
        absent=absent,
        labels=known,
        variations=count,
        seed=seed,
        first_image=first_image,
        steps=steps,
        order=order,
    )
    if best_of is None:
        return Best(drawn, torch.arange(count).repeat(len(drawn), 1), None, known)
    logits = rank_candidates(model, drawn, hole, known, absent).unflatten(1, (variations, best_of))
    scores, choice = logits.max(dim=2)
    numbers = best_of * torch.arange(variations) + choice
    chosen = drawn[torch.arange(len(drawn))[:, None], numbers]
    return Best(chosen, numbers, scores, None if known is None else known.gather(1, numbers))


def rank_candidates(
    model: BigLearnGAN,
    images: Float[Tensor, "N K C H W"],
    hole: Bool[Tensor, "N H W"],
    labels: Int64[Tensor, "N K"] | None = None,
    absent: Bool[Tensor, "N H W"] | None = None,
) -> Float[Tensor, "N K"]:
    """What :meth:`biglearn_gan.models.biglearn_gan.BigLearnGAN.rank` says of each row's candidates."""
    rows, count = images.shape[:2]
    logits = model.rank(
        images.flatten(0, 1),
        hole.repeat_interleave(count, dim=0),
        absent=None if absent is None else absent.repeat_interleave(count, dim=0),
        labels=None if labels is None else labels.flatten(),
    )
    return logits.view(rows, count)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None
