"""``load_dataset``: fixed splits, folders, the limit of memory, and broken files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import (
    HEIGHT,
    WIDTH,
    all_images,
    as_set,
    channels_first,
    config,
    digits,
    random_pixels,
    save,
    save_many,
    split_folder,
)
from PIL import Image
from sklearn.datasets import load_digits

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import DataError
from biglearn_gan.data.loading import has_validation, load_dataset


class TestDigits:
    def test_the_splits_have_their_stated_sizes_and_share_no_image(self):
        train, test = (load_dataset(digits(), split) for split in ("train", "test"))
        assert (train.name, test.name) == ("digits:train", "digits:test")
        assert (len(train), len(test)) == (1400, 397)
        pixels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
        together = np.concatenate([all_images(train).numpy(), all_images(test).numpy()])[:, 0]
        assert sorted(map(bytes, together)) == sorted(map(bytes, pixels))

    def test_the_splits_never_change(self):
        test = load_dataset(digits(), "test")
        assert test.labels[:11].tolist() == [1, 1, 7, 9, 9, 0, 9, 7, 1, 0, 2]
        assert torch.equal(all_images(test), all_images(load_dataset(digits(), "test")))

    def test_pixels_and_labels_are_those_of_scikit_learn(self):
        source = load_digits()
        scaled = np.rint(source.images * 255 / 16).astype(np.uint8)
        label_of = {bytes(image): label for image, label in zip(scaled, source.target, strict=True)}
        train = load_dataset(digits(), "train")
        assert train.num_classes == 10
        assert train.labels.dtype == torch.int64
        images = all_images(train)[:, 0].numpy()
        assert [label_of[bytes(image)] for image in images] == train.labels.tolist()
        assert (images.min(), images.max()) == (0, 255)

    def test_validation_is_held_out_of_train_only(self):
        share = digits(validation_share=0.25)
        train, validation, test = (load_dataset(share, s) for s in ("train", "validation", "test"))
        assert (len(train), len(validation), len(test)) == (1050, 350, 397)
        whole = as_set(load_dataset(digits(), "train"))
        assert as_set(train) | as_set(validation) == whole
        assert not as_set(train) & as_set(validation)
        assert torch.equal(all_images(test), all_images(load_dataset(digits(), "test")))

    def test_an_empty_validation_split_says_what_to_set(self):
        assert has_validation(digits(validation_share=0.1)) and not has_validation(digits())
        with pytest.raises(DataError, match=r"digits:validation is empty: set data.validation_sha"):
            load_dataset(digits(), "validation")

    def test_an_unknown_split_is_refused(self):
        with pytest.raises(ValueError, match="one of train, validation, test, not 'valid'"):
            load_dataset(digits(), "valid")


class TestFolder:
    def test_train_and_test_folders_are_the_splits(self, tmp_path):
        train = split_folder(tmp_path, train=7, test=2)
        assert torch.equal(
            all_images(load_dataset(config(root=tmp_path), "train")), channels_first(train)
        )
        assert len(load_dataset(config(root=tmp_path), "test")) == 2
        assert not has_validation(config(root=tmp_path))

    def test_a_validation_folder_is_used_at_share_zero_only(self, tmp_path):
        split_folder(tmp_path, train=7)
        own = save_many(tmp_path / "validation", 3, seed=2)
        assert has_validation(config(root=tmp_path))
        validation = load_dataset(config(root=tmp_path), "validation")
        assert torch.equal(all_images(validation), channels_first(own))
        share = config(root=tmp_path, validation_share=0.3)
        train, validation = (load_dataset(share, split) for split in ("train", "validation"))
        assert (len(train), len(validation)) == (5, 2)
        assert as_set(train) | as_set(validation) == as_set(
            load_dataset(config(root=tmp_path), "train")
        )

    def test_a_plain_folder_is_split_by_a_fixed_seed_without_labels(self, tmp_path):
        save_many(tmp_path, 31)
        train, test = (load_dataset(config(root=tmp_path), split) for split in ("train", "test"))
        assert (len(train), len(test)) == (28, 3)
        assert len(as_set(train) | as_set(test)) == 31
        assert torch.equal(
            all_images(train), all_images(load_dataset(config(root=tmp_path), "train"))
        )
        assert train.labels is None
        assert train.num_classes is None
        assert (train.name, train.channels, train.image_size) == ("folder:train", 3, (11, 13))

    def test_class_subfolders_give_labels_at_any_depth(self, tmp_path):
        for split in ("train", "test"):
            save(tmp_path / split / "cat" / "deep" / "0.png", np.full((5, 5), 10, np.uint8))
            save(tmp_path / split / "dog" / "0.png", np.full((5, 5), 30, np.uint8))
        save(tmp_path / "train" / "bee" / "0.png", np.full((5, 5), 20, np.uint8))
        train, test = (load_dataset(config(root=tmp_path), split) for split in ("train", "test"))
        assert (train.num_classes, test.num_classes) == (3, 3)
        assert all_images(train)[:, 0, 0, 0].tolist() == [20, 10, 30]
        assert train.labels.tolist() == [0, 1, 2]
        assert all_images(test)[:, 0, 0, 0].tolist() == [10, 30]
        assert test.labels.tolist() == [1, 2]

    def test_labels_stay_with_their_images_in_a_seeded_split(self, tmp_path):
        for number in range(23):
            shade = np.full((5, 5), number % 3, np.uint8)
            save(tmp_path / "abc"[number % 3] / f"{number}.png", shade)
        share = config(root=tmp_path, validation_share=0.22)
        splits = [load_dataset(share, split) for split in ("train", "validation", "test")]
        assert [len(dataset) for dataset in splits] == [16, 5, 2]
        for dataset in splits:
            assert dataset.labels.tolist() == all_images(dataset)[:, 0, 0, 0].tolist()

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ([], "has no image files"),
            (["train/cat/a.png"], "has train/ but no test/: add test/, or name "),
        ],
    )
    def test_ambiguous_or_empty_folders_are_refused(self, tmp_path, files, message):
        for name in files:
            save(tmp_path / name, random_pixels(5, 7))
        with pytest.raises(DataError, match=message):
            load_dataset(config(root=tmp_path), "test")

    def test_a_missing_folder_says_what_is_expected(self, tmp_path):
        with pytest.raises(
            DataError,
            match=r"nowhere is not a folder: --data-root, or data.root in training, m",
        ):
            load_dataset(config(root=tmp_path / "nowhere"), "train")

    def test_a_split_without_images_is_refused(self, tmp_path):
        save_many(tmp_path, 1)
        message = r"folder:train is empty: add images to data.root \(a tenth, and at least one, is"
        with pytest.raises(DataError, match=message):
            load_dataset(config(root=tmp_path), "train")
        with pytest.raises(DataError, match=message):
            load_dataset(config(root=tmp_path, validation_share=0.5), "train")
        save_many(tmp_path, 2)
        message = r"train is empty: lower data.validation_share \(now 0.9\) or add images"
        with pytest.raises(DataError, match=message):
            load_dataset(config(root=tmp_path, validation_share=0.9), "train")

    def test_a_split_of_only_broken_images_names_one(self, tmp_path):
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_text("no image")
        with (
            pytest.warns(UserWarning, match="skipped 1 broken image file: "),
            pytest.raises(DataError, match=r"is empty: repair .*\.png \(of 1 broken image file"),
        ):
            load_dataset(config(root=tmp_path), "train")


def break_files(folder):
    """One truncated JPEG (PIL's verify passes it) and one text file called .png."""
    whole = save(folder / "002.jpg", random_pixels(101, 103, 3)).read_bytes()
    (folder / "002.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "002.png").unlink()
    (folder / "004.png").write_bytes(b"no image")


LARGE = (509, 701)


def in_memory(dataset: ImageDataset) -> bool:
    return isinstance(dataset._pixels, torch.Tensor)


class TestMemoryAndBrokenFiles:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_lazy_images_equal_those_in_memory(self, tmp_path, workers):
        split_folder(tmp_path, train=5, size=(53, 71))
        settings = {"root": tmp_path, "image_size": LARGE, "workers": workers}
        lazy = load_dataset(config(memory_limit_mb=1, **settings), "train")
        eager = load_dataset(config(**settings), "train")
        assert (in_memory(lazy), in_memory(eager)) == (False, True)
        assert (len(lazy), lazy.channels, lazy.image_size) == (5, 3, LARGE)
        indices, flips = torch.tensor([4, 0, 3]), torch.tensor([True, False, True])
        assert torch.equal(lazy.batch(indices, flips).images, eager.batch(indices, flips).images)
        assert lazy.to("meta").batch(indices).images.device.type == "meta"

    def test_arrays_above_the_limit_are_resized_on_demand(self):
        settings = {"channels": 1, "image_size": (37, 41)}
        lazy = load_dataset(config("digits", memory_limit_mb=1, **settings), "train")
        eager = load_dataset(config("digits", **settings), "train")
        assert (in_memory(lazy), in_memory(eager)) == (False, True)
        indices = torch.tensor([1399, 2])
        assert torch.equal(lazy.images_uint8(indices), eager.images_uint8(indices))
        assert torch.equal(lazy.labels, eager.labels)

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("image_size", [(HEIGHT, WIDTH), LARGE], ids=["in_memory", "lazy"])
    def test_broken_files_are_named_counted_and_skipped(self, tmp_path, image_size, workers):
        pixels = split_folder(tmp_path, size=image_size)
        break_files(tmp_path / "train")
        settings = config(
            root=tmp_path,
            image_size=image_size,
            workers=workers,
            memory_limit_mb=1,
            max_broken_images=2,
        )
        with pytest.warns(
            UserWarning, match=r"folder:train: skipped 2 .*002.jpg.*004.png"
        ) as caught:
            train = load_dataset(settings, "train")
        assert len(caught) == 1
        assert [Path(name).name for name in train.skipped] == ["002.jpg", "004.png"]
        assert torch.equal(all_images(train), channels_first(pixels[[0, 1, 3, 5, 6]]))

    def test_labels_stay_with_the_readable_files(self, tmp_path):
        for number in range(7):
            for split in ("train", "test"):
                shade = np.full((5, 5), number, np.uint8)
                save(tmp_path / split / str(number) / "a.png", shade)
        (tmp_path / "train" / "3" / "a.png").write_bytes(b"no image")
        with pytest.warns(UserWarning, match="skipped 1 broken"):
            train = load_dataset(config(root=tmp_path), "train")
        assert train.labels.tolist() == all_images(train)[:, 0, 0, 0].tolist() == [0, 1, 2, 4, 5, 6]
        assert train.num_classes == 7

    def test_more_broken_files_than_the_limit_are_an_error_that_names_them(self, tmp_path):
        split_folder(tmp_path)
        break_files(tmp_path / "train")
        message = r"has 2 broken image files, more than data.max_broken_images \(1\).*002.jpg.*004"
        with pytest.raises(DataError, match=message):
            load_dataset(config(root=tmp_path, max_broken_images=1), "train")

    def test_a_file_removed_later_is_named(self, tmp_path):
        split_folder(tmp_path, size=LARGE)
        lazy = load_dataset(config(root=tmp_path, image_size=LARGE, memory_limit_mb=1), "train")
        (tmp_path / "train" / "003.png").unlink()
        with pytest.raises(DataError, match=r"003.png is not a readable image"):
            lazy.batch(torch.tensor([0, 3]))


def test_a_folder_must_have_the_configured_number_of_classes(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    for name in ("cat", "dog", "owl"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("L", (8, 8), 30 * number).save(tmp_path / name / f"{number}.png")
    folder = {"data.name": "folder", "data.root": str(tmp_path), "data.labels": True}
    right = tiny_config(folder | {"data.classes": 3})
    assert right.data.num_classes == load_dataset(right.data, "train").num_classes == 3
    wrong = tiny_config(folder | {"data.classes": 2}).data
    with pytest.raises(DataError, match=r"has 3 class folders, but data\.classes is 2"):
        load_dataset(wrong, "train")
