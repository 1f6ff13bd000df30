"""``biglearn-gan evaluate``: measure a model with the full protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from biglearn_gan.cli.evaluation_options import (
    REPORT_FOLDER,
    FeatureKind,
    Features,
    Force,
    InceptionWeights,
    MaskedClassifier,
    OldOracle,
    OldSamples,
    ReportFolder,
    measuring,
    split_names,
    write_and_print_report,
)
from biglearn_gan.cli.options import (
    Checkpoint,
    Classifier,
    DataRoot,
    Device,
    Seed,
    load_model,
    with_data_root,
    without_missing,
)
from biglearn_gan.evaluation.records import HISTOGRAM_DRAWS


# Typer makes an option of every parameter, hence their number.
def evaluate(
    checkpoint: Checkpoint,
    tasks: Annotated[
        str | None,
        typer.Option(help="Comma-separated, such as joint,random:0.5,marginal:center."),
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Images per task.")] = 10_000,
    variations: Annotated[int, typer.Option(min=1, help="Completions per image.")] = 8,
    label_draws: Annotated[
        int,
        typer.Option(
            min=0,
            help="Completions of 1,000 images for the label total variation; 0 leaves it out.",
        ),
    ] = HISTOGRAM_DRAWS,
    features: Features = FeatureKind.classifier,
    classifier: Classifier = None,
    masked_classifier: MaskedClassifier = None,
    inception_weights: InceptionWeights = None,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "cpu",
    output: ReportFolder = REPORT_FOLDER,
    data_root: DataRoot = None,
    _samples: OldSamples = None,
    _oracle: OldOracle = False,
) -> None:
    """Measure a model.

    Most numbers have a floor or a ceiling to compare them with.
    """
    from biglearn_gan.data.loading import load_dataset
    from biglearn_gan.devices import usable_device
    from biglearn_gan.evaluation import protocol
    from biglearn_gan.evaluation.records import check_report_folder
    from biglearn_gan.metrics.metric_models import load_metric_models

    target_device = usable_device(device)
    check_report_folder(output)
    model = load_model(checkpoint, target_device)
    data = with_data_root(data_root, without_missing(model.config.data))
    names = split_names(tasks) or protocol.default_tasks(data.image_size, model.patch_size)
    protocol.check_tasks(names, data.image_size, model.patch_size)
    train_data, test_data = load_dataset(data, "train"), load_dataset(data, "test")
    metric_models, notes = load_metric_models(
        data.name,
        features.value,
        classifier,
        masked_classifier,
        inception_weights,
        target_device,
        checkpoint=checkpoint,
        dataset=train_data,
    )
    for note in notes:
        typer.echo(note)
    with measuring(output, seed, force) as settings:
        report = protocol.evaluate(
            model,
            metric_models,
            train_data,
            test_data,
            num=num,
            variations=variations,
            tasks=names,
            settings=replace(settings, label_draws=label_draws),
        )
    write_and_print_report(report, output)
