"""Write the results of a simulation: figures, animations, tables and ``summary.json``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image
from torch import Tensor

from biglearn_gan.files import make_folder, replacing, write_json
from biglearn_gan.gaussian_mixture import GaussianMixture
from biglearn_gan.simulations.grid_gmm import Measurement
from biglearn_gan.simulations.objectives import grid_data, line_grid
from biglearn_gan.simulations.two_gmm import Descent, Surface

DATA_COLOR, MODEL_COLOR = "#b0b7c3", "#c0392b"
PLANE_LIMIT = 6.5
"""The plane is drawn from minus to plus this."""

FRAME_MILLISECONDS, LAST_MILLISECONDS = 200, 2000


def write_grid_gmm(
    history: Sequence[Measurement], folder: Path, facts: Mapping[str, str | int]
) -> dict[str, Any]:
    """Write the results of a fit of 25 Gaussians, and return the summary.

    - ``summary.json``: ``facts`` and the last measurement.
    - ``training.csv``: tasks, seconds, covered modes and both divergences over time.
    - ``training.gif``: the Gaussians of the model over time.
    - ``training.png``: divergences and covered modes over time.
    - ``densities.png``: densities of the data and of the result.

    Raises:
        WriteError: the folder cannot be created or written.
    """
    make_folder(folder)
    columns = ("tasks", "seconds", "modes_covered", "reverse_kl", "forward_kl")
    _write_csv(
        folder / "training.csv",
        columns,
        ([getattr(row, column) for column in columns] for row in history),
    )
    _write_animation(folder / "training.gif", history)
    _write_figure(folder / "training.png", plot_history(history))
    last = history[-1]
    weights = torch.full((len(last.means),), 1 / len(last.means), dtype=torch.float64)
    result = GaussianMixture(weights, last.means, last.covariances)
    _write_figure(folder / "densities.png", plot_densities(grid_data(), result))
    summary = dict(facts) | {
        "modes_covered": last.modes_covered,
        "reverse_kl": last.reverse_kl,
        "forward_kl": last.forward_kl,
        "seconds": round(last.seconds, 3),
    }
    write_json(folder / "summary.json", summary)
    return summary


def write_two_gmm(
    surfaces: Sequence[Surface],
    descents: Sequence[Descent],
    folder: Path,
    facts: Mapping[str, str | int | float],
) -> dict[str, Any]:
    """Write the surfaces of two Gaussians and the descents on them, and return the summary.

    - ``summary.json``: ``facts``, the number of spurious minima of every surface, and the share of
      starts from which each descent reached a global minimum.
    - ``minima.csv``: every minimum of every surface.
    - ``surfaces.png``: the surfaces and their minima.
    - ``descents.png``, ``descents.gif``: paths of the models from a grid of starts.

    Raises:
        WriteError: the folder cannot be created or written.
    """
    make_folder(folder)
    rows = []
    for surface in surfaces:
        spurious = surface.spurious_minima().tolist()
        for minimum in surface.minima().tolist():
            kind = "spurious" if minimum in spurious else "global"
            rows.append([surface.name, *(round(value, 6) for value in minimum), kind])
    _write_csv(folder / "minima.csv", ("surface", "a", "b", "value", "kind"), rows)
    _write_figure(folder / "surfaces.png", plot_surfaces(surfaces))
    joint = surfaces[0]
    _write_figure(folder / "descents.png", plot_paths(joint, descents))
    _write_descents(folder / "descents.gif", joint, descents)
    summary = dict(facts) | {
        "spurious_minima": {s.name: len(s.spurious_minima()) for s in surfaces},
        "share_of_starts_solved": {d.name: round(d.share_solved, 4) for d in descents},
    }
    write_json(folder / "summary.json", summary)
    return summary


def plot_surfaces(surfaces: Sequence[Surface]) -> Figure:
    """One panel per surface; circles are global minima, crosses are spurious ones."""
    columns = min(6, len(surfaces))
    rows = math.ceil(len(surfaces) / columns)
    figure = _figure(1.9 * columns + 0.4, 2.1 * rows + 0.2)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, surface in zip(panels, surfaces, strict=False):
        axes.set_axis_on()
        _contour(axes, surface)
        axes.set_title(surface.name, fontsize=8)
        spurious = surface.spurious_minima().tolist()
        for minimum in surface.minima().tolist():
            a, b, _ = minimum
            style = "rx" if minimum in spurious else "wo"
            axes.plot([a, b], [b, a], style, markersize=5)
    return figure


def _contour(axes: Axes, surface: Surface) -> None:
    """Draw the square root of the values, which shows the minima better."""
    heights = surface.values.clamp(min=0).sqrt().T.numpy()
    if heights.max() > 1e-6:
        axes.contourf(surface.axis.numpy(), surface.axis.numpy(), heights, levels=16)
    else:
        axes.text(0.5, 0.5, "flat", transform=axes.transAxes, ha="center", va="center")
    axes.set_aspect("equal")
    axes.tick_params(labelsize=6)


def plot_paths(surface: Surface, descents: Sequence[Descent]) -> Figure:
    """The paths of every descent, drawn over a surface."""
    figure = _figure(3.4 * len(descents), 3.7)
    for axes, descent in zip(
        figure.subplots(1, len(descents), squeeze=False).flat, descents, strict=True
    ):
        _contour(axes, surface)
        path = descent.paths.numpy()
        axes.plot(path[:, :, 0], path[:, :, 1], color="white", linewidth=0.4, alpha=0.6)
        axes.plot(path[-1, :, 0], path[-1, :, 1], ".", color="red", markersize=4)
        axes.set_title(f"{descent.name}: {descent.share_solved:.0%} solved", fontsize=8)
    return figure


def _write_descents(path: Path, surface: Surface, descents: Sequence[Descent]) -> None:
    figure = _figure(2.4 * len(descents), 2.6, dpi=80)
    dots = []
    for axes, descent in zip(
        figure.subplots(1, len(descents), squeeze=False).flat, descents, strict=True
    ):
        _contour(axes, surface)
        axes.set_title(descent.name, fontsize=7)
        dots.append(axes.plot([], [], ".", color="white", markersize=3)[0])
    frames = []
    times = len(descents[0].paths)
    for time in np.unique(np.geomspace(1, times, 30).astype(int) - 1):
        for dot, descent in zip(dots, descents, strict=True):
            dot.set_data(*descent.paths[time].T.numpy())
        frames.append(_pixels(figure))
    _write_gif(path, frames)


def plot_history(history: Sequence[Measurement]) -> Figure:
    """Divergences and covered modes against seconds of training."""
    figure = _figure(7.5, 3.0)
    left, right = figure.subplots(1, 2)
    seconds = [row.seconds for row in history]
    for name, values in (
        ("KL(model ‖ data)", [row.reverse_kl for row in history]),
        ("KL(data ‖ model)", [row.forward_kl for row in history]),
    ):
        left.plot(seconds, [max(value, 1e-6) for value in values], label=name)
    left.set_yscale("log")
    left.set_ylabel("nats (at least 0.000001)")
    left.legend()
    right.plot(seconds, [row.modes_covered for row in history], color=MODEL_COLOR)
    right.set_ylim(0, 26)
    right.set_ylabel("modes covered, of 25")
    for axes in (left, right):
        axes.set_xlabel("seconds of training")
    return figure


def plot_densities(data: GaussianMixture, model: GaussianMixture) -> Figure:
    """Both densities over the plane, on one color scale."""
    axis = line_grid(PLANE_LIMIT, 0.06)
    points = torch.cartesian_prod(axis, axis)
    figure = _figure(6.4, 3.3)
    highest = float(data.log_density(data.means).exp().max())
    for axes, name, mixture in zip(
        figure.subplots(1, 2), ("data", "model"), (data, model), strict=True
    ):
        shape = (len(axis), len(axis))
        heights = mixture.log_density(points).exp().view(shape).T.numpy()
        axes.imshow(
            heights,
            origin="lower",
            extent=(-PLANE_LIMIT, PLANE_LIMIT, -PLANE_LIMIT, PLANE_LIMIT),
            vmax=highest,
            vmin=0,
        )
        axes.set_title(name, fontsize=9)
    return figure


def _write_animation(path: Path, history: Sequence[Measurement]) -> None:
    """Draw two standard deviations of every Gaussian; those of the data are filled."""
    data = grid_data()
    frames = []
    for row in history:
        figure = _figure(3.4, 3.6, dpi=80)
        axes = figure.subplots()
        _ellipses(axes, data.means, data.covariances, facecolor=DATA_COLOR)
        _ellipses(axes, row.means, row.covariances, facecolor="none", edgecolor=MODEL_COLOR)
        axes.set(xlim=(-PLANE_LIMIT, PLANE_LIMIT), ylim=(-PLANE_LIMIT, PLANE_LIMIT), aspect="equal")
        axes.tick_params(labelsize=6)
        axes.set_title(
            f"{row.tasks:,} tasks: {row.modes_covered} modes, KL {row.reverse_kl:.3f}", fontsize=8
        )
        frames.append(_pixels(figure))
    _write_gif(path, frames)


def _ellipses(
    axes: Axes,
    means: Float64[Tensor, "K 2"],
    covariances: Float64[Tensor, "K 2 2"],
    **style: str,
) -> None:
    values, vectors = torch.linalg.eigh(covariances)
    for mean, sizes, basis in zip(means.tolist(), values.sqrt().tolist(), vectors, strict=True):
        angle = math.degrees(math.atan2(float(basis[1, 0]), float(basis[0, 0])))
        axes.add_patch(Ellipse(tuple(mean), 4 * sizes[0], 4 * sizes[1], angle=angle, **style))


def _figure(width: float, height: float, dpi: int = 110) -> Figure:
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Figure) -> Image.Image:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _write_gif(path: Path, frames: Sequence[Image.Image]) -> None:
    """Use one palette for all frames: 64 colors of the last frame."""
    palette = frames[-1].quantize(64)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_MILLISECONDS]
    with replacing(path) as temporary:
        reduced[0].save(
            temporary,
            format="gif",
            save_all=True,
            append_images=reduced[1:],
            duration=durations,
            loop=0,
        )


def _write_figure(path: Path, figure: Figure) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(header)
    writer.writerows(rows)
    with replacing(path) as temporary:
        temporary.write_text(lines.getvalue(), encoding="utf-8", newline="")
