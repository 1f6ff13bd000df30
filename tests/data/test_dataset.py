"""Data sets: fixed splits, exact scaling, all kinds of image files, broken or missing data."""

import os
import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from biglearn_gan.config import DataConfig
from biglearn_gan.data.colored_mnist import colored
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.data.image_files import DataError, load_images, to_signed_float, to_uint8
from biglearn_gan.data.loading import has_validation, load_dataset
from biglearn_gan.data.raw_datasets import colored_mnist_hues

HEIGHT, WIDTH = 11, 13


def config(name="folder", root="unused", image_size=(HEIGHT, WIDTH), channels=3, **others):
    others = {"download": False, "workers": 0} | others
    return DataConfig(name=name, root=str(root), image_size=image_size, channels=channels, **others)


def digits(**others):
    return config("digits", image_size=(8, 8), channels=1, **others)


def every(dataset):
    return dataset.images_uint8(torch.arange(len(dataset)))


def as_set(dataset):
    return {image.numpy().tobytes() for image in every(dataset)}


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def save_many(folder, count, size=(HEIGHT, WIDTH), seed=0):
    """``count`` random RGB images, named in order; returns their pixels (count, H, W, 3)."""
    pixels = random_pixels(count, *size, 3, seed=seed)
    for number, image in enumerate(pixels):
        save(folder / f"{number:03d}.png", image)
    return pixels


def split_folder(root, train=7, test=2, **others):
    """Plain train/ and test/ folders, so that the order of files is the order of images."""
    pixels = save_many(root / "train", train, **others)
    save_many(root / "test", test, seed=1, **others)
    return pixels


