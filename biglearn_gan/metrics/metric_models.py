"""MetricModels as a person asks for them: from the folders that are named, or from those that ship.

What ships is looked for, in this order, in ``checkpoints/`` where a command is run, beside the
checkpoint that is measured, and in ``checkpoints/`` of the clone that the package is imported from.
Every function returns what to tell the person beside its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from biglearn_gan.errors import UsageError
from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.metrics.features import ClassifierFeatures, Features, InceptionFeatures
from biglearn_gan.metrics.masked_classifier import MaskedClassifier

CHECKPOINTS = Path("checkpoints")
CLONE = Path(__file__).parents[2] / "checkpoints"


def load_metric_models(
    data_name: str,
    features: str,
    classifier: str | None,
    masked_classifier: str | None,
    inception_weights: Path | None,
    device: torch.device,
    *,
    checkpoint: str | None = None,
    labeled: bool = True,
) -> tuple[MetricModels, tuple[str, ...]]:
    """What measures: features, and the classifiers that are named or ship for the data.

    Args:
        data_name: of the data set.
        features: ``classifier`` or ``inception``.
        classifier: folder, or None for the ``classifier_DATA`` that ships, where one does.
        masked_classifier: folder, or None for the ``masked_classifier_DATA`` that ships.
        inception_weights: file for ``inception``, None for pytorch-fid's own.
        device: where they run.
        checkpoint: folder (or name on the hub) of the model that is measured, if one is.
        labeled: whether the data have labels, so that a classifier could be trained on them.

    Raises:
        MetricModelError: there is no classifier for its features, or weights that nobody needs.
        ClassifierError: a folder holds no classifier.
        FeaturesError: the Inception network's weights cannot be had.
    """
    near = Path(checkpoint) if checkpoint is not None else None
    folder, places = find_classifier(classifier, "classifier", data_name, near)
    masked_folder, masked_places = find_classifier(
        masked_classifier, "masked_classifier", data_name, near
    )
    reader = None if folder is None else ImageClassifier.from_pretrained(folder).to(device)
    notes: tuple[str, ...] = ()
    masked = None
    if masked_folder is not None:
        masked = MaskedClassifier.from_pretrained(masked_folder).to(device)
    else:
        why = f"no --masked-classifier was given and there is no {masked_places}"
        notes = (f"no ceiling of agreement: {why}",)
    if features == "inception":
        inception = InceptionFeatures(inception_weights, device=device)
        return MetricModels(inception, reader, masked), notes
    if inception_weights is not None:
        raise MetricModelError("--inception-weights is for --features inception")
    if reader is None and not labeled:
        raise MetricModelError(
            f"no classifier is there for {data_name} (no {places}), whose images have no labels to "
            "train one on: give --features inception"
        )
    if reader is None:
        raise MetricModelError(
            f"no classifier is there for {data_name} (no {places}): give --classifier "
            "(train-classifier makes one), or --features inception"
        )
    return MetricModels(ClassifierFeatures(reader), reader, masked), notes


def find_classifier(
    named: str | None, kind: str, data_name: str, checkpoint: Path | None = None
) -> tuple[str | None, str]:
    """The classifier's folder, None where there is none, and the places that were looked at."""
    if named is not None:
        return named, named
    name = f"{kind}_{data_name}"
    folders = [CHECKPOINTS / name, CLONE / name]
    if checkpoint is not None and checkpoint.is_dir():
        folders.insert(1, checkpoint.resolve().parent / name)
    places: dict[Path, str] = {}
    for folder in folders:
        places.setdefault(folder.resolve(), str(folder))
    found = next((str(folder) for folder in folders if folder.is_dir()), None)
    return found, " nor ".join(places.values())


class MetricModelError(UsageError):
    """There is nothing to measure with, in one sentence."""


@dataclass(frozen=True)
class MetricModels:
    """What measures.

    Attributes:
        features: in which distances, precision and recall are taken.
        classifier: reads labels; without one, nothing is said of them.
        masked_classifier: gives the ceiling of agreement, p(y | x_S).
    """

    features: Features
    classifier: ImageClassifier | None = None
    masked_classifier: MaskedClassifier | None = None
