"""The commands that measure: ``evaluate``, and ``train-classifier`` for what it measures with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from biglearn_gan.cli.options import (
    Classifier,
    ConfigFile,
    DataRoot,
    Device,
    Overrides,
    Seed,
    load_model,
    with_data_root,
    without_missing,
)
from biglearn_gan.cli.runner import fail, reject_options
from biglearn_gan.config import load_config
from biglearn_gan.progress import task_bars


class FeatureKind(StrEnum):
    """What distances are taken in."""

    classifier = "classifier"
    inception = "inception"


USELESS = {
    "--checkpoint": ("--data", "--joint-checkpoint"),
    "--samples": ("--joint-checkpoint", "--variations"),
    "--oracle": (
        "--data",
        "--tasks",
        "--features",
        "--classifier",
        "--masked-classifier",
        "--inception-weights",
        "--force",
        "--data-root",
    ),
}
"""Options that would change nothing of what ``evaluate`` is asked."""


def evaluate(
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder, or name on the Hugging Face hub.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="Images made elsewhere: a folder, or an .npz like `sample`'s."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data set that --samples imitate, such as mnist (default: as they say)."),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Comma-separated, such as joint,random:0.5,marginal:center.")
    ] = None,
    features: Annotated[
        FeatureKind | None,
        typer.Option(help="What distances are taken in (default: classifier)."),
    ] = None,
    classifier: Classifier = None,
    masked_classifier: Annotated[
        str | None,
        typer.Option(help="Folder (default: masked_classifier_DATA, looked for alike)."),
    ] = None,
    inception_weights: Annotated[
        Path | None, typer.Option(help="pytorch-fid's weights (default: fetched and cached).")
    ] = None,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Compare with exact conditionals (Gaussian fields).")
    ] = False,
    joint_checkpoint: Annotated[
        str | None, typer.Option(help="For --oracle: a model trained with the joint task only.")
    ] = None,
    num: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images per task (10,000), or the first of --samples (all); for --oracle, sources "
            "per mask (32).",
        ),
    ] = None,
    variations: Annotated[
        int | None, typer.Option(min=1, help="Completions of each image (8; for --oracle 256).")
    ] = None,
    seed: Seed = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Measure fewer images than features have dimensions.")
    ] = False,
    device: Device = "cpu",
    output: Annotated[
        Path,
        typer.Option(file_okay=False, help="Folder for metrics.json, metrics.csv and figures."),
    ] = Path("samples/evaluation"),
    data_root: DataRoot = None,
) -> None:
    """Measure a model, or images made elsewhere.

    Distances stand beside their floor, label agreement beside its ceiling.
    """
    mode = _evaluation_mode(checkpoint, samples, oracle)
    options = {
        "--data": data,
        "--joint-checkpoint": joint_checkpoint,
        "--variations": variations,
        "--tasks": tasks,
        "--features": features,
        "--classifier": classifier,
        "--masked-classifier": masked_classifier,
        "--inception-weights": inception_weights,
        "--force": force,
        "--data-root": data_root,
    }
    reject_options(f"cannot be used with {mode}", {name: options[name] for name in USELESS[mode]})
    from biglearn_gan.devices import usable_device
    from biglearn_gan.evaluation.records import check_report_folder, table

    place = usable_device(device)
    check_report_folder(output, samples)
    if oracle:
        assert checkpoint is not None
        _evaluate_oracle(
            checkpoint, joint_checkpoint, place, num or 32, variations or 256, seed, output
        )
        return

    from biglearn_gan.data.loading import load_dataset
    from biglearn_gan.evaluation.protocol import default_tasks, evaluate, evaluate_samples
    from biglearn_gan.evaluation.report import write_report
    from biglearn_gan.evaluation.saved_samples import data_of_samples, load_saved_samples
    from biglearn_gan.metrics.metric_models import load_metric_models
    from biglearn_gan.metrics.reference_statistics import default_cache

    if checkpoint is not None:
        model = load_model(checkpoint, place)
        settings = model.config.data
    else:
        assert samples is not None
        model, settings = None, data_of_samples(samples, data)
    output.mkdir(parents=True, exist_ok=True)
    settings = with_data_root(data_root, without_missing(settings))
    kind = (features or FeatureKind.classifier).value
    splits = load_dataset(settings, "train"), load_dataset(settings, "test")
    metric_models, notes = load_metric_models(
        settings.name,
        kind,
        classifier,
        masked_classifier,
        inception_weights,
        place,
        checkpoint=checkpoint,
        labeled=splits[0].labels is not None,
    )
    for note in notes:
        typer.echo(note)
    with task_bars() as progress:
        alike: dict[str, Any] = {
            "seed": seed,
            "cache": default_cache(),
            "allow_few": force,
            "progress": progress,
        }
        if model is not None:
            patch_size = model.config.model.patch_size
            asked = tasks.split(",") if tasks else default_tasks(settings.image_size, patch_size)
            alike |= {"num": num or 10_000, "variations": variations or 8}
            report = evaluate(model, patch_size, metric_models, *splits, tasks=asked, **alike)
        else:
            assert samples is not None
            question, given = load_saved_samples(samples, splits[1], tasks, num)
            if num is not None and len(question) < num:
                typer.echo(f"only {len(question)} are there of the {num} asked for")
            if question.labels is None and question.observed.any():
                typer.echo("no agreement: not all sources are images of the test split")
            report = evaluate_samples(question, given, metric_models, *splits, **alike)
    write_report(report, output)
    typer.echo(table(report.records))
    for task, speed in report.images_per_second.items():
        typer.echo(f"{task}: {speed:.0f} images/s")
    typer.echo(f"records and figures are in {output}")


def train_classifier(
    config: ConfigFile,
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder of the classifier.")],
    overrides: Overrides = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="Of partly observed images: p(label | part).")
    ] = False,
    images: Annotated[
        int | None, typer.Option(min=64, help="Budget in images seen (default: what ships).")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier to evaluate with.

    It learns the labels of the data set's training split.
    """
    from biglearn_gan.metrics.classifier_training import train_and_save_classifier

    settings = load_config(config, overrides or ())
    with task_bars() as progress:
        measured = train_and_save_classifier(
            settings.data,
            config.as_posix(),
            output,
            masked=masked,
            seed=seed,
            images=images,
            progress=lambda done, total: progress("classifier", done, total),
        )
    typer.echo(f"{measured}\nthe classifier is in {output}")


