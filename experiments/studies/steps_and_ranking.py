"""The critic as a judge: completions of which it likes the best, and images that it tells apart.

    python experiments/best_of.py --checkpoint checkpoints/digits --output runs/best_of

For each number of candidates: the records of `biglearn-gan evaluate`, tables and a figure of every
quality, best_of.png. And how well the critic's logit of a whole image tells test images from the
model's own and from images of other kinds: the area under the curve, 0.5 for a coin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import typer
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import DataRoot, with_data_root, without_missing
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import DataConfig, DataSetName
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.comparison import (
    TASKS,
    check_num,
    counts_of,
    curves,
    measure,
    save,
    shipped_metric_models,
)
from biglearn_gan.evaluation.tables import other_qualities, side_by_side
from biglearn_gan.files import replacing
from biglearn_gan.inference.batched import complete_best
from biglearn_gan.inference.inputs import without_labels_or_missing
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.rng import Stream, make_rng


@dataclass(frozen=True)
class BestOf:
    """A model whose critic chooses each completion among several."""

    model: BigLearnGAN
    candidates: int

    def complete(
        self, images: Float[Tensor, "N C H W"], hole: Bool[Tensor, "N H W"], **options: Any
    ) -> Float[Tensor, "N K C H W"]:
        """See :meth:`biglearn_gan.models.biglearn_gan.BigLearnGAN.complete`."""
        options = {"variations": 1, "seed": 0} | options
        return complete_best(self.model, images, hole, best_of=self.candidates, **options).images


def main(
    checkpoint: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option(help="Folder of the measurements.")],
    candidates: Annotated[str, typer.Option(help="Numbers of candidates.")] = "1,2,4,8,16",
    num: Annotated[int, typer.Option(min=1, help="Images of each task.")] = 10_000,
    data_root: DataRoot = None,
    other: Annotated[
        str | None, typer.Option(help="Another data set to tell the test images from.")
    ] = None,
) -> None:
    """Measure what is missing, and print the tables."""
    torch.set_num_threads(1)
    counts = counts_of(candidates, "--candidates")
    model = BigLearnGAN.from_pretrained(checkpoint)
    patch_size = model.config.model.patch_size
    data = with_data_root(data_root, without_missing(model.config.data))
    metric_models = shipped_metric_models(data.name, checkpoint)
    check_num(num, metric_models)
    foreign = None if other is None else other_images(data, other)
    folders = {count: output / f"best_of_{count}" for count in counts}
    samplers = {folder: BestOf(model, count) for count, folder in folders.items()}
    measure(samplers, fingerprint(model), data, patch_size, num, metric_models)
    save(curves({"best of": folders}, "candidates"), output / "best_of.png")
    shown = {row_of(count): folder for count, folder in folders.items()}
    typer.echo(f"{side_by_side(shown, TASKS)}\n\n{other_qualities(shown, TASKS)}")
    areas = told_apart(model, data, foreign, num)
    with replacing(output / "told_apart.json") as path:
        path.write_text(json.dumps(areas, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"\n{areas_table(areas)}")


def areas_table(areas: Mapping[str, float]) -> str:
    """What the critic tells from test images, and how well, as Markdown."""
    lines = ["| test images against | area under the curve |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {area:.3f} |" for name, area in areas.items())])


def row_of(candidates: int) -> str:
    """What the line of so many candidates is called."""
    return f"best of {candidates}"


def other_images(data: DataConfig, name: str) -> ImageDataset:
    """The test images of another data set, in the size and channels of this one."""
    if name not in get_args(DataSetName):
        fail(f"--other: {name!r} is none of {', '.join(get_args(DataSetName))}", code=2)
    there = without_labels_or_missing(data.model_copy(update={"name": name}))
    if there.gaussian_field is not None and data.gaussian_field is None:
        fail(f"--other: values of {name} have no bounds, as those of {data.name} have", code=2)
    return load_dataset(there, "test")


def told_apart(
    model: BigLearnGAN, data: DataConfig, foreign: ImageDataset | None, num: int
) -> dict[str, float]:
    """The area under the curve of the critic's logit of whole images."""
    test_data = load_dataset(data, "test")
    images = test_data.batch(torch.arange(min(num, len(test_data)))).images
    shuffle = make_rng(Stream.REFERENCE, 0)
    places = torch.randperm(images[0, 0].numel(), generator=shuffle)
    others = {
        "the model's own": model.sample(len(images), seed=0),
        "the same turned upside down": images.flip(2),
        "the same with their pixels shuffled": images.flatten(2)[..., places].view_as(images),
    }
    if foreign is not None:
        name = foreign.name.partition(":")[0]
        others[name] = foreign.batch(torch.arange(min(num, len(foreign)))).images
    real = judged(model, images)
    areas = {}
    for name, against in others.items():
        logits = torch.cat([real, judged(model, against)])
        is_real = torch.arange(len(logits)) < len(real)
        areas[name] = float(roc_auc_score(is_real.numpy(), logits.numpy()))
    return areas


def judged(model: BigLearnGAN, images: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """Logits of whole images, with everything a target."""
    everything = torch.ones_like(images[:, 0], dtype=torch.bool)
    return model.rank(images, everything)


if __name__ == "__main__":
    run(main, "best_of")
