"""Measure how well a model with labels predicts them, and generates images for them.

    python experiments/studies/label_accuracy.py --checkpoint checkpoints/digits \
        --output label_accuracy.json

The first table has the accuracy and the calibration error of the predicted label on all test
images, with various holes. The numbers in parentheses are those of the masked classifier of
`biglearn-gan evaluate`, if there is one for the images. The second table says how often the
classifier reads the given label from a generated image, and the true label from a test image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from label_tools import images_for_labels, visible_part

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.evaluation_options import shipped_metric_models
from biglearn_gan.cli.options import Checkpoint, Classifier, DataRoot, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.metrics.classifier import accuracy
from biglearn_gan.metrics.masked_classifier import calibration
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.pixel_values import to_signed_float

HOLES = ("nothing", "random:0.25", "random:0.5", "random:0.75", "right-half")
CANDIDATES = (1, 2, 4)


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    data_root: DataRoot = None,
    classifier: Classifier = None,
    num: Annotated[int, typer.Option(min=1, help="Images to generate for labels.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the holes and samples.")] = 0,
) -> None:
    """Print both tables as Markdown and write their numbers as JSON."""
    torch.set_num_threads(1)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = model.config.data
    if not data.labels:
        fail(f"--checkpoint must be a model with labels; {checkpoint} has none", code=2)
    test_data = load_dataset(with_data_root(data_root, data), "test")
    test_data = test_data.subset(test_data.labeled)
    metric_models = shipped_metric_models(
        data.name, checkpoint, classifier=classifier, dataset=test_data
    )
    assert metric_models.classifier is not None
    metric_models.classifier.check_dataset(test_data)
    make_folder(output.parent)
    results = {
        "seed": seed,
        "prediction": {
            hole: measure_prediction(model, metric_models, test_data, hole, seed) for hole in HOLES
        },
        "generation": measure_generation(model, metric_models, test_data, num, seed),
    }
    write_json(output, results)
    typer.echo(table(results))


def measure_prediction(
    model: BigLearnGAN, metric_models: MetricModels, test_data: ImageDataset, hole: str, seed: int
) -> dict[str, float]:
    """Accuracy and calibration error of the model, and of a masked classifier if there is one."""
    images, labels = test_data.images_uint8(torch.arange(len(test_data))), test_data.labels
    assert labels is not None
    observed = visible_part(test_data, hole, model.patch_size, seed)
    predicted = model.classify(to_signed_float(images), observed=observed)
    of_model = calibration(predicted.double(), labels)
    measured = {"accuracy": of_model.accuracy, "calibration_error": of_model.error}
    if (masked_classifier := metric_models.masked_classifier) is not None:
        probabilities = masked_classifier.probabilities(to_signed_float(images), observed)
        of_classifier = calibration(probabilities, labels)
        measured["classifier_accuracy"] = of_classifier.accuracy
        measured["classifier_calibration_error"] = of_classifier.error
    return measured


def measure_generation(
    model: BigLearnGAN, metric_models: MetricModels, test_data: ImageDataset, num: int, seed: int
) -> dict[str, float]:
    """How often the classifier reads the given label from ``num`` generated images."""
    agreements = {}
    for candidates in CANDIDATES:
        images = images_for_labels(model, num, seed, candidates)
        agreements[f"best_of_{candidates}"] = agreement(metric_models, images)
    return {
        "images": num,
        **agreements,
        "test_images": len(test_data),
        "test_agreement": agreement(metric_models, test_data),
    }


def agreement(metric_models: MetricModels, images: ImageDataset) -> float:
    """The share of images from which the classifier reads their label."""
    assert metric_models.classifier is not None
    return accuracy(metric_models.classifier, images)


def table(results: dict[str, Any]) -> str:
    """Both tables as Markdown."""
    is_compared = "classifier_accuracy" in results["prediction"][HOLES[0]]
    beside = " (masked classifier)" if is_compared else ""
    lines = [f"| hidden | accuracy{beside} | calibration error{beside} |", "|---|---|---|"]
    for hole, found in results["prediction"].items():
        cells = [
            f"{found[name]:.3f} ({found[f'classifier_{name}']:.3f})"
            if is_compared
            else f"{found[name]:.3f}"
            for name in ("accuracy", "calibration_error")
        ]
        lines.append(f"| {hole} | {' | '.join(cells)} |")
    generation = results["generation"]
    names = [f"best of {candidates}" for candidates in CANDIDATES[1:]]
    cells = [f"{generation[f'best_of_{candidates}']:.4f}" for candidates in CANDIDATES]
    lines += [
        "",
        f"| generated for a label | {' | '.join(names)} | real test images |",
        "|---|" + "---|" * len(CANDIDATES),
        f"| {' | '.join(cells)} | {generation['test_agreement']:.4f} |",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "label_accuracy")
