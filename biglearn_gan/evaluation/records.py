"""Records: one measured number each, how it was measured, and the files that hold them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from biglearn_gan.errors import UsageError
from biglearn_gan.files import check_output_folder, make_folder, replacing

RECORD_FILES = ("metrics.json", "metrics.csv")
REPORT_FILES = (*RECORD_FILES, "speed.csv", "distance.png", "agreement.png")
"""Every file of a report except the completions of each task."""

HISTOGRAM_DRAWS = 64
"""Completions in the label histogram of a source; the name of a metric says if there are fewer."""

REAL = "real"
"""Task and subject of the unmasked test images."""

TWO_STEP = "two-step"
"""Subject of images that a model generated in two steps."""

BASELINES = ("nearest", "mean", "mismatched")
"""Subjects that complete images without a model."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured number.

    Attributes:
        measure: what is measured, such as ``fd`` or ``agreement``.
        features: what it is measured in: ``classifier``, ``inception2048``,
            ``efficientnet1280-standardized``, ``pixels``, or for seams ``patch`` and the side of a
            patch; of a Gaussian field, ``oracle`` or ``approximate``.
        count: source images, or samples if the task has no source.
        split: split of the source images, or None if the task has no source.
        task: name of the hole, ``marginal:`` and the name of a hole, ``joint``, or ``real`` for the
            unmasked test images; of a Gaussian field, the kind of task.
        subject: what is measured if it is not the evaluated images: ``real``, ``two-step`` or one
            of ``BASELINES``; of a Gaussian field, ``unconditional`` or ``joint-only``.
        value: the number.
        error: its standard error, or None if it was not estimated.
        floor: the reference value of a number that should be low, or None.
        ceiling: the value of real images or perfect completions, of a number that should be high.
        samples: images that were measured.
        seed: of sampling, of the holes and of the choice of test images.
        few: whether there are fewer images than features have dimensions.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    measure: str
    features: str
    count: int
    split: str | None
    task: str
    subject: str | None
    value: float
    error: float | None
    floor: float | None
    ceiling: float | None
    samples: int
    seed: int
    few: bool = False

    @property
    def metric(self) -> str:
        """A name that states the protocol, see :func:`metric_name`."""
        subject = None if self.subject == self.task else self.subject
        if self.measure == "label-total-variation" and self.samples != HISTOGRAM_DRAWS * self.count:
            subject = f"{self.samples // self.count}-draws"
        if self.measure.endswith("-best"):
            subject = f"of-{self.samples // self.count}"
        return metric_name(
            self.measure,
            self.count,
            self.features,
            self.split,
            self.task,
            few=self.few,
            subject=subject,
        )

    @property
    def bound(self) -> float | None:
        """The floor, else the ceiling, else None."""
        return self.ceiling if self.floor is None else self.floor


def metric_name(
    measure: str,
    count: int,
    features: str,
    split: str | None,
    task: str,
    *,
    few: bool = False,
    subject: str | None = None,
) -> str:
    """A name that states the protocol, such as ``fd10k_classifier_test_random75``.

    The arguments are the fields of :class:`Record`. Full thousands become ``k``.
    """
    number = f"{count // 1000}k" if count % 1000 == 0 else str(count)
    measured = f"{measure}{number}{'few' if few else ''}"
    parts = (measured, features, split, short_task_name(task), subject)
    return "_".join(part for part in parts if part)


def short_task_name(task: str) -> str:
    """The task as the name of a metric spells it.

    Shares become percentages: ``random:0.75:7`` is ``random75x7``, and ``inside:4`` is ``inside4``.
    """
    *prefix, name = task.split(":", 1) if task.startswith("marginal:") else [task]
    if name.startswith("random:"):
        share, *block = name.split(":")[1:]
        name = f"random{100 * float(share):g}" + "".join(f"x{size}" for size in block)
    elif name.startswith(("inside:", "outside:")):
        place, size = name.split(":")
        name = f"{place}{int(size)}"
    return "_".join([*prefix, name])


_RECORDS = TypeAdapter(list[Record])


def read_records(path: Path) -> list[Record]:
    """The records of a ``metrics.json``.

    Raises:
        UsageError: the file holds anything else.
        OSError: the file cannot be read.
    """
    try:
        return _parse_records(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UsageError(
            f"{path} holds no records: give a metrics.json that `evaluate` wrote"
        ) from None


def _parse_records(text: str) -> list[Record]:
    """Records of a JSON document; ValueError if it has other keys or types, or wrong names."""
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("the document must be a list of objects")
    names = [row.pop("metric", None) for row in rows]
    records = _RECORDS.validate_json(json.dumps(rows))
    if names != [record.metric for record in records]:
        raise ValueError("a metric must be named as its other fields say")
    return records


def write_records(records: Sequence[Record], folder: str | Path) -> None:
    """Write ``metrics.json`` (a list of records) and ``metrics.csv`` into a folder.

    All other files of an earlier report in this folder are removed.

    Raises:
        WriteError: the folder cannot be created or written.
        ValueError: a value is not finite, so JSON cannot hold it.
    """
    rows: list[dict[str, Any]] = [{"metric": r.metric} | asdict(r) for r in records]
    table_file = io.StringIO()
    writer = csv.DictWriter(table_file, ["metric", *(field.name for field in fields(Record))])
    writer.writeheader()
    writer.writerows(rows)
    document = json.dumps(rows, indent=2, allow_nan=False) + "\n"
    folder = Path(folder)
    make_folder(folder)
    json_file, csv_file = (folder / name for name in RECORD_FILES)
    with replacing(json_file) as path:
        path.write_text(document, encoding="utf-8", newline="")
        for old in _files_of_report(folder):  # so that files of two reports never mix
            if old != json_file:
                old.unlink(missing_ok=True)
    with replacing(csv_file) as path:
        path.write_text(table_file.getvalue(), encoding="utf-8", newline="")


def check_report_folder(folder: Path, samples: Path | None = None) -> None:
    """Make sure that a report would replace nothing but another report.

    Args:
        folder: of the report; it need not exist.
        samples: the images that are measured, which must not lie among the figures.

    Raises:
        OutputError: the folder cannot be made, holds other files of these names, or holds the
            images.
    """
    inputs = []
    if samples is not None and samples.is_dir() and not (samples / "samples.npz").is_file():
        inputs.append(samples)
    files = [*(folder / name for name in REPORT_FILES), *sorted(folder.glob(figure_name("*")))]
    check_output_folder(
        folder,
        written_by="evaluate",
        replaces=files,
        ours=_files_of_report(folder),
        inputs=inputs,
    )


def figure_name(task: str) -> str:
    """The file name of a task's completions."""
    return f"completions_{task.replace(':', '-')}.png"


def _files_of_report(folder: Path) -> list[Path]:
    """Where the files of the report in this folder are; empty if it holds no records."""
    try:
        records = _parse_records((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    tasks = {record.task for record in records}
    return [folder / name for name in (*REPORT_FILES, *map(figure_name, tasks)) if tasks]


def records_table(records: Sequence[Record]) -> str:
    """The records as a Markdown table."""
    lines = [
        "| metric | task | value | error | floor | ceiling | samples | seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        numbers = (record.value, record.error, record.floor, record.ceiling)
        shown = " | ".join("–" if x is None else f"{x:.4g}" for x in numbers)
        lines.append(
            f"| {record.metric} | {record.task} | {shown} | {record.samples} | {record.seed} |"
        )
    return "\n".join(lines)
