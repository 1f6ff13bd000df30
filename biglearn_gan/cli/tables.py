"""``biglearn-gan tables``: print evaluations as Markdown tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.runner import fail, reject_options


def tables(
    metrics: Annotated[
        list[Path],
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="A metrics.json, or several to compare their main numbers.",
        ),
    ],
    summary: Annotated[bool, typer.Option("--summary", help="Only the main numbers.")] = False,
) -> None:
    """Print evaluations as Markdown tables."""
    from biglearn_gan.evaluation.records import REAL, read_records
    from biglearn_gan.evaluation.tables import (
        comparison_tables,
        evaluation_tables,
        oracle_table,
        summary_tables,
    )

    if len(metrics) > 1:
        reject_options("requires a single metrics.json", {"--summary": summary})
        folders = {path.parent.name: path.parent for path in metrics}
        if len(folders) < len(metrics):
            fail("evaluations to compare must be in folders of different names", code=2)
        tasks = [record.task for path in metrics for record in read_records(path)]
        typer.echo(comparison_tables(folders, [t for t in dict.fromkeys(tasks) if t != REAL]))
        return
    records = read_records(metrics[0])
    if any(record.features == "oracle" for record in records):
        typer.echo(oracle_table(records))
    else:
        typer.echo(summary_tables(records) if summary else evaluation_tables(records))
