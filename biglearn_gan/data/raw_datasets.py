"""Where the images of each data set come from: files and arrays, with labels, split by split.

torchvision and scikit-learn are slow to import, so the readers that need them do it themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.data.colored_mnist import colored, random_hues
from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.data.image_files import IMAGE_SUFFIXES, DataError, image_files
from biglearn_gan.rng import Stream, make_rng

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 2023
DIGITS_TRAIN_SIZE = 1400
FOLDER_TEST_SHARE = 0.1
FIELD_SIZES = {"train": 50_000, "test": 5_000}


@dataclass(frozen=True)
class RawSplit:
    """Images of a split: files, or an array, either uint8 (N, h, w) or (N, h, w, 3), still to be
    fitted to the image size, or float32 (N, H, W), which are taken as they are."""

    images: Sequence[Path] | np.ndarray
    labels: np.ndarray | None = None
    num_classes: int | None = None

    def subset(self, indices: np.ndarray | list[int]) -> RawSplit:
        indices = np.asarray(indices, dtype=np.int64)
        images = self.images
        images = images[indices] if isinstance(images, np.ndarray) else [images[i] for i in indices]
        labels = None if self.labels is None else self.labels[indices]
        return RawSplit(images, labels, self.num_classes)


def split_by_seed(size: int, last_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint parts of range(size), each ascending: the rest, and the last of a permutation.

    NumPy froze the stream of ``RandomState`` for good (NEP 19), so splits outlive its versions.
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
    records = RawSplit(images, digits.target.astype(np.int64), num_classes=10)
    return records.subset(train if split == "train" else test)


def _read_mnist(config: DataConfig, split: str) -> RawSplit:
    kind = "FashionMNIST" if config.name == "fashion_mnist" else "MNIST"
    layout = f"{kind}/raw/{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte"
    data = _torchvision(config, kind, layout, train=split == "train")
    return RawSplit(data.data.numpy(), data.targets.numpy().astype(np.int64), num_classes=10)


def _read_colored_mnist(config: DataConfig, split: str) -> RawSplit:
    records = _read_mnist(config, split)
    assert isinstance(records.images, np.ndarray)
    hues = colored_mnist_hues(split, len(records.images))
    return replace(records, images=colored(records.images, hues))


def _read_cifar10(config: DataConfig, split: str) -> RawSplit:
    data = _torchvision(config, "CIFAR10", "cifar-10-batches-py", train=split == "train")
    return RawSplit(data.data, np.asarray(data.targets, dtype=np.int64), num_classes=10)


def _read_celeba(config: DataConfig, split: str) -> RawSplit:
    layout = "celeba/{img_align_celeba/*.jpg,list_*.txt,identity_CelebA.txt}"
    own_name = "valid" if split == "validation" else split
    data = _torchvision(config, "CelebA", layout, split=own_name, target_type=[])
    folder = _root(config) / "celeba" / "img_align_celeba"
    return RawSplit([folder / name for name in data.filename])


def _torchvision(config: DataConfig, kind: str, layout: str, **arguments: Any) -> Any:
    """The torchvision data set ``kind``, downloaded where the configuration allows it."""
    from torchvision import datasets

    root = _root(config)
    try:
        return getattr(datasets, kind)(root, download=config.download, **arguments)
    except (RuntimeError, OSError, ValueError, AssertionError, KeyError, IndexError) as error:
        raise DataError(
            f"{config.name} could not be loaded from {root}: it needs {root / layout}, which "
            f"data.download=true fetches where the network allows it (data.download is "
            f"{str(config.download).lower()}; data.root, or --data-root, says where; torchvision "
            f"said: {' '.join(str(error).split())})"
        ) from error


def _read_folder(config: DataConfig, split: str) -> RawSplit:
    root = _root(config)
    if not root.is_dir():
        raise DataError(
            f"{root} is no folder: data.root must name one that holds image files, class "
            f"subfolders of image files, or train/ and test/ with either"
        )
    has_train, has_test = ((root / name).is_dir() for name in ("train", "test"))
    if has_train and has_test:
        classes = _classes(_scan(root / "train"))
        folder = root / split
        return _folder_records(folder, classes) if folder.is_dir() else RawSplit([])
    if has_train and any(entry.is_dir() for entry in (root / "train").iterdir()):
        raise DataError(f"{root} has train/ but no test/: add test/, or name {root / 'train'}")
    if split == "validation":
        return RawSplit([])
    records = _folder_records(root, _classes(_scan(root)))
    size = len(records.images)
    train, test = split_by_seed(size, max(1, round(FOLDER_TEST_SHARE * size)))
    return records.subset(train if split == "train" else test)


def _folder_records(folder: Path, classes: list[str]) -> RawSplit:
    """The folder's own image files without labels, or those of its class subfolders."""
    files = _scan(folder)
    found = _classes(files)
    plain = files[""]
    if plain and found:
        raise DataError(
            f"{folder} holds image files ({plain[0].name}, ...) beside folders of them "
            f"({found[0]}, ...); keep one of the two"
        )
    if not plain and not found:
        raise DataError(f"{folder} holds no image files ({' '.join(sorted(IMAGE_SUFFIXES))})")
    if plain:
        return RawSplit(plain)
    unknown = [name for name in found if name not in classes]
    if unknown:
        raise DataError(f"{folder} has the classes {', '.join(unknown)}, which train/ lacks")
    number = {name: label for label, name in enumerate(classes)}
    labels = [number[name] for name in found for _ in files[name]]
    images = [file for name in found for file in files[name]]
    return RawSplit(images, np.asarray(labels, dtype=np.int64), len(classes))


def _scan(folder: Path) -> dict[str, list[Path]]:
    """Image files directly in ``folder`` (under "") and at any depth of each of its subfolders."""
    subfolders = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    files = {entry.name: image_files(entry, "**/*") for entry in subfolders}
    return {"": image_files(folder)} | files


def _classes(files: dict[str, list[Path]]) -> list[str]:
    return [name for name in sorted(files) if name and files[name]]


def _draw_field(config: DataConfig, split: str) -> RawSplit:
    assert config.gaussian_field is not None
    if config.channels != 1:
        raise DataError(f"{config.name} has 1 channel, not the {config.channels} of data.channels")
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
