"""Rulers as a person asks for them: from the folders that are named, or from those that ship.

Every function returns what to tell the person beside its result.
"""

from __future__ import annotations

from pathlib import Path

import torch

from biglearn_gan.config import Config, DataConfig, load_config
from biglearn_gan.data import NATIVE_SIZES, ImageDataset, load_dataset
from biglearn_gan.evaluation.classifier import ClassifierError, ImageClassifier
from biglearn_gan.evaluation.features import ClassifierFeatures, InceptionFeatures
from biglearn_gan.evaluation.masked_classifier import MaskedClassifier
from biglearn_gan.evaluation.outcome import Rulers
from biglearn_gan.evaluation.protocol import ProtocolError
from biglearn_gan.evaluation.quick import QuickEvaluation

CHECKPOINTS = Path("checkpoints")
"""Where the shipped classifiers are, seen from where a command is run."""


def load_rulers(
    data_name: str,
    features: str,
    classifier: str | None,
    masked_classifier: str | None,
    inception_weights: Path | None,
    device: torch.device,
    *,
    labelled: bool = True,
) -> tuple[Rulers, tuple[str, ...]]:
    """What measures: features, and the classifiers that are named or ship for the data.

    Args:
        data_name: of the data set.
        features: ``classifier`` or ``inception``.
        classifier: folder, or None for ``checkpoints/classifier_DATA`` where that is.
        masked_classifier: folder, or None for ``checkpoints/masked_classifier_DATA``.
        inception_weights: file for ``inception``, None for pytorch-fid's own.
        device: where they run.
        labelled: whether the data have labels, so that a classifier could be trained on them.

    Raises:
        ProtocolError: there is no classifier for its features, or weights that nobody needs.
        ClassifierError: a folder holds no classifier.
        FeaturesError: the Inception network's weights cannot be had.
    """
    folder = classifier or _shipped("classifier", data_name)
    masked_folder = masked_classifier or _shipped("masked_classifier", data_name)
    reader = None if folder is None else ImageClassifier.from_pretrained(folder).to(device)
    notes: tuple[str, ...] = ()
    masked = None
    if masked_folder is not None:
        masked = MaskedClassifier.from_pretrained(masked_folder).to(device)
    else:
        notes = ("no ceiling of agreement: no --masked-classifier was given and none ships",)
    if features == "inception":
        inception = InceptionFeatures(inception_weights, device=device)
        return Rulers(inception, reader, masked), notes
    if inception_weights is not None:
        raise ProtocolError("--inception-weights is for --features inception")
    if reader is None and not labelled:
        raise ProtocolError(
            f"no classifier ships for {data_name}, whose images have no labels to train one on: "
            "give --features inception"
        )
    if reader is None:
        raise ProtocolError(
            f"no classifier ships for {data_name}: give --classifier (train-classifier makes one), "
            "or --features inception"
        )
    return Rulers(ClassifierFeatures(reader), reader, masked), notes


def quick_evaluation(
    config: Config, train_data: ImageDataset, classifier: str | None
) -> tuple[QuickEvaluation | None, tuple[str, ...]]:
    """What measures alongside training; None where no classifier is there that fits the data.

    Raises:
        ClassifierError: the classifier that was named does not fit the data, or cannot be loaded.
        DataError: the held-out images cannot be loaded.
    """
    data = config.data
    if data.missing is not None:
        return None, ("no evaluation alongside: parts of the training images are unobserved",)
    folder = classifier or _shipped("classifier", data.name)
    if folder is None:
        return None, ("no evaluation alongside: no --classifier was given and none ships",)
    held_out = load_dataset(data, "validation") if data.validation_share else None
    ruler = ImageClassifier.from_pretrained(folder).to(train_data.device)
    try:
        evaluation = QuickEvaluation(ruler, train_data, held_out, config.model.patch_size)
    except ClassifierError as error:
        if classifier is not None:
            raise
        return None, (f"no evaluation alongside: {error}",)
    share = config.logging.evaluation_share
    notes = [f"evaluation alongside: {evaluation.description}; at most {share:.0%} of the time"]
    if held_out is None:
        notes.append("data.validation_share is 0, so no state is kept as the best")
    return evaluation, tuple(notes)


def data_named(name: str) -> DataConfig:
    """A data set in its own size, or that of a YAML file.

    Raises:
        ProtocolError: the name is neither.
        ConfigError: the file is no configuration.
    """
    if name.endswith((".yaml", ".yml")):
        return load_config(name).data
    if name not in NATIVE_SIZES:
        raise ProtocolError(
            f"--data: {name!r} is none of {', '.join(NATIVE_SIZES)}, nor a YAML file as in "
            "experiments/"
        )
    image_size, channels = NATIVE_SIZES[name]
    return DataConfig.model_validate({"name": name, "image_size": image_size, "channels": channels})


def _shipped(kind: str, data_name: str) -> str | None:
    folder = CHECKPOINTS / f"{kind}_{data_name}"
    return str(folder) if folder.is_dir() else None
