"""How well a model with labels reads them, and draws what they say.

    python experiments/labels.py --checkpoint checkpoints/digits --output labels.json

On all test images: accuracy and calibration error of the label token, whole images and parts of
them, beside the classifiers that ``evaluate`` measures with, and how often images drawn for a label
are read as it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import DataRoot, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_signed_float
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.comparison import shipped_metric_models
from biglearn_gan.files import replacing
from biglearn_gan.inference.batched import draw_samples
from biglearn_gan.metrics.masked_classifier import calibration
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.tasks.holes import named_hole

HOLES = ("nothing", "random:0.25", "random:0.5", "random:0.75", "right-half")
CANDIDATES = (1, 2, 4)
ROWS_AT_ONCE = 500


def main(
    checkpoint: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    data_root: DataRoot = None,
    num: Annotated[int, typer.Option(min=1, help="Images drawn for labels.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Print a Markdown table and write what it holds."""
    torch.set_num_threads(1)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = model.config.data
    if not data.labels:
        fail(f"{checkpoint} was trained without labels", code=2)
    test_data = load_dataset(with_data_root(data_root, data), "test")
    metric_models = shipped_metric_models(data.name, checkpoint)
    if metric_models.masked_classifier is None:
        fail(f"no classifier of parts of {data.name} is there to compare with", code=2)
    output.parent.mkdir(parents=True, exist_ok=True)
    results = {
        "seed": seed,
        "read": {hole: read(model, metric_models, test_data, hole, seed) for hole in HOLES},
        "drawn": drawn(model, metric_models, test_data, num, seed),
    }
    with replacing(output) as path:
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    typer.echo(table(results))


def read(
    model: BigLearnGAN, metric_models: MetricModels, test_data: ImageDataset, hole: str, seed: int
) -> dict[str, float]:
    """Accuracy and calibration error of the model, and of the classifier of parts."""
    count, size = len(test_data), test_data.image_size
    images, labels = test_data.images_uint8(torch.arange(count)), test_data.labels
    assert labels is not None and metric_models.masked_classifier is not None
    observed = torch.ones(count, *size, dtype=torch.bool)
    if hole != "nothing":
        observed = ~named_hole(hole, size, model.config.model.patch_size, count, seed)
    ours = calibration(model.classify(to_signed_float(images), observed=observed).double(), labels)
    theirs = metric_models.masked_classifier.probabilities(to_signed_float(images), observed)
    other = calibration(theirs, labels)
    return {
        "accuracy": ours.accuracy,
        "calibration_error": ours.error,
        "classifier_accuracy": other.accuracy,
        "classifier_calibration_error": other.error,
    }


def drawn(
    model: BigLearnGAN, metric_models: MetricModels, test_data: ImageDataset, num: int, seed: int
) -> dict[str, float]:
    """How often the classifier reads the label that was asked for, and that of test images."""
    classes = model.config.data.num_classes
    assert classes is not None and test_data.labels is not None
    labels = torch.arange(num) % classes
    empty = torch.zeros(num, test_data.channels, *test_data.image_size, dtype=torch.uint8)
    hole = torch.ones(num, *test_data.image_size, dtype=torch.bool)
    read = {}
    for candidates in CANDIDATES:
        samples = draw_samples(
            model,
            empty,
            hole,
            labels=labels,
            variations=1,
            seed=seed,
            batch_size=ROWS_AT_ONCE,
            best_of=candidates,
        )
        read[f"best_of_{candidates}"] = agreement(metric_models, samples.images[:, 0], labels)
    originals = test_data.images_uint8(torch.arange(len(test_data)))
    return {
        "images": num,
        **read,
        "test_images": len(test_data),
        "test_agreement": agreement(metric_models, originals, test_data.labels),
    }


def agreement(metric_models: MetricModels, images: Tensor, labels: Tensor) -> float:
    """Share of images that are read as their label."""
    assert metric_models.classifier is not None
    return float((metric_models.classifier.read(images) == labels).double().mean())


def table(results: dict[str, Any]) -> str:
    """Both parts as Markdown."""
    lines = [
        "| hidden | accuracy (classifier of parts) | calibration error (classifier of parts) |",
        "|---|---|---|",
    ]
    for hole, found in results["read"].items():
        lines.append(
            f"| {hole} | {found['accuracy']:.3f} ({found['classifier_accuracy']:.3f}) "
            f"| {found['calibration_error']:.3f} ({found['classifier_calibration_error']:.3f}) |"
        )
    images = results["drawn"]
    better = " and ".join(
        f"{images[f'best_of_{candidates}']:.4f} of the best of {candidates}"
        for candidates in CANDIDATES[1:]
    )
    lines += [
        "",
        f"{images['best_of_1']:.4f} of {images['images']:,} images drawn for a label are read as "
        f"it, {better}; of {images['test_images']:,} test images {images['test_agreement']:.4f}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "labels")
