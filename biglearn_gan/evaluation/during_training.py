"""A quick form of the protocol, for the generator's average while it trains."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import has_validation, load_dataset
from biglearn_gan.evaluation.task import (
    CompletionModel,
    ModelSamples,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.metrics.classifier import FEATURES, ClassifierError, ImageClassifier
from biglearn_gan.metrics.completion_metrics import diversity, entropy
from biglearn_gan.metrics.features import ClassifierFeatures
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.metrics.metric_models import find_classifier
from biglearn_gan.metrics.reference_statistics import default_cache, reference_statistics
from biglearn_gan.rng import Stream, make_rng

QUICK_IMAGES = 2000
QUICK_TASK = "random:0.5"
QUICK_VARIATIONS = 2


class QuickEvaluation:
    """Joint and completion distance, agreement, diversity and class balance, in seconds.

    Args:
        classifier: measures, and reads labels.
        train_data: the reference of the distances.
        held_out: the validation split, or None where there is none; completions are then of
            training images, and no state is called the best.
        patch_size: of the model, in pixels.
        seed: of sampling, holes and the choice of images.
        cache: folder for the reference's statistics, or None.

    Attributes:
        names: of what :meth:`measure` gives.
        description: what is measured, in one sentence, with the floor of held-out images.
        fingerprint: changes with the classifier, the held-out images and the seed.

    Raises:
        ClassifierError: the classifier is of other images or classes, or there are fewer images
            than it has features.
    """

    names = (
        "evaluation/joint_distance",
        "evaluation/completion_distance",
        "evaluation/agreement",
        "evaluation/diversity",
        "evaluation/entropy",
    )

    def __init__(
        self,
        classifier: ImageClassifier,
        train_data: ImageDataset,
        held_out: ImageDataset | None,
        patch_size: int,
        seed: int = 0,
        cache: Path | None = None,
    ):
        data = train_data if held_out is None else held_out
        for dataset in (train_data, data):
            classifier.check_images_of(dataset)
        if min(len(train_data), len(data)) < FEATURES:
            raise ClassifierError(
                f"{min(len(train_data), len(data))} images of {data.name} are too few for "
                f"{FEATURES} features"
            )
        self._classifier = classifier
        self._features = ClassifierFeatures(classifier)
        self._patch_size = patch_size
        self._seed = seed
        self._held_out = held_out is not None
        rng = make_rng(Stream.SOURCES, seed)
        chosen = torch.randperm(len(data), generator=rng)[:QUICK_IMAGES]
        self._originals = data.images_uint8(chosen).cpu()
        self._labels = None if data.labels is None else data.labels.cpu()[chosen]
        self._blank = make_sourceless_task("joint", len(chosen), data, patch_size, seed)
        self._reference = reference_statistics(self._features, train_data, cache=cache)
        self.fingerprint = f"{self._features.fingerprint} {data.fingerprint()} {seed}"
        floor = "which are trained on, too"
        if self._held_out:
            distance = self._distance(self._features(self._originals))
            floor = f"floor of the distances {distance:.3f}"
        self.description = f"{len(chosen):,} images of {data.name}, holes {QUICK_TASK}, {floor}"

    def measure(self, model: CompletionModel) -> dict[str, float]:
        """The numbers of ``names``; agreement only for data with labels.

        Neither the model nor anything global is changed.
        """
        joint = ModelSamples(model, self._blank, self._seed).read(0, len(self._blank), 1)[:, 0]
        read = self._classifier.read(joint)
        measured = {
            "evaluation/joint_distance": self._distance(self._features(joint)),
            "evaluation/entropy": entropy(read, self._classifier.num_classes),
        }
        question = make_task(
            QUICK_TASK, self._originals, self._labels, self._patch_size, self._seed
        )
        completed = ModelSamples(model, question, self._seed).read(
            0, len(question), QUICK_VARIATIONS
        )
        first = completed[:, 0]
        measured["evaluation/completion_distance"] = self._distance(self._features(first))
        measured["evaluation/diversity"] = float(diversity(completed, question.hole).mean())
        if self._labels is not None:
            right = self._classifier.read(first) == self._labels
            measured["evaluation/agreement"] = float(right.double().mean())
        return measured

    def score(self, measured: dict[str, float]) -> float | None:
        """Joint plus completion distance, of which the best state has the least.

        None without held-out images: what was trained on says nothing of what is best.
        """
        if not self._held_out:
            return None
        return measured["evaluation/joint_distance"] + measured["evaluation/completion_distance"]

    def _distance(self, features: Float[Tensor, "N D"]) -> float:
        statistics = GaussianStatistics(FEATURES)
        statistics.update(features)
        return frechet_distance(statistics, self._reference)


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
    folder, places = find_classifier(classifier, "classifier", data.name)
    if folder is None:
        why = f"no --classifier was given and there is no {places}"
        return None, (f"no evaluation alongside: {why}",)
    held_out = load_dataset(data, "validation") if has_validation(data) else None
    reader = ImageClassifier.from_pretrained(folder).to(train_data.device)
    try:
        evaluation = QuickEvaluation(
            reader, train_data, held_out, config.model.patch_size, cache=default_cache()
        )
    except ClassifierError as error:
        if classifier is not None:
            raise
        return None, (f"no evaluation alongside: {error}",)
    share = config.logging.evaluation_time_share
    notes = [f"evaluation alongside: {evaluation.description}; at most {share:.0%} of the time"]
    if held_out is None:
        notes.append(
            f"data.validation_share is 0 and {data.name} has no validation split, so no state is "
            "kept as the best"
        )
    return evaluation, tuple(notes)