def _evaluation_mode(checkpoint: str | None, samples: Path | None, oracle: bool) -> str:
    """Which of its three questions ``evaluate`` is asked, by the option that asks it."""
    if (checkpoint is None) == (samples is None):
        fail("give either --checkpoint or --samples", code=2)
    if oracle and checkpoint is None:
        fail("--oracle needs --checkpoint", code=2)
    return "--oracle" if oracle else "--checkpoint" if checkpoint else "--samples"


def _evaluate_oracle(
    checkpoint: str,
    joint_checkpoint: str | None,
    place: Any,
    sources: int,
    draws: int,
    seed: int,
    output: Path,
) -> None:
    if draws < 2:
        fail(f"--variations must be at least 2 beside --oracle, not {draws}", code=2)
    from biglearn_gan.data.gaussian_fields import gaussian_field
    from biglearn_gan.evaluation.gaussian_oracle import evaluate_oracle
    from biglearn_gan.evaluation.records import table, write_records

    model = load_model(checkpoint, place)
    data = model.config.data
    if data.gaussian_field is None:
        fail(
            f"--oracle needs a model of a gaussian_field, whose conditionals are known, "
            f"not of {data.name}",
            code=2,
        )
    output.mkdir(parents=True, exist_ok=True)
    field = gaussian_field(data.gaussian_field, data.image_size)
    joint_model = None if joint_checkpoint is None else load_model(joint_checkpoint, place)
    with task_bars() as progress:
        records = evaluate_oracle(
            model,
            field,
            seed=seed,
            sources=sources,
            draws=draws,
            joint_model=joint_model,
            progress=progress,
        )
    write_records(records, output)
    typer.echo(table(records))
    if joint_model is None:
        typer.echo("not compared with a model of the joint task alone: --joint-checkpoint names it")
