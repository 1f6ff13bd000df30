"""Run a grid of variants of one configuration with several seeds, and tell them apart in a table.

    python experiments/ablate.py experiments/ablations/digits_objective.yaml [--processes 2]

The YAML file holds ``config`` (the base), ``overrides`` (for all), ``variants`` (a name and
overrides each), ``seeds``, ``tasks`` and ``num`` of the evaluation and further options of it in
``evaluate``, ``threads`` of a run (1), and ``tables`` (columns of each, by title). Every run is
`biglearn-gan train`, then `biglearn-gan evaluate`, in a process of its own; a run that was stopped
goes on, and a finished one is not repeated, also where another grid made it. Beside the YAML file
(or in ``--output``) appear NAME.csv (one line for each run), NAME.md (mean ± standard deviation
over seeds) and NAME.png. A run whose line is in the CSV is done, whether its folder is still there
or not, so that seeds and variants can be added anywhere; a line of another configuration is
refused, and another ``--output`` with other ``--runs`` measures all anew.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import typer
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from biglearn_gan.cli.runner import CommandError, fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.evaluation.tables import SUBJECTS, parts_of
from biglearn_gan.files import replacing

MEASURES = (
    "fd",
    "precision",
    "recall",
    "entropy",
    "agreement",
    "label-total-variation",
    "diversity",
)


class Grid(BaseModel):
    """What a YAML file holds."""

    model_config = ConfigDict(extra="forbid")

    config: Path
    overrides: list[str] = []
    variants: dict[str, list[str]]
    seeds: list[int]
    tasks: str = "joint,random:0.25,random:0.5,random:0.75,right-half"
    num: int = 1797
    evaluate: list[str] = []
    threads: PositiveInt = 1
    tables: dict[str, list[str]] = {}


def read_grid(path: Path) -> Grid:
    """The grid of a YAML file.

    Raises:
        Mistake: it holds none.
    """
    try:
        return Grid.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise CommandError(f"{path}: {' '.join(str(error).split())}", code=2) from None


def check_columns(grid: Grid) -> None:
    """A column of a table that no evaluation of the grid can have is a mistake."""
    tasks = grid.tasks.split(",")
    for name in {name for names in grid.tables.values() for name in names}:
        measure, *others = name.split(" ")
        of_model = measure in MEASURES and others[-1:] and others[-1] in tasks
        if not of_model or not {*others[:-1]} <= {*SUBJECTS}:
            fail(
                f"tables: {name!r} must be a measure ({', '.join(MEASURES)}), where it is not of "
                f"the model itself whose ({', '.join(SUBJECTS)}), and a task ({grid.tasks})",
                code=2,
            )


@dataclass(frozen=True)
class Run:
    """One variant with one seed; ``runs`` is where every grid keeps its runs."""

    variant: str
    seed: int
    runs: Path
    grid: Grid

    @property
    def overrides(self) -> list[str]:
        """What distinguishes it from the base, but for the seed."""
        return [*self.grid.overrides, *self.grid.variants[self.variant]]

    @property
    def folder(self) -> Path:
        """Named by what is trained, not by what a grid calls it."""
        threads = [f"threads={self.grid.threads}"] if self.grid.threads > 1 else []
        words = [self.grid.config.stem, *self.overrides, *threads, f"seed={self.seed}"]
        name = "-".join(words)
        return self.runs / name.replace("/", "_").replace(" ", "")

    @property
    def metrics(self) -> Path:
        words = [self.grid.tasks, str(self.grid.num), *self.grid.evaluate]
        return self.folder / "-".join(words).replace(":", "_").replace("/", "_") / "metrics.json"

    @property
    def name(self) -> str:
        """What is trained and how it is measured: one name for one line of a CSV."""
        return self.metrics.parent.relative_to(self.runs).as_posix()

    @cached_property
    def config(self) -> Config:
        """What is trained, in full."""
        return load_config(self.grid.config, [*self.overrides, f"train.seed={self.seed}"])

    @property
    def fingerprint(self) -> str:
        """Changes with whatever the configuration sets, wherever its data are."""
        text = self.config.portable().model_dump_json(exclude_defaults=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def carry_out(self) -> None:
        """Train and evaluate, on the grid's threads; what is done already is left alone."""
        if self.metrics.exists():
            if load_config(self.folder / "config.yaml") != self.config:
                fail(f"{self.folder} was made with another configuration: remove it")
            return
        overrides = [*self.overrides, f"train.seed={self.seed}"]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        train = ["train", "--config", str(self.grid.config), "--output", str(self.folder)]
        data = [o.removeprefix("data.root=") for o in overrides if o.startswith("data.root=")]
        evaluate = [
            *("evaluate", "--checkpoint", str(self.folder / "checkpoint")),
            *("--tasks", self.grid.tasks, "--num", str(self.grid.num)),
            *("--output", str(self.metrics.parent), *self.grid.evaluate),
            *(("--data-root", data[-1]) if data else ()),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": str(self.grid.threads)}
        log_file = self.folder.with_name(f"{self.folder.name}.log")
        with log_file.open("a", encoding="utf-8") as log:
            for words in ([*train, *overrides], evaluate):
                ended = subprocess.run(
                    [sys.executable, "-m", "biglearn_gan", *words],
                    check=False,
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
                if ended.returncode:
                    fail(f"a run failed: {log.name} says why")

    def row(self) -> dict[str, Any]:
        """What was measured: a column for each measure and task."""
        row: dict[str, Any] = {"variant": self.variant, "seed": self.seed, "run": self.name}
        row["configuration"] = self.fingerprint
        with (self.folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            logged = [line for line in csv.DictReader(file) if line["seconds"]]
        row |= {"images": logged[-1]["images"], "seconds": logged[-1]["seconds"]}
        for record in json.loads(self.metrics.read_text(encoding="utf-8")):
            measure, subject = parts_of(record["metric"])
            if measure in MEASURES and record["task"] != "originals":
                row.setdefault(f"{measure} {subject} {record['task']}".replace("  ", " "), record)
        return {k: v["value"] if isinstance(v, dict) else v for k, v in row.items()}


def main(
    grid_file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    processes: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/ablations"),
    output: Annotated[
        Path | None, typer.Option(help="Folder of CSV, table and figure (default: the grid's).")
    ] = None,
) -> None:
    """Carry out what is missing, and write the CSV, the table and the figure."""
    grid = read_grid(grid_file)
    check_columns(grid)
    todo = [Run(variant, seed, runs, grid) for seed in grid.seeds for variant in grid.variants]
    results = (output or grid_file.parent) / grid_file.name
    one_at_a_time = Lock()

    def finish(one: Run) -> None:
        started = time.perf_counter()
        one.carry_out()
        spent = time.perf_counter() - started
        with one_at_a_time:
            rows[one.name] = one.row()
            print(f"{one.variant}, seed {one.seed}: {spent:.0f} s", flush=True)
            write_results()

    def write_results() -> None:
        done = [rows[one.name] | {"variant": one.variant} for one in todo if one.name in rows]
        write(results, done, grid.tables)

    rows = read_rows(results.with_suffix(".csv"))
    for one in todo:
        if one.name in rows and rows[one.name].get("configuration") != one.fingerprint:
            fail(
                f"{results.with_suffix('.csv')}: the line of {one.variant!r}, seed {one.seed} is "
                "of another configuration: remove it, or choose another --output"
            )
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(finish, [one for one in todo if one.name not in rows]))
    write_results()


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of a CSV by `write`, by the name of their run; none where there is no file."""
    if not path.exists():
        return {}
    words = ("variant", "run", "configuration", "images", "seconds")
    with path.open(newline="", encoding="utf-8") as file:
        return {
            line["run"]: {
                key: value if key in words else int(value) if key == "seed" else float(value)
                for key, value in line.items()
                if value
            }
            for line in csv.DictReader(file)
        }


def write(
    results: Path, rows: list[dict[str, Any]], tables: Mapping[str, Sequence[str]] | None = None
) -> None:
    """The CSV, the tables and the figure of the runs that are done.

    Args:
        results: their path, but for the suffix.
        rows: one for each run.
        tables: columns of each table by its title; None for a single one of what is most asked for.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (
        replacing(results.with_suffix(".csv")) as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    wanted = tables or {"": usual_columns(rows)}
    for name in {name for names in wanted.values() for name in names}:
        if not any(name in row for row in rows):
            fail(f"{results}: no run has the column {name!r} of its tables")
    texts = [f"{title}\n\n{table(rows, names)}".strip() for title, names in wanted.items()]
    with replacing(results.with_suffix(".md")) as path:
        path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    shown = list(dict.fromkeys(name for names in wanted.values() for name in names))
    with replacing(results.with_suffix(".png")) as path:
        figure(rows, shown).savefig(path, format="png", dpi=100)


def usual_columns(rows: list[dict[str, Any]]) -> list[str]:
    """Distances, agreements, entropy and diversity of the model itself, in the order measured."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    kinds = ("fd", "entropy", "agreement", "diversity")
    return [c for c in columns if c.partition(" ")[0] in kinds and len(c.split(" ")) == 2]


def table(rows: list[dict[str, Any]], columns: Sequence[str]) -> str:
    """Mean ± standard deviation over seeds, a line for each variant."""
    lines = [
        "| variant | seeds | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for variant, group in groups(rows).items():
        cells = [spread([row[column] for row in group if column in row]) for column in columns]
        lines.append(f"| {variant} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(rows: list[dict[str, Any]], columns: Sequence[str]) -> Figure:
    """A panel for each column: every seed as a dot, the mean as a bar."""
    variants = groups(rows)
    drawn = Figure(figsize=(2.2 * len(columns), 1 + 0.35 * len(variants)), layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        for place, group in enumerate(variants.values()):
            values = [row[column] for row in group if column in row]
            panel.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.6)
            if values:
                panel.plot(statistics.mean(values), place, "|", color="black", markersize=14)
        panel.set_title(column, fontsize=8)
        panel.tick_params(labelsize=7)
    panels[0].set_yticks(range(len(variants)), list(variants))
    panels[0].invert_yaxis()
    return drawn


def groups(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each variant."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        variants.setdefault(row["variant"], []).append(row)
    return variants


def spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.mean(values):.3g}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.1g}"


if __name__ == "__main__":
    run(main, "ablate")
