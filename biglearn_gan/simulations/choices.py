"""What a simulation can be asked for; without torch, so that the command line can list it."""

from __future__ import annotations

from enum import StrEnum


class TaskChoice(StrEnum):
    """The tasks of a fit: one kind, or the mixture of the schedule."""

    joint = "joint"
    marginal = "marginal"
    conditional = "conditional"
    big = "big"


class ScheduleName(StrEnum):
    """How 25 Gaussians are fitted."""

    published = "published"
    ours = "ours"
