"""One model, drawn from in one pass or in many: quality and speed against the number of steps.

    python experiments/progressive.py --checkpoint checkpoints/digits --output runs/progressive

The protocol is that of `biglearn-gan evaluate`. It writes the records of each and a figure of every
quality, steps.png, and prints tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import DataRoot, with_data_root, without_missing
from biglearn_gan.cli.runner import run
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
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.models.progressive import OrderName, checked_order


@dataclass(frozen=True)
class InSteps:
    """A model that draws every hole in so many steps."""

    model: BigLearnGAN
    steps: int
    order: OrderName

    def complete(
        self, images: Float[Tensor, "N C H W"], hole: Bool[Tensor, "N H W"], **options: Any
    ) -> Float[Tensor, "N K C H W"]:
        """See :meth:`biglearn_gan.models.biglearn_gan.BigLearnGAN.complete`."""
        return self.model.complete(images, hole, steps=self.steps, order=self.order, **options)


def main(
    checkpoint: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option(help="Folder of the measurements.")],
    steps: Annotated[str, typer.Option(help="Numbers of steps.")] = "1,2,4,8,16",
    orders: Annotated[str, typer.Option(help="Orders.")] = "random,raster,center-out",
    num: Annotated[int, typer.Option(min=1, help="Images of each task.")] = 10_000,
    data_root: DataRoot = None,
) -> None:
    """Measure what is missing, and print the tables."""
    torch.set_num_threads(1)
    counts = counts_of(steps, "--steps")
    model = BigLearnGAN.from_pretrained(checkpoint)
    lines: dict[str, dict[int, Path]] = {name: {} for name in orders.split(",")}
    samplers: dict[Path, InSteps] = {}
    shown: dict[str, Path] = {}
    for count in counts:
        for name, folders in lines.items():
            order = checked_order(name, count, model.config.token_count)
            folders[count] = output / f"{count}_{order if count > 1 else 'random'}"
            samplers[folders[count]] = InSteps(model, count, order)
            shown[row_of(count, order)] = folders[count]
    patch_size = model.config.model.patch_size
    data = with_data_root(data_root, without_missing(model.config.data))
    metric_models = shipped_metric_models(data.name, checkpoint)
    check_num(num, metric_models)
    measure(samplers, fingerprint(model), data, patch_size, num, metric_models)
    save(curves(lines, "steps"), output / "steps.png")
    typer.echo(f"{side_by_side(shown, TASKS)}\n\n{other_qualities(shown, TASKS)}")


def row_of(steps: int, order: str) -> str:
    """What the line of so many steps is called."""
    return "one pass" if steps == 1 else f"{steps} steps, {order}"


if __name__ == "__main__":
    run(main, "progressive")
