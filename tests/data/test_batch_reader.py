"""Batches that worker processes decode ahead of time."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch
from image_folders import config, split_folder
from torch import Tensor

from biglearn_gan.data.batch_reader import BatchReader
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.data.loading import load_dataset

STEP = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    split_folder(tmp_path, train=7)
    return tmp_path


def lazy_dataset(folder: Path, workers: int) -> ImageDataset:
    return load_dataset(config(root=folder, memory_limit_mb=0, workers=workers), "train")


def order(position: int) -> tuple[Tensor, Tensor]:
    """Seven images in random order, some of them mirrored, in batches of three."""
    rng = torch.Generator().manual_seed(position)
    return EpochOrder(7, 5).indices(position, STEP), torch.rand(STEP, generator=rng) < 0.5


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_equal_those_from_memory_in_any_order_of_positions(
    folder: Path, workers: int
) -> None:
    in_memory = load_dataset(config(root=folder), "train")
    assert in_memory.lazy_pixels is None
    reader = BatchReader(lazy_dataset(folder, workers), order, STEP)
    for position in (0, 3, 6, 9, 12, 300, 303, 3, 3):
        batch, expected = reader.read(position), in_memory.batch(*order(position))
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.observed, expected.observed)
    reader.close()


def test_workers_start_with_the_first_batch_and_end_with_the_reader(folder: Path) -> None:
    process = psutil.Process()
    before = set(process.children())
    reader = BatchReader(lazy_dataset(folder, 2), order, STEP)
    assert set(process.children()) == before
    reader.read(0)
    workers = set(process.children()) - before
    assert len(workers) == 2
    reader.close()
    assert not any(worker.is_running() for worker in workers)


def test_reading_ahead_does_not_touch_the_global_randomness(folder: Path) -> None:
    state = torch.get_rng_state()
    reader = BatchReader(lazy_dataset(folder, 1), order, STEP)
    reader.read(0)
    reader.close()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_later_is_named_in_one_sentence(folder: Path, workers: int) -> None:
    reader = BatchReader(lazy_dataset(folder, workers), order, STEP)
    (folder / "train" / "003.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"003\.png is not a readable image .*format\)$") as caught:
        for position in range(0, 9, STEP):
            reader.read(position)
    assert "\n" not in str(caught.value)
    reader.close()


def test_a_killed_worker_is_an_error_that_says_what_to_do(folder: Path) -> None:
    before = set(psutil.Process().children())
    reader = BatchReader(lazy_dataset(folder, 1), order, STEP)
    reader.read(0)
    (worker,) = set(psutil.Process().children()) - before
    message = r"was killed, perhaps for lack of memory: lower data\.workers \(now 1; 0 needs no"
    with pytest.raises(DataError, match=message):
        worker.kill()
        for position in range(STEP, 100 * STEP, STEP):
            reader.read(position)
    reader.close()
