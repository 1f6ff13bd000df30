"""Random generators that are seeded by a purpose and some numbers, and by nothing else."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What random numbers are for. Different streams are unrelated, even with the same seed.

    The values must never change: every result that a seed gives depends on them. The gap before
    ``SIMULATION`` has no meaning.
    """

    WEIGHTS = 0
    TASKS = 1
    NOISE = 2
    FLIPS = 3  # also shifts and known pixels when a classifier is trained
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
    VIEWS = 16
    SHIFTS = 17
    AUGMENTATION = 18
    SIMULATION = 21


def make_rng(stream: Stream, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new random generator on ``device``, seeded by the stream and the numbers.

    The numbers are hashed (``numpy.random.SeedSequence``), so neighboring seeds are unrelated.

    Args:
        stream: the purpose.
        numbers: at least 0 each. Always pass the same count for one stream, because the hash
            ignores zeros at the end.
        device: of the generator.
    """
    state = np.random.SeedSequence([int(stream), *numbers]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))
