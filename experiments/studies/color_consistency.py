"""Measure whether completions of colored MNIST keep the hues of their source.

    python experiments/studies/color_consistency.py --checkpoint checkpoints/colored_mnist \
        --output color_consistency.json

Half of the patches of each test image are hidden at random. The hue of a completion is the median
over its generated digit pixels, and likewise over its generated background pixels. A hue is kept
if it is within 10 degrees of the image's. For comparison, the table has the real test images and
mismatched completions, whose pixels come from another image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import Checkpoint, DataRoot, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.colored_mnist import hue_errors
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.data.raw_datasets import colored_mnist_hues
from biglearn_gan.evaluation.baselines import mismatched_completion
from biglearn_gan.evaluation.task import ModelSamples, make_task
from biglearn_gan.files import make_folder, write_json

TOLERANCE = 10.0  # degrees
SUBJECTS = ("completions", "real", "mismatched")


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    data_root: DataRoot = None,
    hole: Annotated[str, typer.Option(help="What to hide.")] = "random:0.5",
    num: Annotated[int, typer.Option(min=1, help="Test images.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the holes and samples.")] = 0,
) -> None:
    """Print the shares of kept hues as a Markdown table and write them as JSON."""
    torch.set_num_threads(1)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = model.config.data
    if data.name != "colored_mnist":
        fail(f"--checkpoint must be a model of colored_mnist, not of {data.name}", code=2)
    test_data = load_dataset(with_data_root(data_root, data), "test")
    make_folder(output.parent)
    count = min(num, len(test_data))
    images = test_data.images_uint8(torch.arange(count))
    task = make_task(hole, images, None, model.patch_size, seed)
    completions = ModelSamples(model, task, seed).read(0, count, 1)[:, 0]
    hues = colored_mnist_hues("test", len(test_data))[:count]
    results = {"hole": hole, "images": count, "seed": seed, "within_degrees": TOLERANCE}
    measured = (completions, images, mismatched_completion(task))
    for name, shown in zip(SUBJECTS, measured, strict=True):
        errors = hue_errors(shown, hues, task.hole)
        results[name] = kept_shares(errors) | error_quantiles(errors)
    write_json(output, results)
    typer.echo(table(results))


def kept_shares(errors: Float64[Tensor, "N 2"]) -> dict[str, float]:
    """Shares of images that keep the hue of the digit, of the background, and of both.

    Args:
        errors: of the digit's and the background's hue in degrees, NaN if no pixel of that part
            was generated. Such images do not count for the part, and count as kept for both.
    """
    kept, present = errors <= TOLERANCE, ~errors.isnan()
    digit, background = ((kept & present).sum(dim=0) / present.sum(dim=0)).tolist()
    both = float((kept | ~present).all(dim=1).double().mean())
    return {"digit": digit, "background": background, "both": both}


def error_quantiles(errors: Float64[Tensor, "N 2"]) -> dict[str, float]:
    """The median and the 95% quantile of the digit's hue error, in degrees."""
    digit = errors[:, 0]
    levels = torch.tensor([0.5, 0.95], dtype=digit.dtype)
    median, high = digit[~digit.isnan()].quantile(levels).tolist()
    return {"digit_degrees_50": median, "digit_degrees_95": high}


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        f"| of {results['images']:,} | digit | background | both "
        "| digit: half within | 95% within |",
        "|---|---|---|---|---|---|",
    ]
    for name in SUBJECTS:
        found = results[name]
        shares = " | ".join(f"{found[part]:.1%}" for part in ("digit", "background", "both"))
        degrees = " | ".join(f"{found[f'digit_degrees_{share}']:.1f}°" for share in (50, 95))
        lines.append(f"| {name} | {shares} | {degrees} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "color_consistency")
