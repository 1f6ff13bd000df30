"""One measured number, the name that says how it was measured, and the files it is kept in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from biglearn_gan.files import refuse_foreign, refuse_input_among, replacing

RECORDS = ("metrics.json", "metrics.csv")
BESIDE_RECORDS = ("speed.csv", "distance.png", "agreement.png")
"""What a report has beside its records and the completions of each task."""


@dataclass(frozen=True)
class Record:
    """One measured number.

    Attributes:
        metric: its name and protocol, from :func:`metric_name`.
        task: the hole's name, ``marginal:`` and it where the hole is drawn alone, ``joint``, or
            ``originals`` for the unmasked test images; of the oracle, its kind of task.
        value: the number.
        error: its standard error, or None where it was not estimated.
        floor: what real images score where lower is better (of the distance in two steps, what
            two sets that are drawn at once do), or None.
        ceiling: the best possible value where higher is better, or None.
        samples: generated images that entered it (real ones for ``originals``).
        seed: of sampling, holes and the choice of test images.
    """

    metric: str
    task: str
    value: float
    error: float | None
    floor: float | None
    ceiling: float | None
    samples: int
    seed: int


def metric_name(
    measure: str,
    count: int,
    features: str,
    split: str | None,
    task: str,
    *,
    few: bool = False,
    subject: str = "",
) -> str:
    """A name that carries its protocol, such as ``fd10k_classifier_test_random75``.

    Args:
        measure: what is measured, ``fd``.
        count: source images, or samples where there is no source; ``k`` for full thousands.
        features: what it is measured in, ``classifier`` or ``pixels``.
        split: where the source images come from; None where nothing is given.
        task: name of the task; shares become per cents, and a block of n pixels ``xn``; the
            square of ``inside:n`` is told as ``insiden``, that of ``outside:n`` alike.
        few: there are fewer images than features have dimensions.
        subject: what is measured where it is not the model.
    """
    number = f"{count // 1000}k" if count % 1000 == 0 else str(count)
    *prefix, name = task.split(":", 1) if task.startswith("marginal:") else [task]
    if name.startswith("random:"):
        share, *block = name.split(":")[1:]
        name = f"random{100 * float(share):g}" + "".join(f"x{size}" for size in block)
    elif name.startswith(("inside:", "outside:")):
        place, size = name.split(":")
        name = f"{place}{int(size)}"
    measured = f"{measure}{number}{'few' if few else ''}"
    parts = (measured, features, split, *prefix, name, subject)
    return "_".join(part for part in parts if part)


def check_report_folder(folder: Path, samples: Path | None = None) -> None:
    """Make sure that a report would replace nothing but another report.

    Args:
        folder: of the report, there or not.
        samples: what is measured; its figures must not lie among image files.

    Raises:
        OutputError: it would, or they would.
    """
    if samples is not None and samples.is_dir() and not (samples / "samples.npz").is_file():
        refuse_input_among((folder,), samples)
    ours = _written_before(folder)
    names = (*RECORDS, *BESIDE_RECORDS)
    files = [*(folder / name for name in names), *sorted(folder.glob(completions_name("*")))]
    refuse_foreign((file for file in files if file not in ours), folder, "`evaluate`")


def completions_name(task: str) -> str:
    """What the file of a task's completions is called."""
    return f"completions_{task.replace(':', '-')}.png"


def _written_before(folder: Path) -> list[Path]:
    """The files of an earlier report, as its records tell them."""
    try:
        rows = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        tasks = {Record(**row).task for row in rows}
    except (OSError, ValueError, TypeError):
        return []
    names = (*RECORDS, *BESIDE_RECORDS, *map(completions_name, tasks))
    return [folder / name for name in names] if tasks else []


def write_records(records: Sequence[Record], folder: str | Path) -> None:
    """Write ``metrics.json`` (a list of records) and ``metrics.csv`` into a folder.

    What another evaluation left there beside its records is removed.

    Raises:
        OSError: the folder cannot be made or written.
        ValueError: a value is not finite, so JSON cannot hold it.
    """
    rows = [asdict(record) for record in records]
    table_file = io.StringIO()
    writer = csv.DictWriter(table_file, [field.name for field in fields(Record)])
    writer.writeheader()
    writer.writerows(rows)
    document = json.dumps(rows, indent=2, allow_nan=False) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in _written_before(folder):
        if left.name not in RECORDS:
            left.unlink(missing_ok=True)
    for name, text in zip(RECORDS, (document, table_file.getvalue()), strict=True):
        with replacing(folder / name) as path:
            path.write_text(text, encoding="utf-8", newline="")


def table(records: Sequence[Record]) -> str:
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
