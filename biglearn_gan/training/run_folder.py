"""The folder of one training run: what is in it, and how it is never half written.

config.yaml       the resolved configuration
metrics.csv       one line per logging interval
tensorboard/      the same for TensorBoard
grids/            samples along the way, named by images seen
state.pt          everything that is needed to go on
checkpoint/       the model for use: weights, configuration, card, grid
best/             the same of the best state, where evaluation on held-out images names one
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from biglearn_gan.config import Config, ConfigError, load_config
from biglearn_gan.errors import UserError
from biglearn_gan.files import replacing
from biglearn_gan.models.biglearn_gan import BigLearnGAN

_FREE = {"data.root", "data.download", "data.workers", "data.memory_limit_mb"}
"""Keys that change no result, so a run may go on with other values."""

_NAMES = (
    *("config.yaml", "metrics.csv", "tensorboard", "grids", "state.pt", "checkpoint", "best"),
    ".writing-",
)
"""How the names of a run's files begin, those half written included."""

_BUDGET = "train.max_images"

_WITH_BUDGET = ("train.learning_rate.", "train.ema_half_life_images")
"""How keys begin that may change where a larger budget is given: a run goes on more finely, say."""


class RunFolderError(UserError):
    """A run folder that cannot be written or does not belong to this configuration."""


