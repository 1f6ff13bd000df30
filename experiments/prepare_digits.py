"""Write scikit-learn's digits as PNG files in class folders, for models of another image size.

    python experiments/prepare_digits.py --size 28 --output digits28

The 8 x 8 pixels are resized bicubically. Every second digit is a test image, so train/ has 899 and
test/ has 898 images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from sklearn.datasets import load_digits

from biglearn_gan.cli.runner import run
from biglearn_gan.files import make_folder, replacing


def main(
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder for train/ and test/.")],
    size: Annotated[int, typer.Option(min=8, max=256, help="Pixels of a side.")] = 28,
) -> None:
    """Write the digits as PNG files."""
    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        gray = Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8))
        folder = output / ("train", "test")[index % 2] / str(label)
        make_folder(folder)
        with replacing(folder / f"{index:04d}.png") as path:
            gray.resize((size, size), Image.Resampling.BICUBIC).save(path, format="png")
    typer.echo(f"{len(digits.images):,} digits of {size} x {size} pixels in {output}")


if __name__ == "__main__":
    run(main, "prepare_digits")
