"""``data.name: huggingface``: Parquet files, stored tables, columns, splits and bad input."""

from __future__ import annotations

import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from image_folders import HEIGHT, WIDTH, all_images, channels_first, config, random_pixels
from PIL import Image

from biglearn_gan.config import DataConfig
from biglearn_gan.data.hugging_face import hugging_face_class_names
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.data.loading import has_validation, load_dataset

FEATURES = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["ant", "bee", "cat"])}


def hub(root: Path | str, **others: Any) -> DataConfig:
    return config("huggingface", root, **others)


def pixels_of(count: int, seed: int = 0) -> np.ndarray:
    return random_pixels(count, HEIGHT, WIDTH, 3, seed=seed)


def png(pixels: np.ndarray) -> bytes:
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def table(pixels: np.ndarray, **columns: Any) -> datasets.Dataset:
    """A table of PNG files and of classes 0, 1, 2, 0, ..., with more or other columns."""
    values: dict[str, Any] = {
        "picture": [{"bytes": png(image), "path": None} for image in pixels],
        "kind": [number % 3 for number in range(len(pixels))],
    }
    kinds = FEATURES | {name: kind for name, (kind, _) in columns.items()}
    values |= {name: column for name, (_, column) in columns.items()}
    return datasets.Dataset.from_dict(values, features=datasets.Features(kinds))


def store(root: Path, **splits: datasets.Dataset) -> Path:
    datasets.DatasetDict(splits).save_to_disk(root)
    return root


def test_a_stored_data_set_gives_its_images_and_classes(tmp_path: Path) -> None:
    train, test = pixels_of(7), pixels_of(4, seed=1)
    root = store(tmp_path / "disk", train=table(train), test=table(test))
    for split, pixels in (("train", train), ("test", test)):
        dataset = load_dataset(hub(root, labels=True, classes=3), split)
        assert dataset.name == f"huggingface:{split}"
        assert torch.equal(all_images(dataset), channels_first(pixels))
        assert dataset.labels.tolist() == [number % 3 for number in range(len(pixels))]
        assert dataset.num_classes == 3
    assert hugging_face_class_names(hub(root, labels=True)) == ("ant", "bee", "cat")
    assert not has_validation(hub(root))


def test_a_test_split_without_the_column_of_classes_has_no_labels(tmp_path: Path) -> None:
    train, test = table(pixels_of(4)), table(pixels_of(3, seed=1)).remove_columns("kind")
    root = store(tmp_path / "disk", train=train, test=test)
    assert load_dataset(hub(root), "test").labels is None
    message = r"has a split without train's column of classes kind, but data\.labels is true"
    with pytest.raises(DataError, match=message):
        load_dataset(hub(root, labels=True, classes=3), "test")


def test_parquet_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    pixels, test = pixels_of(11), pixels_of(3, seed=1)
    for number, part in enumerate((pixels[:4], pixels[4:9], pixels[9:])):
        table(part).to_parquet(tmp_path / f"train-{number:05d}-of-00003.parquet")
    table(test).to_parquet(tmp_path / "test-00000-of-00001.parquet")
    assert torch.equal(all_images(load_dataset(hub(tmp_path), "train")), channels_first(pixels))
    assert torch.equal(all_images(load_dataset(hub(tmp_path), "test")), channels_first(test))


def test_a_single_parquet_file_is_split_by_the_fixed_permutation(tmp_path: Path) -> None:
    pixels = pixels_of(20)
    table(pixels).to_parquet(tmp_path / "all.parquet")
    train, test = (load_dataset(hub(tmp_path / "all.parquet"), s) for s in ("train", "test"))
    assert (len(train), len(test)) == (18, 2)
    images = [bytes(image) for dataset in (train, test) for image in all_images(dataset).numpy()]
    assert sorted(images) == sorted(bytes(image) for image in channels_first(pixels).numpy())


def test_bytes_of_image_files_are_images_and_numbers_are_classes_if_a_key_says_so(
    tmp_path: Path,
) -> None:
    """As a table that was not written by the library, whose types say neither."""
    pixels = pixels_of(6)
    columns = {"jpg": [png(image) for image in pixels], "id": [30, 10, 20, 10, 30, 30]}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "train.parquet")
    stored = hub(tmp_path / "train.parquet", label_column="id")
    dataset = load_dataset(stored, "train")
    kept = [bytes(image) for image in channels_first(pixels).numpy()]
    rows = [kept.index(bytes(image)) for image in all_images(dataset).numpy()]
    assert dataset.labels.tolist() == [[2, 0, 1, 0, 2, 2][row] for row in rows]
    assert dataset.num_classes == 3
    assert load_dataset(hub(tmp_path / "train.parquet"), "train").labels is None


