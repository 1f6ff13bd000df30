"""Measure how well labels can be read from a model's features, with few labels and with many.

    python experiments/studies/probe.py --checkpoint digits --output probe.json

Features are the means of a transformer's last block (`model.features`) for whole images. A linear
probe (logistic regression) and the nearest neighbors (5, or 1 with fewer labels of a class) learn
the labels of some training images, equally many of each class, and are tested on all test images.
Beside the model's two networks stand raw pixels, a generator with random weights, and the models of
``--other``, such as a masked autoencoder. The model itself may have been trained with labels.
``--folder`` names other images than those of the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.evaluation_options import parse_counts
from biglearn_gan.cli.options import Checkpoint, DataRoot, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.labeled import hide_labels
from biglearn_gan.data.loading import count_classes, load_dataset
from biglearn_gan.files import make_folder, replacing
from biglearn_gan.models.input_checks import NetworkName
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

NEIGHBORS = 5
BATCH_ROWS = 1024

FeaturesOf = Callable[[Tensor], np.ndarray]


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    other: Annotated[
        list[str] | None,
        typer.Option(help="Another model of the same images, as for --checkpoint."),
    ] = None,
    data_root: DataRoot = None,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, help="Other images: train/ and test/ with class folders."),
    ] = None,
    labels: Annotated[str, typer.Option(help="Labels of each class.")] = "1,10,100",
    draws: Annotated[int, typer.Option(min=1, help="Draws of the labeled images.")] = 3,
) -> None:
    """Print the accuracies as a Markdown table and write them as JSON."""
    torch.set_num_threads(1)
    counts = parse_counts(labels, "--labels")
    model = BigLearnGAN.from_pretrained(checkpoint)
    others = {name: BigLearnGAN.from_pretrained(name) for name in other or ()}
    for name, another in others.items():
        check_same_images(name, another, model)
    data = with_data_root(data_root, model.config.data)
    if folder is not None:
        data = folder_of_classes(model.config, folder)
    train, test = load_dataset(data, "train"), load_dataset(data, "test")
    if train.num_classes is None:
        fail(f"--checkpoint {checkpoint}: its images have no labels", code=2)
    test = test.subset(test.labeled)
    sources: dict[str, FeaturesOf] = {
        "raw pixels": lambda images: images.flatten(1).numpy(),
        "random weights": features_of(untrained(model), "generator"),
        "generator": features_of(model, "generator"),
        "discriminator": features_of(model, "discriminator"),
    }
    for name, another in others.items():
        sources[f"generator of {name}"] = features_of(another, "generator")
    make_folder(output.parent)
    results = {
        name: measure(compute, train, test, counts, draws) for name, compute in sources.items()
    }
    with replacing(output) as path:
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    typer.echo(table(results, counts))


def folder_of_classes(config: Config, folder: Path) -> DataConfig:
    """The images of a folder as the model reads them, with their classes counted."""
    data = DataConfig(
        name="folder",
        root=str(folder),
        image_size=config.data.image_size,
        channels=config.data.channels,
        labels=True,
    )
    return count_classes(config.model_copy(update={"data": data})).data


def check_same_images(name: str, another: BigLearnGAN, model: BigLearnGAN) -> None:
    """End the command if a model of ``--other`` reads images of another size."""
    theirs, ours = another.config.data, model.config.data
    if (theirs.image_size, theirs.channels) != (ours.image_size, ours.channels):
        fail(
            f"--other {name} must be a model of images of {ours.image_size} pixels and "
            f"{ours.channels} channel(s), not {theirs.image_size} and {theirs.channels}",
            code=2,
        )


def untrained(model: BigLearnGAN) -> BigLearnGAN:
    """The same networks with random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random = BigLearnGAN(model.config)
    random.standardization.load_state_dict(model.standardization.state_dict())
    return random.eval()


def features_of(model: BigLearnGAN, network: NetworkName) -> FeaturesOf:
    """Computes the features of one network."""
    return lambda images: model.features(images, network=network).numpy()


def measure(
    compute: FeaturesOf,
    train: ImageDataset,
    test: ImageDataset,
    counts: Sequence[int],
    draws: int,
) -> dict[str, dict[str, list[float]]]:
    """Test accuracies of every draw, by probe and labels of a class."""
    train_features, test_features = (all_features(compute, data) for data in (train, test))
    assert train.num_classes is not None and test.labels is not None
    truth = test.labels.numpy()
    accuracies: dict[str, dict[str, list[float]]] = {"linear": {}, "neighbors": {}}
    for count in counts:
        for draw in range(draws):
            labels = hide_labels(train, count * train.num_classes, draw).labels
            assert labels is not None
            chosen = (labels != UNKNOWN_LABEL).numpy()
            for name, probe in probes(count).items():
                probe.fit(train_features[chosen], labels.numpy()[chosen])
                accuracy = float((probe.predict(test_features) == truth).mean())
                accuracies[name].setdefault(str(count), []).append(accuracy)
    return accuracies


def probes(count: int) -> dict[str, Any]:
    """New classifiers for this number of labels of a class."""
    neighbors = NEIGHBORS if count >= NEIGHBORS else 1
    return {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "neighbors": make_pipeline(StandardScaler(), KNeighborsClassifier(neighbors)),
    }


def all_features(compute: FeaturesOf, dataset: ImageDataset) -> np.ndarray:
    """The features of all images, (N, D)."""
    parts = torch.arange(len(dataset)).split(BATCH_ROWS)
    return np.concatenate([compute(dataset.batch(part).images) for part in parts])


def table(results: dict[str, dict[str, dict[str, list[float]]]], counts: Sequence[int]) -> str:
    """Mean and standard deviation over the draws, in percent."""
    columns = [(probe, str(count)) for probe in ("linear", "neighbors") for count in counts]
    header = " | ".join(f"{probe}, {count}" for probe, count in columns)
    lines = [f"| features | {header} |", "|---" * (1 + len(columns)) + "|"]
    for name, accuracies in results.items():
        cells = []
        for probe, count in columns:
            values = 100 * np.array(accuracies[probe][count])
            error = f" ± {values.std():.1f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.1f}{error}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "probe")
