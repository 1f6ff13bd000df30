"""Data sets that torchvision downloads, read from files of their formats."""

import os
import pickle
import struct
from email.message import Message
from urllib.error import HTTPError, URLError

import numpy as np
import pytest
import torch
import torchvision
from image_folders import (
    all_images,
    as_set,
    channels_first,
    config,
    random_pixels,
    save,
)

from biglearn_gan.config.schema import CLASS_NAMES
from biglearn_gan.data.colored_mnist import colorize
from biglearn_gan.data.image_listing import DataError, UnavailableDataError
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.data.raw_datasets import colored_mnist_hues


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def write_mnist(root, kind="MNIST"):
    images = {"train": random_pixels(7, 23, 29), "t10k": random_pixels(5, 23, 29, seed=1)}
    for name, pixels in images.items():
        write_idx(root / kind / "raw" / f"{name}-images-idx3-ubyte", pixels)
        labels = np.arange(len(pixels), dtype=np.uint8)[::-1]
        write_idx(root / kind / "raw" / f"{name}-labels-idx1-ubyte", labels)
    return images


class TestTorchvisionSets:
    @pytest.mark.parametrize(
        ("name", "kind"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
    )
    def test_mnist_files_are_read_unchanged(self, tmp_path, name, kind):
        images = write_mnist(tmp_path, kind)
        settings = config(name, tmp_path, image_size=(23, 29), channels=1)
        train, test = (load_dataset(settings, split) for split in ("train", "test"))
        assert torch.equal(all_images(train)[:, 0], torch.from_numpy(images["train"]))
        assert torch.equal(all_images(test)[:, 0], torch.from_numpy(images["t10k"]))
        assert train.labels.tolist() == [6, 5, 4, 3, 2, 1, 0]
        assert (train.name, train.num_classes) == (f"{name}:train", 10)

    def test_colored_mnist_has_the_same_digits_in_fixed_hues(self, tmp_path):
        images = write_mnist(tmp_path)
        settings = config("colored_mnist", tmp_path, image_size=(23, 29), channels=3)
        train, test = (load_dataset(settings, split) for split in ("train", "test"))
        assert train.labels.tolist() == [6, 5, 4, 3, 2, 1, 0]
        assert torch.equal(all_images(train), all_images(load_dataset(settings, "train")))
        for dataset, gray, split in (
            (train, images["train"], "train"),
            (test, images["t10k"], "test"),
        ):
            expected = colorize(gray, colored_mnist_hues(split, len(gray)))
            assert torch.equal(all_images(dataset), torch.from_numpy(expected).movedim(-1, 1))

    def test_present_data_are_not_downloaded_again(self, tmp_path):
        write_mnist(tmp_path)
        settings = config("mnist", tmp_path, image_size=(23, 29), channels=1, download=True)
        assert len(load_dataset(settings, "train")) == 7

    @pytest.mark.parametrize(
        ("name", "layout"),
        [
            ("mnist", "MNIST/raw/"),
            ("fashion_mnist", "FashionMNIST/raw/"),
            ("cifar10", "cifar-10-batches-py"),
            ("celeba", "celeba/{img_align_celeba"),
        ],
    )
    def test_missing_data_say_how_to_provide_them(self, tmp_path, name, layout):
        with pytest.raises(DataError) as caught:
            load_dataset(config(name, tmp_path), "train")
        message = str(caught.value)
        assert (
            f"{name} could not be loaded from the folder {tmp_path}: put {tmp_path}/{layout}"
            in (message)
        )
        assert "or set data.download=true to download it" in message
        assert "\n" not in message
        assert caught.value.exit_code == 2

    def test_a_failed_download_says_so(self, tmp_path, monkeypatch):
        def fail(self):
            raise HTTPError("http://host", 403, "Forbidden", Message(), None)

        monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fail)
        with pytest.raises(
            UnavailableDataError, match=r"or downloaded: put .*batches-py there.*403"
        ):
            load_dataset(config("cifar10", tmp_path, download=True), "train")

    def test_without_a_network_the_sentence_says_what_to_do(self, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise URLError("Name or service not known")

        monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", fail)
        monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, **_: url)
        with pytest.raises(UnavailableDataError) as caught:
            load_dataset(config("mnist", tmp_path / "data", download=True), "test")
        folder = tmp_path / "data"
        assert str(caught.value) == (
            f"mnist is not in the folder {folder}, and the hosts to download it from cannot be "
            f"reached: go online, or put {folder}/MNIST/raw/{{train,t10k}}-"
            "{images-idx3,labels-idx1}-ubyte there (--data-root, or data.root in training, names "
            "another folder)"
        )
        assert caught.value.exit_code == 1
        assert not list(tmp_path.iterdir())  # no empty folder is left

    def test_a_truncated_mnist_file_is_a_clear_error(self, tmp_path):
        write_mnist(tmp_path)
        path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(DataError, match="mnist could not be loaded"):
            load_dataset(config("mnist", tmp_path), "train")

    def test_cifar10_keeps_channels_and_labels(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
        pixels = random_pixels(11, 3, 32, 32)
        folder = tmp_path / "cifar-10-batches-py"
        folder.mkdir()
        labels = [3] * 9 + [9, 3]
        batch = {"data": pixels.reshape(11, -1), "labels": labels}
        (folder / "test_batch").write_bytes(pickle.dumps(batch))
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
        test = load_dataset(config("cifar10", tmp_path, image_size=(32, 32)), "test")
        assert torch.equal(all_images(test), torch.from_numpy(pixels))
        assert test.labels.tolist() == labels

    @pytest.mark.parametrize("names", [CLASS_NAMES["cifar10"], tuple("0123456789")])
    def test_cifar10_is_also_read_from_class_folders(self, tmp_path, names):
        for split, count in (("train", 2), ("test", 1)):
            for label, name in enumerate(names):
                for number in range(count):
                    shade = np.full((32, 32, 3), 20 * label + number, np.uint8)
                    save(tmp_path / split / name / f"{number}.png", shade)
        settings = config("cifar10", tmp_path, image_size=(32, 32), labels=True)
        for split, count in (("train", 2), ("test", 1)):
            with pytest.warns(
                UserWarning,
                match=rf"reading {10 * count} image files in class folders of .*{split}",
            ):
                dataset = load_dataset(settings, split)
            assert dataset.labels.tolist() == [i for i in range(10) for _ in range(count)]
            assert dataset.num_classes == 10
            shades = [20 * label + number for label in range(10) for number in range(count)]
            assert all_images(dataset)[:, 1, 31, 31].tolist() == shades

    def test_other_images_are_not_taken_for_cifar10(self, tmp_path):
        for split in ("train", "test"):
            for name in CLASS_NAMES["cifar10"]:
                save(tmp_path / split / name / "0.png", random_pixels(32, 64, 3))
        with pytest.raises(
            DataError, match=r"airplane/0.png has 32 x 64 pixels .* use data.name=f"
        ):
            load_dataset(config("cifar10", tmp_path), "train")
        (tmp_path / "test" / "truck" / "0.png").rename(tmp_path / "test" / "0.png")
        (tmp_path / "test" / "truck").rmdir()
        with pytest.raises(DataError, match=r"put .*cifar-10-batches-py there"):
            load_dataset(config("cifar10", tmp_path), "train")

    def test_celeba_has_its_own_validation_and_a_square_center(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda _: True)
        pixels = random_pixels(7, 218, 178, 3)
        parts = [0, 0, 0, 1, 1, 2, 2]
        names = [f"{number}.png" for number in range(7)]
        for name, image in zip(names, pixels, strict=True):
            save(tmp_path / "celeba" / "img_align_celeba" / name, image)
        for table, header in {
            "list_eval_partition": "",
            "identity_CelebA": "",
            "list_bbox_celeba": "7\nx\n",
            "list_landmarks_align_celeba": "7\nx\n",
            "list_attr_celeba": "7\nx\n",
        }.items():
            rows = "".join(f"{name} {part}\n" for name, part in zip(names, parts, strict=True))
            (tmp_path / "celeba" / f"{table}.txt").write_text(header + rows)
        settings = config("celeba", tmp_path, image_size=(178, 178))
        train, validation = (load_dataset(settings, split) for split in ("train", "validation"))
        assert torch.equal(all_images(train), channels_first(pixels[:3, 20:198]))
        assert torch.equal(all_images(validation), channels_first(pixels[3:5, 20:198]))
        assert train.labels is None

        share = config("celeba", tmp_path, image_size=(178, 178), validation_share=0.34)
        parts_of_train = (
            as_set(load_dataset(share, "train")),
            as_set(load_dataset(share, "validation")),
        )
        assert [len(part) for part in parts_of_train] == [2, 1]
        assert parts_of_train[0] | parts_of_train[1] == as_set(train)

    @pytest.mark.skipif(
        "BIGLEARN_DATA" not in os.environ, reason="BIGLEARN_DATA names no MNIST folder"
    )
    def test_the_real_mnist_has_its_published_mean(self):
        settings = config("mnist", os.environ["BIGLEARN_DATA"], image_size=(28, 28), channels=1)
        train = all_images(load_dataset(settings, "train")).float()
        assert len(train) == 60_000
        assert train.mean().item() == pytest.approx(33.318, abs=1e-3)
        assert train.std().item() == pytest.approx(78.567, abs=1e-3)