def test_texts_are_classes_in_alphabetical_order(tmp_path: Path) -> None:
    names = (datasets.Value("string"), ["owl", "cat", "owl", "ape"])
    root = store(tmp_path / "disk", train=table(pixels_of(4), n=names), test=table(pixels_of(4)))
    dataset = load_dataset(hub(root, label_column="n"), "train")
    assert dataset.labels.tolist() == [2, 1, 2, 0]


def test_images_in_files_next_to_the_table_are_read(tmp_path: Path) -> None:
    pixels = pixels_of(3)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    values = datasets.Dataset.from_dict({"picture": [str(path) for path in paths]})
    values = values.cast_column("picture", datasets.Image())
    root = store(tmp_path / "disk", train=values, test=values)
    assert torch.equal(all_images(load_dataset(hub(root), "train")), channels_first(pixels))


def test_images_of_a_table_can_be_decoded_on_demand(tmp_path: Path) -> None:
    pixels = pixels_of(13)
    root = store(tmp_path / "disk", train=table(pixels), test=table(pixels[:1]))
    lazy = load_dataset(hub(root, memory_limit_mb=0), "train")
    assert lazy.lazy_pixels is not None
    indices = torch.tensor([12, 3, 3, 0])
    assert torch.equal(lazy.images_uint8(indices), channels_first(pixels)[indices])
    assert lazy.fingerprint() == load_dataset(hub(root, memory_limit_mb=0), "train").fingerprint()
    half = load_dataset(hub(root, memory_limit_mb=0, validation_share=0.5), "train")
    assert half.fingerprint() != lazy.fingerprint()


def test_broken_images_are_skipped_and_named_by_their_rows(tmp_path: Path) -> None:
    broken = table(pixels_of(5)).cast_column("picture", datasets.Image(decode=False))
    cells = broken["picture"][:]
    cells[3] = {"bytes": b"no image", "path": None}
    cells[1] = {"bytes": b"", "path": None}
    values = {"picture": cells, "kind": broken["kind"][:]}
    train = datasets.Dataset.from_dict(values, features=broken.features)
    train = train.cast_column("picture", datasets.Image())
    root = store(tmp_path / "disk", train=train, test=train)
    message = r"skipped 2 broken image files: row 1 of .*disk \(train\) is not .*; row 3 of "
    with pytest.warns(UserWarning, match=message):
        dataset = load_dataset(hub(root), "train")
    assert dataset.labels.tolist() == [0, 2, 1]


class TestSplits:
    def test_a_validation_split_is_used_as_one_only_next_to_a_test_split(
        self, tmp_path: Path
    ) -> None:
        parts = {"train": table(pixels_of(5)), "valid": table(pixels_of(2, seed=1))}
        root = store(tmp_path / "three", **parts, test=table(pixels_of(3, seed=2)))
        assert has_validation(hub(root))
        assert len(load_dataset(hub(root), "validation")) == 2
        root = store(tmp_path / "two", **parts)
        with pytest.warns(UserWarning, match="validation is the test split: test is missing"):
            assert not has_validation(hub(root))
        with pytest.warns(UserWarning, match="validation is the test split"):
            assert len(load_dataset(hub(root), "test")) == 2

    def test_an_only_split_of_another_name_is_cut_with_a_warning(self, tmp_path: Path) -> None:
        root = store(tmp_path / "disk", everything=table(pixels_of(10)))
        with pytest.warns(UserWarning, match="its only split, everything, is used for training"):
            assert len(load_dataset(hub(root), "train")) == 9

    def test_several_splits_without_train_are_refused(self, tmp_path: Path) -> None:
        root = store(tmp_path / "disk", a=table(pixels_of(3)), b=table(pixels_of(3)))
        with pytest.raises(DataError, match=r"has the splits a, b, but none of the name train"):
            load_dataset(hub(root), "train")


