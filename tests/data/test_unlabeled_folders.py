"""``data.unlabeled``: images next to class folders that have no label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import HEIGHT, WIDTH, all_images, config, save, zip_folder

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import DataError
from biglearn_gan.data.labeled import hide_labels, known_labels
from biglearn_gan.data.loading import count_classes, load_dataset
from biglearn_gan.inference.inputs import without_labels_or_missing
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

SETTINGS = {"labels": True, "unlabeled": "more", "classes": 2}
TRAIN = {"cat/a": 0, "cat/b": 1, "loose": 2, "more/a": 3, "more/deep/a": 4, "owl/a": 5, "owl/b": 6}
"""The gray level of each image, in the order of their names."""
LABELS = {0: 0, 1: 0, 5: 1, 6: 1}
"""The class of each gray level that has one."""


def save_levels(folder: Path, levels: dict[str, int]) -> Path:
    for name, level in levels.items():
        save(folder / f"{name}.png", np.full((HEIGHT, WIDTH), level, np.uint8))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save_levels(tmp_path / "photos" / "train", TRAIN)
    save_levels(tmp_path / "photos" / "test", {"cat/c": 7, "more/c": 8, "owl/c": 9})
    return tmp_path / "photos"


def levels(dataset: ImageDataset) -> list[int]:
    return all_images(dataset)[:, 0, 0, 0].tolist()


def pairs(dataset: ImageDataset) -> list[tuple[int, int]]:
    """The gray level and the label of each image."""
    assert dataset.labels is not None
    return list(zip(levels(dataset), dataset.labels.tolist(), strict=True))


EXPECTED = [(level, LABELS.get(level, UNKNOWN_LABEL)) for level in range(7)]


@pytest.mark.parametrize("limit", [4096, 0])
def test_images_in_no_class_folder_have_no_label(photos: Path, limit: int) -> None:
    train = load_dataset(config(root=photos, memory_limit_mb=limit, **SETTINGS), "train")
    assert pairs(train) == EXPECTED
    assert train.num_classes == 2
    assert train.labeled.tolist() == [0, 1, 5, 6]
    batch = train.batch(torch.tensor([6, 3]))
    assert batch.labels is not None and batch.labels.tolist() == [1, UNKNOWN_LABEL]
    test = load_dataset(config(root=photos, **SETTINGS), "test")
    assert pairs(test) == [(7, 0), (8, UNKNOWN_LABEL), (9, 1)]


def test_an_archive_is_read_like_the_folder(photos: Path, tmp_path: Path) -> None:
    archive = zip_folder(photos, tmp_path / "photos.zip")
    train = load_dataset(config(root=archive, **SETTINGS), "train")
    assert pairs(train) == EXPECTED


def test_a_dot_stands_for_images_outside_of_folders(tmp_path: Path) -> None:
    save_levels(tmp_path / "train", {"a": 0, "cat/a": 1, "more/a": 2})
    save_levels(tmp_path / "test", {"cat/a": 3})
    data = config(root=tmp_path, labels=True, unlabeled=".", classes=2)
    assert pairs(load_dataset(data, "train")) == [(0, UNKNOWN_LABEL), (1, 0), (2, 1)]


@pytest.mark.parametrize(("unlabeled", "classes"), [("more", 2), (".", 3)])
def test_the_folder_is_no_class(
    photos: Path, tiny_config: Callable[..., Config], unlabeled: str, classes: int
) -> None:
    data = {"name": "folder", "root": str(photos), "labels": True, "unlabeled": unlabeled}
    changes = {f"data.{key}": value for key, value in data.items()}
    assert count_classes(tiny_config(changes)).data.classes == classes


def test_splits_hold_all_images_once(tmp_path: Path) -> None:
    """Without train/ and test/, and with a validation share."""
    names = {f"{folder}/{n}": 10 * n for n in range(10) for folder in ("cat", "more", "owl")}
    names |= {f"more/{n}": n for n in range(10, 20)}
    save_levels(tmp_path, names)
    data = config(root=tmp_path, validation_share=0.25, **SETTINGS)
    splits = [load_dataset(data, split) for split in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [27, 9, 4]
    together = sorted(pair for split in splits for pair in pairs(split))
    expected = [
        (level, {"cat": 0, "owl": 1}.get(name.split("/")[0], UNKNOWN_LABEL))
        for name, level in names.items()
    ]
    assert together == sorted(expected)


def test_without_the_key_an_image_outside_of_folders_is_refused(photos: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(config(root=photos, labels=True), "train")
    assert str(caught.value) == (
        f"{photos / 'train'} has image files outside of class folders (loose.png, ...), but "
        "data.labels is true: put the images of each class into a folder, set data.unlabeled to . "
        "if they have no label, or set data.labels to false"
    )


def test_a_class_that_train_lacks_is_still_refused(photos: Path) -> None:
    save_levels(photos / "test", {"dog/a": 1, "loose": 2})
    with pytest.raises(DataError, match=r"test has classes that train/ lacks: dog$"):
        load_dataset(config(root=photos, **SETTINGS), "test")


def test_as_inputs_of_a_model_all_images_are_the_same(photos: Path) -> None:
    data = config(root=photos, **SETTINGS)
    inputs = load_dataset(without_labels_or_missing(data), "test")
    assert levels(inputs) == levels(load_dataset(data, "test"))
    save_levels(photos / "others" / "test", {"a": 1})
    save_levels(photos / "others" / "train", {"a": 2})
    others = data.model_copy(update={"root": str(photos / "others")})
    assert levels(load_dataset(without_labels_or_missing(others), "test")) == [1]


def test_a_run_knows_some_of_the_labels(photos: Path) -> None:
    data = config(root=photos, labeled_images=2, **SETTINGS)
    train = load_dataset(data, "train")
    labels = known_labels(train, data).labels
    assert labels is not None
    assert labels[labels != UNKNOWN_LABEL].tolist() == [0, 1]
    assert torch.equal(labels, hide_labels(train, 2, seed=0).labels)
    with pytest.raises(DataError, match=r"6 needs 3 images of each class.* choose at most 4$"):
        hide_labels(train, 6, seed=0)


@pytest.mark.parametrize(
    ("names", "unlabeled", "message"),
    [
        (["cat/a", "owl/a", "b"], "more", "no folder of images with that name: it has cat, owl"),
        (
            ["cat/a", "owl/a"],
            ".",
            "data.unlabeled is ., but every image of folder:train is in a cl",
        ),
        (
            ["more/a"],
            "more",
            "no image of folder:train has a label: add images to the class folders",
        ),
    ],
)
def test_a_run_needs_images_with_and_without_a_label(
    names: list[str], unlabeled: str, message: str, tmp_path: Path
) -> None:
    save_levels(tmp_path / "train", dict.fromkeys(names, 0))
    save_levels(tmp_path / "test", {"more/a": 1})
    data = config(root=tmp_path, labels=True, unlabeled=unlabeled)
    with pytest.raises(DataError) as caught:
        known_labels(load_dataset(data, "train"), data)
    assert message in str(caught.value)
