"""Measure whether the warm start learns images of little contrast.

    python experiments/studies/low_contrast.py --config experiments/folder.yaml \
        --output low_contrast.json data.root=drawings data.labels=true

The warm start of the configuration sees the images as they are, inverted, and at a quarter of their
brightness, each with and without `data.standardize`. The table has the squared error as a share of
the mean image's, and how far the label's cross-entropy is below that of guessing. Both are averages
over the last tenth of the images.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import torch
import typer
from accelerate import Accelerator
from torch import Tensor

from biglearn_gan.cli.options import ConfigFile, Overrides
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import count_classes
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.training.fit import load_training_images
from biglearn_gan.training.trainer import Trainer

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda pixels: pixels,
    "inverted": lambda pixels: 255 - pixels,
    "a quarter as bright": lambda pixels: pixels // 4,
}
MEASURED_SHARE = 0.1
"""The last part of the warm start, over which losses are averaged."""

Results = dict[str, dict[str, dict[str, float]]]
"""By change of the images, standardization, and measure."""


def main(
    config: ConfigFile,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    overrides: Overrides = None,
    images: Annotated[int, typer.Option(min=1, help="Images of each warm start.")] = 20_000,
) -> None:
    """Print the measures as a Markdown table and write them as JSON."""
    torch.set_num_threads(1)
    make_folder(output.parent)
    results: Results = {}
    for name, change in CHANGES.items():
        results[name] = {}
        for standardize in (True, False):
            loaded = load_config(
                config, [*(overrides or ()), f"data.standardize={str(standardize).lower()}"]
            )
            if not loaded.data.labels:
                fail("the study needs labels: set data.labels=true", code=2)
            measures = learn(count_classes(loaded), change, images)
            results[name]["standardized" if standardize else "not standardized"] = measures
            write_json(output, results)
    typer.echo(table(results))


def learn(config: Config, change: Callable[[Tensor], Tensor], images: int) -> dict[str, float]:
    """Error and nats at the end of a warm start with changed images.

    Returns:
        ``error``, the squared error as a share of the mean image's, and ``nats``, by how much the
        label's cross-entropy is below that of guessing.
    """
    accelerator = Accelerator(cpu=True)
    dataset = changed(load_training_images(config, accelerator.device), change)
    share = config.train.warm_start.share
    trainer = Trainer(config, dataset, accelerator, round(images / share))
    last = round((1 - MEASURED_SHARE) * images)
    with closing(trainer):
        baselines = trainer.baselines()
        while trainer.in_warm_start:
            trainer.step()
            if trainer.images_seen <= last:
                trainer.take_metrics()
        metrics = trainer.take_metrics()
    error = "warm_start/squared_error"
    return {
        "error": metrics[error] / baselines[error],
        "nats": baselines["loss/label"] - metrics["loss/label"],
    }


def changed(dataset: ImageDataset, change: Callable[[Tensor], Tensor]) -> ImageDataset:
    """The same data set with other pixels."""
    pixels = change(dataset.images_uint8(torch.arange(len(dataset))))
    return ImageDataset(dataset.name, pixels, dataset.labels, dataset.num_classes)


def table(results: Results) -> str:
    """A row per change of the images as Markdown."""
    lines = [
        "| images | standardized: error, nats | not standardized: error, nats |",
        "|---|---|---|",
    ]
    for name, found in results.items():
        cells = [f"{each['error']:.3f}, {each['nats']:.2f}" for each in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "low_contrast")