class TestBadInput:
    """Each is one sentence that says what came, what was expected and what to do."""

    def refused(self, root: Path | str, message: str, **others: Any) -> None:
        with pytest.raises(DataError, match=message) as caught:
            load_dataset(hub(root, **others), "train")
        assert "\n" not in str(caught.value)

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """A stored table with two columns of images and two of classes."""
        pixels = pixels_of(4)
        more = {
            "photo": (datasets.Image(), [{"bytes": png(image), "path": None} for image in pixels]),
            "size": (datasets.ClassLabel(names=["small", "large"]), [0, 1, 1, -1]),
        }
        data = table(pixels, **more)
        return store(tmp_path / "disk", train=data, test=data)

    def test_several_columns_need_a_key(self, root: Path) -> None:
        message = r"has 2 columns of images \(picture, photo\): set data.image_column to one of"
        self.refused(root, message)
        message = "has 2 columns of the type ClassLabel, but data.labels is true: set data.label_co"
        self.refused(root, message, image_column="photo", labels=True, classes=2)
        assert load_dataset(hub(root, image_column="photo"), "train").labels is None

    def test_a_column_that_does_not_fit_is_named(self, root: Path) -> None:
        message = r"has no column x \(data.image_column\): its columns are picture, kind, photo, "
        self.refused(root, message, image_column="x")
        self.refused(root, "the column kind of .* holds no image files", image_column="kind")
        columns = {"image_column": "photo", "label_column": "picture"}
        self.refused(root, "the column picture of .* holds no classes", **columns)

    def test_images_without_a_class_are_refused_if_classes_are_needed(self, root: Path) -> None:
        columns = {"image_column": "photo", "label_column": "size"}
        message = "has 1 images whose class is not among those of train .* size, such as -1"
        self.refused(root, message, **columns, labels=True)
        assert load_dataset(hub(root, **columns), "train").labels is None

    def test_a_table_without_images_names_its_columns(self, tmp_path: Path) -> None:
        numbers = datasets.Dataset.from_dict({"a": [1, 2], "b": ["x", "y"]})
        root = store(tmp_path / "disk", train=numbers, test=numbers)
        self.refused(root, r"has no column of images, .*; its columns are a, b$")

    def test_a_number_of_classes_that_differs(self, root: Path) -> None:
        columns = {"image_column": "photo", "label_column": "kind"}
        message = "has 3 classes, but data.classes is 7: set it to their number"
        self.refused(root, message, **columns, labels=True, classes=7)

    def test_a_folder_that_is_missing_or_empty(self, tmp_path: Path) -> None:
        message = "none does not exist: --data-root, or data.root in training, must name a folder t"
        self.refused(tmp_path / "none", message)
        (tmp_path / "empty").mkdir()
        self.refused(
            tmp_path / "empty", "empty could not be loaded by the library datasets: --data-root, or"
        )

    def test_a_folder_of_parquet_files_is_no_folder_of_images(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        table(pixels_of(2)).to_parquet(tmp_path / "deep" / "train.parquet")
        with pytest.raises(DataError, match=r"has Parquet files and no image files: set data\.n"):
            load_dataset(config(root=tmp_path), "train")

    def test_the_hub_without_a_connection(self) -> None:
        """``data.download`` is false in these tests, so the library may not try to connect."""
        self.refused("nobody/nothing", "nobody/nothing could not be loaded by the library datasets")
        assert not datasets.config.HF_HUB_OFFLINE

    def test_the_library_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        message = r"needs the library datasets: pip install 'biglearn-gan\[datasets\]'"
        self.refused("owner/name", message)


def test_the_pixels_of_a_table_do_not_depend_on_how_it_was_stored(tmp_path: Path) -> None:
    """Two row groups, one file, or a folder of the library: the same bytes."""
    pixels = pixels_of(9)
    data = table(pixels)
    store(tmp_path / "disk", train=data, test=data)
    for split in ("train", "test"):
        path = tmp_path / "parquet" / f"{split}.parquet"
        path.parent.mkdir(exist_ok=True)
        data.to_parquet(path, batch_size=5)
    sums = {
        zlib.crc32(all_images(load_dataset(hub(tmp_path / name), "train")).numpy().tobytes())
        for name in ("disk", "parquet")
    }
    assert sums == {zlib.crc32(channels_first(pixels).contiguous().numpy().tobytes())}
