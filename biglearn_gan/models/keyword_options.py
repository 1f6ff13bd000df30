"""Keyword arguments of ``BigLearnGAN``'s methods, for the types of their results."""

from __future__ import annotations

from typing import TypedDict

import torch

from biglearn_gan.models.labels import Labels
from biglearn_gan.models.mask_formats import Mask
from biglearn_gan.models.progressive import OrderName


class SampleKeywords(TypedDict, total=False):
    """Keywords of ``sample`` that leave the type of its result alone."""

    labels: Labels | None
    seed: int
    generator: torch.Generator | None
    steps: int
    order: OrderName


class CompleteKeywords(SampleKeywords, total=False):
    """Keywords of ``complete`` that leave the type of its result alone."""

    absent: Mask | None
    variations: int
    first_image: int
