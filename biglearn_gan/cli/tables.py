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
        evaluations = {path.parent.name: path for path in metrics}
        if len(evaluations) < len(metrics):
            fail("evaluations to compare must be in folders of different names", code=2)
        several = [record for path in metrics for record in read_records(path)]
        if any(record.features == "oracle" for record in several):
            fail("an evaluation of evaluate-oracle has a table of its own: name it alone", code=2)
        tasks = [task for task in dict.fromkeys(r.task for r in several) if task != REAL]
        typer.echo(comparison_tables(evaluations, tasks))
        return
    records = read_records(metrics[0])
    if any(record.features == "oracle" for record in records):
        typer.echo(oracle_table(records))
    else:
        typer.echo(summary_tables(records) if summary else evaluation_tables(records))
