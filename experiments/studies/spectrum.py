"""Compare the power spectrum of unconditional samples with that of test images.

    python experiments/studies/spectrum.py --checkpoint checkpoints/cifar10 --output spectrum.json

A ratio above 1 says that generated images have more of a frequency than real ones. A frequency of
0.5 cycles per pixel along one axis is the finest that there is; diagonally, it is 0.71. If the
generator has convolutions, a second column shows the images that they read.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import torch
import typer
from jaxtyping import Float
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import Checkpoint, DataRoot, with_all_pixels, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.pixel_values import to_signed_float

EDGES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.71)
"""Frequencies between which the power is averaged, in cycles per pixel."""


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    data_root: DataRoot = None,
    num: Annotated[int, typer.Option(min=1, help="Images of each kind.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the samples.")] = 0,
) -> None:
    """Print the ratios as a Markdown table and write them as JSON."""
    model = BigLearnGAN.from_pretrained(checkpoint)
    test_data = load_dataset(with_data_root(data_root, with_all_pixels(model.config.data)), "test")
    if num > len(test_data):
        fail(f"--num must be at most {len(test_data)}, the number of test images, not {num}", 2)
    chosen = torch.randperm(len(test_data), generator=torch.Generator().manual_seed(seed))[:num]
    real = band_powers(to_signed_float(test_data.images_uint8(chosen)))
    ratios = {"images": ratios_to(real, band_powers(model.sample(num=num, seed=seed)))}
    if model.generator.canvas is not None:
        model.generator.canvas = None
        drawn = band_powers(model.sample(num=num, seed=seed))
        ratios["before_convolutions"] = ratios_to(real, drawn)
    make_folder(output.parent)
    results = {"seed": seed, "images": num, "edges": EDGES, "ratios_to_real_images": ratios}
    write_json(output, results)
    typer.echo(table(ratios))


def band_powers(images: Float[Tensor, "N C H W"]) -> Float[Tensor, " bands"]:
    """The mean power of all images between each two ``EDGES``, of their gray values.

    The mean of each image is taken off first. Images of at least 6 x 6 pixels have all bands.
    """
    gray = images.double().mean(dim=1)
    gray = gray - gray.mean(dim=(1, 2), keepdim=True)
    power = torch.fft.fft2(gray).abs().square().mean(dim=0)  # (H, W)
    vertical, horizontal = (torch.fft.fftfreq(side) for side in power.shape)
    frequency = (vertical[:, None].square() + horizontal.square()).sqrt()
    bands = itertools.pairwise(EDGES)
    return torch.stack(
        [power[(frequency > low) & (frequency <= high)].mean() for low, high in bands]
    )


def ratios_to(real: Float[Tensor, " bands"], drawn: Float[Tensor, " bands"]) -> list[float]:
    """The ratio in each band."""
    return (drawn / real).tolist()


def table(ratios: dict[str, list[float]]) -> str:
    """A row per band as Markdown, and a column per kind of images."""
    lines = [
        f"| cycles per pixel | {' | '.join(name.replace('_', ' ') for name in ratios)} |",
        "|---|" + "---|" * len(ratios),
    ]
    columns = zip(*ratios.values(), strict=True)
    for (low, high), row in zip(itertools.pairwise(EDGES), columns, strict=True):
        lines.append(f"| {low:g} to {high:g} | {' | '.join(f'{value:.3g}' for value in row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "spectrum")
