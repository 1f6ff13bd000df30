"""Rulers as a person asks for them: from the folders that are named, or from those that ship.

What ships is looked for, in this order, in ``checkpoints/`` where a command is run, beside the
checkpoint that is measured, and in ``checkpoints/`` of the clone that the package is imported from.
Every function returns what to tell the person beside its result.
"""

from __future__ import annotations

from pathlib import Path

import torch

from biglearn_gan.config import Config, DataConfig, load_config
from biglearn_gan.data import NATIVE_SIZES, ImageDataset, has_validation, load_dataset
from biglearn_gan.evaluation.classifier import ClassifierError, ImageClassifier
from biglearn_gan.evaluation.features import ClassifierFeatures, InceptionFeatures
from biglearn_gan.evaluation.given import data_named_in
from biglearn_gan.evaluation.masked_classifier import MaskedClassifier
from biglearn_gan.evaluation.outcome import Rulers
from biglearn_gan.evaluation.protocol import ProtocolError
from biglearn_gan.evaluation.quick import QuickEvaluation
from biglearn_gan.evaluation.reference import default_cache

CHECKPOINTS = Path("checkpoints")
CLONE = Path(__file__).parents[2] / "checkpoints"


def load_rulers(
    data_name: str,
    features: str,
    classifier: str | None,
    masked_classifier: str | None,
    inception_weights: Path | None,
    device: torch.device,
    *,
    checkpoint: str | None = None,
    labelled: bool = True,
) -> tuple[Rulers, tuple[str, ...]]:
    """What measures: features, and the classifiers that are named or ship for the data.

    Args:
        data_name: of the data set.
        features: ``classifier`` or ``inception``.
        classifier: folder, or None for the ``classifier_DATA`` that ships, where one does.
        masked_classifier: folder, or None for the ``masked_classifier_DATA`` that ships.
        inception_weights: file for ``inception``, None for pytorch-fid's own.
        device: where they run.
        checkpoint: folder (or name on the hub) of the model that is measured, if one is.
        labelled: whether the data have labels, so that a classifier could be trained on them.

    Raises:
        ProtocolError: there is no classifier for its features, or weights that nobody needs.
        ClassifierError: a folder holds no classifier.
        FeaturesError: the Inception network's weights cannot be had.
    """
    near = Path(checkpoint) if checkpoint is not None else None
    folder, places = _find(classifier, "classifier", data_name, near)
    masked_folder, masked_places = _find(masked_classifier, "masked_classifier", data_name, near)
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
        return Rulers(inception, reader, masked), notes
    if inception_weights is not None:
        raise ProtocolError("--inception-weights is for --features inception")
    if reader is None and not labelled:
        raise ProtocolError(
            f"no classifier is there for {data_name} (no {places}), whose images have no labels to "
            "train one on: give --features inception"
        )
    if reader is None:
        raise ProtocolError(
            f"no classifier is there for {data_name} (no {places}): give --classifier "
            "(train-classifier makes one), or --features inception"
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
    folder, places = _find(classifier, "classifier", data.name)
    if folder is None:
        why = f"no --classifier was given and there is no {places}"
        return None, (f"no evaluation alongside: {why}",)
    held_out = load_dataset(data, "validation") if has_validation(data) else None
    ruler = ImageClassifier.from_pretrained(folder).to(train_data.device)
    try:
        evaluation = QuickEvaluation(
            ruler, train_data, held_out, config.model.patch_size, cache=default_cache()
        )
    except ClassifierError as error:
        if classifier is not None:
            raise
        return None, (f"no evaluation alongside: {error}",)
    share = config.logging.evaluation_share
    notes = [f"evaluation alongside: {evaluation.description}; at most {share:.0%} of the time"]
    if held_out is None:
        notes.append(
            f"data.validation_share is 0 and {data.name} has no validation split, so no state is "
            "kept as the best"
        )
    return evaluation, tuple(notes)


def data_of_samples(samples: Path, name: str | None) -> DataConfig:
    """The data set that images made elsewhere imitate: as it is named, or as their file says.

    Raises:
        ProtocolError: neither names one, or not one whose images all have one size.
        ConfigError, DataError: a file cannot be read.
    """
    said = name or data_named_in(samples)
    if name is None and said not in NATIVE_SIZES:
        why = "says" if said is None else f"says {said!r} and"
        raise ProtocolError(
            f"--samples needs --data, the data set that they imitate (a name, or a YAML file as in "
            f"experiments/): {samples} {why} none of {', '.join(NATIVE_SIZES)}"
        )
    assert said is not None
    return data_named(said)


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


def _find(
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
