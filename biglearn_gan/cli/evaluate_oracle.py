"""``biglearn-gan evaluate-oracle``: compare a model of Gaussian fields with exact conditionals."""

from __future__ import annotations

from typing import Annotated

import typer

from biglearn_gan.cli.evaluation_options import REPORT_FOLDER, ReportFolder
from biglearn_gan.cli.options import Checkpoint, Device, Seed, load_model
from biglearn_gan.cli.runner import fail
from biglearn_gan.files import make_folder
from biglearn_gan.progress import task_bars


def evaluate_oracle(
    checkpoint: Checkpoint,
    joint_checkpoint: Annotated[
        str | None,
        typer.Option(help="Baseline: a model of the same data, trained with the joint task only."),
    ] = None,
    sources: Annotated[int, typer.Option(min=1, help="Fields per task.")] = 32,
    draws: Annotated[int, typer.Option(min=2, help="Completions per field.")] = 256,
    seed: Seed = 0,
    device: Device = "cpu",
    output: ReportFolder = REPORT_FOLDER,
) -> None:
    """Compare a model of Gaussian fields with the exact answer.

    The floor of every error is that of exact draws.
    """
    from biglearn_gan.data.gaussian_fields import gaussian_field
    from biglearn_gan.devices import usable_device
    from biglearn_gan.evaluation import gaussian_oracle
    from biglearn_gan.evaluation.records import check_report_folder, records_table, write_records

    target_device = usable_device(device)
    check_report_folder(output)
    model = load_model(checkpoint, target_device)
    data = model.config.data
    if data.gaussian_field is None:
        fail(
            f"{checkpoint} is a model of {data.name}: evaluate-oracle needs one of a "
            "gaussian_field data set, whose conditionals are known",
            code=2,
        )
    make_folder(output)
    with task_bars() as progress:
        records = gaussian_oracle.evaluate_oracle(
            model,
            gaussian_field(data.gaussian_field, data.image_size),
            seed=seed,
            sources=sources,
            draws=draws,
            joint_model=(
                None if joint_checkpoint is None else load_model(joint_checkpoint, target_device)
            ),
            progress=progress,
        )
    write_records(records, output)
    typer.echo(records_table(records))
    if joint_checkpoint is None:
        typer.echo("no baseline of a joint model: give --joint-checkpoint to compare with one")
