"""Read each data set as it is stored: files or arrays with labels, split by split.

torchvision and scikit-learn are slow to import, so only the readers that need them do so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.data.colored_mnist import colorize, random_hues
from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.data.image_files import open_image, select_images
from biglearn_gan.data.image_listing import (
    DataError,
    ImagePath,
    folder_at,
    image_tree,
    warn_of_depths,
    without_images,
)
from biglearn_gan.files import check_space
from biglearn_gan.rng import Stream, make_rng

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
"""Names of the classes 0 to 9, which are in alphabetical order."""

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 2023
DIGITS_TRAIN_SIZE = 1400
FOLDER_TEST_SHARE = 0.1
FIELD_SIZES = {"train": 50_000, "test": 5_000}


@dataclass(frozen=True)
class RawSplit:
    """The images of a split, as stored.

    Attributes:
        images: files; or a uint8 array (N, h, w) or (N, h, w, 3), to be resized to the image size;
            or a float32 array (N, H, W), which is used unchanged.
        labels: int64 (N,) class numbers, or None.
        num_classes: the number of classes, None without labels.
    """

    images: Sequence[ImagePath] | np.ndarray
    labels: np.ndarray | None = None
    num_classes: int | None = None

    def subset(self, indices: np.ndarray | list[int]) -> RawSplit:
        """The images of ``indices`` and their labels."""
        indices = np.asarray(indices, dtype=np.int64)
        labels = None if self.labels is None else self.labels[indices]
        return RawSplit(select_images(self.images, indices.tolist()), labels, self.num_classes)


def split_by_seed(size: int, last_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Split range(size) by a fixed permutation: all but its last ``last_count``, and these.

    Both parts are ascending. NumPy never changes the stream of ``RandomState`` (NEP 19), so all
    versions give the same split.
    """
    order = np.random.RandomState(SPLIT_SEED).permutation(size)
    return np.sort(order[: size - last_count]), np.sort(order[size - last_count :])


def colored_mnist_hues(split: str, count: int) -> Float64[Tensor, "N 2"]:
    """Hues, in degrees, of digit and background of the first images of ``train`` or ``test``."""
    return random_hues(count, make_rng(Stream.HUES, SPLITS.index(split)))


def _read_digits(config: DataConfig, split: str) -> RawSplit:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    train, test = split_by_seed(len(images), len(images) - DIGITS_TRAIN_SIZE)
    raw = RawSplit(images, digits.target.astype(np.int64), num_classes=10)
    return raw.subset(train if split == "train" else test)


def _read_mnist(config: DataConfig, split: str) -> RawSplit:
    kind = "FashionMNIST" if config.name == "fashion_mnist" else "MNIST"
    layout = f"{kind}/raw/{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte"
    data = _load_torchvision(config, kind, layout, train=split == "train")
    return RawSplit(data.data.numpy(), data.targets.numpy().astype(np.int64), num_classes=10)


def _read_colored_mnist(config: DataConfig, split: str) -> RawSplit:
    gray = _read_mnist(config, split)
    assert isinstance(gray.images, np.ndarray)
    hues = colored_mnist_hues(split, len(gray.images))
    return replace(gray, images=colorize(gray.images, hues))


def _read_cifar10(config: DataConfig, split: str) -> RawSplit:
    """Read torchvision's files, or image files in class folders of ``train/`` and ``test/``.

    Raises:
        DataError: there are neither, or the image files do not have 32 x 32 pixels.
    """
    root = folder_at(_root(config))
    has_files = not (root / "cifar-10-batches-py").is_dir() and _has_cifar10_folders(root)
    if has_files:
        folder = root / split
        raw = _read_images_or_classes(folder, _class_names(folder), labels=True)
        _check_cifar10_size(raw.images[0])
        warnings.warn(
            f"cifar10: reading {len(raw.images):,} image files in class folders of {folder}, "
            "because torchvision's cifar-10-batches-py is not there",
            stacklevel=3,
        )
        return raw
    data = _load_torchvision(config, "CIFAR10", "cifar-10-batches-py", train=split == "train")
    return RawSplit(data.data, np.asarray(data.targets, dtype=np.int64), num_classes=10)


def _has_cifar10_folders(root: ImagePath) -> bool:
    """Whether ``train/`` and ``test/`` have exactly the class folders of CIFAR-10."""
    expected = (set(CIFAR10_CLASSES), set(map(str, range(len(CIFAR10_CLASSES)))))
    folders = [root / "train", root / "test"]
    return all(folder.is_dir() for folder in folders) and all(
        {entry.name for entry in folder.iterdir() if entry.is_dir()} in expected
        for folder in folders
    )


def _check_cifar10_size(file: ImagePath | np.ndarray) -> None:
    try:
        width, height = open_image(file, 3).size
    except DataError:  # is reported with the other broken files
        return
    if (width, height) != (32, 32):
        raise DataError(
            f"{file} has {height} x {width} pixels (height x width), but images of CIFAR-10 have "
            "32 x 32: use data.name=folder for other images"
        )


def _read_celeba(config: DataConfig, split: str) -> RawSplit:
    layout = "celeba/{img_align_celeba/*.jpg,list_*.txt,identity_CelebA.txt}"
    split_name = "valid" if split == "validation" else split
    data = _load_torchvision(config, "CelebA", layout, split=split_name, target_type=[])
    folder = _root(config) / "celeba" / "img_align_celeba"
    return RawSplit([folder / name for name in data.filename])


