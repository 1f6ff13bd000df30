"""A checkpoint's files: found by a folder or a name, checked and read."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from biglearn_gan.errors import UserError
from biglearn_gan.files import check_space
from biglearn_gan.shipped import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    checkpoint_names,
    find_checkpoint,
    model_names,
    suggest,
)

_OUR_FOLDERS = ("checkpoints", "experiments", "runs", "samples")
"""Folders that this package writes or comes with. None of them is an owner on the hub."""


_HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's answer, unless HF_HUB_ETAG_TIMEOUT says otherwise."""


class CheckpointError(UserError):
    """A checkpoint that cannot be found, read or used, in one sentence."""

    exit_code = 2


class HubError(CheckpointError):
    """The Hugging Face hub cannot be reached."""

    exit_code = 1


def load_checkpoint(
    name: str, *, of_classifier: bool = False, **hub_options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the weights of a model or a classifier, on the CPU.

    Args:
        name: see :func:`find_checkpoint_folder`.
        of_classifier: see there.
        hub_options: ``revision``, ``token`` and others of ``hf_hub_download``.

    Raises:
        CheckpointError: there is no checkpoint of this name, or a file of it cannot be read.
    """
    folder = find_checkpoint_folder(name, of_classifier=of_classifier)
    if folder is not None and not Path(folder).is_dir():
        problem = "is a file, not a folder" if Path(folder).exists() else "does not exist"
        raise CheckpointError(f"{folder} {problem}")
    name = folder or name
    if folder is None:
        _check_hub(name, hub_options)
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
        check_space(error, Path(hub_options.get("cache_dir") or constants.HF_HUB_CACHE))
        raise _hub_error(name, error) from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{config_path}: holds a JSON {type(values).__name__}, not an object")
    return values, weights


def _check_hub(name: str, hub_options: dict[str, Any]) -> None:
    """Ask the hub for a model that is not in the cache, once and for a short time.

    ``hf_hub_download`` repeats a request that fails for half a minute.

    Raises:
        CheckpointError: the hub has no such model, or it cannot be reached.
    """
    if constants.HF_HUB_OFFLINE or hub_options.get("local_files_only"):
        return
    revision, cache = hub_options.get("revision"), hub_options.get("cache_dir")
    try:
        url = hf_hub_url(name, CONFIG_NAME, revision=revision)
        cached = try_to_load_from_cache(name, CONFIG_NAME, cache_dir=cache, revision=revision)
    except HFValidationError as error:
        raise _hub_error(name, error) from None
    if isinstance(cached, str):
        return
    timeout = _HUB_TIMEOUT
    if "HF_HUB_ETAG_TIMEOUT" in os.environ:
        timeout = constants.HF_HUB_ETAG_TIMEOUT
    try:
        get_hf_file_metadata(url, token=hub_options.get("token"), timeout=timeout)
    except Exception as error:  # the HTTP library depends on huggingface_hub's version
        raise _hub_error(name, error) from None


def _hub_error(name: str, error: Exception) -> CheckpointError:
    """The error for a model that could not be loaded from the hub."""
    problem = f"{name!r} is neither a folder here nor a shipped model, and"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, HFValidationError) or status in (401, 403, 404):
        return CheckpointError(
            f"{problem} the Hugging Face hub shows no such model: check the name, or log in if it "
            "is private"
        )
    if constants.HF_HUB_OFFLINE:
        return HubError(
            f"{problem} cannot be looked up on the Hugging Face hub, because HF_HUB_OFFLINE is "
            "set: unset it, or name a folder"
        )
    return HubError(
        f"{problem} the Hugging Face hub cannot be reached: go online, or name a folder"
    )


def find_checkpoint_folder(name: str, *, of_classifier: bool = False) -> str | None:
    """The folder of a checkpoint, which may hold none; None for a name to look up on the hub.

    Args:
        name: a folder; the name of a shipped model or classifier, such as ``digits``; or
            ``owner/name`` on the hub. Of a folder and a shipped model with the same name, the
            folder counts if it holds a checkpoint or a run.
        of_classifier: whether the message suggests classifiers to choose, not models.

    Raises:
        CheckpointError: a plain word is neither a folder nor a shipped checkpoint, or the name is
            an address of the web.
    """
    if "://" in name:
        raise CheckpointError(
            f"{name} is a web address: name OWNER/NAME for a model on the Hugging Face hub, or a "
            "folder"
        )
    path = Path(name)
    if any((folder / CONFIG_NAME).is_file() for folder in (path, path / "checkpoint")):
        return name
    shipped = find_checkpoint(name)
    if shipped is not None:
        return str(shipped)
    if path.exists():
        return name
    if re.fullmatch(r"[\w.-]+", name):
        classifiers = [each for each in checkpoint_names() if each not in model_names()]
        of_classifier = of_classifier or "classifier" in name
        names = suggest(name, classifiers if of_classifier else model_names())
        kind = "classifier" if of_classifier else "model"
        raise CheckpointError(
            f"{name!r} is neither a folder here nor a shipped {kind}: choose {names}, the path of "
            f"a folder, or OWNER/NAME for a {kind} on the Hugging Face hub"
        )
    is_near_a_folder = path.parent.is_dir() or path.parts[0] in _OUR_FOLDERS
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) and not is_near_a_folder:
        return None
    return name


def check_model_folder(name: str) -> None:
    """Check that a folder holds a model.

    Raises:
        CheckpointError: the folder does not exist, or holds no model; a misspelled name gets a list
            of the models next to it.
    """
    folder = Path(name)
    if folder.is_file():
        raise CheckpointError(f"{name} is a file: name the folder that holds it")
    if not folder.is_dir():
        configs = folder.parent.glob(f"*/{CONFIG_NAME}")
        models = sorted(path.parent.name for path in configs if not _is_of_classifier(path))
        found = (
            f"in {folder.parent} are {', '.join(models)}" if models else "no model is next to it"
        )
        raise CheckpointError(f"the folder {name} does not exist; {found}")
    path = folder / CONFIG_NAME
    if not path.is_file():
        inside = folder / "checkpoint"
        hint = f"; {inside} is one" if (inside / CONFIG_NAME).is_file() else ""
        raise CheckpointError(f"{folder} holds no {CONFIG_NAME}, so it is not a checkpoint{hint}")
    if _is_of_classifier(path):
        raise CheckpointError(f"{folder} holds a classifier, not a model: name a model's folder")


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
