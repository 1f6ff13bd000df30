"""Measure how fast images are read, and training from memory and from files, in turns.

    python experiments/benchmarks/data_loading.py --root images --config experiments/folder.yaml

The images of ``--root`` are read from memory, from files, from an uncompressed ZIP archive, and
from Parquet files. A folder that does not exist is filled with random pictures first; the archive
and the Parquet files are written next to it. Every storage has a process of its own, and these take
turns, so that other load on the machine affects all of them alike. Memory is that of the process
and of its workers (the proportional set size of Linux, which counts shared pages once).
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import torch
import typer
from PIL import Image

from biglearn_gan.cli.runner import CommandError, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.batch_reader import BatchReader
from biglearn_gan.data.dataset import EpochOrder
from biglearn_gan.data.image_listing import image_tree
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.devices import make_accelerator
from biglearn_gan.training.trainer import Trainer

STORAGES = ("memory", "files", "zip", "parquet")
TEST_IMAGES = 100
PARQUET_ROWS = 20_000


@dataclass(frozen=True)
class Speed:
    """Images per second of the loader alone and of training, and memory in MiB."""

    loader: float
    training: float
    memory: float


def main(
    root: Annotated[Path, typer.Option(help="Folder with train/ and test/; made if missing.")],
    config: Annotated[Path, typer.Option(exists=True, help="YAML file of the run to train.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    images: Annotated[int, typer.Option(min=1, help="Training images of a new folder.")] = 200_000,
    storages: Annotated[str, typer.Option(help="Storages to measure.")] = ",".join(STORAGES),
    rounds: Annotated[int, typer.Option(min=1, help="Turns per storage.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds of loading, and of training.")] = 5,
) -> None:
    """Print a Markdown table; every process trains on one thread."""
    names = storages.split(",")
    if not set(names) <= set(STORAGES):
        raise CommandError(f"--storages must be some of {','.join(STORAGES)}, not {storages}", 2)
    settings = load_config(config, [*(overrides or ()), "data.validation_share=0"])
    height, width = settings.data.image_size
    if not root.exists():
        make_images(root, images, (height, width))
    torch.set_num_threads(1)
    parts, load_seconds = {}, {}
    for name in names:
        parts[name] = start(stored_config(settings, root, name))
        load_seconds[name] = parts[name].recv()
    turns: list[dict[str, Speed]] = []
    for _ in range(rounds):
        turns.append({name: ask(connection, seconds) for name, connection in parts.items()})
    for connection in parts.values():
        connection.send(None)
    report(names, load_seconds, turns)


def report(
    names: Sequence[str], load_seconds: dict[str, float], turns: list[dict[str, Speed]]
) -> None:
    """Print medians over the turns; training is also compared with the first storage."""

    def median(value: Callable[[dict[str, Speed]], float]) -> float:
        return statistics.median(value(turn) for turn in turns)

    typer.echo(
        "| storage | loader alone, images/s | training, images/s | training, relative | "
        "memory, MiB | first reading, s |\n|---|---|---|---|---|---|"
    )
    for name in names:
        loader = median(lambda turn, name=name: turn[name].loader)  # type: ignore[misc]
        training = median(lambda turn, name=name: turn[name].training)  # type: ignore[misc]
        ratio = median(
            lambda turn, name=name: turn[name].training / turn[names[0]].training  # type: ignore[misc]
        )
        memory = turns[-1][name].memory
        typer.echo(
            f"| {name} | {loader:,.0f} | {training:.1f} | {ratio:.2f} | {memory:.0f} | "
            f"{load_seconds[name]:.1f} |"
        )


def stored_config(config: Config, root: Path, storage: str) -> Config:
    """The configuration that reads the images of ``root`` from a storage, without labels."""
    changes: dict[str, object] = {"name": "folder", "root": str(root), "labels": False}
    changes["memory_limit_mb"] = 2**20 if storage == "memory" else 0
    if storage == "zip":
        changes["root"] = str(make_archive(root))
    if storage == "parquet":
        changes |= {"name": "huggingface", "root": str(make_parquet(root))}
    data = config.data.model_copy(update=changes)
    return config.model_copy(update={"data": data})


def start(config: Config) -> Connection:
    """A new process that measures one storage, and the connection to it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(config, theirs))
    process.start()
    return ours