class RunFolder:
    """The folder of a run; one process calls :meth:`check` and :meth:`open`, and it alone writes.

    Args:
        path: the folder.
        config: of the run.
    """

    def __init__(self, path: Path, config: Config):
        self.path = path
        self._config = config
        self._columns: tuple[str, ...] = ("images", "seconds", "images_per_second")
        self._writer: SummaryWriter | None = None

    def check(self) -> None:
        """Make sure that the folder is new, empty or this run's; nothing is written.

        A run that was stopped before it left a model is begun anew, whatever its configuration was.

        Raises:
            ConfigError: it holds a state, and a ``config.yaml`` that is none.
            RunFolderError: it lies among the images of its data, which it would join; or it holds
                no state, but a model or other files, or the state of a run
                with another configuration (what changes no result may differ: ``logging``, and
                where the data are and how they are held; and ``train.max_images`` may be larger,
                with other learning rates and another half-life of the average).
        """
        data = self._config.data
        root = Path(data.root).expanduser().resolve()
        if data.name == "folder" and root in (self.path.resolve(), *self.path.resolve().parents):
            raise RunFolderError(
                f"{self.path} lies in data.root ({data.root}), and what the run draws would be "
                "among its images: name an output folder outside"
            )
        if self.has_state and self._written.exists():
            self._refuse_another(load_config(self._written, stored=True))
        elif not self.has_state and self.path.is_dir() and not self._is_of_a_run():
            raise RunFolderError(
                f"{self.path} holds other files than a run's: name a new or an empty output folder"
            )
        elif not self.has_state and self.checkpoint.exists():
            raise RunFolderError(
                f"{self.path} holds a model, but no state.pt that its run could go on from: name "
                "another output folder, or remove this one"
            )

    def open(self) -> None:
        """Make the folder, and write the configuration into it.

        Raises:
            RunFolderError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with replacing(self._written) as path:
                path.write_text(self._config.to_yaml(), encoding="utf-8")
            self._grids.mkdir(exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be written ({error.strerror})") from None

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
        """Whether there is something to go on from."""
        return (self.path / "state.pt").exists()

    @property
    def _written(self) -> Path:
        return self.path / "config.yaml"

    @property
    def _grids(self) -> Path:
        return self.path / "grids"

    def load_state(self) -> dict[str, Any] | None:
        """The state that a resumed run goes on from, on the CPU, or None in a new folder.

        Raises:
            RunFolderError: it cannot be read, or is none.
        """
        if not self.has_state:
            return None
        path = self.path / "state.pt"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            return {key: state[key] for key in ("trainer", "max_images", "first_budget")}
        except MemoryError:
            raise
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from None
        except Exception:  # a damaged pickle can raise anything
            raise RunFolderError(
                f"{path}: cannot be read as a training state; name another output folder"
            ) from None

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the saved state."""
        with replacing(self.path / "state.pt") as path:
            torch.save(state, path)

    def save_model(self, model: BigLearnGAN, grid: Image.Image, **card_details: Any) -> None:
        """Replace the model for use."""
        with self._replaced(self.checkpoint) as folder:
            model.save_pretrained(folder, model_card_kwargs=card_details)
            grid.save(folder / "grid.png")

    def save_best(
        self,
        model: BigLearnGAN,
        grid: Image.Image,
        measured: Mapping[str, float],
        score: float,
        fingerprint: str,
        **card_details: Any,
    ) -> None:
        """Replace the best model; ``evaluation.json`` in it says why it is the best."""
        with self._replaced(self.best) as folder:
            model.save_pretrained(folder, model_card_kwargs=card_details)
            grid.save(folder / "grid.png")
            reason = {"images": card_details["images_seen"], "score": score, **measured}
            reason["fingerprint"] = fingerprint
            (folder / "evaluation.json").write_text(json.dumps(reason, indent=2) + "\n")

    def best_score(self, fingerprint: str) -> float | None:
        """The best state's score if its fingerprint is this one, else None."""
        try:
            reason = json.loads((self.best / "evaluation.json").read_text())
            return float(reason["score"]) if reason["fingerprint"] == fingerprint else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def _replaced(self, folder: Path) -> Iterator[Path]:
        """A new folder to fill, which then takes the place of the old one."""
        temporary, old = folder.with_suffix(".tmp"), folder.with_suffix(".old")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    def save_grid(self, grid: Image.Image, images_seen: int) -> None:
        """Keep a sample grid under its number of images seen."""
        with replacing(self._grids / f"{images_seen:09d}.png") as path:
            grid.save(path)

    def start_metrics(self, names: tuple[str, ...], images_seen: int) -> None:
        """Begin to log metrics of these names at ``images_seen``.

        Lines of a later time (before a crash) are dropped; columns of other names stay.
        """
        columns = [*self._columns, *names]
        path = self.path / "metrics.csv"
        rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                lines = csv.DictReader(file)
                whole = [row for row in lines if None not in row.values()]
                columns = [*(lines.fieldnames or ()), *columns]
                rows = [row for row in whole if int(row["images"]) <= images_seen]
        self._columns = tuple(dict.fromkeys(columns))
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
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

    def _is_of_a_run(self) -> bool:
        """Whether it holds nothing that a run does not write, nor a configuration of a person's."""
        if any(not path.name.startswith(_NAMES) for path in self.path.iterdir()):
            return False
        if not self._written.exists():
            return True
        try:
            return load_config(self._written, stored=True).to_yaml() == self._written.read_text(
                "utf-8"
            )
        except ConfigError:
            return False

    def _refuse_another(self, theirs: Config) -> None:
        before, now = theirs.train.max_images, self._config.train.max_images
        raised = before is not None and now is not None and now > before
        for name in ("data", "tasks", "model", "loss", "train"):
            there, here = theirs.flat(name), self._config.flat(name)
            for key in sorted(there.keys() | here.keys()):
                if key in _FREE or there.get(key) == here.get(key):
                    continue
                if raised and (key == _BUDGET or key.startswith(_WITH_BUDGET)):
                    continue
                allowed = "the same configuration"
                if key == _BUDGET and before is not None and now is not None:
                    allowed = f"at least {before}"
                elif key.startswith(_WITH_BUDGET):
                    allowed += f" (with a larger {_BUDGET} it may be another)"
                raise RunFolderError(
                    f"{self.path} holds a run with {key} = {there.get(key)}, not "
                    f"{here.get(key)}: choose another output folder or {allowed}"
                )


def _shortest(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
