"""Data sets of the library ``datasets``: from the Hugging Face hub, a folder of it, or Parquet.

The library keeps tables in files that are mapped into memory, so a data set may be larger than it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_gan.config import DataConfig
from biglearn_gan.data.folder_datasets import FOLDER_TEST_SHARE, SPLIT_NAMES
from biglearn_gan.data.image_files import EncodedImage, ImageSource
from biglearn_gan.data.image_listing import DataError, UnavailableDataError
from biglearn_gan.data.raw_split import ROOT_OPTION, RawSplit, data_root, split_by_seed
from biglearn_gan.data.stored_images import StoredImages


class TableImages(StoredImages):
    """Image files in a column of a table.

    Args:
        table: a ``datasets.Dataset`` whose column is not decoded.
        column: its name.
        indices: rows of the table.
        name: for messages.
    """

    def __init__(self, table: Any, column: str, indices: np.ndarray, name: str):
        self._table = table
        self._column = column
        self._indices = indices
        self._name = name

    def __len__(self) -> int:
        return len(self._indices)

    def fetch(self, indices: Sequence[int]) -> list[ImageSource | np.ndarray]:
        rows = self._indices[list(indices)].tolist()
        cells = self._table[rows][self._column]
        return [self._image(row, cell) for row, cell in zip(rows, cells, strict=True)]

    def subset(self, indices: Sequence[int]) -> TableImages:
        return TableImages(self._table, self._column, self._indices[list(indices)], self._name)

    def state(self) -> str:
        rows = " ".join(map(str, self._indices.tolist()))
        return f"{self._name} {self._column} {self._table._fingerprint} {rows}"

    def _image(self, row: int, cell: dict[str, Any] | bytes | None) -> ImageSource:
        name = f"row {row} of {self._name}"
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        path = cell.get("path") if isinstance(cell, dict) else None
        if content is None and path is not None:
            return Path(path)
        return EncodedImage(name, lambda: content or b"")


def read_hugging_face(config: DataConfig, split: str) -> RawSplit:
    """A split of ``data.root`` on the hub or in a folder, with labels if it has one such column.

    Without a test split, the validation split is it; without both, a fixed tenth is.

    Raises:
        DataError: the library is not installed, the data cannot be loaded, the columns are not
            clear, or labels are configured and some images have none.
    """
    splits = _splits(config)
    if split not in splits and split != "test":
        return RawSplit([])
    whole = "test" not in splits
    table = splits["train"] if whole else splits[split]
    if whole and split == "validation":
        return RawSplit([])
    name = f"{config.root} ({table.split or split})"
    image_column = _image_column(config, table)
    labels, names = _labels(config, table, splits["train"])
    images = TableImages(_undecoded(table, image_column), image_column, np.arange(len(table)), name)
    raw = RawSplit(images, labels, None if names is None else len(names))
    if not whole:
        return raw
    size = len(table)
    train, test = split_by_seed(size, max(1, round(FOLDER_TEST_SHARE * size)))
    return raw.subset(train if split == "train" else test)


def hugging_face_class_names(config: DataConfig) -> tuple[str, ...]:
    """The names of the classes of the training split.

    Raises:
        DataError: see :func:`read_hugging_face`.
    """
    train = _splits(config)["train"]
    names = _labels(config, train, train)[1]
    assert names is not None  # labels are configured
    return names


def _splits(config: DataConfig) -> dict[str, Any]:
    """The tables of the splits: train at least, and test unless it is to be cut from train."""
    loaded = _load(config)
    if not isinstance(loaded, dict):
        return {"train": loaded}
    by_name = {name.lower(): name for name in loaded}
    found: dict[str, Any] = {}
    for split, names in SPLIT_NAMES.items():
        name = next((by_name[name] for name in names if name in by_name), None)
        if name is not None:
            found[split] = loaded[name]
    if "train" not in found:
        if len(loaded) > 1:
            raise DataError(
                f"{config.root} has the splits {', '.join(loaded)}, but none of the name train"
            )
        (name,) = loaded
        warnings.warn(f"{config.root}: its only split, {name}, is used for training", stacklevel=3)
        return {"train": loaded[name]}
    if "test" not in found and "validation" in found:
        warnings.warn(f"{config.root}: validation is the test split: test is missing", stacklevel=3)
        found["test"] = found.pop("validation")
    return found


def _load(config: DataConfig) -> Any:
    """A ``Dataset``, or a ``DatasetDict`` by the names of the splits."""
    try:
        import datasets
    except ImportError:
        raise UnavailableDataError(
            "data.name: huggingface needs the library datasets: "
            "pip install 'biglearn-gan[datasets]'"
        ) from None
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    path = data_root(config)
    if not path.exists() and not config.on_hub:
        raise DataError(
            f"{path} does not exist: {ROOT_OPTION} must name a folder that datasets can load, or "
            "owner/name on the Hugging Face hub"
        )
    stored = any((path / name).exists() for name in ("dataset_dict.json", "state.json"))
    try:
        if stored:
            return datasets.load_from_disk(str(path))
        if path.is_file():
            return datasets.load_dataset("parquet", data_files=str(path))
        with _offline(config.on_hub and not config.download):
            return datasets.load_dataset(config.root if config.on_hub else str(path), config.subset)
    except Exception as error:  # of many libraries
        raise DataError(
            f"{config.root} could not be loaded by the library datasets: {ROOT_OPTION} must name "
            "a folder of Parquet files, a folder that save_to_disk wrote, or owner/name on the "
            f"Hugging Face hub ({' '.join(str(error).split())})"
        ) from error


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Let ``datasets`` use only what it downloaded before."""
    import datasets.config
    import huggingface_hub.constants

    modules = [datasets.config, huggingface_hub.constants]
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = module.HF_HUB_OFFLINE or offline
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _image_column(config: DataConfig, table: Any) -> str:
    from datasets import Image

    columns = [name for name, kind in table.features.items() if isinstance(kind, Image)]
    columns = columns or [name for name, kind in table.features.items() if _holds_bytes(kind)]
    if config.image_column is not None:
        _check_column(config, table, "image_column", config.image_column)
        kind = table.features[config.image_column]
        if not (isinstance(kind, Image) or _holds_bytes(kind)):
            raise DataError(
                f"the column {config.image_column} of {config.root} holds no image files but "
                f"{kind}: set data.image_column to another one ({', '.join(table.features)})"
            )
        return config.image_column
    if len(columns) == 1:
        return columns[0]
    if columns:
        raise DataError(
            f"{config.root} has {len(columns)} columns of images ({', '.join(columns)}): set "
            "data.image_column to one of them"
        )
    raise DataError(
        f"{config.root} has no column of images, which has the type Image or holds the bytes of "
        f"image files; its columns are {', '.join(table.features)}"
    )