def ask(connection: Connection, seconds: float) -> Speed:
    """Let a process measure for some seconds, while the others wait."""
    connection.send(seconds)
    return connection.recv()


def serve(config: Config, connection: Connection) -> None:
    """Load the images, tell how long it took, and measure whenever seconds are received."""
    started = time.perf_counter()
    dataset = load_dataset(config.data, "train")
    load_seconds = time.perf_counter() - started
    size = config.train.batch_size
    order = EpochOrder(len(dataset), seed=0)
    reader = BatchReader(dataset, lambda position: (order.indices(position, size), None), size)
    trainer = Trainer(config, dataset, make_accelerator("cpu"), max_images=10**9)
    trainer.images_seen = trainer.schedule.warm_start_images
    connection.send(load_seconds)
    position = 0
    while (seconds := connection.recv()) is not None:

        def read() -> None:
            nonlocal position
            reader.read(position)
            position += size

        loader = size * per_second(read, 1, seconds)
        reader.close()
        training = size * per_second(trainer.step, config.loss.penalty.interval, seconds)
        connection.send(Speed(loader, training, memory_mib()))
    trainer.close()


def per_second(work: Callable[[], None], cycle: int, seconds: float) -> float:
    """Calls per second in whole cycles, after a first one."""
    for _ in range(cycle):
        work()
    calls, started = 0, time.perf_counter()
    while not calls or time.perf_counter() - started < seconds:
        for _ in range(cycle):
            work()
        calls += cycle
    return calls / (time.perf_counter() - started)


def memory_mib() -> float:
    """Memory of this process and of its workers."""
    process = psutil.Process()
    return sum(p.memory_full_info().pss for p in [process, *process.children()]) / 2**20


def make_images(root: Path, count: int, size: tuple[int, int]) -> None:
    """Write PNG files of smooth random pictures, which compress like photos."""
    rng = np.random.default_rng(0)
    for split, images in (("train", count), ("test", TEST_IMAGES)):
        (root / split).mkdir(parents=True)
        for number in range(images):
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            smooth = coarse.resize(size[::-1], Image.Resampling.BICUBIC)
            noise = rng.integers(-8, 9, (*size, 3))
            pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / split / f"{number:07d}.png", compress_level=1)


def make_archive(root: Path) -> Path:
    """An uncompressed ZIP archive of the folder, next to it."""
    path = root.with_name(f"{root.name}.zip")
    if not path.exists():
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, file in image_tree(root).items():
                archive.writestr(str(name), file.read_bytes())
    return path


def make_parquet(root: Path) -> Path:
    """Parquet files of the folder's images, without labels, next to it."""
    folder = root.with_name(f"{root.name}_parquet")
    if not folder.exists():
        # the library starts threads, which a process that forks must not have
        writer = multiprocessing.get_context("fork").Process(
            target=write_parquet, args=(root, folder)
        )
        writer.start()
        writer.join()
    return folder


def write_parquet(root: Path, folder: Path) -> None:
    """Write the images of both splits, ``PARQUET_ROWS`` to a file."""
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image()})
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        files = list(image_tree(root / split).values())
        for first in range(0, len(files), PARQUET_ROWS):
            chosen = files[first : first + PARQUET_ROWS]
            cells = [{"bytes": file.read_bytes(), "path": None} for file in chosen]
            table = datasets.Dataset.from_dict({"image": cells}, features=features)
            table.to_parquet(folder / split / f"{first:08d}.parquet")


if __name__ == "__main__":
    run(main, "data_loading")
