"""``data.name: folder``: whole trees, class folders that are counted, and ZIP archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import HEIGHT, WIDTH, all_images, config, random_pixels, save, zip_folder
from PIL import Image

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.data.image_files import DataError
from biglearn_gan.data.loading import count_classes, has_validation, load_dataset
from biglearn_gan.data.raw_split import RawSplit
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

FolderConfig = Callable[..., Config]


def shade(path: Path, level: int) -> Path:
    return save(path, np.full((HEIGHT, WIDTH), level, np.uint8))


def shades(root: Path, split: str, **settings: object) -> list[int]:
    """The gray levels of the images of a split, in their order."""
    return all_images(load_dataset(config(root=root, **settings), split))[:, 0, 0, 0].tolist()


def class_folders(root: Path, *names: str, count: int = 3) -> None:
    for level, name in enumerate(names):
        for number in range(count):
            shade(root / name / f"{number}.png", 10 * level + number)


@pytest.fixture
def folder_config(tiny_config: Callable[..., Config]) -> FolderConfig:
    def make(root: Path, **changes: object) -> Config:
        data = {"data.name": "folder", "data.root": str(root)}
        return tiny_config(data | {f"data.{key}": value for key, value in changes.items()})

    return make


class TestTrees:
    def test_images_in_a_folder_and_below_it_are_all_read(self, tmp_path: Path) -> None:
        for level, name in enumerate(("a.png", "cat/a.png", "cat/deep/a.png", "dog/a.JPG")):
            shade(tmp_path / "train" / name, 20 * level)
        shade(tmp_path / "test" / "b.png", 7)
        with pytest.warns(UserWarning, match=r"reading all 4 image files, 3 of them in folders"):
            assert shades(tmp_path, "train") == [0, 20, 40, 60]
        assert shades(tmp_path, "test") == [7]
        with pytest.warns(UserWarning, match="reading all 4"):
            assert load_dataset(config(root=tmp_path), "train").labels is None

    def test_the_classes_of_test_images_take_turns(self, tmp_path: Path) -> None:
        for split in ("train", "test"):
            class_folders(tmp_path / split, "ant", "bee", "cat", count=2)
        assert shades(tmp_path, "train") == [0, 1, 10, 11, 20, 21]
        assert shades(tmp_path, "test") == [0, 10, 20, 1, 11, 21]

    @pytest.mark.parametrize(
        ("labels", "order"),
        [
            ([0, 0, 0, 1, 2, 2], [0, 3, 4, 1, 5, 2]),
            ([1, 1, UNKNOWN_LABEL, UNKNOWN_LABEL, 0], [0, 2, 4, 1, 3]),
            ([0, 0, 1, 0], [0, 1, 2, 3]),  # not stored class by class
            ([2, 0, 1], [0, 1, 2]),
            ([5, 5], [0, 1]),
            ([], []),
            (None, [0, 1, 2]),
        ],
    )
    def test_turns_are_those_of_classes_that_are_stored_one_after_the_other(
        self, labels: list[int] | None, order: list[int]
    ) -> None:
        numbers = None if labels is None else np.asarray(labels, dtype=np.int64)
        images = np.arange(len(order), dtype=np.uint8)[:, None, None]
        found = RawSplit(images, numbers, None if labels is None else 6).in_turns()
        assert isinstance(found.images, np.ndarray)
        assert found.images[:, 0, 0].tolist() == order
        if numbers is not None:
            assert found.labels is not None
            assert found.labels.tolist() == numbers[order].tolist()

    def test_labels_need_a_class_folder_for_every_image(self, tmp_path: Path) -> None:
        class_folders(tmp_path, "cat", "dog")
        shade(tmp_path / "a.png", 90)
        with pytest.raises(
            DataError, match=r"has image files outside of class folders \(a.png, ...\), but data.l"
        ):
            load_dataset(config(root=tmp_path, labels=True, classes=2), "train")

    def test_classes_of_test_that_train_lacks_have_no_label(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "train", "cat")
        class_folders(tmp_path / "test", "cat", "dog")
        assert load_dataset(config(root=tmp_path), "test").labels is None
        with pytest.raises(DataError, match=r"test has classes that train/ lacks: dog$"):
            load_dataset(config(root=tmp_path, labels=True, classes=1), "test")

    def test_images_of_formats_that_are_not_read_are_named(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "train", "cat")
        class_folders(tmp_path / "test", "cat")
        (tmp_path / "train" / "cat" / "IMG_2.HEIC").touch()
        (tmp_path / "train" / "cat" / "IMG_1.heic").touch()
        (tmp_path / "train" / "cat" / ".IMG_1.heic").touch()
        message = r"train: left out 2 files of formats that are not read, such as cat/IMG_1.heic; c"
        with pytest.warns(UserWarning, match=message):
            assert shades(tmp_path, "train") == [0, 1, 2]

    def test_a_float_image_is_left_out_and_named(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "train", "cat")
        class_folders(tmp_path / "test", "cat")
        depth = Image.fromarray(np.full((HEIGHT, WIDTH), 0.5, np.float32))
        depth.save(tmp_path / "train" / "cat" / "depth.tif")
        with pytest.warns(UserWarning, match=r"skipped 1 broken image file: .*depth.tif .*mode F"):
            assert shades(tmp_path, "train") == [0, 1, 2]


class TestSplits:
    @pytest.mark.parametrize(
        ("train", "validation", "test"),
        [
            ("Training", "valid", "Test"),
            ("train", "val", "testing"),
            ("TRAIN", "Validation", "test"),
        ],
    )
    def test_folders_of_splits_have_the_usual_names(
        self, train: str, validation: str, test: str, folder_config: FolderConfig, tmp_path: Path
    ) -> None:
        class_folders(tmp_path / train, "cat", "dog", "owl", count=2)
        class_folders(tmp_path / validation, "cat", "dog", count=1)
        class_folders(tmp_path / test, "cat", count=3)
        assert shades(tmp_path, "train") == [0, 1, 10, 11, 20, 21]
        assert shades(tmp_path, "validation") == [0, 10]
        assert shades(tmp_path, "test") == [0, 1, 2]
        counted = count_classes(folder_config(tmp_path, labels=True))
        assert counted.data.classes == load_dataset(counted.data, "test").num_classes == 3

    def test_validation_is_for_tests_if_there_is_nothing_else(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "train", "cat", "dog")
        class_folders(tmp_path / "val", "cat", count=2)
        assert not has_validation(config(root=tmp_path / "train"))
        with pytest.warns(UserWarning, match="val/ is the test split: test/ is missing"):
            assert shades(tmp_path, "test") == [0, 1]
        with pytest.warns(UserWarning, match="val/ is the test split"):
            assert not has_validation(config(root=tmp_path))

    def test_classes_named_like_a_split_stay_classes(
        self, folder_config: FolderConfig, tmp_path: Path
    ) -> None:
        class_folders(tmp_path, "bus", "car", "train")
        assert count_classes(folder_config(tmp_path, labels=True)).data.classes == 3


class TestCountedClasses:
    @pytest.mark.parametrize("inside", ["", "train"])
    def test_class_folders_are_counted(
        self, inside: str, folder_config: FolderConfig, tmp_path: Path
    ) -> None:
        class_folders(tmp_path / inside, "owl", "cat/deep", "dog", count=4)
        (tmp_path / inside / "empty").mkdir()
        if inside:
            class_folders(tmp_path / "test", "owl")
        counted = count_classes(folder_config(tmp_path, labels=True))
        assert counted.data.classes == counted.data.num_classes == 3
        assert load_dataset(counted.data, "train").num_classes == 3

    def test_a_stated_number_stays_and_is_checked_with_the_data(
        self, folder_config: FolderConfig, tmp_path: Path
    ) -> None:
        class_folders(tmp_path, "cat", "dog")
        stated = folder_config(tmp_path, labels=True, classes=3)
        assert count_classes(stated) == stated
        with pytest.raises(DataError, match=r"has 2 class folders, but data\.classes is 3: set it"):
            load_dataset(stated.data, "train")

    def test_counted_classes_must_share_the_labeled_images(
        self, folder_config: FolderConfig, tmp_path: Path
    ) -> None:
        class_folders(tmp_path, "cat", "dog", "owl")
        with pytest.raises(ConfigError, match=r"labeled_images: 4 cannot .* by 3 classes; choose"):
            count_classes(folder_config(tmp_path, labels=True, labeled_images=4))

    def test_nothing_is_counted_without_labels(
        self, folder_config: FolderConfig, tmp_path: Path
    ) -> None:
        plain = folder_config(tmp_path / "nowhere")
        assert count_classes(plain) == plain
        assert plain.data.num_classes is None

    def test_without_class_folders_it_is_one_sentence(
        self, folder_config: FolderConfig, tmp_path: Path
    ) -> None:
        shade(tmp_path / "a.png", 90)
        uncounted = folder_config(tmp_path, labels=True)
        with pytest.raises(DataError, match=r"has no class folders, but data\.labels is true: put"):
            count_classes(uncounted)
        with pytest.raises(ConfigError, match=r"data\.classes: the classes are not counted"):
            _ = uncounted.data.num_classes


class TestArchives:
    def test_an_archive_is_read_like_the_folder(self, tmp_path: Path) -> None:
        for split, count in (("train", 4), ("test", 2)):
            class_folders(tmp_path / "photos" / split, "cat", "dog", count=count)
        archive = zip_folder(tmp_path / "photos", tmp_path / "photos.zip")
        for split in ("train", "test"):
            zipped, plain = (
                load_dataset(config(root=root, labels=True, classes=2), split)
                for root in (archive, tmp_path / "photos")
            )
            assert torch.equal(all_images(zipped), all_images(plain))
            assert zipped.labels.tolist() == plain.labels.tolist()
            assert zipped.num_classes == 2

    @pytest.mark.parametrize("workers", [0, 2])
    def test_files_of_an_archive_are_decoded_when_they_are_needed(
        self, workers: int, tmp_path: Path
    ) -> None:
        for split, count in (("train", 5), ("test", 1)):
            for number in range(count):
                save(tmp_path / "photos" / split / f"{number}.png", random_pixels(53, 71, 3))
        archive = zip_folder(tmp_path / "photos", tmp_path / "photos.zip")
        settings = {"image_size": (509, 701), "workers": workers}
        lazy = load_dataset(config(root=archive, memory_limit_mb=1, **settings), "train")
        eager = load_dataset(config(root=archive, **settings), "train")
        indices = torch.tensor([4, 0, 3])
        assert torch.equal(lazy.batch(indices).images, eager.batch(indices).images)
        assert isinstance(eager._pixels, torch.Tensor)
        assert not isinstance(lazy._pixels, torch.Tensor)

    def test_masks_in_an_archive_belong_to_its_images(self, tmp_path: Path) -> None:
        hole = np.zeros((HEIGHT, WIDTH), np.uint8)
        hole[3:5] = 255
        for split in ("train", "test"):
            shade(tmp_path / "photos" / split / "a.png", 90)
            save(tmp_path / "photos" / split / "a.mask.png", hole)
        archive = zip_folder(tmp_path / "photos", tmp_path / "photos.zip")
        train = load_dataset(config(root=archive, missing={"masks": True}), "train")
        assert train.batch(torch.tensor([0])).observed[0].tolist() == (hole == 0).tolist()

    def test_a_damaged_member_is_left_out_and_named(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "photos" / "train", "cat")
        class_folders(tmp_path / "photos" / "test", "cat")
        (tmp_path / "photos" / "train" / "cat" / "1.png").write_bytes(b"no image")
        archive = zip_folder(tmp_path / "photos", tmp_path / "photos.zip")
        message = r"skipped 1 broken image file: .*photos.zip/photos/train/cat/1.png is not a read"
        with pytest.warns(UserWarning, match=message):
            assert shades(archive, "train") == [0, 2]