def _labels(
    config: DataConfig, table: Any, train: Any
) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """The class of each row of ``table`` and the names of the classes; None without labels."""
    from datasets import ClassLabel

    classes = [n for n, kind in train.features.items() if isinstance(kind, ClassLabel)]
    column = config.label_column
    if column is not None:
        _check_column(config, table, "label_column", column)
    elif len(classes) == 1:
        (column,) = classes
    elif config.labels:
        found = f"{len(classes)} columns" if classes else "no column"
        raise DataError(
            f"{config.root} has {found} of the type ClassLabel, but data.labels is true: set "
            f"data.label_column to one of {', '.join(classes or train.features)}, or data.labels "
            "to false"
        )
    if column is None:
        return None, None
    if column not in table.features:
        if config.labels:
            raise DataError(
                f"{config.root} has a split without train's column of classes {column}, but "
                "data.labels is true"
            )
        return None, None
    kind = train.features[column]
    values = list(table[column])
    number: dict[int | str, int]
    if isinstance(kind, ClassLabel):
        names = tuple(kind.names)
        number = {label: label for label in range(len(names))}
    else:
        classes_in_order = _sorted_values(config, train, column)
        names = tuple(map(str, classes_in_order))
        number = {value: i for i, value in enumerate(classes_in_order)}
    unknown = [value for value in values if value not in number]
    if unknown and config.labels:
        raise DataError(
            f"{config.root} has {len(unknown):,} images whose class is not among those of train in "
            f"its column {column}, such as {unknown[0]!r}, but data.labels is true"
        )
    if unknown:
        return None, None
    return np.asarray([number[value] for value in values], dtype=np.int64), names


def _sorted_values(config: DataConfig, train: Any, column: str) -> list[int | str]:
    """The classes of a column of whole numbers or texts, in their order."""
    kind = train.features[column]
    if not str(getattr(kind, "dtype", "")).startswith(("int", "uint", "bool", "string", "large_s")):
        raise DataError(
            f"the column {column} of {config.root} holds no classes but {kind}: set "
            "data.label_column to a column of whole numbers or texts"
        )
    return sorted(value for value in train.unique(column) if value is not None)


def _check_column(config: DataConfig, table: Any, key: str, column: str) -> None:
    if column not in table.features:
        raise DataError(
            f"{config.root} has no column {column} (data.{key}): its columns are "
            f"{', '.join(table.features)}"
        )


def _holds_bytes(kind: Any) -> bool:
    """Whether a column of this type can hold the bytes of image files."""
    kind = kind.get("bytes") if isinstance(kind, dict) else kind
    return getattr(kind, "dtype", None) in ("binary", "large_binary")


def _undecoded(table: Any, column: str) -> Any:
    """The table with this column alone, whose cells are the bytes and paths of files."""
    from datasets import Image

    table = table.select_columns([column])
    if isinstance(table.features[column], Image):
        table = table.cast_column(column, Image(decode=False))
    return table.with_format(None)
