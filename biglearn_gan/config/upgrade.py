"""Old names of keys and values: translated in stored files, refused with a hint elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

RENAMED_KEYS = {
    "tasks.kept_pixels": "tasks.partial_patches",
    "tasks.label_given": "tasks.label_conditioning",
    "loss.shared_pass": "loss.reuse_fake_pass",
    "train.warm_start.hand_over": "train.warm_start.transfer",
    "logging.evaluation_share": "logging.evaluation_time_share",
}
RENAMED_VALUES = {("data.name", "coloured_mnist"): "colored_mnist"}
REMOVED_KEYS: dict[str, tuple[object, str]] = {
    "loss.communication_from": (0.0, "the term takes part in all of the adversarial training"),
    "train.warm_start.tasks": ("conditional", "the warm start uses the tasks that have a source"),
}
"""For each key that is gone: the only value that runs can have now, and what that means."""


def upgrade(values: Mapping[str, Any], stored: bool) -> tuple[dict[str, Any], list[str]]:
    """The same configuration under today's names, and what the user has to change.

    Args:
        values: plain values of a whole configuration.
        stored: whether a program wrote them. Their old names are no problem then, nor are removed
            keys with the value that all runs have now.

    Returns:
        The values, and one sentence for each problem.
    """
    upgraded = copy.deepcopy(dict(values))
    problems: list[str] = []
    for old, new in RENAMED_KEYS.items():
        found = _pop(upgraded, old)
        if found:
            _section(upgraded, new)[new.rpartition(".")[2]] = found[0]
            problems += [] if stored else [f"{old}: this key is called {new} now"]
    for (key, old_name), new_name in RENAMED_VALUES.items():
        section, last = _section(upgraded, key), key.rpartition(".")[2]
        if section.get(last) == old_name:
            section[last] = new_name
            problems += [] if stored else [f"{key}: {old_name!r} is called {new_name!r} now"]
    for key, (only_value, meaning) in REMOVED_KEYS.items():
        found = _pop(upgraded, key)
        if found and not (stored and found[0] == only_value):
            problems.append(f"{key}: this key is gone, {meaning}; remove it")
    return upgraded, problems


def _section(values: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping that holds the last part of a key; empty if there is none."""
    here: Any = values
    for part in key.split(".")[:-1]:
        here = here.get(part) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else {}


def _pop(values: dict[str, Any], key: str) -> list[Any]:
    """Take a key's value out: a list of one value, or of none if the key is not there."""
    section, last = _section(values, key), key.rpartition(".")[2]
    return [section.pop(last)] if last in section else []
