"""The folder of a training run.

Every file in it is complete, or absent: it is written under another name, then renamed. A line or a
value that is appended is written whole, or taken back.

config.yaml       the resolved configuration
metrics.csv       one line per logging interval
tensorboard/      the same for TensorBoard
grids/            sample grids, named by images seen
state.pt          everything that the run needs to resume
checkpoint/       the model for use: weights, configuration, card, grid
best/             the same for the best state, if an evaluation on held-out images scores states
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from biglearn_gan.config import Config, ConfigError, load_config
from biglearn_gan.errors import UserError
from biglearn_gan.files import (
    check_output_folder,
    make_folder,
    recover_folder,
    replacing,
    replacing_folder,
    writing,
)
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.checkpoint import CheckpointError
from biglearn_gan.training.metrics_log import MetricsLog
from biglearn_gan.training.run_lock import RunLock

_KEYS_WITHOUT_EFFECT = {
    *("data.root", "data.download", "data.workers", "data.memory_limit_mb"),
    "data.class_names",
}
"""Keys that change no result, so they may differ when a run resumes."""

_BUDGET_KEY = "train.max_images"

_KEYS_OF_LARGER_BUDGET = ("train.learning_rate.", "train.ema_half_life_images")
"""Prefixes of keys that may differ if the budget is larger, so that a run can end more finely."""

_NAMES = (
    *("config.yaml", "metrics.csv", "tensorboard", "grids", "state.pt"),
    *(f"{name}{suffix}" for name in ("checkpoint", "best") for suffix in ("", ".tmp", ".old")),
)
"""What a run writes beside its ``config.yaml``, unfinished and replaced folders included."""

_UNFINISHED = (".writing-", ".lock")
"""How the names of unfinished files and of the lock begin."""

_STATE_KEYS = ("trainer", "max_images", "original_max_images")
_OLD_STATE_KEYS = {"first_budget": "original_max_images"}
_OLD_TRAINER_KEYS = {
    "players": "adversarial",
    "sums": "metric_sums",
    "reported": "last_report",
}


class RunFolderError(UserError):
    """A run folder that cannot be read, or that belongs to another configuration."""

    exit_code = 2


class RunFolder:
    """Reads and writes the folder of a run.

    With several processes, only the main process may write: :meth:`check`, :meth:`lock`,
    :meth:`create`, and the methods that save and log. Leaving it as a context manager gives the
    lock back.

    Args:
        path: the folder.
        config: of the run.
    """

    def __init__(self, path: Path, config: Config):
        self.path = path
        self._config = config
        self._lock = RunLock(path)
        self._log: MetricsLog | None = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def check(self) -> None:
        """Refuse a folder that is neither new, nor empty, nor of this run; writes nothing.

        A run that stopped before its first checkpoint starts again, with any configuration. A run
        with a state resumes if its configuration is the same. Allowed differences are ``logging``,
        where and how the data are stored, and, with a larger ``train.max_images``, the learning
        rates and the half-life of the average.

        Raises:
            ConfigError: the folder has a training state but an invalid ``config.yaml``.
            OutputError: the folder cannot be made, lies among the images to train on, or has no
                training state but files that a run does not write.
            RunFolderError: the folder has the state of another configuration, a state without
                ``config.yaml``, or a model without a training state.
        """
        data = self._config.data
        check_output_folder(
            self.path,
            written_by="train",
            replaces=[] if self.has_state else self._foreign_files(),
            inputs=[Path(data.root).expanduser()] if data.is_folder else [],
            recursive=True,
        )
        if self.has_state and not self._config_file.exists():
            raise RunFolderError(
                f"{self.path} has a state.pt but no config.yaml that says what it is of: choose "
                "another output folder, or remove this one"
            )
        if self.has_state:
            self._check_same_config(load_config(self._config_file, stored=True))
        elif self.checkpoint.exists():
            raise RunFolderError(
                f"{self.path} has a model but no state.pt to resume from: choose another output "
                "folder, or remove this one"
            )

    def lock(self) -> None:
        """Keep other runs out of the folder, if it exists, and check it again.

        Raises:
            ConfigError, OutputError, RunFolderError: another run has been there since
                :meth:`check`, see there.
            RunLockError: another run is there.
            WriteError: the folder cannot be written.
        """
        if self.path.is_dir():
            self._lock.acquire()
            self.check()

    def create(self) -> None:
        """Make the folder, lock it, and write the configuration into it.

        Raises:
            ConfigError, OutputError, RunFolderError, RunLockError, WriteError: see :meth:`lock`.
        """
        make_folder(self.path)
        self.lock()
        for folder in (self.checkpoint, self.best):
            recover_folder(folder)
        with replacing(self._config_file) as path:
            path.write_text(self._config.to_yaml(), encoding="utf-8")
        make_folder(self._grids)

    @property
    def checkpoint(self) -> Path:
        """The folder of the model for use."""
        return self.path / "checkpoint"

    @property
    def best(self) -> Path:
        """The folder of the best model."""
        return self.path / "best"

    @property
    def has_state(self) -> bool:
        """Whether there is a training state to resume from."""
        return (self.path / "state.pt").exists()

    @property
    def _config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def _grids(self) -> Path:
        return self.path / "grids"

    def load_state(self) -> dict[str, Any] | None:
        """The saved training state with its tensors on the CPU, or None in a new folder.

        Its ``data``, a hash of the images, is None in states of earlier versions.

        Raises:
            RunFolderError: ``state.pt`` cannot be read, or is not a training state.
        """
        if not self.has_state:
            return None
        path = self.path / "state.pt"
        try:
            state = upgrade_state(torch.load(path, map_location="cpu", weights_only=True))
            return {key: state[key] for key in _STATE_KEYS} | {"data": state.get("data")}
        except MemoryError:
            raise
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from None
        except Exception:  # a damaged pickle can raise anything
            raise RunFolderError(
                f"{path}: cannot be read as a training state: choose another output folder"
            ) from None

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the training state.

        Save it before the model: the model of a state can be made again, but not the reverse.

        Raises:
            WriteError: it cannot be written; the old state stays.
        """
        with replacing(self.path / "state.pt", sync=True) as path:
            torch.save(state, path)

    def has_model(self, model: BigLearnGAN) -> bool:
        """Whether the model for use is this one, and not missing, damaged or an older one."""
        try:
            saved = BigLearnGAN.from_pretrained(self.checkpoint).state_dict()
        except CheckpointError:
            return False
        weights = model.state_dict()
        return saved.keys() == weights.keys() and all(
            torch.equal(saved[name], weight) for name, weight in weights.items()
        )

    def save_model(self, model: BigLearnGAN, grid: Image.Image, **card_details: Any) -> None:
        """Replace the model for use.

        Raises:
            WriteError: it cannot be written; the old model stays.
        """
        with replacing_folder(self.checkpoint) as folder:
            _write_model(folder, model, grid, card_details)

    def save_best(
        self,
        model: BigLearnGAN,
        grid: Image.Image,
        measured: Mapping[str, float],
        score: float,
        fingerprint: str,
        **card_details: Any,
    ) -> None:
        """Replace the best model; ``evaluation.json`` has its measurements and score.

        Raises:
            WriteError: it cannot be written; the old one stays.
        """
        with replacing_folder(self.best) as folder:
            _write_model(folder, model, grid, card_details)
            record = {"images": card_details["images_seen"], "score": score, **measured}
            record["fingerprint"] = fingerprint
            with writing(folder / "evaluation.json") as path:
                path.write_text(json.dumps(record, indent=2) + "\n")

    def best_score(self, fingerprint: str) -> float | None:
        """The score of the best model, or None without a readable score of this fingerprint."""
        try:
            record = json.loads((self.best / "evaluation.json").read_text())
            return float(record["score"]) if record["fingerprint"] == fingerprint else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save_grid(self, grid: Image.Image, images_seen: int) -> None:
        """Save a sample grid under its number of images seen.

        Raises:
            WriteError: it cannot be written.
        """
        with replacing(self._grids / f"{images_seen:09d}.png") as path:
            grid.save(path)

    def start_log(self, names: Iterable[str], images_seen: int) -> None:
        """Start or continue the log at ``images_seen``, with metrics of these names.

        Raises:
            WriteError: it cannot be written.
        """
        self._log = MetricsLog(self.path, names, images_seen, self._config.logging.tensorboard)

    def log(self, values: Mapping[str, int | float]) -> None:
        """Append a line to the log; ``values`` has ``images`` and any of its columns.

        Raises:
            WriteError: it cannot be written.
        """
        assert self._log is not None
        self._log.add(values)

    def _foreign_files(self) -> list[Path]:
        """Files and folders that no run wrote: all but a model without a run's ``config.yaml``."""
        paths = sorted(self.path.iterdir()) if self.path.is_dir() else []
        names = _NAMES if self._has_own_config() else (self.checkpoint.name,)
        return [p for p in paths if p.name not in names and not p.name.startswith(_UNFINISHED)]

    def _has_own_config(self) -> bool:
        """Whether there is a ``config.yaml`` that a run wrote, not a person."""
        if not self._config_file.exists():
            return False
        try:
            config = load_config(self._config_file, stored=True)
        except ConfigError:
            return False
        return config.to_yaml() == self._config_file.read_text("utf-8")

    def _check_same_config(self, saved: Config) -> None:
        saved_budget, budget = saved.train.max_images, self._config.train.max_images
        raised = saved_budget is not None and budget is not None and budget > saved_budget
        for name in ("data", "tasks", "model", "loss", "train"):
            saved_values, values = saved.flat(name), self._config.flat(name)
            for key in sorted(saved_values.keys() | values.keys()):
                if key in _KEYS_WITHOUT_EFFECT or saved_values.get(key) == values.get(key):
                    continue
                if raised and (key == _BUDGET_KEY or key.startswith(_KEYS_OF_LARGER_BUDGET)):
                    continue
                allowed = "the same configuration"
                if key == _BUDGET_KEY and saved_budget is not None and budget is not None:
                    allowed = f"at least {saved_budget}"
                elif key.startswith(_KEYS_OF_LARGER_BUDGET):
                    allowed += f" (it may differ with a larger {_BUDGET_KEY})"
                raise RunFolderError(
                    f"{self.path} has a run with {key} = {saved_values.get(key)}, not "
                    f"{values.get(key)}: choose another output folder or {allowed}"
                )


def _write_model(
    folder: Path, model: BigLearnGAN, grid: Image.Image, card_details: dict[str, Any]
) -> None:
    model.save_pretrained(folder, model_card_kwargs=card_details)
    with writing(folder / "grid.png") as path:
        grid.save(path)


def upgrade_state(state: dict[str, Any]) -> dict[str, Any]:
    """A training state with the keys of today, from one with those of earlier versions.

    Weights keep their names here: each network renames its own when it loads them.
    """

    def rename(values: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        return {names.get(key, key): value for key, value in values.items()}

    state = rename(state, _OLD_STATE_KEYS)
    return state | {"trainer": rename(state["trainer"], _OLD_TRAINER_KEYS)}
