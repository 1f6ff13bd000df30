"""The models that can be loaded by name: data, sizes and quality, read without torch."""

from __future__ import annotations

import filecmp
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from biglearn_gan.config import Config, ConfigError, parse_config
from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.records import read_records
from biglearn_gan.evaluation.tables import DISTANCE, group_records
from biglearn_gan.shipped import CONFIG_NAME, WEIGHTS_NAME, find_checkpoint, model_names


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be loaded by name.

    Attributes:
        name: for ``--checkpoint``: a shipped name or a folder.
        config: the model's configuration.
        parameters: numbers in all weights.
        distance: Fréchet distance of unconditional samples and its floor, if they were measured.
    """

    name: str
    config: Config
    parameters: int
    distance: tuple[float, float | None] | None


def find_models() -> list[ModelEntry]:
    """The shipped models, and those in ``checkpoints/`` and ``runs/`` of the working directory.

    Folders that hold no readable model are left out, and so are those that hold a shipped model, as
    in a clone.
    """
    shipped = {name: find_checkpoint(name) for name in model_names()}
    folders = dict(shipped)
    for pattern in ("checkpoints/*", "runs/*/checkpoint"):
        for folder in sorted(Path().glob(pattern)):
            if not _holds_same_model(folder, shipped.get(folder.name)):
                folders[folder.as_posix()] = folder
    return list(_read_entries(folders))


def _holds_same_model(folder: Path, other: Path | None) -> bool:
    """Whether two folders hold the same configuration and weights."""
    if other is None:
        return False
    try:
        return all(
            filecmp.cmp(folder / name, other / name, shallow=False)
            for name in (CONFIG_NAME, WEIGHTS_NAME)
        )
    except OSError:
        return False


def models_table(entries: Sequence[ModelEntry]) -> str:
    """A Markdown table with one row per model, and columns of even width."""
    header = [
        "checkpoint",
        "data",
        "image size",
        "labels",
        "parameters",
        "Fréchet distance (floor)",
    ]
    rows = [header, *(_row(entry) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def _row(entry: ModelEntry) -> list[str]:
    data = entry.config.data
    height, width = data.image_size
    quality = "not measured"
    if entry.distance is not None:
        value, floor = entry.distance
        quality = f"{value:.3f}" if floor is None else f"{value:.3f} ({floor:.3f})"
    return [
        entry.name,
        data.name,
        f"{height} x {width} x {data.channels}",
        str(data.num_classes or "none"),
        f"{entry.parameters / 1000:,.0f}K",
        quality,
    ]


def _read_entries(folders: dict[str, Path | None]) -> Iterator[ModelEntry]:
    for name, folder in folders.items():
        if folder is None:
            continue
        try:
            values = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
            config = parse_config(values, stored=True)
            parameters = _count_parameters(folder / WEIGHTS_NAME)
        except (OSError, ValueError, TypeError, AttributeError, SafetensorError, ConfigError):
            continue  # a classifier, a run that has just begun, or no model
        yield ModelEntry(name, config, parameters, _read_distance(folder / "evaluation"))


def _count_parameters(weights: Path) -> int:
    with safe_open(weights, framework="numpy") as file:
        return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118


def _read_distance(evaluation: Path) -> tuple[float, float | None] | None:
    """The Fréchet distance of unconditional samples in a folder of ``evaluate``, and its floor."""
    try:
        records = read_records(evaluation / "metrics.json")
    except (OSError, UsageError):
        return None
    record = group_records(records).get(("joint", DISTANCE))
    return None if record is None else (record.value, record.floor)
