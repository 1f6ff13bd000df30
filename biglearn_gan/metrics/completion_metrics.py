"""Metrics of completions: labels, diversity and changed pixels.

``p`` is p(y | x_S) of the masked classifier. Completions from the true conditional have the true
label with probability E[p(y_true | x_S)], and their label histogram is p up to sampling error.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor

from biglearn_gan.metrics.jackknife import jackknife_error, leave_out
from biglearn_gan.pixel_values import to_signed_float
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

PERFECT_REPEATS = 16
"""Simulated histograms of perfect draws per row."""


def agreement(
    predicted: Int64[Tensor, "N K"], labels: Int64[Tensor, " N"] | None
) -> Float64[Tensor, " M"] | None:
    """The share of the K predicted labels of an image that are its true one, in [0, 1].

    Images without a label (``UNKNOWN_LABEL``) are left out. None if no image has one.
    """
    if labels is None or bool((labels == UNKNOWN_LABEL).all()):
        return None
    known = labels != UNKNOWN_LABEL
    return (predicted[known] == labels[known, None]).double().mean(dim=1)


def histograms(labels: Int64[Tensor, "N K"], num_classes: int) -> Float64[Tensor, "N classes"]:
    """Share of each label among the K labels of a row."""
    counts = torch.zeros(len(labels), num_classes, dtype=torch.float64)
    counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.float64))
    return counts / labels.shape[1]


def total_variation(
    first: Float64[Tensor, "N classes"], second: Float64[Tensor, "N classes"]
) -> Float64[Tensor, " N"]:
    """½ Σ |p - q| of each row, in [0, 1]."""
    return 0.5 * (first - second).abs().sum(dim=1)


def total_variation_of_perfect_draws(
    p: Float64[Tensor, "N classes"], draws: int, rng: torch.Generator
) -> float:
    """Mean total variation between p and the histogram of ``draws`` labels drawn from it."""
    drawn = torch.multinomial(p, PERFECT_REPEATS * draws, replacement=True, generator=rng)
    labels = drawn.view(-1, draws)
    return float(
        total_variation(
            histograms(labels, p.shape[1]), p.repeat_interleave(PERFECT_REPEATS, 0)
        ).mean()
    )


def entropy(labels: Int64[Tensor, " N"], num_classes: int) -> float:
    """Entropy of the label histogram in nats, from 0 to ln(num_classes)."""
    shares = histograms(labels[None], num_classes)[0]
    return max(0.0, float(-torch.special.xlogy(shares, shares).sum()))


def entropy_error(labels: Int64[Tensor, " N"], num_classes: int, groups: int) -> float | None:
    """Jackknife error of :func:`entropy` over ``groups`` parts; None if there are fewer labels."""
    if len(labels) < groups:
        return None
    values = [entropy(labels[kept], num_classes) for kept in leave_out(len(labels), groups)]
    return jackknife_error(torch.tensor(values, dtype=torch.float64))


def diversity(
    images: UInt8[Tensor, "N K C H W"], hole: Bool[Tensor, "N H W"]
) -> Float[Tensor, " N"]:
    """Unbiased standard deviation over K for pixels in [-1, 1], averaged over each hole."""
    deviation = to_signed_float(images).double().std(dim=1).mean(dim=1)  # (N, H, W)
    return (deviation * hole).sum(dim=(1, 2)) / hole.sum(dim=(1, 2))


def changed_fraction(
    images: UInt8[Tensor, "N K C H W"],
    originals: UInt8[Tensor, "N C H W"],
    known: Bool[Tensor, "N H W"],
) -> Float[Tensor, " N"]:
    """Share of the known pixels that differ from the original; 0 if there are none."""
    differs = (images != originals[:, None]).any(dim=2) & known[:, None]  # (N, K, H, W)
    total = known.sum(dim=(1, 2)).clamp_min(1) * images.shape[1]
    return differs.sum(dim=(1, 2, 3)).double() / total
