"""The models and configurations that come with the package, found by their names from anywhere.

A clone has them in ``checkpoints/`` and ``experiments/``. A wheel holds copies (see ``setup.py``).
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

CONFIG_NAME = "config.json"
"""File of a checkpoint that makes it one."""

WEIGHTS_NAME = "model.safetensors"
"""File of a checkpoint's weights."""

_WHEEL = Path(__file__).with_name("shipped_files")
_ROOT = _WHEEL if _WHEEL.is_dir() else Path(__file__).parents[1]
CHECKPOINTS = _ROOT / "checkpoints"
"""Folder of the models and classifiers."""
CONFIGS = _ROOT / "experiments"
"""Folder of the configurations."""


def find_checkpoint(name: str) -> Path | None:
    """The folder of a shipped model or classifier, or None if there is none of this name.

    Args:
        name: such as ``digits``, or ``checkpoints/digits`` as a clone has it.
    """
    word = _plain_name(name, CHECKPOINTS)
    folder = CHECKPOINTS / word
    return folder if word and (folder / CONFIG_NAME).is_file() else None


def find_config(name: str) -> Path | None:
    """The file of a shipped configuration, or None if there is none of this name.

    Args:
        name: such as ``mnist``, ``mnist.yaml``, or ``experiments/mnist.yaml`` as a clone has it.
    """
    word = _plain_name(name, CONFIGS).removesuffix(".yaml")
    path = CONFIGS / f"{word}.yaml"
    return path if word and path.is_file() else None


def checkpoint_names() -> list[str]:
    """The names of all shipped models and classifiers."""
    return sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{CONFIG_NAME}"))


def model_names() -> list[str]:
    """The names of all shipped models."""
    return [name for name in checkpoint_names() if "classifier" not in name]


def config_names() -> list[str]:
    """The names of all shipped configurations."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def suggest(name: str, names: list[str]) -> str:
    """The names that are nearest to a misspelled one, or all of them: ``mnist, digits or cats``."""
    *others, last = get_close_matches(name, names) or names or ["none"]
    return f"{', '.join(others)} or {last}" if others else last


def _plain_name(name: str, folder: Path) -> str:
    """The name of a file or folder in ``folder``; "" for the path of something elsewhere."""
    word = name.removeprefix(f"{folder.name}/").rstrip("/")
    return "" if "/" in word or word.startswith(".") else word
