"""``biglearn-gan tables``: what was measured, as Markdown tables."""

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
            help="A metrics.json; of several the main numbers are set side by side.",
        ),
    ],
    summary: Annotated[bool, typer.Option("--summary", help="The short one.")] = False,
) -> None:
    """Print the tables as Markdown."""
    from biglearn_gan.evaluation import tables as make

    if len(metrics) > 1:
        reject_options("requires a single metrics.json", {"--summary": summary})
        records = [record for path in metrics for record in make.read_records(path)]
        tasks = dict.fromkeys(r["task"] for r in records if r["task"] != "originals")
        names = [path.parent.name for path in metrics]
        if len(set(names)) < len(names):
            fail("evaluations side by side are told apart by their folders' names", code=2)
        typer.echo(
            make.side_by_side({path.parent.name: path.parent for path in metrics}, list(tasks))
        )
        return
    records = make.read_records(metrics[0])
    oracle = any("_oracle" in record["metric"] for record in records)
    if oracle:
        typer.echo(make.oracle_table(records))
    else:
        typer.echo(make.summary_table(records) if summary else make.tables(records))