def _load_torchvision(config: DataConfig, kind: str, layout: str, **arguments: Any) -> Any:
    """Load the torchvision data set ``kind``; download it if the configuration allows it."""
    from torchvision import datasets

    root = _root(config)
    try:
        return getattr(datasets, kind)(root, download=config.download, **arguments)
    except (RuntimeError, OSError, ValueError, AssertionError, KeyError, IndexError) as error:
        check_space(error, root)
        raise DataError(
            f"{config.name} could not be loaded from {root}: it needs {root / layout}; "
            f"data.download=true (now {str(config.download).lower()}) downloads it, and data.root "
            f"or --data-root names another folder (torchvision: {' '.join(str(error).split())})"
        ) from error


def _read_folder(config: DataConfig, split: str) -> RawSplit:
    root = _folder_root(config)
    if _has_splits(root):
        folder = root / split
        if not folder.is_dir():
            return RawSplit([])
        return _read_images_or_classes(folder, _class_names(root / "train"), config.labels)
    if split == "validation":
        return RawSplit([])
    raw = _read_images_or_classes(root, _class_names(root), config.labels)
    size = len(raw.images)
    train, test = split_by_seed(size, max(1, round(FOLDER_TEST_SHARE * size)))
    return raw.subset(train if split == "train" else test)


def count_class_folders(config: DataConfig) -> int:
    """The number of class folders of a data set of image files, in ``train/`` if there is one.

    Raises:
        DataError: the folder is missing, or it has no class folder.
    """
    root = _folder_root(config)
    folder = root / "train" if _has_splits(root) else root
    classes = _class_names(folder)
    if not classes:
        raise DataError(f"{folder} has no class folders, {_LABELS_NEED_FOLDERS}")
    return len(classes)


_LABELS_NEED_FOLDERS = (
    "but data.labels is true: put the images of each class into a folder, or set data.labels to "
    "false"
)


def _folder_root(config: DataConfig) -> ImagePath:
    root = folder_at(_root(config))
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder: data.root must name a folder with image files, with class "
            f"subfolders of image files, or with train/ and test/ of either kind, or a ZIP archive "
            "of such a folder"
        )
    return root


def _has_splits(root: ImagePath) -> bool:
    """Whether the folder has ``train/`` and ``test/``; ``train/`` alone must not have folders."""
    has_train, has_test = ((root / name).is_dir() for name in ("train", "test"))
    if has_train and not has_test and any(entry.is_dir() for entry in (root / "train").iterdir()):
        raise DataError(
            f"{root} has train/ but no test/: add test/, or set data.root to {root / 'train'}"
        )
    return has_train and has_test


def _read_images_or_classes(folder: ImagePath, classes: list[str], labels: bool) -> RawSplit:
    """Read all image files of a folder and of the folders below it.

    They have labels if all of them are in the folders of these classes.

    Raises:
        DataError: there are no image files, or some of them have no label although ``labels`` says
            that labels are needed.
    """
    files = image_tree(folder)
    if not files:
        raise without_images(folder)
    plain = [name for name in files if len(name.parts) == 1]
    unknown = sorted({name.parts[0] for name in files if len(name.parts) > 1} - set(classes))
    images = list(files.values())
    if not plain and not unknown:
        number = {name: label for label, name in enumerate(classes)}
        numbers = [number[name.parts[0]] for name in files]
        return RawSplit(images, np.asarray(numbers, dtype=np.int64), len(classes))
    if labels and plain:
        raise DataError(
            f"{folder} has image files outside of class folders ({plain[0]}, ...), "
            f"{_LABELS_NEED_FOLDERS}"
        )
    if labels:
        raise DataError(f"{folder} has classes that train/ lacks: {', '.join(unknown)}")
    warn_of_depths(folder, files)
    return RawSplit(images)


def _class_names(folder: ImagePath) -> list[str]:
    """The subfolders with image files, at any depth of them, in the order of their labels."""
    return sorted({name.parts[0] for name in image_tree(folder) if len(name.parts) > 1})


def _draw_field(config: DataConfig, split: str) -> RawSplit:
    assert config.gaussian_field is not None
    if config.channels != 1:
        raise DataError(f"{config.name} has 1 channel, not {config.channels} (data.channels)")
    try:
        field = gaussian_field(config.gaussian_field, config.image_size)
    except ValueError as error:
        raise DataError(f"{config.name}: {error}") from None
    rng = make_rng(Stream.FIELDS, list(FIELD_SIZES).index(split))
    images = field.sample(FIELD_SIZES[split], rng).float()
    return RawSplit(images.view(-1, *config.image_size).numpy())


def _root(config: DataConfig) -> Path:
    return Path(config.root).expanduser()


WITH_OWN_VALIDATION = ("celeba", "folder")
"""Data sets that may have a validation split of their own."""

READERS: dict[str, Callable[[DataConfig, str], RawSplit]] = {
    "digits": _read_digits,
    "mnist": _read_mnist,
    "fashion_mnist": _read_mnist,
    "colored_mnist": _read_colored_mnist,
    "cifar10": _read_cifar10,
    "celeba": _read_celeba,
    "folder": _read_folder,
    "gaussian_field_smooth": _draw_field,
    "gaussian_field_rough": _draw_field,
    "gaussian_field_mixture": _draw_field,
    "gaussian_field_grid": _draw_field,
}
