"""Train and evaluate every variant of an ablation with several seeds, and print tables.

    python experiments/ablate.py experiments/ablations/digits_objective.yaml [--processes 2]
    python experiments/ablate.py experiments/ablations/digits_objective.yaml --print

The YAML file has these keys:

- config: the base configuration.
- overrides: overrides for all variants.
- variants: a name and its overrides for each variant.
- seeds: values of train.seed.
- tasks, num, evaluate: --tasks, --num and further options of `biglearn-gan evaluate`.
- threads: CPU threads of a run (1).
- tables: the columns of each table, by title.

Every run is `biglearn-gan train`, then `biglearn-gan evaluate`, each in its own process. An
interrupted run continues, and ablations share their runs. The folder --output gets NAME.csv, with
a row per run, and NAME.png, with a dot per run. A run that has its row is not repeated, even if its
folder is gone, so you can add seeds and variants. To repeat an ablation, choose another --output
and other --runs.
"""

from __future__ import annotations

import csv
import hashlib
import io
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
from PIL import Image
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.loading import count_classes
from biglearn_gan.evaluation.records import BASELINES, REAL, TWO_STEP, read_records
from biglearn_gan.files import make_folder, replacing

RESULTS = Path("experiments/results/ablations")
SUBJECTS = (*BASELINES, TWO_STEP)
MEASURES = (
    "fd",
    "precision",
    "recall",
    "entropy",
    "agreement",
    "label-total-variation",
    "seams",
    "diversity",
)
USUAL_MEASURES = ("fd", "entropy", "agreement", "diversity")
LONGEST_NAME = 200
"""Characters of a folder's name; file systems allow 255 bytes."""

TEXT_COLUMNS = ("variant", "run", "configuration", "images", "seconds")

Row = dict[str, Any]


class Ablation(BaseModel):
    """The content of a YAML file, see the module's docstring."""

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


def main(
    ablation_file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="YAML file, see ablations/.")
    ],
    processes: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
    runs: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/ablations"),
    output: Annotated[Path, typer.Option(help="Folder for the CSV and PNG files.")] = RESULTS,
    only_print: Annotated[bool, typer.Option("--print", help="Train nothing.")] = False,
) -> None:
    """Train and evaluate the runs that are not in the CSV, then update and print the results."""
    ablation = read_ablation(ablation_file)
    check_columns(ablation)
    selected = [
        Run(variant, seed, runs, ablation)
        for seed in ablation.seeds
        for variant in ablation.variants
    ]
    results = output / ablation_file.stem
    rows = read_runs(results.with_suffix(".csv"))
    for each in selected:
        if each.name in rows and rows[each.name].get("configuration") != each.fingerprint:
            fail(
                f"{results}.csv has a row for {each.variant!r}, seed {each.seed}, of another "
                "configuration: remove the row, or choose another --output",
                code=2,
            )
    lock = Lock()

    def selected_rows() -> list[Row]:
        finished = (each for each in selected if each.name in rows)
        return [rows[each.name] | {"variant": each.variant} for each in finished]

    def write() -> None:
        names = {each.name for each in selected}
        others = [row for name, row in rows.items() if name not in names]
        write_results(results, selected_rows(), ablation.tables, others)

    def finish(each: Run) -> None:
        started = time.perf_counter()
        each.train_and_evaluate()
        seconds = time.perf_counter() - started
        with lock:
            rows[each.name] = each.row()
            print(f"{each.variant}, seed {each.seed}: {seconds:.0f} s", flush=True)
            write()

    if only_print and not selected_rows():
        fail(f"{results}.csv has no run of this ablation: run it without --print", code=2)
    if not only_print:
        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(finish, [each for each in selected if each.name not in rows]))
        write()
    typer.echo(tables_text(selected_rows(), ablation.tables))


def read_ablation(path: Path) -> Ablation:
    """The ablation of a YAML file.

    Raises:
        CommandError: the file is not YAML, or has other keys or types.
    """
    try:
        return Ablation.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        fail(f"{path}: {' '.join(str(error).split())}", code=2)


