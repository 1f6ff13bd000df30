"""Do completions of colored digits keep the hues of their sources?

    python experiments/hues.py --checkpoint checkpoints/colored_mnist --output hues.json

Test images, half of the patches hidden at random. The hue of a completion is the median over what
is generated of its digit, and of its background. Beside it stand the originals themselves, and
another image's pixels in their place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import DataRoot, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.colored_mnist import hue_errors
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.data.raw_datasets import colored_mnist_hues
from biglearn_gan.evaluation.baselines import mismatched_completion
from biglearn_gan.evaluation.task import ModelSamples, make_task
from biglearn_gan.files import replacing

WITHIN = 10.0
SHOWN = {
    "completions": "completions",
    "originals": "originals",
    "glued": "another image glued in",
}
"""What is measured, and what the table calls it."""


def main(
    checkpoint: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    data_root: DataRoot = None,
    hole: Annotated[str, typer.Option(help="What is hidden.")] = "random:0.5",
    num: Annotated[int, typer.Option(min=1)] = 10_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Print a Markdown table of the share within 10 degrees, and write what it holds."""
    torch.set_num_threads(1)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = model.config.data
    if data.name != "colored_mnist":
        fail(f"{checkpoint} is a model of {data.name}: only colored_mnist has known hues", code=2)
    test_data = load_dataset(with_data_root(data_root, data), "test")
    output.parent.mkdir(parents=True, exist_ok=True)
    count = min(num, len(test_data))
    images = test_data.images_uint8(torch.arange(count))
    question = make_task(hole, images, None, model.config.model.patch_size, seed)
    drawn = ModelSamples(model, question, seed).read(0, count, 1)[:, 0]
    hues = colored_mnist_hues("test", len(test_data))[:count]
    results = {"hole": hole, "images": count, "seed": seed, "within_degrees": WITHIN}
    for name, shown in (
        ("completions", drawn),
        ("originals", images),
        ("glued", mismatched_completion(question)),
    ):
        errors = hue_errors(shown, hues, question.hole)
        results[name] = shares(errors) | quantiles(errors)
    with replacing(output) as path:
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    typer.echo(table(results))


def shares(errors: Float64[Tensor, "N 2"]) -> dict[str, float]:
    """Images whose hues are kept, of those that have the part where they were generated."""
    kept, there = errors <= WITHIN, ~errors.isnan()
    digit, background = ((kept & there).sum(dim=0) / there.sum(dim=0)).tolist()
    both = float((kept | ~there).all(dim=1).double().mean())
    return {"digit": digit, "background": background, "both": both}


def quantiles(errors: Float64[Tensor, "N 2"]) -> dict[str, float]:
    """Degrees that half, and that 95%, of the digits' hues deviate at most."""
    digit = errors[:, 0]
    levels = torch.tensor([0.5, 0.95], dtype=digit.dtype)
    half, nearly_all = digit[~digit.isnan()].quantile(levels).tolist()
    return {"digit_degrees_50": half, "digit_degrees_95": nearly_all}


def table(results: dict[str, Any]) -> str:
    """What was measured as Markdown."""
    lines = [
        f"| of {results['images']:,} | digit | background | both "
        "| digit: half within | 95% within |",
        "|---|---|---|---|---|---|",
    ]
    for name, called in SHOWN.items():
        found = results[name]
        kept = " | ".join(f"{found[part]:.1%}" for part in ("digit", "background", "both"))
        away = " | ".join(f"{found[f'digit_degrees_{share}']:.1f}°" for share in (50, 95))
        lines.append(f"| {called} | {kept} | {away} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "hues")
