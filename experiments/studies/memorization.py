"""Measure how far a discriminator has memorized its training images.

    python experiments/studies/memorization.py --checkpoint digits --output memory.json

The discriminator prefers a real image to a completion of the same source by a margin: the
difference of their logits. The memorized share is 1 - m(test) / m(training), with
mean margins m. It is 0 if test images are as real to it as training images, and 1 if they are no
more real than generated ones. It is r_v of StyleGAN2-ADA (Karras et al. 2020, arXiv 2006.06676,
eq. 1) for logits that only compare images of one source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import Checkpoint, DataRoot, with_all_pixels, with_data_root
from biglearn_gan.cli.runner import run
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.pixel_values import to_signed_float
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import named_hole

HOLES = ("joint", "random:0.5", "right-half")
BATCH_ROWS = 250

Results = dict[str, dict[str, dict[str, float]]]
"""Mean margin and its standard error, by hole and split."""


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    data_root: DataRoot = None,
    num: Annotated[int, typer.Option(min=2, help="Images of each split.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of images, holes and samples.")] = 0,
) -> None:
    """Print the margins as a Markdown table and write them as JSON."""
    torch.set_num_threads(1)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = with_data_root(data_root, with_all_pixels(model.config.data))
    splits = {split: load_dataset(data, split) for split in ("train", "test")}
    make_folder(output.parent)
    results = {
        hole: {
            split: describe(margins(model, images, hole, num, seed))
            for split, images in splits.items()
        }
        for hole in HOLES
    }
    write_json(output, results)
    typer.echo(table(results))


def margins(
    model: BigLearnGAN, dataset: ImageDataset, hole_name: str, num: int, seed: int
) -> Float64[Tensor, " N"]:
    """The differences of the logits of real images and one completion of each."""
    order = torch.randperm(len(dataset), generator=make_rng(Stream.SOURCES, seed))[:num]
    holes = named_hole(hole_name, dataset.image_size, model.patch_size, len(order), seed)
    parts = []
    for first in range(0, len(order), BATCH_ROWS):
        rows = slice(first, first + BATCH_ROWS)
        images, hole = to_signed_float(dataset.images_uint8(order[rows])), holes[rows]
        completions = model.complete(images, hole, seed=seed, first_image=first)[:, 0]
        parts.append(model.rank(images, hole) - model.rank(completions, hole))
    return torch.cat(parts).double()


def describe(values: Float64[Tensor, " N"]) -> dict[str, float]:
    """Mean and standard error."""
    return {"mean": float(values.mean()), "error": float(values.std() / len(values) ** 0.5)}


def table(results: Results) -> str:
    """The margins and the memorized share, for each hole."""
    lines = [
        "| hidden | margin of training images | of test images | memorized |",
        "|---|---|---|---|",
    ]
    for hole, found in results.items():
        train, test = found["train"], found["test"]
        cells = [f"{margin['mean']:.3f} ± {margin['error']:.3f}" for margin in (train, test)]
        lines.append(f"| {hole} | {' | '.join(cells)} | {1 - test['mean'] / train['mean']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "memorization")