def check_columns(ablation: Ablation) -> None:
    """Reject table columns that no evaluation of the ablation can have.

    Raises:
        CommandError: names the column and what it can be.
    """
    tasks = ablation.tasks.split(",")
    for name in {name for names in ablation.tables.values() for name in names}:
        measure, *subject, task = name.split(" ") if " " in name else (name, "")
        if measure not in MEASURES or task not in tasks or not {*subject} <= {*SUBJECTS}:
            fail(
                f"tables: a column must be a measure ({', '.join(MEASURES)}), optionally a "
                f"subject ({', '.join(SUBJECTS)}), and a task ({ablation.tasks}), not {name!r}",
                code=2,
            )


@dataclass(frozen=True)
class Run:
    """One variant with one seed; all ablations keep their runs in the folder ``runs``."""

    variant: str
    seed: int
    runs: Path
    ablation: Ablation

    @property
    def overrides(self) -> list[str]:
        """All overrides except the seed."""
        return [*self.ablation.overrides, *self.ablation.variants[self.variant]]

    @property
    def folder(self) -> Path:
        """The folder of the training run. Its name says what is trained, not the variant."""
        threads = self.ablation.threads
        words = [self.ablation.config.stem, *self.overrides]
        words += [f"threads={threads}"] if threads > 1 else []
        name = "-".join([*words, f"seed={self.seed}"]).replace("/", "_").replace(" ", "")
        if len(name) > LONGEST_NAME:
            digest = hashlib.sha256(name.encode()).hexdigest()[:12]
            name = f"{name[:LONGEST_NAME]}-{digest}"
        return self.runs / name

    @property
    def metrics_file(self) -> Path:
        """The ``metrics.json`` of the evaluation."""
        words = [self.ablation.tasks, str(self.ablation.num), *self.ablation.evaluate]
        return self.folder / "-".join(words).replace(":", "_").replace("/", "_") / "metrics.json"

    @property
    def name(self) -> str:
        """What is trained and how it is evaluated, which identifies a row of a CSV."""
        return self.metrics_file.parent.relative_to(self.runs).as_posix()

    @cached_property
    def config(self) -> Config:
        """The full configuration."""
        return load_config(self.ablation.config, [*self.overrides, f"train.seed={self.seed}"])

    @property
    def fingerprint(self) -> str:
        """A hash of the configuration, except for the folder of the data."""
        text = self.config.portable().model_dump_json(exclude_defaults=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def train_and_evaluate(self) -> None:
        """Train and evaluate, unless it is done already.

        Raises:
            CommandError: a command failed, or the folder has a run of another configuration.
        """
        if self.metrics_file.exists():
            config = count_classes(self.config)
            if load_config(self.folder / "config.yaml", stored=True) != config:
                fail(f"{self.folder} has a run of another configuration: remove the folder", 2)
            return
        overrides = [*self.overrides, f"train.seed={self.seed}"]
        train = ["train", "--config", str(self.ablation.config), "--output", str(self.folder)]
        roots = [o.removeprefix("data.root=") for o in overrides if o.startswith("data.root=")]
        evaluate = [
            *("evaluate", "--checkpoint", str(self.folder / "checkpoint")),
            *("--tasks", self.ablation.tasks, "--num", str(self.ablation.num)),
            *("--output", str(self.metrics_file.parent), *self.ablation.evaluate),
            *(("--data-root", roots[-1]) if roots else ()),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": str(self.ablation.threads)}
        make_folder(self.folder.parent)
        log_file = self.folder.with_name(f"{self.folder.name}.log")
        with log_file.open("a", encoding="utf-8") as log:
            for words in ([*train, *overrides], evaluate):
                finished = subprocess.run(
                    [sys.executable, "-m", "biglearn_gan", *words],
                    check=False,
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
                if finished.returncode:
                    fail(f"a run failed: see {log_file}")

    def row(self) -> Row:
        """The row of the CSV, with a column per measure, subject and task."""
        row: Row = {"variant": self.variant, "seed": self.seed, "run": self.name}
        row["configuration"] = self.fingerprint
        with (self.folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            logged = [line for line in csv.DictReader(file) if line["seconds"]]
        row |= {"images": logged[-1]["images"], "seconds": logged[-1]["seconds"]}
        for record in read_records(self.metrics_file):
            if record.measure in MEASURES and record.task != REAL:
                words = (record.measure, record.subject, record.task)
                row.setdefault(" ".join(word for word in words if word), record.value)
        return row


def read_runs(path: Path) -> dict[str, Row]:
    """The rows of a CSV file by run; none if there is no file."""
    if not path.exists():
        return {}

    def parse(column: str, value: str) -> str | int | float:
        if column in TEXT_COLUMNS:
            return value
        return int(value) if column == "seed" else float(value)

    with path.open(newline="", encoding="utf-8") as file:
        return {
            line["run"]: {column: parse(column, value) for column, value in line.items() if value}
            for line in csv.DictReader(file)
        }


def write_results(
    results: Path,
    rows: Sequence[Row],
    tables: Mapping[str, Sequence[str]] | None = None,
    others: Sequence[Row] = (),
) -> None:
    """Write the CSV and the figure, unless both exist with these rows and columns.

    Args:
        results: path of both files without the suffix.
        rows: a row per finished run.
        tables: columns by title; the figure has a panel for each column.
        others: rows that the CSV keeps, of runs that are not asked for now.
    """
    columns = list(dict.fromkeys(column for row in [*rows, *others] for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, *others])
    tables = tables or {"": usual_columns(rows)}
    shown = list(dict.fromkeys(name for names in tables.values() for name in names))
    csv_file = results.with_suffix(".csv")
    figure_file = results.with_suffix(".png")
    content = hashlib.sha256(json.dumps([list(rows), shown]).encode()).hexdigest()
    files_exist = csv_file.exists() and figure_file.exists()
    if (
        files_exist
        and csv_file.read_text(encoding="utf-8") == text.getvalue()
        and content_of(figure_file) == content
    ):
        return
    make_folder(results.parent)
    with replacing(csv_file) as path:
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
    with replacing(figure_file) as path:
        metadata = {"Description": content}
        figure(rows, shown).savefig(path, format="png", dpi=100, metadata=metadata)


def content_of(figure_file: Path) -> str | None:
    """A hash of what a figure shows, as :func:`write_results` noted it in the PNG file."""
    with Image.open(figure_file) as image:
        return image.info.get("Description")


def usual_columns(rows: Sequence[Row]) -> list[str]:
    """Columns of the model's own distances, agreement, entropy, and diversity."""
    columns = dict.fromkeys(column for row in rows for column in row)
    split = {column: column.split(" ") for column in columns}
    return [c for c, words in split.items() if words[0] in USUAL_MEASURES and len(words) == 2]


def tables_text(rows: Sequence[Row], tables: Mapping[str, Sequence[str]] | None = None) -> str:
    """The tables as Markdown, by default one table of the usual columns.

    Raises:
        CommandError: no run has a column.
    """
    tables = tables or {"": usual_columns(rows)}
    for name in dict.fromkeys(name for names in tables.values() for name in names):
        if rows and not any(name in row for row in rows):
            fail(f"tables: no run has the column {name!r}")
    parts = [f"{title}\n\n{table(rows, columns)}".strip() for title, columns in tables.items()]
    return "\n\n".join(parts)


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """A line per variant, mean ± standard deviation over seeds."""
    lines = [
        "| variant | seeds | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for variant, group in by_variant(rows).items():
        cells = [format_mean([row[column] for row in group if column in row]) for column in columns]
        lines.append(f"| {variant} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(rows: Sequence[Row], columns: Sequence[str]) -> Figure:
    """A panel per column, with a dot per run and a bar at the mean of each variant."""
    variants = by_variant(rows)
    drawn = Figure(figsize=(2.2 * len(columns), 1 + 0.35 * len(variants)), layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        for y, group in enumerate(variants.values()):
            values = [row[column] for row in group if column in row]
            panel.plot(values, [y] * len(values), "o", color="tab:blue", alpha=0.6)
            if values:
                panel.plot(statistics.mean(values), y, "|", color="black", markersize=14)
        panel.set_title(column, fontsize=8)
        panel.tick_params(labelsize=7)
    panels[0].set_yticks(range(len(variants)), list(variants))
    panels[0].invert_yaxis()
    return drawn


def by_variant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each variant."""
    variants: dict[str, list[Row]] = {}
    for row in rows:
        variants.setdefault(row["variant"], []).append(row)
    return variants


def format_mean(values: Sequence[float]) -> str:
    """``mean ± standard deviation``, the mean of a single value, or nothing."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.3g}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.1g}"


if __name__ == "__main__":
    run(main, "ablate")
