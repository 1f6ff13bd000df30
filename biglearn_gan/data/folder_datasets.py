"""Data sets of image files: plain folders, class folders, or folders of splits with either.

The folders of the splits are ``train``, ``test`` and ``validation``, or have one of the other usual
names, such as ``Training`` and ``val``. If there is no test folder, ``val`` is the test split.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from biglearn_gan.config import DataConfig
from biglearn_gan.config.schema import CLASS_NAMES
from biglearn_gan.data.image_files import open_image
from biglearn_gan.data.image_listing import (
    DataError,
    ImagePath,
    folder_at,
    image_tree,
    warn_of_depths,
    warn_of_unread_formats,
    without_images,
)
from biglearn_gan.data.raw_split import ROOT_OPTION, RawSplit, data_root, split_by_seed
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

FOLDER_TEST_SHARE = 0.1

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
"""Names of the folders of splits, in lower case; capital letters are allowed."""

_LABELS_NEED_FOLDERS = "but data.labels is true: put the images of each class into a folder,"


def read_folder(config: DataConfig, split: str) -> RawSplit:
    """The image files of a split, with labels if all of them are in class folders.

    With ``unlabeled``, images in that folder and outside of folders have ``UNKNOWN_LABEL``. Without
    folders of splits, a tenth is test, by a fixed permutation.

    Raises:
        DataError: there is no such folder or archive, it has no image files, or labels are
            configured and some images have none.
    """
    root = _folder_root(config)
    splits = _split_folders(root)
    if splits:
        if split not in splits:
            return RawSplit([])
        classes = _class_names(splits["train"], config.unlabeled)
        return _read_images_or_classes(splits[split], classes, config.labels, config.unlabeled)
    if split == "validation":
        return RawSplit([])
    classes = _class_names(root, config.unlabeled)
    raw = _read_images_or_classes(root, classes, config.labels, config.unlabeled)
    size = len(raw.images)
    train, test = split_by_seed(size, max(1, round(FOLDER_TEST_SHARE * size)))
    return raw.subset(train if split == "train" else test)


def class_folder_names(config: DataConfig) -> tuple[str, ...]:
    """The class folders of a data set of image files, in ``train/`` if there is one.

    Raises:
        DataError: the folder is missing, or it has no class folder.
    """
    root = _folder_root(config)
    folder = _split_folders(root).get("train", root)
    classes = _class_names(folder, config.unlabeled)
    if not classes:
        raise DataError(
            f"{folder} has no class folders, {_LABELS_NEED_FOLDERS} or set data.labels to false"
        )
    return tuple(classes)


def read_cifar10_folder(config: DataConfig, split: str) -> RawSplit | None:
    """CIFAR-10 from image files in class folders of ``train/`` and ``test/``.

    A warning says what is read. The result is None if there are not exactly these folders, or if
    torchvision's files are there.

    Raises:
        DataError: the images do not have 32 x 32 pixels.
    """
    root = folder_at(data_root(config))
    if (root / "cifar-10-batches-py").is_dir() or not _has_cifar10_folders(root):
        return None
    folder = root / split
    raw = _read_images_or_classes(folder, _class_names(folder), labels=True)
    _check_cifar10_size(next(iter(image_tree(folder).values())))
    warnings.warn(
        f"cifar10: reading {len(raw.images):,} image files in class folders of {folder}, because "
        "torchvision's cifar-10-batches-py is not there",
        stacklevel=2,
    )
    return raw


def _has_cifar10_folders(root: ImagePath) -> bool:
    """Whether ``train/`` and ``test/`` have exactly the class folders of CIFAR-10."""
    names = CLASS_NAMES["cifar10"]  # in alphabetical order
    expected = (set(names), set(map(str, range(len(names)))))
    folders = [root / "train", root / "test"]
    return all(folder.is_dir() for folder in folders) and all(
        {entry.name for entry in folder.iterdir() if entry.is_dir()} in expected
        for folder in folders
    )


def _check_cifar10_size(file: ImagePath) -> None:
    try:
        width, height = open_image(file, 3).size
    except DataError:  # is reported with the other broken files
        return
    if (width, height) != (32, 32):
        raise DataError(
            f"{file} has {height} x {width} pixels (height x width), but images of CIFAR-10 have "
            "32 x 32: use data.name=folder for other images"
        )


def _folder_root(config: DataConfig) -> ImagePath:
    root = folder_at(data_root(config))
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder: {ROOT_OPTION} must name a folder with image files, with "
            "class subfolders of image files, or with train/ and test/ of either kind, or a ZIP "
            "archive of such a folder"
        )
    return root


def _split_folders(root: ImagePath) -> dict[str, ImagePath]:
    """The folders of the splits, at least of train and test; or none.

    Raises:
        DataError: there is a train folder with folders in it, but none to test on.
    """
    entries: Iterable[ImagePath] = root.iterdir()
    present = [entry for entry in entries if entry.is_dir()]
    by_name = {entry.name.lower(): entry for entry in present}
    by_name |= {entry.name: entry for entry in present}  # exact names come first
    found: dict[str, ImagePath] = {}
    for split, names in SPLIT_NAMES.items():
        name = next((name for name in names if name in by_name), None)
        if name is not None:
            found[split] = by_name[name]
    if "train" not in found or {"train", "test"} <= found.keys():
        return found if "train" in found else {}
    train, held_out = found["train"], found.get("validation")
    if held_out is not None:
        warnings.warn(f"{root}: {held_out.name}/ is the test split: test/ is missing", stacklevel=4)
        return {"train": train, "test": held_out}
    if any(entry.is_dir() for entry in train.iterdir()):
        raise DataError(
            f"{root} has {train.name}/ but no test/: add test/, or name {train} with "
            "--data-root (data.root in training)"
        )
    return {}


def _read_images_or_classes(
    folder: ImagePath, classes: list[str], labels: bool, unlabeled: str | None = None
) -> RawSplit:
    """Read all image files of a folder and of the folders below it.

    They have labels if all of them are in the folders of these classes. With ``unlabeled``, those
    in the folder of that name and outside of folders have ``UNKNOWN_LABEL``.

    Raises:
        DataError: there are no image files, or some of them have no label although ``labels`` says
            that labels are needed.
    """
    files = image_tree(folder)
    if not files and isinstance(folder, Path) and any(folder.rglob("*.parquet")):
        raise DataError(
            f"{folder} has Parquet files and no image files: set data.name to huggingface"
        )
    if not files:
        raise without_images(folder)
    warn_of_unread_formats(folder, folder)
    plain = [name for name in files if len(name.parts) == 1]
    folders = {name.parts[0] for name in files if len(name.parts) > 1}
    unknown = sorted(folders - {*classes, unlabeled})
    images = list(files.values())
    if not unknown and (not plain or unlabeled is not None):
        number = {name: label for label, name in enumerate(classes)}
        numbers = [
            number.get(name.parts[0], UNKNOWN_LABEL) if len(name.parts) > 1 else UNKNOWN_LABEL
            for name in files
        ]
        return RawSplit(images, np.asarray(numbers, dtype=np.int64), len(classes))
    if labels and plain and unlabeled is None:
        raise DataError(
            f"{folder} has image files outside of class folders ({plain[0]}, ...), "
            f"{_LABELS_NEED_FOLDERS} set data.unlabeled to . if they have no label, or set "
            "data.labels to false"
        )
    if labels:
        raise DataError(f"{folder} has classes that train/ lacks: {', '.join(unknown)}")
    warn_of_depths(folder, files)
    return RawSplit(images)


def _class_names(folder: ImagePath, unlabeled: str | None = None) -> list[str]:
    """The subfolders with image files, at any depth of them, in the order of their labels.

    The folder ``unlabeled`` is no class; ``.`` stands for images outside of folders.

    Raises:
        DataError: there is no folder ``unlabeled``.
    """
    folders = {name.parts[0] for name in image_tree(folder) if len(name.parts) > 1}
    if unlabeled not in {None, ".", *folders}:
        raise DataError(
            f"data.unlabeled is {unlabeled}, but {folder} has no folder of images with that name: "
            f"it has {', '.join(sorted(folders)) or 'none'}"
        )
    return sorted(folders - {unlabeled})
