"""What completions do to pixels: how much they vary in the hole, and that they keep the rest."""

from __future__ import annotations

from jaxtyping import Float, UInt8
from torch import Tensor

from biglearn_gan.evaluation.answers import Question
from biglearn_gan.images import to_unit_range


def spread(images: UInt8[Tensor, "N K C H W"], question: Question) -> Float[Tensor, " N"]:
    """Standard deviation over K (unbiased) in units of [-1, 1], averaged over the hole's pixels."""
    deviation = to_unit_range(images).double().std(dim=1).mean(dim=1)  # (N, H, W)
    hole = question.hole
    return (deviation * hole).sum(dim=(1, 2)) / hole.sum(dim=(1, 2))


def changed(images: UInt8[Tensor, "N K C H W"], question: Question) -> Float[Tensor, " N"]:
    """Share of the observed pixels that differ from the original; 0 where nothing is observed."""
    observed = question.observed[:, None]  # (N, 1, H, W)
    differs = (images != question.images[:, None]).any(dim=2) & observed  # (N, K, H, W)
    total = observed.sum(dim=(1, 2, 3)).clamp_min(1) * images.shape[1]
    return differs.sum(dim=(1, 2, 3)).double() / total
