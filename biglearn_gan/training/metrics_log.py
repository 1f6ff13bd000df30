"""The log of a run: ``metrics.csv``, and the same for TensorBoard."""

from __future__ import annotations

import csv
import io
import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

from biglearn_gan.files import append, make_folder, replacing

_COLUMNS = ("images", "seconds", "images_per_second")


class MetricsLog:
    """Appends lines to ``metrics.csv``, and scalars to a file in ``tensorboard/``.

    Starting it drops lines of more images than the run has seen (from before a crash), and a last
    line that was not written to its end. Columns of other names stay.

    Args:
        folder: of the run.
        names: of the metrics.
        images_seen: where the log continues.
        tensorboard: write the file for TensorBoard.

    Raises:
        WriteError: a file cannot be written.
    """

    def __init__(self, folder: Path, names: Iterable[str], images_seen: int, tensorboard: bool):
        self._path = folder / "metrics.csv"
        old_columns, rows = self._read(images_seen)
        self._columns = tuple(dict.fromkeys([*old_columns, *_COLUMNS, *names]))
        with replacing(self._path) as path:
            path.write_text(self._lines(rows, header=True), encoding="utf-8", newline="")
        self._events = _EventFile(folder / "tensorboard", images_seen + 1) if tensorboard else None

    def add(self, values: Mapping[str, int | float]) -> None:
        """Append a line; ``values`` has ``images`` and any of the other columns.

        Raises:
            WriteError: a file cannot be written; it stays as it was.
        """
        row = {name: _format(value) for name, value in values.items()}
        append(self._path, self._lines([row]).encode())
        if self._events is not None:
            self._events.add(values, int(values["images"]))

    def _read(self, images_seen: int) -> tuple[list[str], list[dict[str, str]]]:
        """The columns and the lines to keep."""
        if not self._path.exists():
            return [], []
        with self._path.open(newline="", encoding="utf-8") as file:
            whole_lines = [line for line in file if line.endswith("\n")]
        lines = csv.DictReader(whole_lines)
        rows = [row for row in lines if None not in row.values()]
        return [*(lines.fieldnames or ())], [r for r in rows if int(r["images"]) <= images_seen]

    def _lines(self, rows: Iterable[Mapping[str, str]], *, header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


class _EventFile:
    """A new file of scalars for TensorBoard.

    ``torch.utils.tensorboard.SummaryWriter`` writes in a thread, which prints a traceback if the
    disk is full.
    """

    def __init__(self, folder: Path, purge_step: int):
        """Tell TensorBoard to forget values of earlier files from ``purge_step`` on."""
        make_folder(folder)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name  # TensorBoard reads files in the order of their names
        start = SessionLog(status=SessionLog.START)
        self._append(
            Event(wall_time=time.time(), file_version="brain.Event:2"),
            Event(wall_time=time.time(), step=purge_step, session_log=start),
        )

    def add(self, values: Mapping[str, int | float], step: int) -> None:
        """Append the values of a step."""
        self._append(
            *(
                Event(wall_time=time.time(), step=step, summary=scalar(name, value))
                for name, value in values.items()
                if name != "images"
            )
        )

    def _append(self, *events: Event) -> None:
        data = io.BytesIO()
        records = RecordWriter(data)
        for event in events:
            records.write(event.SerializeToString())
        append(self._path, data.getvalue())


def _format(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
