"""Time the Fréchet distance against SciPy's matrix square root, which pytorch-fid uses.

    python experiments/benchmarks/frechet.py [--dims 2048] [--images 4096]

Both methods get the same statistics in the same process; no data are needed. With fewer images than
dimensions the covariances are singular: both methods take longer, and SciPy's square root is
accurate to a few digits only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import scipy.linalg
import torch
import typer

from biglearn_gan.cli.runner import run
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance


def main(
    dims: Annotated[int, typer.Option(min=2, help="Dimensions of the features.")] = 2048,
    images: Annotated[
        int | None, typer.Option(min=2, help="Images per side (default: twice the dimensions).")
    ] = None,
) -> None:
    """Print seconds and values as a Markdown table."""
    count = 2 * dims if images is None else images
    a, b = (random_statistics(dims, count, seed) for seed in (0, 1))
    seconds, value = time_and_result(lambda: frechet_distance(a, b, allow_few=True))
    scipy_seconds, scipy_value = time_and_result(lambda: scipy_frechet_distance(a, b))
    typer.echo("| what | measured |\n|---|---|")
    typer.echo(f"| threads | {torch.get_num_threads()} |")
    typer.echo(f"| images per side | {count:,} |")
    typer.echo(f"| `frechet_distance`, {dims} dimensions | {seconds:.2f} s |")
    typer.echo(f"| with `scipy.linalg.sqrtm` {scipy.__version__} | {scipy_seconds:.2f} s |")
    typer.echo(f"| ratio | {scipy_seconds / seconds:.1f} |")
    typer.echo(f"| relative difference of the values | {abs(value / scipy_value - 1):.1e} |")


def random_statistics(dimensions: int, count: int, seed: int) -> GaussianStatistics:
    """Statistics of ``count`` random vectors with correlated entries."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=rng, dtype=torch.float64)
    vectors = torch.randn(count, dimensions, generator=rng, dtype=torch.float64)
    statistics = GaussianStatistics(dimensions)
    statistics.update(vectors @ mixing / dimensions**0.5)
    return statistics


def scipy_frechet_distance(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """The textbook formula, with the square root of the product of the covariances."""
    root = scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy())
    shift = a.mean - b.mean
    traces = a.covariance.trace() + b.covariance.trace()
    return float(shift @ shift + traces) - 2 * float(np.trace(root).real)


def time_and_result(function: Callable[[], float]) -> tuple[float, float]:
    """Wall time in seconds, and the result."""
    started = time.perf_counter()
    value = function()
    return time.perf_counter() - started, value


if __name__ == "__main__":
    run(main, "frechet")