def channels_first(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


class TestRange:
    def test_every_uint8_value_survives_the_round_trip(self):
        values = torch.arange(256, dtype=torch.uint8)
        assert torch.equal(to_uint8(to_signed_float(values)), values)

    def test_the_range_is_minus_one_to_one(self):
        floats = to_signed_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        assert floats.dtype == torch.float32
        assert torch.allclose(floats, torch.tensor([-1.0, -0.6, 1.0]))

    def test_floats_outside_are_clipped_and_inside_rounded(self):
        floats = torch.tensor([-1.5, 0.0, 0.002, 7.0])
        assert to_uint8(floats).tolist() == [0, 128, 128, 255]


class TestDigits:
    def test_the_splits_have_their_stated_sizes_and_share_no_image(self):
        train, test = (load_dataset(digits(), split) for split in ("train", "test"))
        assert (train.name, test.name) == ("digits:train", "digits:test")
        assert (len(train), len(test)) == (1400, 397)
        pixels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
        together = np.concatenate([every(train).numpy(), every(test).numpy()])[:, 0]
        assert sorted(map(bytes, together)) == sorted(map(bytes, pixels))

    def test_the_splits_never_change(self):
        test = load_dataset(digits(), "test")
        assert test.labels[:11].tolist() == [1, 1, 7, 9, 9, 0, 9, 7, 1, 0, 2]
        assert torch.equal(every(test), every(load_dataset(digits(), "test")))

    def test_pixels_and_labels_are_those_of_scikit_learn(self):
        source = load_digits()
        scaled = np.rint(source.images * 255 / 16).astype(np.uint8)
        label_of = {bytes(image): label for image, label in zip(scaled, source.target, strict=True)}
        train = load_dataset(digits(), "train")
        assert train.num_classes == 10
        assert train.labels.dtype == torch.int64
        images = every(train)[:, 0].numpy()
        assert [label_of[bytes(image)] for image in images] == train.labels.tolist()
        assert (images.min(), images.max()) == (0, 255)

    def test_validation_is_held_out_of_train_alone(self):
        share = digits(validation_share=0.25)
        train, validation, test = (load_dataset(share, s) for s in ("train", "validation", "test"))
        assert (len(train), len(validation), len(test)) == (1050, 350, 397)
        whole = as_set(load_dataset(digits(), "train"))
        assert as_set(train) | as_set(validation) == whole
        assert not as_set(train) & as_set(validation)
        assert torch.equal(every(test), every(load_dataset(digits(), "test")))

    def test_an_empty_validation_split_says_what_to_set(self):
        assert has_validation(digits(validation_share=0.1)) and not has_validation(digits())
        with pytest.raises(DataError, match=r"digits:validation is empty: set data.validation_sha"):
            load_dataset(digits(), "validation")

    def test_an_unknown_split_is_refused(self):
        with pytest.raises(ValueError, match="one of train, validation, test, not 'valid'"):
            load_dataset(digits(), "valid")


class TestBatch:
    def test_a_batch_holds_the_images_asked_for(self, tmp_path):
        pixels = channels_first(split_folder(tmp_path))
        batch = load_dataset(config(root=tmp_path), "train").batch(torch.tensor([5, 0, 5]))
        assert batch.images.shape == (3, 3, HEIGHT, WIDTH)
        assert torch.equal(batch.images, to_signed_float(pixels[[5, 0, 5]]))
        assert batch.labels is None

    def test_complete_data_are_observed_everywhere(self, tmp_path):
        split_folder(tmp_path)
        observed = load_dataset(config(root=tmp_path), "train").batch(torch.arange(5)).observed
        assert observed.dtype == torch.bool
        assert observed.shape == (5, HEIGHT, WIDTH)
        assert observed.all()

    def test_labels_follow_the_indices(self):
        train = load_dataset(digits(), "train")
        indices = torch.tensor([1399, 17, 3])
        assert torch.equal(train.batch(indices).labels, train.labels[indices])

    def test_flips_mirror_left_to_right_where_they_are_true(self, tmp_path):
        pixels = channels_first(split_folder(tmp_path))
        dataset = load_dataset(config(root=tmp_path, horizontal_flip=True), "train")
        images = dataset.batch(torch.tensor([2, 4]), flips=torch.tensor([True, False])).images
        assert torch.equal(
            to_uint8(images[0]), torch.from_numpy(pixels[2].numpy()[..., ::-1].copy())
        )
        assert torch.equal(to_uint8(images[1]), pixels[4])
        assert torch.equal(dataset.images_uint8(torch.tensor([2]))[0], pixels[2])

    @pytest.mark.parametrize("flips", [torch.tensor([True]), torch.tensor([1, 0])])
    def test_flips_of_another_shape_or_type_are_refused(self, flips):
        with pytest.raises((ValueError, TypeError)):
            load_dataset(digits(), "train").batch(torch.tensor([0, 1]), flips=flips)

    def test_to_moves_pixels_labels_and_batches(self):
        moved = load_dataset(digits(), "train").to("meta")
        assert moved.device.type == moved.labels.device.type == "meta"
        batch = moved.batch(torch.tensor([3, 1]), flips=torch.tensor([True, False]))
        assert {t.device.type for t in (batch.images, batch.labels, batch.observed)} == {"meta"}


class TestEpochOrder:
    def test_each_epoch_is_a_permutation_and_epochs_differ(self):
        order = EpochOrder(size=101, seed=5)
        epochs = [order.indices(101 * e, 101).tolist() for e in range(3)]
        assert all(sorted(epoch) == list(range(101)) for epoch in epochs)
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
        assert epochs[0] != list(range(101))

    def test_seeds_differ_and_an_epoch_of_one_seed_is_no_other_seeds_epoch(self):
        draws = {
            tuple(EpochOrder(101, seed).indices(101 * e, 101).tolist())
            for seed in range(5)
            for e in range(5)
        }
        assert len(draws) == 25

    @settings(max_examples=50, deadline=None)
    @given(st.integers(1, 23), st.integers(0, 10**6), st.integers(0, 97), st.integers(0, 97))
    def test_any_slice_is_the_slice_of_the_whole(self, size, seed, start, count):
        whole = EpochOrder(size, seed).indices(0, 200)
        part = EpochOrder(size, seed).indices(start, count)
        assert part.dtype == torch.int64
        assert torch.equal(part, whole[start : start + count])

    def test_changing_what_came_back_changes_nothing(self):
        order = EpochOrder(7, 0)
        first = order.indices(0, 7)
        expected = first.clone()
        first.zero_()
        assert torch.equal(order.indices(0, 7), expected)

    def test_the_global_generator_is_neither_read_nor_moved(self):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = EpochOrder(53, 2).indices(11, 97)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        assert torch.equal(EpochOrder(53, 2).indices(11, 97), first)

    @pytest.mark.parametrize(("size", "seed"), [(0, 0), (7, -1)])
    def test_impossible_orders_are_refused(self, size, seed):
        with pytest.raises(ValueError, match=f"{size} and {seed}"):
            EpochOrder(size, seed)

    def test_positions_before_the_start_are_refused(self):
        with pytest.raises(ValueError, match="-1 and 5"):
            EpochOrder(7, 0).indices(-1, 5)


class TestImageKinds:
    """One image file of each kind, read by `load_images` as the data sets read theirs."""

    def read(self, path, channels=3, image_size=(HEIGHT, WIDTH)):
        pixels, _ = load_images(path, image_size, channels, 1)
        return pixels[0].numpy()

    def test_gray_is_repeated_over_three_channels(self, tmp_path):
        gray = random_pixels(HEIGHT, WIDTH)
        path = save(tmp_path / "gray.png", gray)
        assert np.array_equal(self.read(path), np.stack([gray] * 3))
        assert np.array_equal(self.read(path, channels=1), gray[None])

    def test_rgb_becomes_its_luminance(self, tmp_path):
        rgb = random_pixels(HEIGHT, WIDTH, 3)
        luminance = self.read(save(tmp_path / "rgb.png", rgb), channels=1)
        expected = rgb @ np.array([0.299, 0.587, 0.114])
        assert luminance.shape == (1, HEIGHT, WIDTH)
        assert np.abs(luminance[0] - expected).max() <= 0.51

    @pytest.mark.parametrize("channels", [1, 3])
    def test_alpha_is_composited_onto_white(self, tmp_path, channels):
        rgba = random_pixels(HEIGHT, WIDTH, 4)
        rgba[..., :3] = rgba[..., :1]
        rgba[0, :, 3], rgba[1, :, 3] = 0, 255
        read = self.read(save(tmp_path / "rgba.png", rgba), channels)
        share = rgba[..., 3] / 255
        expected = share * rgba[..., 0] + (1 - share) * 255
        assert (read[:, 0] == 255).all()
        assert (read[:, 1] == rgba[1, :, 0]).all()
        assert np.abs(read - expected).max() <= 1

    def test_a_transparent_palette_color_is_white(self, tmp_path):
        image = Image.new("P", (WIDTH, HEIGHT), 1)
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putpixel((3, 2), 0)
        image.save(tmp_path / "palette.png", transparency=0)
        read = self.read(tmp_path / "palette.png")
        assert read[:, 2, 3].tolist() == [255, 255, 255]
        assert read[:, 3, 2].tolist() == [40, 50, 60]

    def test_a_palette_without_transparency_gives_its_colors(self, tmp_path):
        image = Image.new("P", (WIDTH, HEIGHT), 1)
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.save(tmp_path / "palette.gif")
        assert (self.read(tmp_path / "palette.gif").T == [40, 50, 60]).all()

    def test_sixteen_bits_keep_the_upper_eight(self, tmp_path):
        deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 458
        read = self.read(save(tmp_path / "deep.png", deep), channels=1)
        assert np.array_equal(read[0], deep // 256)

    def test_a_photo_is_turned_upright(self, tmp_path):
        rgb = random_pixels(HEIGHT, WIDTH, 3)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.rot90(rgb)).save(tmp_path / "turned.png", exif=exif)
        assert np.array_equal(self.read(tmp_path / "turned.png"), rgb.transpose(2, 0, 1))

    def test_an_image_that_covers_the_size_is_cropped_at_its_center(self, tmp_path):
        rgb = random_pixels(HEIGHT, WIDTH + 10, 3)
        read = self.read(save(tmp_path / "wide.png", rgb))
        assert np.array_equal(read, rgb[:, 5:-5].transpose(2, 0, 1))

    def test_a_larger_image_is_resized_with_antialiasing(self, tmp_path):
        checks = np.indices((HEIGHT * 8, WIDTH * 8)).sum(0) % 2 * 255
        read = self.read(save(tmp_path / "checks.png", checks.astype(np.uint8)), channels=1)
        assert np.abs(read.astype(int) - 127.5).max() < 3

    def test_a_smaller_image_is_enlarged(self, tmp_path):
        left_dark = np.repeat(np.array([[0, 255]], dtype=np.uint8), 2, axis=0)
        read = self.read(save(tmp_path / "small.png", left_dark), channels=1, image_size=(17, 29))
        assert read.shape == (1, 17, 29)
        assert (read[..., 0] == 0).all()
        assert (read[..., -1] == 255).all()


class TestLoadImages:
    def test_a_folder_is_read_by_name_and_the_resized_are_counted(self, tmp_path):
        second = save(tmp_path / "b.png", random_pixels(HEIGHT, WIDTH, 3))
        save(tmp_path / "a.JPG", random_pixels(17, 19, 3))
        (tmp_path / "notes.txt").write_text("not an image")
        pixels, resized = load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
        assert pixels.shape == (2, 3, HEIGHT, WIDTH)
        assert pixels.dtype == torch.uint8
        assert resized == 1
        assert torch.equal(pixels[1:], load_images(second, (HEIGHT, WIDTH), 3, 9)[0])

    def test_what_cannot_be_read_is_named(self, tmp_path):
        with pytest.raises(DataError, match="nowhere does not exist"):
            load_images(tmp_path / "nowhere", (HEIGHT, WIDTH), 3, 9)
        with pytest.raises(DataError, match="holds no image files"):
            load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)
        (tmp_path / "broken.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"broken.png is not a readable image"):
            load_images(tmp_path, (HEIGHT, WIDTH), 3, 9)


class TestFolder:
    def test_train_and_test_folders_are_the_splits(self, tmp_path):
        train = split_folder(tmp_path, train=7, test=2)
        assert torch.equal(
            every(load_dataset(config(root=tmp_path), "train")), channels_first(train)
        )
        assert len(load_dataset(config(root=tmp_path), "test")) == 2
        assert not has_validation(config(root=tmp_path))

    def test_a_validation_folder_serves_at_share_zero_only(self, tmp_path):
        split_folder(tmp_path, train=7)
        own = save_many(tmp_path / "validation", 3, seed=2)
        assert has_validation(config(root=tmp_path))
        validation = load_dataset(config(root=tmp_path), "validation")
        assert torch.equal(every(validation), channels_first(own))
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
        assert torch.equal(every(train), every(load_dataset(config(root=tmp_path), "train")))
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
        assert every(train)[:, 0, 0, 0].tolist() == [20, 10, 30]
        assert train.labels.tolist() == [0, 1, 2]
        assert every(test)[:, 0, 0, 0].tolist() == [10, 30]
        assert test.labels.tolist() == [1, 2]

    def test_labels_stay_with_their_images_in_a_seeded_split(self, tmp_path):
        for number in range(23):
            shade = np.full((5, 5), number % 3, np.uint8)
            save(tmp_path / "abc"[number % 3] / f"{number}.png", shade)
        share = config(root=tmp_path, validation_share=0.22)
        splits = [load_dataset(share, split) for split in ("train", "validation", "test")]
        assert [len(dataset) for dataset in splits] == [16, 5, 2]
        for dataset in splits:
            assert dataset.labels.tolist() == every(dataset)[:, 0, 0, 0].tolist()

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ([], "holds no image files"),
            (["a.png", "cat/b.png"], r"\(a.png, ...\) beside folders of them \(cat, ...\)"),
            (["train/cat/a.png", "test/dog/b.png"], "has the classes dog, which train/ lacks"),
            (["train/cat/a.png"], "has train/ but no test/"),
        ],
    )
    def test_folders_that_make_no_sense_are_refused(self, tmp_path, files, message):
        for name in files:
            save(tmp_path / name, random_pixels(5, 7))
        with pytest.raises(DataError, match=message):
            load_dataset(config(root=tmp_path), "test")

    def test_a_missing_folder_says_what_is_expected(self, tmp_path):
        with pytest.raises(DataError, match=r"nowhere is no folder: data.root must name one that"):
            load_dataset(config(root=tmp_path / "nowhere"), "train")

    def test_a_split_left_without_images_is_refused(self, tmp_path):
        save_many(tmp_path, 1)
        told = r"folder:train is empty: add images to data.root \(one of ten, and at least one, is"
        with pytest.raises(DataError, match=told):
            load_dataset(config(root=tmp_path), "train")
        with pytest.raises(DataError, match=told):
            load_dataset(config(root=tmp_path, validation_share=0.5), "train")
        save_many(tmp_path, 2)
        told = r"train is empty: lower data.validation_share \(now 0.9\) or add images"
        with pytest.raises(DataError, match=told):
            load_dataset(config(root=tmp_path, validation_share=0.9), "train")

    def test_a_split_of_broken_images_alone_names_one(self, tmp_path):
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_text("no image")
        with (
            pytest.warns(UserWarning, match="skipped 1 broken image files"),
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
    def test_lazy_equals_in_memory_bit_for_bit(self, tmp_path, workers):
        split_folder(tmp_path, train=5, size=(53, 71))
        settings = {"root": tmp_path, "image_size": LARGE, "workers": workers}
        lazy = load_dataset(config(memory_limit_mb=1, **settings), "train")
        held = load_dataset(config(**settings), "train")
        assert (in_memory(lazy), in_memory(held)) == (False, True)
        assert (len(lazy), lazy.channels, lazy.image_size) == (5, 3, LARGE)
        indices, flips = torch.tensor([4, 0, 3]), torch.tensor([True, False, True])
        assert torch.equal(lazy.batch(indices, flips).images, held.batch(indices, flips).images)
        assert lazy.to("meta").batch(indices).images.device.type == "meta"

    def test_arrays_above_the_limit_are_resized_on_demand(self):
        settings = {"channels": 1, "image_size": (37, 41)}
        lazy = load_dataset(config("digits", memory_limit_mb=1, **settings), "train")
        held = load_dataset(config("digits", **settings), "train")
        assert (in_memory(lazy), in_memory(held)) == (False, True)
        indices = torch.tensor([1399, 2])
        assert torch.equal(lazy.images_uint8(indices), held.images_uint8(indices))
        assert torch.equal(lazy.labels, held.labels)

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("image_size", [(HEIGHT, WIDTH), LARGE], ids=["in_memory", "lazy"])
    def test_broken_files_are_named_counted_and_left_out(self, tmp_path, image_size, workers):
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
        assert torch.equal(every(train), channels_first(pixels[[0, 1, 3, 5, 6]]))

    def test_labels_stay_with_the_sound_files(self, tmp_path):
        for number in range(7):
            for split in ("train", "test"):
                shade = np.full((5, 5), number, np.uint8)
                save(tmp_path / split / str(number) / "a.png", shade)
        (tmp_path / "train" / "3" / "a.png").write_bytes(b"no image")
        with pytest.warns(UserWarning, match="skipped 1 broken"):
            train = load_dataset(config(root=tmp_path), "train")
        assert train.labels.tolist() == every(train)[:, 0, 0, 0].tolist() == [0, 1, 2, 4, 5, 6]
        assert train.num_classes == 7

    def test_more_broken_files_than_the_limit_are_an_error_that_names_them(self, tmp_path):
        split_folder(tmp_path)
        break_files(tmp_path / "train")
        message = r"has 2 broken image files, more than data.max_broken_images \(1\).*002.jpg.*004"
        with pytest.raises(DataError, match=message):
            load_dataset(config(root=tmp_path, max_broken_images=1), "train")

    def test_a_file_that_goes_missing_later_is_named(self, tmp_path):
        split_folder(tmp_path, size=LARGE)
        lazy = load_dataset(config(root=tmp_path, image_size=LARGE, memory_limit_mb=1), "train")
        (tmp_path / "train" / "003.png").unlink()
        with pytest.raises(DataError, match=r"003.png is not a readable image"):
            lazy.batch(torch.tensor([0, 3]))


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
    def test_mnist_files_are_read_as_they_are(self, tmp_path, name, kind):
        images = write_mnist(tmp_path, kind)
        settings = config(name, tmp_path, image_size=(23, 29), channels=1)
        train, test = (load_dataset(settings, split) for split in ("train", "test"))
        assert torch.equal(every(train)[:, 0], torch.from_numpy(images["train"]))
        assert torch.equal(every(test)[:, 0], torch.from_numpy(images["t10k"]))
        assert train.labels.tolist() == [6, 5, 4, 3, 2, 1, 0]
        assert (train.name, train.num_classes) == (f"{name}:train", 10)

    def test_colored_mnist_is_the_same_digits_in_hues_of_their_own(self, tmp_path):
        images = write_mnist(tmp_path)
        settings = config("colored_mnist", tmp_path, image_size=(23, 29), channels=3)
        train, test = (load_dataset(settings, split) for split in ("train", "test"))
        assert train.labels.tolist() == [6, 5, 4, 3, 2, 1, 0]
        assert torch.equal(every(train), every(load_dataset(settings, "train")))
        for dataset, gray, split in (
            (train, images["train"], "train"),
            (test, images["t10k"], "test"),
        ):
            expected = colored(gray, colored_mnist_hues(split, len(gray)))
            assert torch.equal(every(dataset), torch.from_numpy(expected).movedim(-1, 1))

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
    def test_missing_data_say_what_would_provide_them(self, tmp_path, name, layout):
        with pytest.raises(DataError) as caught:
            load_dataset(config(name, tmp_path), "train")
        message = str(caught.value)
        assert (
            f"{name} could not be loaded from {tmp_path}: it needs {tmp_path}/{layout}" in message
        )
        assert "data.download=true fetches" in message
        assert "data.download is false" in message
        assert "\n" not in message

    def test_a_failed_download_says_so(self, tmp_path, monkeypatch):
        def fail(self):
            raise URLError("no route to host")

        monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fail)
        with pytest.raises(DataError, match=r"cifar-10-batches-py.*is true.*no route to host"):
            load_dataset(config("cifar10", tmp_path, download=True), "train")

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
        batch = {"data": pixels.reshape(11, -1), "labels": [3] * 10 + [9]}
        (folder / "test_batch").write_bytes(pickle.dumps(batch))
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
        test = load_dataset(config("cifar10", tmp_path, image_size=(32, 32)), "test")
        assert torch.equal(every(test), torch.from_numpy(pixels))
        assert test.labels.tolist() == [3] * 10 + [9]

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
        assert torch.equal(every(train), channels_first(pixels[:3, 20:198]))
        assert torch.equal(every(validation), channels_first(pixels[3:5, 20:198]))
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
        train = every(load_dataset(settings, "train")).float()
        assert len(train) == 60_000
        assert train.mean().item() == pytest.approx(33.318, abs=1e-3)
        assert train.std().item() == pytest.approx(78.567, abs=1e-3)
