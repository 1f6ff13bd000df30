"""Where a checkpoint's weights are: in a folder here, or on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


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
