"""Measure how long a click in the demo takes, on one thread.

    python experiments/benchmarks/demo_speed.py --checkpoint checkpoints/mnist

A click is timed from the painted mask to the completions and the grid as a PNG file.
"""

from __future__ import annotations

import io
import statistics
import time
from typing import Annotated

import torch
import typer
from PIL import Image, ImageDraw

from biglearn_gan.cli.evaluation_options import parse_counts
from biglearn_gan.cli.options import Checkpoint
from biglearn_gan.cli.runner import run
from biglearn_gan.demo.session import CanvasImage, DemoSession
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.pixel_values import to_uint8


def main(
    checkpoint: Checkpoint,
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
    run(main, "demo_speed")
