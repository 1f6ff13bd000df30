"""Measure how well labels can be read from a model's features, with few labels and with many.

    python experiments/studies/probe.py --checkpoint digits --output probe.json

Features are the means of a transformer's last block (`model.features`) for whole images. A linear
probe (logistic regression) and the nearest neighbors (5, or 1 with fewer labels of a class) learn
the labels of some training images, equally many of each class, and are tested on all test images.
Beside the model's two networks stand raw pixels, a generator with random weights, and the models of
``--other``, such as a masked autoencoder. The model itself may have been trained with labels.
``--folder`` names other images than those of the model. With ``--fine-tune``, all weights of a
network learn the labels, not only a classifier of its features (`fine_tuned_network.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from fine_tuned_network import FineTunedNetwork
from label_tools import fewest_labels
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.evaluation_options import parse_counts
from biglearn_gan.cli.options import Checkpoint, DataRoot, with_all_pixels, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.labeled import hide_labels
from biglearn_gan.data.loading import count_classes, load_dataset
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.models.input_checks import NetworkName
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

NEIGHBORS = 5
BATCH_ROWS = 1024

FeaturesOf = Callable[[Tensor], np.ndarray]
DataSets = tuple[ImageDataset, ImageDataset]
"""Training and test images, all of them labeled."""

Results = dict[str, dict[str, dict[str, list[float]]]]
"""Test accuracies of every draw, by what is probed, probe and labels of a class."""

Network = tuple[BigLearnGAN, NetworkName]
Probes = Callable[[int], dict[str, Any]]
"""The classifiers to train, for a number of labels of each class."""


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
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train all weights of the networks on the labels.")
    ] = False,
) -> None:
    """Print the accuracies as a Markdown table and write them as JSON."""
    torch.set_num_threads(1)
    counts = parse_counts(labels, "--labels")
    model = BigLearnGAN.from_pretrained(checkpoint)
    others = {name: BigLearnGAN.from_pretrained(name) for name in other or ()}
    for name, another in others.items():
        check_same_images(name, another, model)
    data = with_data_root(data_root, with_all_pixels(model.config.data))
    if folder is not None:
        data = folder_of_classes(model.config, folder)
    train, test = load_dataset(data, "train"), load_dataset(data, "test")
    if train.num_classes is None:
        fail(f"--checkpoint {checkpoint}: its images have no labels", code=2)
    fewest = fewest_labels(train)
    if max(counts) > fewest:
        fail(f"--labels must be at most {fewest:,}, the images of the smallest class", code=2)
    data_sets = train, test.subset(test.labeled)
    networks: dict[str, Network] = {
        "random weights": (untrained(model), "generator"),
        "generator": (model, "generator"),
        "discriminator": (model, "discriminator"),
        **{f"generator of {name}": (another, "generator") for name, another in others.items()},
    }
    make_folder(output.parent)
    if fine_tune:
        results = measure_fine_tuned(networks, data_sets, counts, draws)
    else:
        results = measure_features(networks, data_sets, counts, draws)
    write_json(output, results)
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


def measure_features(
    networks: dict[str, Network], data_sets: DataSets, counts: Sequence[int], draws: int
) -> Results:
    """Test accuracies of classifiers of raw pixels and of each network's features."""
    features: dict[str, FeaturesOf] = {"raw pixels": lambda images: images.flatten(1).numpy()}
    for name, (model, network) in networks.items():
        features[name] = partial(features_of, model, network)
    return {
        name: measure(compute, data_sets, counts, draws, probes)
        for name, compute in features.items()
    }


def measure_fine_tuned(
    networks: dict[str, Network], data_sets: DataSets, counts: Sequence[int], draws: int
) -> Results:
    """Test accuracies of each network after all its weights were trained on the labels."""
    num_classes = data_sets[0].num_classes
    assert num_classes is not None

    def accuracies(model: BigLearnGAN, network: NetworkName) -> dict[str, dict[str, list[float]]]:
        def new_probes(count: int) -> dict[str, Any]:
            return {"fine-tuned": FineTunedNetwork(model, network, num_classes)}

        return measure(Tensor.numpy, data_sets, counts, draws, new_probes)

    return {name: accuracies(*network) for name, network in networks.items()}


def features_of(model: BigLearnGAN, network: NetworkName, images: Tensor) -> np.ndarray:
    """The features of one network."""
    return model.features(images, network=network).numpy()


def measure(
    compute: FeaturesOf,
    data_sets: DataSets,
    counts: Sequence[int],
    draws: int,
    new_probes: Probes,
) -> dict[str, dict[str, list[float]]]:
    """Test accuracies of every draw, by probe and labels of a class."""
    train, test = data_sets
    train_features, test_features = (all_features(compute, data) for data in data_sets)
    assert train.num_classes is not None and test.labels is not None
    truth = test.labels.numpy()
    accuracies: dict[str, dict[str, list[float]]] = {}
    for count in counts:
        for draw in range(draws):
            labels = hide_labels(train, count * train.num_classes, draw).labels
            assert labels is not None
            chosen = (labels != UNKNOWN_LABEL).numpy()
            for name, probe in new_probes(count).items():
                probe.fit(train_features[chosen], labels.numpy()[chosen])
                accuracy = float((probe.predict(test_features) == truth).mean())
                of_probe = accuracies.setdefault(name, {})
                of_probe.setdefault(str(count), []).append(accuracy)
    return accuracies


def probes(count: int) -> dict[str, Any]:
    """A linear classifier and nearest neighbors."""
    neighbors = NEIGHBORS if count >= NEIGHBORS else 1
    return {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "neighbors": make_pipeline(StandardScaler(), KNeighborsClassifier(neighbors)),
    }


def all_features(compute: FeaturesOf, dataset: ImageDataset) -> np.ndarray:
    """What ``compute`` gives for all images, one row each."""
    parts = torch.arange(len(dataset)).split(BATCH_ROWS)
    return np.concatenate([compute(dataset.batch(part).images) for part in parts])


def table(results: Results, counts: Sequence[int]) -> str:
    """Mean and standard deviation over the draws, in percent."""
    kinds = next(iter(results.values()))
    columns = [(kind, str(count)) for kind in kinds for count in counts]
    header = " | ".join(f"{probe}, {count}" for probe, count in columns)
    lines = [f"| what is probed | {header} |", "|---" * (1 + len(columns)) + "|"]
    for name, accuracies in results.items():
        cells = []
        for probe, count in columns:
            values = 100 * np.array(accuracies[probe][count])
            error = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.1f}{error}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "probe")
