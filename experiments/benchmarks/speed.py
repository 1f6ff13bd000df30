"""Measure the speed of training and sampling, and compare it with that of another commit.

    python experiments/benchmarks/speed.py model --config experiments/digits.yaml [KEY=VALUE ...]
    python experiments/benchmarks/speed.py compare --against HEAD~1 --config experiments/digits.yaml

Images are random; no data are needed. The first command compares speeds with what the machine can
do at best, measured in the same process, so that machines can be compared. "Share of peak" is the
floating-point operations of matrix products per second, divided by those of one large product. The
"attainable peak" also takes into account that small products are limited by memory bandwidth.
PyTorch counts the operations, but not those of its fused attention on CPUs.

The second command runs the first one of this checkout and of another commit in turns.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from commit_speeds import other_checkout, repository_root, step_seconds
from step_profile import (
    Machine,
    StepCounter,
    Stopwatch,
    busy_share,
    measure_machine,
    memory_mib,
    random_trainer,
    timed,
    train_steps,
)

from biglearn_gan.cli.runner import run
from biglearn_gan.config import load_config
from biglearn_gan.devices import tf32_products
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import CHUNK_ROWS
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training.trainer import Trainer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

ConfigOption = Annotated[Path, typer.Option(help="YAML file, relative to the clone.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")]
Steps = Annotated[int, typer.Option(min=4, help="Training steps to time.")]


@app.command()
def model(
    config: ConfigOption,
    overrides: Overrides = None,
    steps: Steps = 100,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or mps.")] = "cpu",
) -> None:
    """Print the speed of training and sampling as a Markdown table."""
    settings = load_config(config, overrides or ())
    with tf32_products(settings.train.tf32):  # as in training
        report(random_trainer(settings, device), steps)


def report(trainer: Trainer, steps: int) -> None:
    """Print the machine's speed, and those of training and sampling."""
    place = trainer.accelerator.device
    machine = measure_machine(place)
    typer.echo("| what | measured |\n|---|---|")
    typer.echo(f"| threads | {torch.get_num_threads()} |")
    typer.echo(f"| matrix-multiply peak, float32 | {machine.peak / 1e9:.0f} GFLOP/s |")
    typer.echo(f"| memory bandwidth | {machine.bandwidth / 1e9:.0f} GB/s |")
    for phase in ("warm start", "adversarial training"):
        trainer.images_seen = 0 if phase == "warm start" else trainer.schedule.warm_start_images
        if phase == "warm start" and trainer.schedule.warm_start_images == 0:
            continue
        report_training(trainer, phase, steps, machine)
    report_sampling(trainer.model().to(place), machine)


@app.command()
def compare(
    against: Annotated[str, typer.Option(help="Commit, tag, or branch of this repository.")],
    config: ConfigOption,
    overrides: Overrides = None,
    steps: Steps = 100,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
) -> None:
    """Print images per second here and there as a Markdown table, and their ratio.

    The ratio is the median of the ratios within each turn. ``config`` must exist in both checkouts,
    with the same batch size.
    """
    batch_size = load_config(config, overrides or ()).train.batch_size
    here = repository_root()
    turns_taken: list[list[dict[str, float]]] = []
    with other_checkout(here, against) as there:
        for _ in range(turns):
            turns_taken.append(
                [step_seconds(root, config, steps, overrides or ()) for root in (here, there)]
            )
    typer.echo(f"| phase | images/s | at {against} | ratio |\n|---|---|---|---|")
    first_here, first_there = turns_taken[0]
    for phase in (name for name in first_here if name in first_there):
        ours, theirs = ([batch_size / turn[side][phase] for turn in turns_taken] for side in (0, 1))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        typer.echo(
            f"| {phase} | {statistics.median(ours):.1f} | {statistics.median(theirs):.1f} "
            f"| {ratio:.2f} |"
        )


