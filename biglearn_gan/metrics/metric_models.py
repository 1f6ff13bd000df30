"""The networks that measure: those in named folders, or those that ship.

A classifier without a name is looked up in ``checkpoints/`` of the working directory, then next to
the evaluated checkpoint, then among those that come with the package. Every function also returns
notes for the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from biglearn_gan import shipped
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.errors import UsageError
from biglearn_gan.metrics.classifier import (
    ClassifierError,
    ImageClassifier,
    PretrainedClassifier,
)
from biglearn_gan.metrics.features import (
    ClassifierFeatures,
    EfficientNetFeatures,
    Features,
    InceptionFeatures,
)
from biglearn_gan.metrics.masked_classifier import MaskedClassifier

CHECKPOINTS = Path("checkpoints")


@dataclass(frozen=True)
class MetricModels:
    """The networks that measure.

    Attributes:
        features: space of distances, precision and recall.
        classifier: predicts labels; without it, no labels are measured.
        masked_classifier: gives the ceiling of agreement, p(y | x_S).
    """

    features: Features
    classifier: ImageClassifier | None = None
    masked_classifier: MaskedClassifier | None = None


class MetricModelError(UsageError):
    """A network that is needed to measure is missing."""


def load_metric_models(
    data_name: str,
    features: str,
    classifier: str | None,
    masked_classifier: str | None,
    inception_weights: Path | None,
    device: torch.device,
    *,
    checkpoint: str | None = None,
    dataset: ImageDataset | None = None,
) -> tuple[MetricModels, tuple[str, ...]]:
    """Load the features, and the classifiers that are named or ship for a data set.

    Args:
        data_name: name of the data set.
        features: ``classifier``, ``efficientnet`` or ``inception``.
        classifier: folder or shipped name, or None for ``classifier_DATA``.
        masked_classifier: folder or shipped name, or None for ``masked_classifier_DATA``.
        inception_weights: file for ``inception``, None for pytorch-fid's own.
        device: where the networks run.
        checkpoint: folder (or name on the hub) of the evaluated model, or None.
        dataset: the evaluated images. A classifier of other images that was found, not named, is
            then left out if the features do not need it.

    Returns:
        The networks, and notes for the user about those that are missing.

    Raises:
        MetricModelError: there is no classifier for the features, or there are weights of Inception
            for the features of a classifier.
        ClassifierError: a folder holds no classifier.
        FeaturesError: the weights of the Inception network cannot be loaded.
        FeatureNetworkError: the weights of EfficientNet are not installed.
    """
    near = Path(checkpoint) if checkpoint is not None else None
    folder, places = find_classifier(classifier, "classifier", data_name, near)
    masked_folder, masked_places = find_classifier(
        masked_classifier, "masked_classifier", data_name, near
    )
    network = None if folder is None else ImageClassifier.from_pretrained(folder).to(device)
    notes: tuple[str, ...] = ()
    masked = None
    if masked_folder is not None:
        masked = MaskedClassifier.from_pretrained(masked_folder).to(device)
        if masked_classifier is None and (reason := _misfit(masked, dataset)):
            masked, notes = None, (f"no ceiling of agreement: {masked_folder}: {reason}",)
    else:
        reason = f"no masked classifier was given and there is no {masked_places}"
        notes = (f"no ceiling of agreement: {reason}",)
    is_optional = classifier is None and features != "classifier"
    if network is not None and is_optional and (reason := _misfit(network, dataset)):
        network, notes = None, (*notes, f"no labels are measured: {folder}: {reason}")
    if features == "inception":
        inception = InceptionFeatures(inception_weights, device=device)
        return MetricModels(inception, network, masked), notes
    if inception_weights is not None:
        raise MetricModelError("weights of the Inception network require the features inception")
    if features == "efficientnet":
        return MetricModels(EfficientNetFeatures(device), network, masked), notes
    if network is None and dataset is not None and dataset.labels is None:
        raise MetricModelError(
            f"there is no classifier for {data_name} (no {places}), whose images have no labels to "
            "train one on: choose the features efficientnet or inception"
        )
    if network is None:
        raise MetricModelError(
            f"there is no classifier for {data_name} (no {places}): train one with "
            "train-classifier, or choose the features efficientnet or inception"
        )
    return MetricModels(ClassifierFeatures(network), network, masked), notes


def _misfit(classifier: PretrainedClassifier, dataset: ImageDataset | None) -> str:
    """Why the classifier cannot read the images; empty if it can, or if there are none."""
    try:
        if dataset is not None:
            classifier.check_dataset(dataset)
    except ClassifierError as error:
        return str(error)
    return ""


def find_classifier(
    folder: str | None, kind: str, data_name: str, checkpoint: Path | None = None
) -> tuple[str | None, str]:
    """The folder of the classifier, or None if there is none, and the places that were searched."""
    if folder is not None:
        return folder, folder
    name = f"{kind}_{data_name}"
    folders = [CHECKPOINTS / name, shipped.CHECKPOINTS / name]
    if checkpoint is not None and checkpoint.is_dir():
        folders.insert(1, checkpoint.resolve().parent / name)
    places: dict[Path, str] = {}
    for each in folders:
        places.setdefault(each.resolve(), str(each))
    found = next((str(each) for each in folders if each.is_dir()), None)
    return found, " nor ".join(places.values())
