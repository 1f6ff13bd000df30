"""The transformer GAN on 25 Gaussians: the joint task alone against many tasks, at equal images.

    python experiments/simulate_gan.py [--variant NAME ...] [--seeds 10]
    python experiments/simulate_gan.py --print

Two coordinates are two tokens. Every run is that of experiments/gaussian_grid.yaml with other
tasks, and adds its row to experiments/results/simulations/gmm_gan.csv; what is already there is
not done again, and a run that was stopped goes on. Every model is measured by 10,000 samples of
both coordinates.
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
from gmm_schedules import read, write
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import run
from biglearn_gan.config import load_config
from biglearn_gan.files import replacing
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.simulations.objectives import ModeStatistics, grid_data, mode_statistics
from biglearn_gan.training.fit import fit

CONFIG = Path("experiments/gaussian_grid.yaml")
RESULTS = Path("experiments/results/simulations/gmm_gan.csv")
FIGURE = Path("experiments/figures/grid_gan.png")
SAMPLES = 10_000
SHOWN = 2_500
AVERAGE_SHARE = 0.03
"""Half-life of the generator's average, as a share of the budget; 6,000 images of 200,000."""

OWN = [
    {"name": "joint", "weight": 0.6},
    {"name": "conditional", "weight": 0.2, "target": {"pattern": "iid", "ratio": {"count": 1}}},
    {"name": "marginal", "weight": 0.2, "union": {"pattern": "iid", "ratio": {"count": 1}}},
]
VARIANTS: dict[str, list[str]] = {
    "joint only": ["tasks={preset: joint}"],
    "joint, marginals, conditionals": [f"tasks={yaml.safe_dump({'components': OWN}, width=9999)}"],
    "the same in random orthogonal domains too": [],
}


def main(
    variant: Annotated[list[str] | None, typer.Option(help="Default: all of them.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="0 to this minus one.")] = 10,
    images: Annotated[int, typer.Option(min=1, help="Budget of a run.")] = 200_000,
    results: Annotated[Path, typer.Option(help="CSV that rows are added to.")] = RESULTS,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/simulate_gan"),
    figure: Annotated[Path, typer.Option(help="Samples of seed 0, where all are there.")] = FIGURE,
    only_print: Annotated[bool, typer.Option("--print", help="Train nothing.")] = False,
) -> None:
    """Train what is missing, then print the table as Markdown."""
    torch.set_num_threads(1)
    names = list(VARIANTS) if variant is None else variant
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(map(repr, VARIANTS))}")
    for seed in range(0 if only_print else seeds):
        for name in names:
            key = {"variant": name, "seed": str(seed), "images": str(images)}
            if not any(key.items() <= row.items() for row in read(results)):
                row = key | measure(name, seed, images, runs)
                write(results, [*read(results), row])
    folders = [run_folder(runs, name, 0, images) for name in VARIANTS]
    if not only_print and all((folder / "checkpoint").is_dir() for folder in folders):
        draw([samples(folder)[:SHOWN] for folder in folders], figure)
    typer.echo(table(read(results)))


def run_folder(runs: Path, name: str, seed: int, images: int) -> Path:
    """Where one run is kept."""
    return runs / f"{name}-{seed}-{images}"


def measure(name: str, seed: int, images: int, runs: Path) -> dict[str, str]:
    """Train one model and count its samples at the modes."""
    overrides = [
        *VARIANTS[name],
        f"train.seed={seed}",
        f"train.max_images={images}",
        f"train.ema_half_life_images={AVERAGE_SHARE * images}",
    ]
    folder = run_folder(runs, name, seed, images)
    outcome = fit(load_config(CONFIG, overrides), folder, device="cpu")
    if outcome.interrupted:
        raise typer.Abort
    return in_words(mode_statistics(samples(folder), grid_data())) | {
        "seconds": f"{outcome.seconds:.1f}"
    }


def in_words(found: ModeStatistics) -> dict[str, str]:
    """The columns of what was counted."""
    return {
        "modes_covered": str(found.covered),
        "good_share": f"{found.good_share:.4f}",
        "histogram_kl": f"{found.histogram_kl:.5f}",
    }


def samples(folder: Path) -> Tensor:
    """Points (SAMPLES, 2) from nothing, float64."""
    model = BigLearnGAN.from_pretrained(folder / "checkpoint")
    return model.sample(SAMPLES, seed=0).flatten(1).double()


def data_samples() -> Tensor:
    """As many points of the data's law."""
    return grid_data().sample(SAMPLES, make_rng(Stream.FIELDS, 2))


def table(rows: Sequence[dict[str, str]]) -> str:
    """One line for each variant and budget, mean ± standard deviation over seeds."""
    groups: defaultdict[tuple[int, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[int(row["images"]), row["variant"]].append(row)
    noise = make_rng(Stream.FIELDS, 3)
    square = 10 * torch.rand(SAMPLES, 2, generator=noise, dtype=torch.float64) - 5
    references = {"samples of the data": data_samples(), "uniform in [-5, 5]²": square}
    lines = [
        "| tasks | images | seeds | all 25 modes | modes, mean (least) | share within 3σ "
        "| KL of the mode histogram (nats) | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, points in references.items():
        covered, good, kl = in_words(mode_statistics(points, grid_data())).values()
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
                    f"{mean(modes):.1f} ({min(modes)}) | {spread(shares, 3)} | "
                    f"{spread(divergences, 4)} | {mean(seconds):.0f} |"
                )
    return "\n".join(lines)


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def draw(points: Sequence[Tensor], path: Path) -> None:
    """Samples of every variant beside those of the data."""
    figure = Figure(figsize=(3.2 * (1 + len(points)), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(1, 1 + len(points), sharex=True, sharey=True))
    shown = {"data": data_samples()[:SHOWN]} | dict(zip(VARIANTS, points, strict=True))
    for axis, (name, drawn) in zip(axes, shown.items(), strict=True):
        across, up = drawn.T.numpy()
        axis.scatter(across, up, s=1.5, linewidths=0)
        axis.set(title=name, aspect="equal", xlim=(-5.5, 5.5), ylim=(-5.5, 5.5))
        axis.title.set_fontsize(8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


if __name__ == "__main__":
    run(main, "simulate_gan")
