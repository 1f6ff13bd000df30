"""``biglearn-gan evaluate-samples``: measure images of any system with the protocol of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.evaluation_options import (
    REPORT_FOLDER,
    FeatureKind,
    Features,
    Force,
    InceptionWeights,
    MaskedClassifier,
    ReportFolder,
    measuring,
    write_and_print_report,
)
from biglearn_gan.cli.options import (
    Classifier,
    DataRoot,
    Device,
    Seed,
    with_data_root,
    without_missing,
)


# Typer makes an option of every parameter, hence their number.
def evaluate_samples(
    samples: Annotated[
        Path, typer.Argument(help="Folder of images, or an .npz file like the one of `sample`.")
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Data set that the samples imitate (default: the one in the file)."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Name of the hole that they complete.")] = None,
    num: Annotated[
        int | None, typer.Option(min=1, help="Number of images, the first ones (default: all).")
    ] = None,
    patch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Side in pixels of the patches to measure seams of."),
    ] = None,
    features: Features = FeatureKind.classifier,
    classifier: Classifier = None,
    masked_classifier: MaskedClassifier = None,
    inception_weights: InceptionWeights = None,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "cpu",
    output: ReportFolder = REPORT_FOLDER,
    data_root: DataRoot = None,
) -> None:
    """Measure images of any system with the protocol of `evaluate`."""
    from biglearn_gan.data.loading import load_dataset
    from biglearn_gan.devices import usable_device
    from biglearn_gan.evaluation import protocol
    from biglearn_gan.evaluation.records import check_report_folder
    from biglearn_gan.evaluation.sample_reader import choose_data_config, load_saved_samples
    from biglearn_gan.metrics.metric_models import load_metric_models

    target_device = usable_device(device)
    check_report_folder(output, samples)
    config = with_data_root(data_root, without_missing(choose_data_config(samples, data)))
    train_data, test_data = load_dataset(config, "train"), load_dataset(config, "test")
    metric_models, notes = load_metric_models(
        config.name,
        features.value,
        classifier,
        masked_classifier,
        inception_weights,
        target_device,
        dataset=train_data,
    )
    for note in notes:
        typer.echo(note)
    saved_task, saved_samples = load_saved_samples(samples, test_data, task, num)
    if num is not None and len(saved_task) < num:
        typer.echo(f"{samples} has only {len(saved_task)} of the {num} images")
    if saved_task.labels is None and saved_task.known.any():
        typer.echo("no agreement: some sources are not images of the test split")
    with measuring(output, seed, force) as settings:
        report = protocol.evaluate_samples(
            saved_task,
            saved_samples,
            metric_models,
            train_data,
            test_data,
            settings,
            patch_size,
        )
    write_and_print_report(report, output)
