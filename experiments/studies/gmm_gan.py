"""Train the GAN on 25 Gaussians with the joint task alone and with many tasks.

    python experiments/studies/gmm_gan.py [--variant NAME ...] [--seeds 10]
    python experiments/studies/gmm_gan.py --print

The two coordinates are two tokens. Every run uses experiments/gaussian_grid.yaml with other tasks,
and is measured by 10,000 samples of both coordinates. It adds a row to
experiments/results/simulations/gmm_gan.csv. A run that has its row is not repeated, and an
interrupted one continues.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import torch
import typer
import yaml
from gmm_schedules import check_variants, read_rows, write_rows
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import run
from biglearn_gan.config import load_config
from biglearn_gan.files import make_folder, replacing
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.simulations.objectives import ModeStatistics, grid_data, mode_statistics
from biglearn_gan.training.fit import fit

CONFIG = Path("experiments/gaussian_grid.yaml")
RESULTS = Path("experiments/results/simulations/gmm_gan.csv")
SAMPLES = 10_000
SCATTERED_SAMPLES = 2_500
EMA_HALF_LIFE_SHARE = 0.03
"""Half-life of the generator's moving average as a share of the images, 6,000 of 200,000."""

ORIGINAL_DOMAIN_TASKS = [
    {"name": "joint", "weight": 0.6},
    {"name": "conditional", "weight": 0.2, "target": {"pattern": "iid", "ratio": {"count": 1}}},
    {"name": "marginal", "weight": 0.2, "union": {"pattern": "iid", "ratio": {"count": 1}}},
]
VARIANTS: dict[str, list[str]] = {
    "joint only": ["tasks={preset: joint}"],
    "joint, marginals, conditionals": [
        f"tasks={yaml.safe_dump({'components': ORIGINAL_DOMAIN_TASKS}, width=9999)}"
    ],
    "the same in random orthogonal domains too": [],
}


def main(
    variant: Annotated[list[str] | None, typer.Option(help="Default: all variants.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 10,
    images: Annotated[int, typer.Option(min=1, help="Training images of a run.")] = 200_000,
    results: Annotated[Path, typer.Option(help="CSV file to read and extend.")] = RESULTS,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/gmm_gan"),
    figure: Annotated[
        Path | None,
        typer.Option(help="PNG file for the samples of seed 0 (default: RUNS/samples_IMAGES.png)."),
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Train nothing.")] = False,
) -> None:
    """Train the models that are not in the CSV file, then print a Markdown table of all."""
    torch.set_num_threads(1)
    names = check_variants(variant, VARIANTS)
    for seed in range(0 if only_print else seeds):
        for name in names:
            key = {"variant": name, "seed": str(seed), "images": str(images)}
            if not any(key.items() <= row.items() for row in read_rows(results)):
                row = key | train_and_measure(name, seed, images, runs)
                write_rows(results, [*read_rows(results), row])
    folders = [run_folder(runs, name, 0, images) for name in VARIANTS]
    if not only_print and all((folder / "checkpoint").is_dir() for folder in folders):
        points = [samples(folder)[:SCATTERED_SAMPLES] for folder in folders]
        draw_scatter(points, figure or runs / f"samples_{images}.png")
    typer.echo(table(read_rows(results)))


def run_folder(runs: Path, name: str, seed: int, images: int) -> Path:
    """The folder of one run."""
    return runs / f"{name}-{seed}-{images}"


def train_and_measure(name: str, seed: int, images: int, runs: Path) -> dict[str, str]:
    """Train one model and return the measured columns of its row."""
    overrides = [
        *VARIANTS[name],
        f"train.seed={seed}",
        f"train.max_images={images}",
        f"train.ema_half_life_images={EMA_HALF_LIFE_SHARE * images}",
    ]
    folder = run_folder(runs, name, seed, images)
    outcome = fit(load_config(CONFIG, overrides), folder, device="cpu")
    if outcome.interrupted:
        raise typer.Abort
    statistics = mode_statistics(samples(folder), grid_data())
    return statistics_columns(statistics) | {"seconds": f"{outcome.seconds:.1f}"}


def statistics_columns(statistics: ModeStatistics) -> dict[str, str]:
    """The columns of a row that hold mode statistics."""
    return {
        "modes_covered": str(statistics.covered),
        "good_share": f"{statistics.good_share:.4f}",
        "histogram_kl": f"{statistics.histogram_kl:.5f}",
    }


def samples(folder: Path) -> Tensor:
    """Unconditional samples (SAMPLES, 2) of a run's model, float64."""
    model = BigLearnGAN.from_pretrained(folder / "checkpoint")
    return model.sample(SAMPLES, seed=0).flatten(1).double()


def data_samples() -> Tensor:
    """Samples (SAMPLES, 2) of the data distribution, float64."""
    return grid_data().sample(SAMPLES, make_rng(Stream.FIELDS, 2))


def table(rows: Sequence[dict[str, str]]) -> str:
    """One line per variant and number of images, mean ± standard deviation over seeds."""
    groups: defaultdict[tuple[int, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[int(row["images"]), row["variant"]].append(row)
    rng = make_rng(Stream.FIELDS, 3)
    square = 10 * torch.rand(SAMPLES, 2, generator=rng, dtype=torch.float64) - 5
    references = {"samples of the data": data_samples(), "uniform in [-5, 5]²": square}
    lines = [
        "| tasks | images | seeds | all 25 modes | modes, mean (least) | share within 3σ "
        "| KL of the mode histogram (nats) | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, points in references.items():
        statistics = mode_statistics(points, grid_data())
        covered, good, kl = statistics_columns(statistics).values()
        lines.append(f"| *{name}* | | | | {covered} | {good} | {kl} | |")
    for images in sorted({images for images, _ in groups}):
        for name in VARIANTS:
            if group := groups.get((images, name)):
                modes = [int(row["modes_covered"]) for row in group]
                shares, divergences, seconds = (
                    [float(row[column]) for row in group]
                    for column in ("good_share", "histogram_kl", "seconds")
                )
                lines.append(
                    f"| {name} | {images:,} | {len(group)} | {modes.count(25)} | "
                    f"{mean(modes):.1f} ({min(modes)}) | {mean_with_deviation(shares, 3)} | "
                    f"{mean_with_deviation(divergences, 4)} | {mean(seconds):.0f} |"
                )
    return "\n".join(lines)


def mean_with_deviation(values: list[float], digits: int) -> str:
    """``mean ± standard deviation``, or the mean of a single value."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def draw_scatter(points: Sequence[Tensor], path: Path) -> None:
    """Draw samples of the data and of every variant side by side."""
    figure = Figure(figsize=(3.2 * (1 + len(points)), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(1, 1 + len(points), sharex=True, sharey=True))
    named = {"data": data_samples()[:SCATTERED_SAMPLES]} | dict(zip(VARIANTS, points, strict=True))
    for axis, (name, drawn) in zip(axes, named.items(), strict=True):
        x, y = drawn.T.numpy()
        axis.scatter(x, y, s=1.5, linewidths=0)
        axis.set(title=name, aspect="equal", xlim=(-5.5, 5.5), ylim=(-5.5, 5.5))
        axis.title.set_fontsize(8)
    make_folder(path.parent)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


if __name__ == "__main__":
    run(main, "gmm_gan")
