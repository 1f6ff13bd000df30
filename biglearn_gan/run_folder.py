"""The folder of one training run: what is in it, and how it is never half written.

config.yaml       the resolved configuration
metrics.csv       one line per logging interval
tensorboard/      the same for TensorBoard
grids/            samples along the way, named by images seen
state.pt          everything that is needed to go on
checkpoint/       the model for use: weights, configuration, card, grid
"""

from __future__ import annotations

import csv
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from biglearn_gan.config import Config, load_config
from biglearn_gan.model import BigLearnGAN


class RunFolderError(Exception):
    """A run folder that cannot be written or does not belong to this configuration."""


class RunFolder:
    """The folder of a run; one process calls :meth:`open`, and it alone writes.

    Args:
        path: the folder.
        config: of the run.
        columns: names of the metrics that may be logged.
    """

    def __init__(self, path: Path, config: Config, columns: tuple[str, ...]):
        self.path = path
        self._config = config
        self._columns = ("images", "seconds", "images_per_second", *columns)
        self._writer: SummaryWriter | None = None

    def open(self) -> None:
        """Make the folder, or make sure that it is this run's, and write the configuration.

        Raises:
            RunFolderError: it cannot be written, or it holds a run with another configuration
                (where the data are and how often things are logged may change).
        """
        written = self.path / "config.yaml"
        try:
            self._grids.mkdir(parents=True, exist_ok=True)
            if written.exists():
                self._refuse_another(load_config(written))
            _replace_text(written, self._config.to_yaml())
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be written ({error.strerror})") from None

    @property
    def checkpoint(self) -> Path:
        """The folder of the model for use."""
        return self.path / "checkpoint"

    @property
    def has_state(self) -> bool:
        """Whether there is something to go on from."""
        return (self.path / "state.pt").exists()

    @property
    def _grids(self) -> Path:
        return self.path / "grids"

    def load_state(self, device: torch.device) -> dict[str, Any] | None:
        """The state that a resumed run goes on from, or None in a new folder."""
        if not self.has_state:
            return None
        path = self.path / "state.pt"
        try:
            return torch.load(path, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, OSError, KeyError, pickle.UnpicklingError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunFolderError(
                f"{path}: cannot be read ({first}); remove it to start the run anew"
            ) from None

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the saved state."""
        temporary = self.path / "state.pt.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.path / "state.pt")

    def save_model(self, model: BigLearnGAN, grid: Image.Image, **card_details: Any) -> None:
        """Replace the model for use."""
        temporary, old = self.path / "checkpoint.tmp", self.path / "checkpoint.old"
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)
        model.save_pretrained(temporary, model_card_kwargs=card_details)
        grid.save(temporary / "grid.png")
        if self.checkpoint.exists():
            self.checkpoint.rename(old)
        temporary.rename(self.checkpoint)
        shutil.rmtree(old, ignore_errors=True)

    def save_grid(self, grid: Image.Image, images_seen: int) -> None:
        """Keep a sample grid under its number of images seen."""
        grid.save(self._grids / f"{images_seen:09d}.png")

    def start_metrics(self, images_seen: int) -> None:
        """Begin to log at ``images_seen``; lines of a later time (before a crash) are dropped."""
        path = self.path / "metrics.csv"
        rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["images"]) <= images_seen]
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, path)
        if self._config.logging.tensorboard:
            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=images_seen + 1)

    def log(self, values: Mapping[str, int | float]) -> None:
        """Append one line; ``values`` holds ``images`` and any of the other columns."""
        with (self.path / "metrics.csv").open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writerow({name: _shortest(value) for name, value in values.items()})
        if self._writer is not None:
            for name, value in values.items():
                if name != "images":
                    self._writer.add_scalar(name, value, int(values["images"]))

    def close(self) -> None:
        """Flush what is still in memory."""
        if self._writer is not None:
            self._writer.close()

    def _refuse_another(self, theirs: Config) -> None:
        for name in ("data", "tasks", "model", "loss", "train"):
            there, here = _flat(name, theirs), _flat(name, self._config)
            for key in sorted(there.keys() | here.keys()):
                free = key in ("data.root", "data.download", "data.workers")
                if not free and there.get(key) != here.get(key):
                    raise RunFolderError(
                        f"{self.path} holds a run with {key} = {there.get(key)}, not "
                        f"{here.get(key)}: choose another output folder or the same configuration"
                    )


def _flat(section: str, config: Config) -> dict[str, Any]:
    """``{"train.learning_rate.generator": 0.002, ...}`` of one section."""
    flat: dict[str, Any] = {}

    def visit(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                visit(f"{key}.{name}", inner)
        else:
            flat[key] = value

    visit(section, config.to_dict()[section])
    return flat


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _shortest(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
