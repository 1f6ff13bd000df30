"""One model, drawn from in one pass or in many: quality and speed against the number of steps.

    python experiments/progressive.py --checkpoint checkpoints/digits --output runs/progressive

The protocol is that of `biglearn-gan evaluate`; measured are the records, the speed, a table and a
figure, steps.png.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from jaxtyping import Bool, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tables import by_task, side_by_side
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.data import load_dataset
from biglearn_gan.evaluation.protocol import evaluate
from biglearn_gan.evaluation.report import write_report
from biglearn_gan.evaluation.shipped import load_rulers
from biglearn_gan.files import replacing
from biglearn_gan.progress import task_bars
from biglearn_gan.progressive import OrderName, checked_order

TASKS = ("joint", "random:0.25", "random:0.5", "random:0.75", "right-half")


@dataclass(frozen=True)
class InSteps:
    """A model that draws every hole in so many steps."""

    model: BigLearnGAN
    steps: int
    order: OrderName

    def complete(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        *,
        absent: Bool[Tensor, "N H W"] | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Float[Tensor, "N K C H W"]:
        """See :meth:`biglearn_gan.model.BigLearnGAN.complete`."""
        return self.model.complete(
            images,
            hole,
            absent=absent,
            variations=variations,
            seed=seed,
            first_image=first_image,
            steps=self.steps,
            order=self.order,
        )


def main(
    checkpoint: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option(help="Folder of the measurements.")],
    steps: Annotated[str, typer.Option(help="Numbers of steps.")] = "1,2,4,8,16",
    orders: Annotated[str, typer.Option(help="Orders.")] = "random,raster,center-out",
    num: Annotated[int, typer.Option(min=1, help="Images of each task.")] = 10_000,
    data_root: Annotated[Path | None, typer.Option(help="Where the data are.")] = None,
) -> None:
    """Measure what is missing, and print the table."""
    torch.set_num_threads(1)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = model.config.data.model_copy(update={"validation_share": 0.0})
    if data_root is not None:
        data = data.model_copy(update={"root": str(data_root), "download": False})
    rulers, _ = load_rulers(data.name, "classifier", None, None, None, torch.device("cpu"))
    splits = [load_dataset(data, split) for split in ("train", "test")]
    counts = sorted(int(count) for count in steps.split(","))
    folders: dict[str, Path] = {}
    for count in counts:
        for name in orders.split(",") if count > 1 else ["random"]:
            order = checked_order(name, count, model.config.token_count)
            folder = output / f"{count}_{order}"
            folders["one pass" if count == 1 else f"{count} steps, {order}"] = folder
            if not (folder / "metrics.json").exists():
                with task_bars() as progress:
                    report = evaluate(
                        InSteps(model, count, order),
                        model.config.model.patch_size,
                        rulers,
                        *splits,
                        num=num,
                        seed=0,
                        variations=2,
                        tasks=TASKS,
                        progress=progress,
                    )
                write_report(report, folder)
    draw(output, counts, orders.split(","))
    typer.echo(side_by_side(folders, TASKS))


def draw(output: Path, counts: list[int], orders: list[str]) -> None:
    """Distance and agreement of every task against the steps, a line for each order."""
    figure = Figure(figsize=(3.0 * len(TASKS), 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(TASKS), squeeze=False)
    for column, task in enumerate(TASKS):
        for row, (measure, label) in enumerate(
            (("fd", "Fréchet distance"), ("agreement", "label agreement"))
        ):
            axes = grid[row, column]
            bound = None
            for order in orders:
                values = []
                for count in counts:
                    folder = output / f"{count}_{order if count > 1 else 'random'}"
                    records = by_task(json.loads((folder / "metrics.json").read_text("utf-8")))
                    record = records.get((task, measure))
                    if record is not None:
                        values.append(record["value"])
                        bound = record["floor"] if measure == "fd" else record["ceiling"]
                if values:
                    axes.plot(counts, values, marker="o", label=order)
            if bound is None:
                axes.set_axis_off()
                continue
            axes.axhline(bound, color="grey", linestyle=":", label="real images")
            axes.set_xscale("log", base=2)
            axes.set(title=task, xlabel="steps", ylabel=label)
    grid[0, 0].legend(fontsize=7)
    with replacing(output / "steps.png") as path:
        figure.savefig(path, dpi=100, format="png")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
