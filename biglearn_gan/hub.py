"""Where a checkpoint's weights are: in a folder here, or on the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


class CheckpointError(Exception):
    """A checkpoint that cannot be found, read or used, in one sentence."""


def may_be_on_hub(name: str) -> bool:
    """Whether a model's name means nothing on this machine, there or misspelt."""
    path = Path(name)
    beside = path.parent != Path() and path.parent.is_dir()
    return not path.exists() and not beside and not path.is_absolute()


def weights_file(model_id: str, **options: Any) -> Path:
    """The safetensors file of a model, downloaded where ``model_id`` is no folder.

    Args:
        model_id: folder, or ``owner/name`` on the hub.
        options: those of ``hf_hub_download``; used for the hub only.

    Raises:
        FileNotFoundError: the folder holds no weights.
    """
    if not Path(model_id).is_dir():
        return Path(hf_hub_download(model_id, WEIGHTS_NAME, **options))
    path = Path(model_id) / WEIGHTS_NAME
    if not path.is_file():
        raise FileNotFoundError(f"the folder holds no {WEIGHTS_NAME}")
    return path


def check_folder(name: str) -> None:
    """Refuse what the hub's mixin would fail on without a word of its own, or ask the hub for.

    Raises:
        CheckpointError: it cannot be on the hub, and is no folder with a model's configuration.
        OSError, ValueError: the configuration cannot be read.
    """
    if may_be_on_hub(name):
        return
    folder = Path(name)
    if folder.is_file():
        raise CheckpointError(f"{name} is a file: name the folder that holds it")
    if not folder.is_dir():
        configs = folder.parent.glob(f"*/{CONFIG_NAME}")
        beside = sorted(p.parent.name for p in configs if not _is_of_classifier(p))
        there = f"in {folder.parent} are {', '.join(beside)}" if beside else "no model is beside it"
        raise CheckpointError(f"{name} does not exist; {there}")
    path = folder / CONFIG_NAME
    if not path.is_file():
        inside = folder / "checkpoint"
        hint = f"; {inside} is one" if (inside / CONFIG_NAME).is_file() else ""
        raise CheckpointError(
            f"{folder}: this folder holds no {CONFIG_NAME}, so no checkpoint{hint}"
        )
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: holds a JSON {type(values).__name__}, not an object")
    if "num_classes" in values:
        raise CheckpointError(f"{folder}: holds a classifier, which measures, and not a model")


def _is_of_classifier(path: Path) -> bool:
    """Whether a configuration is a classifier's; one that cannot be read may be a model's."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "num_classes" in values
