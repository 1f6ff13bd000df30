"""Batches of a data set in a known order, decoded ahead of time by worker processes."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from biglearn_gan.data.dataset import Batch, ImageDataset
from biglearn_gan.data.image_listing import DataError
from biglearn_gan.data.lazy_pixels import LazyPixels

IndicesAt = Callable[[int], tuple[Int64[Tensor, " B"], Bool[Tensor, " B"] | None]]
"""The images of the batch at a position of the order, and which of them are mirrored."""

_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""A signal to the whole group of processes stops the run, which then ends its workers."""


class BatchReader:
    """Reads the batches at positions 0, ``step``, 2 ``step``, ... of an order.

    Images in memory are read on demand. Images that are decoded on demand are read by
    ``data.workers`` processes, which stay some batches ahead as long as the positions are asked for
    one after another. Another position starts them anew. The batches depend on the order alone, so
    the number of workers changes nothing.

    Args:
        dataset: the images.
        indices_at: the order, a pure function.
        step: the distance between two positions.
    """

    def __init__(self, dataset: ImageDataset, indices_at: IndicesAt, step: int):
        self._dataset = dataset
        self._indices_at = indices_at
        self._step = step
        self._next_position: int | None = None
        self._pixels: Iterator[UInt8[Tensor, "B C H W"] | str] = iter(())

    def read(self, position: int) -> Batch:
        """The batch at ``position``.

        Raises:
            DataError: a file was removed or broken since it was checked, or a worker was killed.
        """
        indices, flips = self._indices_at(position)
        lazy = self._dataset.lazy_pixels
        if lazy is None or lazy.workers == 0:
            return self._dataset.batch(indices, flips)
        if position != self._next_position:
            self.close()
            self._pixels = self._start(lazy, position)
        try:
            pixels = next(self._pixels)
        except (RuntimeError, OSError, EOFError) as error:
            raise DataError(
                f"{self._dataset.name}: a process that decodes images was killed, perhaps for lack "
                f"of memory: lower data.workers (now {lazy.workers}; 0 needs no such process)"
            ) from error
        if isinstance(pixels, str):
            raise DataError(pixels)
        self._next_position = position + self._step
        pixels = pixels.to(self._dataset.device, non_blocking=True)
        return self._dataset.batch(indices, flips, pixels)

    def close(self) -> None:
        """End the workers; a later :meth:`read` starts others."""
        self._next_position = None
        self._pixels = iter(())  # the iterator of a DataLoader ends its workers with itself

    def _start(self, lazy: LazyPixels, position: int) -> Iterator[UInt8[Tensor, "B C H W"] | str]:
        """Endless batches of pixels from ``position`` on; texts for those that cannot be read.

        PyTorch would raise an error anywhere in the program when a worker is killed. Without its
        handler of the signal, the error is raised where the batches are read.
        """
        handler = signal.getsignal(signal.SIGCHLD)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # few cores
            loader = DataLoader(
                _Pixels(replace(lazy, workers=0, device="cpu")),
                batch_size=None,
                sampler=_Order(self._indices_at, position, self._step),
                num_workers=lazy.workers,
                pin_memory=self._dataset.device.type == "cuda",
                worker_init_fn=_ignore_signals,
                generator=torch.Generator(),  # otherwise it draws from the global one
            )
            batches = iter(loader)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if handler is None else handler)
        return batches


class _Pixels(Dataset):
    """Whole batches by their indices; a text in place of one that cannot be read."""

    def __init__(self, lazy: LazyPixels):
        self._lazy = lazy

    def __getitem__(self, indices: Int64[Tensor, " B"]) -> UInt8[Tensor, "B C H W"] | str:
        try:
            return self._lazy[indices]
        except DataError as error:
            return str(error)


class _Order:
    """The indices of all batches from a position on."""

    def __init__(self, indices_at: IndicesAt, position: int, step: int):
        self._indices_at = indices_at
        self._position = position
        self._step = step

    def __iter__(self) -> Iterator[Int64[Tensor, " B"]]:
        position = self._position
        while True:
            yield self._indices_at(position)[0]
            position += self._step


def _ignore_signals(worker: int) -> None:
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
