"""How fast several processes train: measured for two, and computed for GPUs from published numbers.

    python experiments/studies/scaling.py measure --config experiments/digits.yaml
    python experiments/studies/scaling.py predict --config experiments/cifar10.yaml

A step takes the time to compute its share of the batch, plus two all-reduces, of the
discriminator's and of the generator's gradients. A ring of n processes reduces S bytes in
2 (n - 1) latency + 2 (n - 1) / n * S / bandwidth (Patarasuk and Yuan 2009).

The first command measures one and two processes on this machine, each on one thread, and compares
two of them with that model. The second one computes the same model for GPUs. There, a step computes
for at least the time to launch its kernels, and otherwise as long as its products and its memory
traffic take. Both are counted here, in plain steps on a CPU; no GPU is used. PyTorch's fused
attention counts as a kernel, but not its products. A step with a penalty takes longer.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from biglearn_gan.cli.evaluation_options import parse_counts
from biglearn_gan.cli.runner import CommandError, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.training.trainer import Trainer

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from step_profile import Machine, StepCounter, random_trainer, timed, train_steps

REDUCED_NUMBERS = (1, 2**18, 2**20, 2**22)
REPEATS = 20
COUNTED_BATCHES = (2, 4)
COUNTED_STEPS = 16

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

ConfigOption = Annotated[Path, typer.Option(help="YAML file of the run.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")]


@dataclass(frozen=True)
class Link:
    """The connection of each process to the next.

    Attributes:
        latency: seconds of each of the 2 (n - 1) messages of an all-reduce.
        bandwidth: bytes per second in one direction.
    """

    latency: float
    bandwidth: float

    def all_reduce_seconds(self, size: float, processes: int) -> float:
        """Seconds in which a ring of processes reduces ``size`` bytes."""
        others = processes - 1
        return 2 * others * (self.latency + size / processes / self.bandwidth)

    def step_seconds(self, sizes: Sequence[int], processes: int) -> float:
        """Seconds of all all-reduces of a step."""
        return sum(self.all_reduce_seconds(size, processes) for size in sizes)


H100_PEAKS = {"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12}
H100_BANDWIDTH = 3.35e12
"""Dense peaks and memory bandwidth of one NVIDIA H100 SXM, from its data sheet."""

LINKS = {8: Link(3e-6, 450e9), 64: Link(5e-6, 50e9)}
"""Number of GPUs, and their slowest link: NVLink 4 within a machine, 400 Gbit/s InfiniBand for each
GPU between machines (NVIDIA's data sheets). The latencies are assumed."""

LAUNCH_SECONDS = 7e-6
"""Time to launch a kernel from Python, assumed: 5 to 10 microseconds."""

PEAK_SHARE = 0.5
"""Share of the peak that matrix products of this size reach on a GPU, assumed."""


@dataclass(frozen=True)
class StepCost:
    """What a plain step of one process costs on a GPU.

    Attributes:
        kernels: number of kernels, the same for every batch.
        operations: floating-point operations per image.
        size: bytes read and written per image, and for any batch.
        fixed_size: bytes read and written for any batch, by the optimizers and averages.
        gradients: bytes of each network's gradients.
    """

    kernels: int
    operations: float
    size: float
    fixed_size: float
    gradients: tuple[int, int]

    def launch_seconds(self) -> float:
        """The shortest step of any batch."""
        return self.kernels * LAUNCH_SECONDS

    def seconds(self, batch_size: float, machine: Machine) -> float:
        """Seconds to compute a step of this many images on one GPU."""
        memory = (self.fixed_size + batch_size * self.size) / machine.bandwidth
        return max(self.launch_seconds(), memory + self._product_seconds(batch_size, machine))

    def smallest_batch(self, machine: Machine) -> float:
        """Images from which a step takes longer than launching its kernels."""
        fixed = self.fixed_size / machine.bandwidth
        each = self.size / machine.bandwidth + self._product_seconds(1, machine)
        return max(0.0, (self.launch_seconds() - fixed) / each)

    def _product_seconds(self, batch_size: float, machine: Machine) -> float:
        return batch_size * self.operations / (PEAK_SHARE * machine.peak)


@app.command()
def measure(
    config: ConfigOption,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=4, help="Training steps to time.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 3,
) -> None:
    """Measure one process and two, and compare two with the model, as a Markdown table."""
    settings = load_config(config, overrides or ())
    batch_size = settings.train.batch_size
    if batch_size % 2:
        raise CommandError(f"train.batch_size must be even, not {batch_size}", 2)
    arguments = ["--config", str(config), "--steps", str(steps), *(overrides or ())]
    halved = f"train.batch_size={batch_size // 2}"
    turns = [
        [launch(1, arguments), launch(1, [*arguments, halved]), launch(2, arguments)]
        for _ in range(rounds)
    ]
    one, half, two = (statistics.median(turn[i]["seconds"] for turn in turns) for i in range(3))
    ratio = statistics.median(turn[0]["seconds"] / turn[2]["seconds"] for turn in turns)
    link = fit_link(
        {
            int(size): statistics.median(turn[2]["reduce"][size] for turn in turns)
            for size in turns[0][2]["reduce"]
        }
    )
    sizes = turns[0][2]["gradients"]
    reduce = link.step_seconds(sizes, 2)
    typer.echo("| what | value |\n|---|---|")
    typer.echo(f"| one process, {batch_size} images, measured | {1e3 * one:.1f} ms |")
    typer.echo(f"| one process, {batch_size // 2} images, measured | {1e3 * half:.1f} ms |")
    typer.echo(
        f"| link, fitted to measured all-reduces | {1e6 * link.latency:.0f} us, "
        f"{link.bandwidth / 1e9:.2f} GB/s |"
    )
    typer.echo(
        f"| all-reduces of {sum(sizes) / 1e6:.2f} MB of gradients, computed "
        f"| {1e3 * reduce:.1f} ms |"
    )
    typer.echo(f"| two processes, computed | {1e3 * (half + reduce):.1f} ms |")
    typer.echo(f"| two processes, measured | {1e3 * two:.1f} ms |")
    typer.echo(f"| images/s of two processes relative to one, measured | {ratio:.2f} |")


@app.command()
def predict(
    config: ConfigOption,
    overrides: Overrides = None,
    batches: Annotated[str, typer.Option(help="Images per GPU.")] = "32,128,512",
) -> None:
    """Compute the speed of plain steps on 1, 8 and 64 GPUs as a Markdown table."""
    settings = load_config(config, overrides or ())
    sizes = parse_counts(batches, "--batches")
    cost = count_step(settings)
    precision: str = settings.train.precision
    if precision == "float32" and settings.train.tf32:
        precision = "tf32"
    machine = Machine(H100_PEAKS[precision], H100_BANDWIDTH)
    typer.echo(
        f"{cost.kernels:,} kernels and {sum(cost.gradients) / 1e6:.1f} MB of gradients per step, "
        f"{cost.operations / 1e9:.2f} GFLOP and {cost.size / 1e6:.0f} MB of memory traffic per "
        f"image. Launching the kernels takes {1e3 * cost.launch_seconds():.0f} ms, computing takes "
        f"longer from {cost.smallest_batch(machine):.0f} images per GPU.\n"
    )
    typer.echo(
        "| images per GPU | GPUs | ms a step | images/s | efficiency |\n|---|---|---|---|---|"
    )
    for batch_size in sizes:
        alone = cost.seconds(batch_size, machine)
        for processes in (1, *LINKS):
            reduce = (
                LINKS[processes].step_seconds(cost.gradients, processes) if processes > 1 else 0
            )
            seconds = alone + reduce
            typer.echo(
                f"| {batch_size} | {processes} | {1e3 * seconds:.1f} "
                f"| {processes * batch_size / seconds:,.0f} | {alone / seconds:.0%} |"
            )


@app.command(hidden=True)
def worker(
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="JSON file that the first process writes.")],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(help="Training steps to time.")] = 100,
) -> None:
    """One of the processes that ``measure`` starts."""
    torch.set_num_threads(1)
    trainer = random_trainer(load_config(config, overrides or ()), "cpu")
    accelerator = trainer.accelerator
    trainer.images_seen = trainer.schedule.warm_start_images
    train_steps(trainer, 2 * trainer.config.loss.penalty.interval)
    accelerator.wait_for_everyone()
    seconds = timed(lambda: train_steps(trainer, steps), accelerator.device) / steps
    reduce: dict[int, float] = {}
    if accelerator.num_processes > 1:
        for numbers in REDUCED_NUMBERS:
            data = torch.zeros(numbers)
            reduce[data.nbytes] = statistics.median(
                timed(reduction(accelerator.reduce, data), accelerator.device)
                for _ in range(REPEATS)
            )
    if accelerator.is_main_process:
        result = {"seconds": seconds, "reduce": reduce, "gradients": gradient_sizes(trainer)}
        output.write_text(json.dumps(result))
    accelerator.end_training()


