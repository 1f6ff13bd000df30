"""Read each data set as it is stored: files or arrays with labels, split by split.

torchvision and scikit-learn are slow to import, so only the readers that need them do so.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.data.colored_mnist import colorize, random_hues
from biglearn_gan.data.folder_datasets import read_cifar10_folder, read_folder
from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.data.hugging_face import read_hugging_face
from biglearn_gan.data.image_listing import DataError, UnavailableDataError
from biglearn_gan.data.raw_split import ROOT_OPTION, RawSplit, data_root, split_by_seed
from biglearn_gan.files import check_space
from biglearn_gan.rng import Stream, make_rng

SPLITS = ("train", "validation", "test")
DIGITS_TRAIN_SIZE = 1400
FIELD_SIZES = {"train": 50_000, "test": 5_000}


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
    in_folders = read_cifar10_folder(config, split)
    if in_folders is not None:
        return in_folders
    data = _load_torchvision(config, "CIFAR10", "cifar-10-batches-py", train=split == "train")
    return RawSplit(data.data, np.asarray(data.targets, dtype=np.int64), num_classes=10)


def _read_celeba(config: DataConfig, split: str) -> RawSplit:
    layout = "celeba/{img_align_celeba/*.jpg,list_*.txt,identity_CelebA.txt}"
    split_name = "valid" if split == "validation" else split
    data = _load_torchvision(config, "CelebA", layout, split=split_name, target_type=[])
    folder = data_root(config) / "celeba" / "img_align_celeba"
    return RawSplit([folder / name for name in data.filename])


def _load_torchvision(config: DataConfig, kind: str, layout: str, **arguments: Any) -> Any:
    """Load the torchvision data set ``kind``; download it if the configuration allows it.

    Raises:
        DataError: there are no such files, or they are broken.
        UnavailableDataError: there are none, and they cannot be downloaded.
    """
    from torchvision import datasets

    root = data_root(config)
    folder = root / layout.partition("{")[0]
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        return getattr(datasets, kind)(root, download=config.download, **arguments)
    except (RuntimeError, OSError, ValueError, AssertionError, KeyError, IndexError) as error:
        for path in created:
            with suppress(OSError):  # it holds something
                path.rmdir()
        check_space(error, root)
        raise _missing_files(config, root, layout, error) from error


def _missing_files(config: DataConfig, root: Path, layout: str, error: Exception) -> DataError:
    """The error that says how to provide the files of a data set."""
    reason = f"torchvision: {' '.join(str(error).split())}"
    advice = f"put {root / layout} there ({ROOT_OPTION} names another folder)"
    if not config.download:
        return DataError(
            f"{config.name} could not be loaded from the folder {root}: {advice}, or set "
            f"data.download=true to download it ({reason})"
        )
    if "urlopen error" in reason or isinstance(error, ConnectionError):
        return UnavailableDataError(
            f"{config.name} is not in the folder {root}, and the hosts to download it from cannot "
            f"be reached: go online, or {advice}"
        )
    return UnavailableDataError(
        f"{config.name} could not be loaded from the folder {root} or downloaded: {advice} "
        f"({reason})"
    )


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


WITH_OWN_VALIDATION = ("celeba", "folder", "huggingface")
"""Data sets that may have a validation split of their own."""

READERS: dict[str, Callable[[DataConfig, str], RawSplit]] = {
    "digits": _read_digits,
    "mnist": _read_mnist,
    "fashion_mnist": _read_mnist,
    "colored_mnist": _read_colored_mnist,
    "cifar10": _read_cifar10,
    "celeba": _read_celeba,
    "folder": read_folder,
    "huggingface": read_hugging_face,
    "gaussian_field_smooth": _draw_field,
    "gaussian_field_rough": _draw_field,
    "gaussian_field_mixture": _draw_field,
    "gaussian_field_grid": _draw_field,
}