def report_training(trainer: Trainer, phase: str, steps: int, machine: Machine) -> None:
    """Print speed, kernels, shares of the peak, memory, and the parts of a step."""
    cycle, device = trainer.config.loss.penalty.interval, trainer.accelerator.device
    row = partial(print_row, phase)
    train_steps(trainer, 2 * cycle)
    counters = count_kinds(trainer, cycle)
    seconds = timed(lambda: train_steps(trainer, steps), device) / steps
    images = trainer.config.train.batch_size
    row("speed", f"{images / seconds:.0f} images/s, {1e3 * seconds:.1f} ms a step")
    operations = sum(counter.operations for kind in counters.values() for counter in kind) / cycle
    share = operations / seconds / machine.peak
    row("share of peak", f"{share:.0%} ({operations / 1e9:.2f} GFLOP a step)")
    for kind, spent in time_kinds(trainer, steps).items():
        kernels = statistics.median(len(counter.kernels) for counter in counters[kind])
        attainable = statistics.mean(
            counter.attainable_seconds(machine) for counter in counters[kind]
        )
        row(kind, f"{1e3 * spent:.1f} ms, {kernels:,.0f} kernels")
        row(f"{kind}, matrix products", f"{attainable / spent:.0%} of the attainable peak")
    parts = watch_parts(trainer, phase)
    before = memory_mib(device)
    total = timed(lambda: train_steps(trainer, steps), device)
    parts.stop()
    for name, spent in parts.seconds.items():
        row(name, f"{spent / total:.1%} of a step")
    rest = total - sum(parts.seconds.values())
    row("everything else", f"{rest / total:.1%} of a step")
    if device.type == "cuda":
        busy = busy_share(lambda: train_steps(trainer, 2 * cycle), device)
        row("device idle", f"{1 - busy:.1%} of a step")
    row(f"memory before and after {steps:,} steps", f"{before} MiB, {memory_mib(device)} MiB")


def print_row(phase: str, name: str, value: str) -> None:
    typer.echo(f"| {phase}: {name} | {value} |")


def kind_of_step(trainer: Trainer) -> str:
    """Name of the next step's kind."""
    return (
        "step with penalty" if trainer.schedule.has_penalty(trainer.images_seen) else "plain step"
    )


def count_kinds(trainer: Trainer, steps: int) -> dict[str, list[StepCounter]]:
    """What every step of each kind runs."""
    counters: dict[str, list[StepCounter]] = defaultdict(list)
    for _ in range(steps):
        kind = kind_of_step(trainer)
        with StepCounter() as counter:
            trainer.step()
        counters[kind].append(counter)
    return counters


def time_kinds(trainer: Trainer, steps: int) -> dict[str, float]:
    """Mean seconds of a step of each kind."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(steps):
        kind = kind_of_step(trainer)
        seconds[kind].append(timed(trainer.step, trainer.accelerator.device))
    return {kind: statistics.mean(spent) for kind, spent in seconds.items()}


def watch_parts(trainer: Trainer, phase: str) -> Stopwatch:
    """A stopwatch of the parts of a step."""
    parts = Stopwatch(trainer.accelerator.device)
    training = trainer.adversarial
    parts.watch(trainer.batch_sampler.draw, "images, tasks, and noise")
    parts.watch(training.generator.forward, "generator forward")
    if phase != "warm start":
        parts.watch(training.discriminator.forward, "discriminator forward")
    parts.watch(training.update, "backward and optimizer")
    parts.watch(training.update_average, "moving average")
    return parts


def report_sampling(model: BigLearnGAN, machine: Machine) -> None:
    """Print the speed of a forward pass on a full chunk, and of ``model.sample``."""
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
    with StepCounter() as counter:
        one_pass()
    seconds = min(timed(one_pass, device) for _ in range(50))
    share = counter.operations / seconds / machine.peak
    typer.echo(f"| sampling: one pass | {CHUNK_ROWS / seconds:.0f} images/s, {share:.0%} of peak |")
    count = 8 * CHUNK_ROWS
    seconds = timed(lambda: model.sample(count), device)
    typer.echo(f"| sampling: `model.sample({count})` | {count / seconds:.0f} images/s |")


if __name__ == "__main__":
    run(app, "speed")
