"""How fast training and sampling are, where a step spends its time, and how much memory it takes.

    python experiments/benchmark.py --config experiments/digits.yaml [--steps 100] [KEY=VALUE ...]

Speeds stand beside the machine's own matrix-multiply peak, measured in the same process, so they
compare between machines: "share of peak" is the floating-point operations of matrix products
(counted by torch; its fused attention on CPUs is not) over the seconds taken, over the peak.
Images are random, no data are needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
import typer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from biglearn_gan.cli.runner import run
from biglearn_gan.config import Config, load_config
from biglearn_gan.devices import make_accelerator
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import CHUNK_ROWS
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training.throughput import random_images
from biglearn_gan.training.trainer import Trainer

PEAK_SIZE = 1024
PEAK_SECONDS = 1.0
DATA_IMAGES = 2048


def main(
    config: Annotated[Path, typer.Option(help="YAML file of the run to measure.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    steps: Annotated[int, typer.Option(min=4, help="Training steps to time.")] = 100,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
) -> None:
    """Print one Markdown table."""
    settings = load_config(config, overrides or ())
    trainer = random_trainer(settings, device)
    place = trainer.accelerator.device
    peak = matrix_peak(place)
    typer.echo("| what | measured |\n|---|---|")
    typer.echo(f"| threads | {torch.get_num_threads()} |")
    typer.echo(f"| matrix-multiply peak, float32 | {peak / 1e9:.0f} GFLOP/s |")
    for phase in ("warm start", "game"):
        trainer.images_seen = 0 if phase == "warm start" else trainer.schedule.warm_images
        if phase == "warm start" and trainer.schedule.warm_images == 0:
            continue
        report_training(trainer, phase, steps, peak)
    report_sampling(trainer.model().to(place), peak)


def random_trainer(config: Config, device: str) -> Trainer:
    """A trainer on random images, with an endless budget."""
    accelerator = make_accelerator(device)
    dataset = random_images(config, DATA_IMAGES, accelerator.device)
    return Trainer(config, dataset, accelerator, max_images=10**9)


def matrix_peak(device: torch.device) -> float:
    """Floating-point operations per second of a large float32 matrix product."""
    a = torch.randn(PEAK_SIZE, PEAK_SIZE, device=device)
    best = 0.0
    deadline = time.perf_counter() + PEAK_SECONDS
    while time.perf_counter() < deadline:
        seconds = timed(lambda: a @ a, device)
        best = max(best, 2 * PEAK_SIZE**3 / seconds)
    return best


def report_training(trainer: Trainer, phase: str, steps: int, peak: float) -> None:
    """Images per second, share of the peak, and the parts of a step."""
    cycle, device = trainer.config.loss.penalty.interval, trainer.accelerator.device
    take(trainer, 2 * cycle)
    with FlopCounter() as counter:
        take(trainer, cycle)
    operations = counter.total / cycle
    seconds = timed(lambda: take(trainer, steps), device) / steps
    images = trainer.config.train.batch_size
    typer.echo(
        f"| {phase}: speed | {images / seconds:.0f} images/s, {1e3 * seconds:.1f} ms a step |"
    )
    typer.echo(
        f"| {phase}: share of peak | {operations / seconds / peak:.0%} "
        f"({operations / 1e9:.2f} GFLOP a step) |"
    )
    parts = Stopwatch(device)
    players, sampler = trainer.players, trainer.game_tasks
    if phase == "warm start":
        sampler = trainer.warm_start_tasks
    parts.watch(sampler, "sample", "tasks")
    parts.watch(players, "_generate", "generator forward")
    parts.watch(players, "_score", "discriminator forward")
    parts.watch(players, "_update", "backward and optimizer")
    parts.watch(players, "_move_average", "moving average")
    before = resident_memory()
    whole = timed(lambda: take(trainer, steps), device)
    parts.stop()
    for name, spent in parts.seconds.items():
        typer.echo(f"| {phase}: {name} | {spent / whole:.1%} of a step |")
    typer.echo(
        f"| {phase}: resident memory before and after {steps:,} steps | "
        f"{before} MiB, {resident_memory()} MiB |"
    )
    rest = whole - sum(parts.seconds.values())
    typer.echo(f"| {phase}: everything else | {rest / whole:.1%} of a step |")


def report_sampling(model: BigLearnGAN, peak: float) -> None:
    """One forward pass on a full chunk, and ``sample`` as a user calls it."""
    config, device = model.config, model.device
    tokens = torch.zeros(CHUNK_ROWS, config.token_count, config.token_dim, device=device)
    target = torch.ones(CHUNK_ROWS, config.token_count, dtype=torch.bool)
    sequence = TokenMasks(torch.zeros_like(target), target).sequence().to(device)
    rng = torch.Generator(device).manual_seed(0)
    if config.data.labels:
        labels = torch.zeros(CHUNK_ROWS, dtype=torch.int64, device=device)
        sequence = replace(sequence, labels=labels)
    noise = model.generator.draw_noise(CHUNK_ROWS, config.token_count, rng)

    @torch.no_grad()
    def one_pass() -> None:
        model.generator(tokens, sequence, noise)

    one_pass()
    with FlopCounter() as counter:
        one_pass()
    seconds = min(timed(one_pass, device) for _ in range(50))
    share = counter.total / seconds / peak
    typer.echo(f"| sampling: one pass | {CHUNK_ROWS / seconds:.0f} images/s, {share:.0%} of peak |")
    count = 8 * CHUNK_ROWS
    seconds = timed(lambda: model.sample(count), device)
    typer.echo(f"| sampling: `model.sample({count})` | {count / seconds:.0f} images/s |")


def resident_memory() -> int:
    """MiB in use now."""
    return psutil.Process().memory_info().rss // 2**20


class FlopCounter(TorchDispatchMode):
    """Adds up the floating-point operations of matrix products, second derivatives included."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


class Stopwatch:
    """Adds up the time spent in methods of objects, until :meth:`stop`."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = {}
        self._device = device
        self._watched: list[tuple[Any, str]] = []

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Time every call of ``owner.method`` under ``name``."""
        original = getattr(owner, method)

        def measured(*arguments: Any, **options: Any) -> Any:
            result: list[Any] = []
            spent = timed(lambda: result.append(original(*arguments, **options)), self._device)
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            return result[0]

        setattr(owner, method, measured)
        self._watched.append((owner, method))

    def stop(self) -> None:
        """Give the methods back as they were."""
        for owner, method in self._watched:
            delattr(owner, method)


def take(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step()


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of wall time, with the device's queue emptied before and after."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    run(main, "benchmark")
