"""A checkpoint's files: found in a folder or on the Hugging Face hub, checked and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from biglearn_gan.errors import UserError

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


class CheckpointError(UserError):
    """A checkpoint that cannot be found, read or used, in one sentence."""


def load_checkpoint(name: str, **hub_options: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the weights of a model or a classifier, on the CPU.

    Args:
        name: a folder, or ``owner/name`` on the hub.
        hub_options: ``revision``, ``token`` and others of ``hf_hub_download``.

    Raises:
        CheckpointError: there is no checkpoint of this name, or a file of it cannot be read.
    """
    try:
        config_path = _find_file(name, CONFIG_NAME, hub_options)
        weights_path = _find_file(name, WEIGHTS_NAME, hub_options)
        values = json.loads(config_path.read_text(encoding="utf-8"))
        weights = load_file(weights_path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{config_path}: is not valid JSON ({error})") from None
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path}: is not a safetensors file ({error})") from None
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        if Path(name).is_dir():
            raise CheckpointError(f"{name}: cannot be read ({error})") from None
        raise CheckpointError(
            f"{name!r} is neither a folder here nor a model that can be reached on the Hugging "
            "Face hub"
        ) from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{config_path}: holds a JSON {type(values).__name__}, not an object")
    return values, weights


def check_model_folder(name: str) -> None:
    """Check that a name can be a model: on the hub, or in a folder that holds one.

    Raises:
        CheckpointError: the folder does not exist, or holds no model; a misspelled name gets a list
            of the models next to it.
    """
    if may_be_on_hub(name):
        return
    folder = Path(name)
    if folder.is_file():
        raise CheckpointError(f"{name} is a file: name the folder that holds it")
    if not folder.is_dir():
        configs = folder.parent.glob(f"*/{CONFIG_NAME}")
        models = sorted(path.parent.name for path in configs if not _is_of_classifier(path))
        found = (
            f"in {folder.parent} are {', '.join(models)}" if models else "no model is next to it"
        )
        raise CheckpointError(f"{name} does not exist; {found}")
    path = folder / CONFIG_NAME
    if not path.is_file():
        inside = folder / "checkpoint"
        hint = f"; {inside} is one" if (inside / CONFIG_NAME).is_file() else ""
        raise CheckpointError(f"{folder} holds no {CONFIG_NAME}, so it is not a checkpoint{hint}")
    if _is_of_classifier(path):
        raise CheckpointError(f"{folder} holds a classifier, not a model: name a model's folder")


def may_be_on_hub(name: str) -> bool:
    """Whether a name is no path on this machine, not even a misspelled one."""
    path = Path(name)
    is_near_a_folder = path.parent != Path() and path.parent.is_dir()
    return not path.exists() and not is_near_a_folder and not path.is_absolute()


def _find_file(name: str, file_name: str, hub_options: dict[str, Any]) -> Path:
    """A file of a checkpoint; on the hub it is downloaded first."""
    if not Path(name).is_dir():
        return Path(hf_hub_download(name, file_name, **hub_options))
    path = Path(name) / file_name
    if not path.is_file():
        raise CheckpointError(f"{name} holds no {file_name}, so it is not a checkpoint")
    return path


def _is_of_classifier(path: Path) -> bool:
    """Whether a configuration is a classifier's; one that cannot be read may be a model's."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "num_classes" in values
