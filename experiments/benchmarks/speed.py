"""Measure speed and memory of training and sampling, and how long a click in the demo takes.

    python experiments/benchmarks/speed.py model --config experiments/digits.yaml [KEY=VALUE ...]
    python experiments/benchmarks/speed.py page --checkpoint checkpoints/mnist

The first command compares speeds with the machine's matrix-multiply peak, measured in the same
process, so that machines can be compared: "share of peak" is the floating-point operations of
matrix products per second, divided by the peak. PyTorch counts the operations, but not those of
its fused attention on CPUs. Images are random; no data are needed.

The second command times what the demo computes when its button is clicked: from the painted mask
to the completions and the grid as a PNG file.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
import typer
from PIL import Image, ImageDraw
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from biglearn_gan.cli.evaluation_options import parse_counts
from biglearn_gan.cli.runner import run
from biglearn_gan.config import Config, load_config
from biglearn_gan.demo.session import CanvasImage, DemoSession
from biglearn_gan.devices import make_accelerator
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import CHUNK_ROWS
from biglearn_gan.pixel_values import to_uint8
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training.throughput import random_images
from biglearn_gan.training.trainer import Trainer

PEAK_SIZE = 1024
PEAK_SECONDS = 1.0
DATA_IMAGES = 2048


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def model(
    config: Annotated[Path, typer.Option(help="YAML file of the run to measure.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    steps: Annotated[int, typer.Option(min=4, help="Training steps to time.")] = 100,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or mps.")] = "cpu",
) -> None:
    """Print the speed of training and sampling as a Markdown table."""
    trainer = random_trainer(load_config(config, overrides or ()), device)
    place = trainer.accelerator.device
    peak = matrix_peak(place)
    typer.echo("| what | measured |\n|---|---|")
    typer.echo(f"| threads | {torch.get_num_threads()} |")
    typer.echo(f"| matrix-multiply peak, float32 | {peak / 1e9:.0f} GFLOP/s |")
    for phase in ("warm start", "adversarial training"):
        trainer.images_seen = 0 if phase == "warm start" else trainer.schedule.warm_start_images
        if phase == "warm start" and trainer.schedule.warm_start_images == 0:
            continue
        report_training(trainer, phase, steps, peak)
    report_sampling(trainer.model().to(place), peak)


@app.command()
def page(
    checkpoint: Annotated[str, typer.Option(help="Folder, or name on the Hugging Face hub.")],
    variations: Annotated[str, typer.Option(help="Numbers of variations.")] = "1,6,8,16",
    clicks: Annotated[int, typer.Option(min=1, help="Clicks per number of variations.")] = 20,
) -> None:
    """Print the seconds per click on one thread as a Markdown table."""
    torch.set_num_threads(1)
    counts = parse_counts(variations, "--variations")
    model = BigLearnGAN.from_pretrained(checkpoint)
    session = DemoSession(checkpoint, model, None)
    image, paint = CanvasImage(to_uint8(model.sample(1))[0]), slanted_stroke(session.canvas_size)
    time_click(session, image, paint, counts[0], 0)
    typer.echo("| variations | seconds per click, median | longest |\n|---|---|---|")
    for count in counts:
        seconds = [time_click(session, image, paint, count, seed) for seed in range(clicks)]
        typer.echo(f"| {count} | {statistics.median(seconds):.3f} | {max(seconds):.3f} |")


def random_trainer(config: Config, device: str) -> Trainer:
    """A trainer on random images that never finishes."""
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
    """Print images per second, the share of the peak, memory, and the parts of a step."""
    cycle, device = trainer.config.loss.penalty.interval, trainer.accelerator.device
    train_steps(trainer, 2 * cycle)
    with FlopCounter() as counter:
        train_steps(trainer, cycle)
    operations = counter.total / cycle
    seconds = timed(lambda: train_steps(trainer, steps), device) / steps
    images = trainer.config.train.batch_size
    typer.echo(
        f"| {phase}: speed | {images / seconds:.0f} images/s, {1e3 * seconds:.1f} ms a step |"
    )
    typer.echo(
        f"| {phase}: share of peak | {operations / seconds / peak:.0%} "
        f"({operations / 1e9:.2f} GFLOP a step) |"
    )
    parts = Stopwatch(device)
    training, batches = trainer.adversarial, trainer.batch_sampler
    sampler = batches.warm_start_task_sampler if phase == "warm start" else batches.task_sampler
    parts.watch(sampler.sample, "tasks")
    parts.watch(training.generator.forward, "generator forward")
    parts.watch(training.discriminator.forward, "discriminator forward")
    parts.watch(training._update, "backward and optimizer")
    parts.watch(training._update_average, "moving average")
    before = resident_memory()
    total = timed(lambda: train_steps(trainer, steps), device)
    parts.stop()
    for name, spent in parts.seconds.items():
        typer.echo(f"| {phase}: {name} | {spent / total:.1%} of a step |")
    typer.echo(
        f"| {phase}: resident memory before and after {steps:,} steps | "
        f"{before} MiB, {resident_memory()} MiB |"
    )
    rest = total - sum(parts.seconds.values())
    typer.echo(f"| {phase}: everything else | {rest / total:.1%} of a step |")


def report_sampling(model: BigLearnGAN, peak: float) -> None:
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
    with FlopCounter() as counter:
        one_pass()
    seconds = min(timed(one_pass, device) for _ in range(50))
    share = counter.total / seconds / peak
    typer.echo(f"| sampling: one pass | {CHUNK_ROWS / seconds:.0f} images/s, {share:.0%} of peak |")
    count = 8 * CHUNK_ROWS
    seconds = timed(lambda: model.sample(count), device)
    typer.echo(f"| sampling: `model.sample({count})` | {count / seconds:.0f} images/s |")


def resident_memory() -> int:
    """Resident memory of this process in MiB."""
    return psutil.Process().memory_info().rss // 2**20


class FlopCounter(TorchDispatchMode):
    """Counts floating-point operations of matrix products, second derivatives included."""

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
    """Measures the time spent in methods of objects, until :meth:`stop`."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = {}
        self._device = device
        self._watched: list[tuple[Any, str]] = []

    def watch(self, method: Callable[..., Any], name: str) -> None:
        """Time every call of a bound method under ``name``."""
        owner: Any = method.__self__  # type: ignore[attr-defined]

        def measured(*arguments: Any, **options: Any) -> Any:
            result: list[Any] = []
            spent = timed(lambda: result.append(method(*arguments, **options)), self._device)
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            return result[0]

        setattr(owner, method.__name__, measured)
        self._watched.append((owner, method.__name__))

    def stop(self) -> None:
        """Restore the methods."""
        for owner, method in self._watched:
            delattr(owner, method)


def train_steps(trainer: Trainer, steps: int) -> None:
    """Train for a number of steps."""
    for _ in range(steps):
        trainer.step()


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Wall time in seconds; waits for the device before and after."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait until a CUDA device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def slanted_stroke(size: tuple[int, int]) -> Image.Image:
    """Paint (RGBA) from corner to corner, a fifth of the canvas wide."""
    paint = Image.new("RGBA", size)
    ImageDraw.Draw(paint).line([(0, 0), size], fill="blue", width=min(size) // 5)
    return paint


def time_click(
    session: DemoSession,
    image: CanvasImage,
    paint: Image.Image,
    variations: int,
    seed: int,
) -> float:
    """Seconds to complete a painted image and to write the grid as PNG."""
    started = time.perf_counter()
    result = session.complete(
        image, session.hole_from_paint(paint), variations=variations, seed=seed
    )
    result.grid.save(io.BytesIO(), "PNG")
    return time.perf_counter() - started


if __name__ == "__main__":
    run(app, "speed")
