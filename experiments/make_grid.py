"""Draw a grid of images from a model: unconditional samples, and completions of test images.

python experiments/make_grid.py --checkpoint checkpoints/mnist --output checkpoints/mnist/grid.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.options import Checkpoint, DataRoot, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, replacing
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.training.monitor import training_grid


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="PNG file.")],
    data_root: DataRoot = None,
) -> None:
    """Draw the grid that training writes, with test images as the sources."""
    if output.suffix.lower() != ".png":
        fail(f"--output must name a .png file, not {output}", code=2)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = with_data_root(data_root, model.config.data)
    make_folder(output.parent)
    grid = training_grid(model, load_dataset(data, "test"))
    with replacing(output) as path:
        grid.save(path, format="png")


if __name__ == "__main__":
    run(main, "make_grid")
