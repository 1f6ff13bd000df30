"""Random generators that depend on nothing but the numbers they are named by."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a generator is for, so that equal numbers never give related draws."""

    WEIGHTS = 0
    TASKS = 1
    NOISE = 2
    FLIPS = 3
    SAMPLE = 4
    HOLES = 5
    SOURCES = 6
    REFERENCE = 7
    HALVES = 8
    HISTOGRAMS = 9
    FIELDS = 10
    ORACLE = 11
    HUES = 12
    LATER_STEPS = 13
    ORDER = 14
    LABELS = 15
    SIMULATION = 21


def make_rng(stream: Stream, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on ``device``, seeded by the stream and any numbers of at least 0.

    The numbers are hashed (``numpy.random.SeedSequence``), so neighbors are unrelated. One stream
    always takes equally many numbers, because the hash does not see zeros at the end.
    """
    state = np.random.SeedSequence([int(stream), *numbers]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))
