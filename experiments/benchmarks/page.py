"""How long one press of the button computes on the page of `biglearn-gan demo`.

    python experiments/page.py --checkpoint checkpoints/mnist

Timed is what happens between the browser's question and the answer: from the paint to a hole, its
completions, and the grid as a PNG file.
"""

from __future__ import annotations

import io
import statistics
import time
from typing import Annotated

import torch
import typer
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import run
from biglearn_gan.data.image_files import to_uint8
from biglearn_gan.demo.session import DemoSession
from biglearn_gan.evaluation.comparison import counts_of


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder, or name on the Hugging Face hub.")],
    variations: Annotated[str, typer.Option(help="Numbers of variations.")] = "1,6,8,16",
    presses: Annotated[int, typer.Option(min=1, help="Of each.")] = 20,
) -> None:
    """Print a table of seconds on one thread: the median press, and the longest."""
    torch.set_num_threads(1)
    counts = counts_of(variations, "--variations")
    model = BigLearnGAN.from_pretrained(checkpoint)
    studio = DemoSession(checkpoint, model, None)
    image, paint = to_uint8(model.sample(1))[0], slanted_stroke(studio.canvas_size)
    press(studio, image, paint, counts[0], 0)
    typer.echo("| variations | seconds a press, median | longest |\n|---|---|---|")
    for count in counts:
        took = [press(studio, image, paint, count, seed) for seed in range(presses)]
        typer.echo(f"| {count} | {statistics.median(took):.3f} | {max(took):.3f} |")


def slanted_stroke(size: tuple[int, int]) -> Image.Image:
    """Paint from corner to corner, a fifth of the canvas wide."""
    paint = Image.new("RGBA", size)
    ImageDraw.Draw(paint).line([(0, 0), size], fill="blue", width=min(size) // 5)
    return paint


def press(
    studio: DemoSession,
    image: UInt8[Tensor, "C H W"],
    paint: Image.Image,
    variations: int,
    seed: int,
) -> float:
    """Seconds of one."""
    began = time.perf_counter()
    answer = studio.complete(image, studio.hole(paint), variations=variations, seed=seed)
    answer.grid.save(io.BytesIO(), "PNG")
    return time.perf_counter() - began


if __name__ == "__main__":
    run(main, "page")
