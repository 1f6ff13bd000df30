"""Measure what more time per sample brings: several steps, or the best of several candidates.

    python experiments/studies/steps_and_ranking.py --checkpoint checkpoints/digits \
        --output runs/steps
    python experiments/studies/steps_and_ranking.py --checkpoint checkpoints/digits \
        --output runs/ranking --candidates 1,2,4,8 --other mnist

The first form generates every hole in several steps and orders. The second lets the discriminator
choose among candidates. It also measures how well the critic score of a whole image separates
test images from the model's own samples and from other kinds of images, as the area under the ROC
curve (0.5 is chance).

Both forms follow the protocol of `biglearn-gan evaluate`. They print tables and write the records
of each evaluation and a figure of all metrics. A finished evaluation is not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import typer
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.evaluation_options import (
    check_num,
    parse_counts,
    shipped_metric_models,
)
from biglearn_gan.cli.options import Checkpoint, DataRoot, with_data_root, without_missing
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import DataConfig, DataSetName
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.comparison import (
    TASKS,
    evaluate_pending,
    plot_curves,
    save_figure,
)
from biglearn_gan.evaluation.tables import comparison_tables, detailed_comparison_tables
from biglearn_gan.evaluation.task import CompletionModel
from biglearn_gan.files import write_json
from biglearn_gan.inference.batched import complete_best
from biglearn_gan.inference.inputs import without_labels_or_missing
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.models.progressive import OrderName, check_order
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.rng import Stream, make_rng


@dataclass(frozen=True)
class StepwiseModel:
    """A model that generates every hole in ``steps`` steps."""

    model: BigLearnGAN
    steps: int
    order: OrderName

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.model.patch_size

    def complete(
        self, images: Float[Tensor, "N C H W"], hole: Bool[Tensor, "N H W"], **options: Any
    ) -> Float[Tensor, "N K C H W"]:
        """See :meth:`biglearn_gan.models.biglearn_gan.BigLearnGAN.complete`."""
        return self.model.complete(images, hole, steps=self.steps, order=self.order, **options)


@dataclass(frozen=True)
class RankingModel:
    """A model whose discriminator chooses each completion among ``candidates``."""

    model: BigLearnGAN
    candidates: int

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.model.patch_size

    def complete(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        *,
        absent: Bool[Tensor, "N H W"] | None = None,
        **options: Any,
    ) -> Float[Tensor, "N K C H W"]:
        """See :meth:`biglearn_gan.models.biglearn_gan.BigLearnGAN.complete`."""
        sampling = SamplingOptions(**options)
        best = complete_best(
            self.model, images, hole, sampling, absent=absent, best_of=self.candidates
        )
        return best.images


@dataclass(frozen=True)
class Setting:
    """One row of the tables, and one point of a curve in the figure."""

    label: str
    curve: str
    count: int
    folder: Path
    sampler: CompletionModel


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(help="Folder for the evaluations and the figure.")],
    steps: Annotated[str, typer.Option(help="Numbers of steps.")] = "1,2,4,8,16",
    orders: Annotated[str, typer.Option(help="Orders of the steps.")] = "random,raster,center-out",
    candidates: Annotated[
        str | None, typer.Option(help="Numbers of candidates: measure ranking instead of steps.")
    ] = None,
    other: Annotated[
        str | None, typer.Option(help="With --candidates: another data set to tell apart.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Images per task.")] = 10_000,
    data_root: DataRoot = None,
) -> None:
    """Run the evaluations that are not there yet, and print Markdown tables."""
    torch.set_num_threads(1)
    if other is not None and candidates is None:
        fail("--other requires --candidates", code=2)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = with_data_root(data_root, without_missing(model.config.data))
    if candidates is None:
        counts = parse_counts(steps, "--steps")
        settings = step_settings(model, output, counts, orders.split(","))
    else:
        settings = ranking_settings(model, output, parse_counts(candidates, "--candidates"))
    metric_models = shipped_metric_models(data.name, checkpoint)
    check_num(num, metric_models)
    other_data = None if other is None else load_other_images(data, other)
    samplers = {setting.folder: setting.sampler for setting in settings}
    evaluate_pending(samplers, fingerprint(model), data, num, metric_models)
    if candidates is None:
        report(settings, "steps", output / "steps.png")
    else:
        report(settings, "candidates", output / "best_of.png")
        areas = discrimination_auc(model, data, other_data, num)
        write_json(output / "discrimination_auc.json", areas)
        typer.echo(f"\n{auc_table(areas)}")


def step_settings(
    model: BigLearnGAN, output: Path, counts: Sequence[int], orders: Sequence[str]
) -> list[Setting]:
    """Every number of steps in every order; with one step, all orders are the same."""
    settings = []
    for count in counts:
        for name in orders:
            order = check_order(name, count, model.config.token_count)
            folder = output / f"{count}_{order if count > 1 else 'random'}"
            sampler = StepwiseModel(model, count, order)
            settings.append(Setting(step_label(count, order), name, count, folder, sampler))
    return settings


def ranking_settings(model: BigLearnGAN, output: Path, counts: Sequence[int]) -> list[Setting]:
    """Every number of candidates."""
    return [
        Setting(
            label=ranking_label(count),
            curve="best of",
            count=count,
            folder=output / f"best_of_{count}",
            sampler=RankingModel(model, count),
        )
        for count in counts
    ]


def step_label(steps: int, order: str) -> str:
    """The row label of a number of steps in an order."""
    return "one pass" if steps == 1 else f"{steps} steps, {order}"


def ranking_label(candidates: int) -> str:
    """The row label of a number of candidates."""
    return f"best of {candidates}"


def report(settings: Sequence[Setting], unit: str, figure_file: Path) -> None:
    """Print the tables and draw every metric against the number of ``unit``."""
    lines: dict[str, dict[int, Path]] = {}
    for setting in settings:
        lines.setdefault(setting.curve, {})[setting.count] = setting.folder
    save_figure(plot_curves(lines, unit), figure_file)
    rows = {setting.label: setting.folder for setting in settings}
    typer.echo(f"{comparison_tables(rows, TASKS)}\n\n{detailed_comparison_tables(rows, TASKS)}")


def load_other_images(data: DataConfig, name: str) -> ImageDataset:
    """The test images of another data set, in the size and channels of this one."""
    if name not in get_args(DataSetName):
        fail(f"--other must be one of {', '.join(get_args(DataSetName))}, not {name!r}", code=2)
    other = without_labels_or_missing(data.model_copy(update={"name": name}))
    if other.gaussian_field is not None and data.gaussian_field is None:
        fail(f"--other must be a data set of bounded pixels, as {data.name} is, not {name}", code=2)
    return load_dataset(other, "test")


def discrimination_auc(
    model: BigLearnGAN, data: DataConfig, other: ImageDataset | None, num: int
) -> dict[str, float]:
    """Area under the ROC curve of the critic score, test images against each kind of others.

    Args:
        model: the model whose discriminator scores whole images.
        data: the data set of the test images.
        other: images of another data set, or None.
        num: the largest number of images of each kind.
    """
    test_data = load_dataset(data, "test")
    images = test_data.batch(torch.arange(min(num, len(test_data)))).images
    order = torch.randperm(images[0, 0].numel(), generator=make_rng(Stream.REFERENCE, 0))
    negatives = {
        "the model's own": model.sample(len(images), seed=0),
        "the same turned upside down": images.flip(2),
        "the same with their pixels shuffled": images.flatten(2)[..., order].view_as(images),
    }
    if other is not None:
        name = other.name.partition(":")[0]
        negatives[name] = other.batch(torch.arange(min(num, len(other)))).images
    test_scores = critic_scores(model, images)
    areas = {}
    for name, others in negatives.items():
        scores = torch.cat([test_scores, critic_scores(model, others)])
        is_test = torch.arange(len(scores)) < len(test_scores)
        areas[name] = float(roc_auc_score(is_test.numpy(), scores.numpy()))
    return areas


def critic_scores(model: BigLearnGAN, images: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """The discriminator's logits of whole images, with every token a target."""
    everything = torch.ones_like(images[:, 0], dtype=torch.bool)
    return model.rank(images, everything)


def auc_table(areas: Mapping[str, float]) -> str:
    """The areas under the curve as Markdown."""
    lines = ["| test images against | area under the curve |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {area:.3f} |" for name, area in areas.items())])


if __name__ == "__main__":
    run(main, "steps_and_ranking")