def reduction(reduce: Callable[[Tensor], Any], data: Tensor) -> Callable[[], Any]:
    """The call that reduces the data."""
    return lambda: reduce(data)


def launch(processes: int, arguments: Sequence[str]) -> dict[str, Any]:
    """What the first of some new processes measures.

    Raises:
        CommandError: a process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command = [sys.executable, *launcher, __file__, "worker", "--output", str(output)]
        result = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True)
        if result.returncode != 0:
            raise CommandError(f"a process failed: {result.stderr.strip()}")
        return json.loads(output.read_text())


def fit_link(seconds: dict[int, float]) -> Link:
    """The link of two processes, from the seconds of all-reduces by their bytes."""
    sizes = np.array(list(seconds), dtype=float)
    # two processes: 2 latency + size / bandwidth
    slope, start = np.polyfit(sizes, np.array(list(seconds.values())), 1)
    return Link(max(float(start), 0.0) / 2, 1 / float(slope))


def count_step(config: Config) -> StepCost:
    """Count plain steps of two batch sizes, of which the rest follows linearly.

    The length of the sequences is the same for both and differs from step to step, so the mean over
    several steps is taken.
    """
    fewer, more = COUNTED_BATCHES
    counts = np.array([count_steps(config, size) for size in COUNTED_BATCHES])
    means = counts.mean(axis=1)  # of kernels, operations and bytes, for each batch size
    each = (means[1] - means[0]) / (more - fewer)
    trainer = trainer_of(config, fewer)
    return StepCost(
        kernels=round(means[0, 0]),
        operations=each[1],
        size=each[2],
        fixed_size=means[0, 2] - fewer * each[2],
        gradients=gradient_sizes(trainer),
    )


def count_steps(config: Config, batch_size: int) -> list[tuple[int, int, int]]:
    """Kernels, operations and bytes of plain steps, which begin at the same number of images."""
    trainer = trainer_of(config, batch_size)
    start = trainer.images_seen = trainer.schedule.warm_start_images
    train_steps(trainer, 1)  # both optimizers make their state
    counts: list[tuple[int, int, int]] = []
    for step in range(COUNTED_STEPS):
        images_seen = start + step * max(COUNTED_BATCHES)
        batch, _ = trainer.batch_sampler.draw(images_seen)
        settings = trainer.schedule.at(images_seen)
        with StepCounter() as counter:
            trainer.adversarial.train_step(batch, settings, penalize=False)
        size = sum(kernel.size for kernel in counter.kernels)
        counts.append((len(counter.kernels), counter.operations, size))
    return counts


def trainer_of(config: Config, batch_size: int) -> Trainer:
    """A trainer on random images with another batch size."""
    train = config.train.model_copy(update={"batch_size": batch_size})
    return random_trainer(config.model_copy(update={"train": train}), "cpu")


def gradient_sizes(trainer: Trainer) -> tuple[int, int]:
    """Bytes of the gradients of the discriminator and of the generator."""
    networks = (trainer.adversarial.discriminator, trainer.adversarial.generator)
    first, second = (sum(p.nbytes for p in network.parameters()) for network in networks)
    return first, second


if __name__ == "__main__":
    run(app, "scaling")
