"""Batches of an image data set, and the order in which training sees its images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_folders import HEIGHT, WIDTH, channels_first, config, digits, split_folder

from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.data.labeled import hide_labels
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.pixel_values import to_signed_float, to_uint8


def test_the_summary_counts_images_classes_and_labels() -> None:
    train = load_dataset(digits(), "train")
    assert train.summary(with_labels=False) == "1,400 images of digits:train"
    assert train.summary(with_labels=True) == "1,400 images of digits:train, 10 classes"
    few = hide_labels(train, 100, 0).summary(with_labels=True)
    assert few == "1,400 images of digits:train (100 labeled), 10 classes"
    plain = ImageDataset("mine:train", torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
    assert plain.summary(with_labels=True) == "3 images of mine:train"


class TestBatch:
    def test_a_batch_has_the_images_of_the_indices(self, tmp_path):
        pixels = channels_first(split_folder(tmp_path))
        batch = load_dataset(config(root=tmp_path), "train").batch(torch.tensor([5, 0, 5]))
        assert batch.images.shape == (3, 3, HEIGHT, WIDTH)
        assert torch.equal(batch.images, to_signed_float(pixels[[5, 0, 5]]))
        assert batch.labels is None

    def test_complete_images_are_known_everywhere(self, tmp_path):
        split_folder(tmp_path)
        observed = load_dataset(config(root=tmp_path), "train").batch(torch.arange(5)).observed
        assert observed.dtype == torch.bool
        assert observed.shape == (5, HEIGHT, WIDTH)
        assert observed.all()

    def test_labels_follow_the_indices(self):
        train = load_dataset(digits(), "train")
        indices = torch.tensor([1399, 17, 3])
        assert torch.equal(train.batch(indices).labels, train.labels[indices])

    def test_flips_mirror_images_left_to_right(self, tmp_path):
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

    @pytest.mark.parametrize("limit", [4096, 0])
    def test_a_subset_has_the_images_of_the_indices(self, tmp_path, limit):
        pixels = channels_first(split_folder(tmp_path))
        settings = {"memory_limit_mb": limit, "missing": {"hole": "random:0.5"}}
        whole = load_dataset(config(root=tmp_path, **settings), "train")
        indices = torch.tensor([5, 0, 3])
        subset = whole.subset(indices).batch(torch.arange(3))
        assert torch.equal(subset.images, to_signed_float(pixels[indices]))
        assert torch.equal(subset.observed, whole.batch(indices).observed)

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

    def test_all_epochs_of_all_seeds_differ(self):
        draws = {
            tuple(EpochOrder(101, seed).indices(101 * e, 101).tolist())
            for seed in range(5)
            for e in range(5)
        }
        assert len(draws) == 25

    @settings(max_examples=50, deadline=None)
    @given(st.integers(1, 23), st.integers(0, 10**6), st.integers(0, 97), st.integers(0, 97))
    def test_any_slice_is_a_slice_of_the_whole_order(self, size, seed, start, count):
        whole = EpochOrder(size, seed).indices(0, 200)
        part = EpochOrder(size, seed).indices(start, count)
        assert part.dtype == torch.int64
        assert torch.equal(part, whole[start : start + count])

    def test_changing_a_result_changes_no_later_result(self):
        order = EpochOrder(7, 0)
        first = order.indices(0, 7)
        expected = first.clone()
        first.zero_()
        assert torch.equal(order.indices(0, 7), expected)

    def test_the_global_random_state_is_neither_read_nor_changed(self):
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
