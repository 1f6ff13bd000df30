"""A fast version of the protocol, which evaluates the average generator during training."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import has_validation, load_dataset
from biglearn_gan.evaluation.task import (
    CompletionModel,
    EvaluationTask,
    ModelSamples,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.metrics.classifier import FEATURE_DIM, ClassifierError, ImageClassifier
from biglearn_gan.metrics.completion_metrics import agreement, diversity, entropy
from biglearn_gan.metrics.features import ClassifierFeatures
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.metrics.metric_models import find_classifier
from biglearn_gan.metrics.reference_statistics import default_cache, reference_statistics
from biglearn_gan.rng import Stream, make_rng

MAX_IMAGES = 2000
TASK = "random:0.5"
VARIATIONS = 2


class TrainingEvaluation:
    """Distances, agreement, diversity and class balance, measured in seconds.

    Args:
        classifier: predicts labels, and gives the features of the distances.
        train_data: the reference of the distances.
        held_out: the validation split, or None if there is none. Completions are then of training
            images, and there is no best state.
        patch_size: of the model, in pixels.
        seed: of sampling, holes and the choice of images.
        cache: folder for the statistics of the reference, or None.

    Attributes:
        names: of the numbers that :meth:`measure` returns.
        description: what is measured, in one sentence, with the floor of held-out images.
        fingerprint: changes with the classifier, the held-out images and the seed.

    Raises:
        ClassifierError: the classifier is for other images or classes, or there are fewer images
            than features.
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
            classifier.check_dataset(dataset)
        if min(len(train_data), len(data)) < FEATURE_DIM:
            raise ClassifierError(
                f"{min(len(train_data), len(data))} images of {data.name} are too few for "
                f"{FEATURE_DIM} features"
            )
        self._classifier = classifier
        self._features = ClassifierFeatures(classifier)
        self._seed = seed
        self._has_held_out = held_out is not None
        rng = make_rng(Stream.SOURCES, seed)
        chosen = torch.randperm(len(data), generator=rng)[:MAX_IMAGES]
        originals = data.images_uint8(chosen).cpu()
        labels = None if data.labels is None else data.labels.cpu()[chosen]
        self._joint = make_sourceless_task("joint", len(chosen), data, patch_size, seed)
        self._completion = make_task(TASK, originals, labels, patch_size, seed)
        self._reference = reference_statistics(self._features, train_data, cache=cache)
        self.fingerprint = f"{self._features.fingerprint} {data.fingerprint()} {seed}"
        floor = "which are also trained on"
        if self._has_held_out:
            floor = f"floor of the distances {self._distance(self._features(originals)):.3f}"
        self.description = f"{len(chosen):,} images of {data.name}, holes {TASK}, {floor}"

    def measure(self, model: CompletionModel) -> dict[str, float]:
        """The numbers of ``names``; agreement only of images that have a label.

        This changes neither the model nor any global state.
        """
        joint = self._draw(model, self._joint, 1)[:, 0]
        labels = self._classifier.predict(joint)
        numbers = {
            "evaluation/joint_distance": self._distance(self._features(joint)),
            "evaluation/entropy": entropy(labels, self._classifier.num_classes),
        }
        task = self._completion
        completions = self._draw(model, task, VARIATIONS)
        first = completions[:, 0]
        numbers["evaluation/completion_distance"] = self._distance(self._features(first))
        numbers["evaluation/diversity"] = float(diversity(completions, task.hole).mean())
        correct = agreement(self._classifier.predict(first)[:, None], task.labels)
        if correct is not None:
            numbers["evaluation/agreement"] = float(correct.mean())
        return numbers

    def score(self, numbers: dict[str, float]) -> float | None:
        """Joint plus completion distance, which is lowest for the best state.

        None without held-out images, because training images cannot show which state is best.
        """
        if not self._has_held_out:
            return None
        return numbers["evaluation/joint_distance"] + numbers["evaluation/completion_distance"]

    def _draw(
        self, model: CompletionModel, task: EvaluationTask, variations: int
    ) -> UInt8[Tensor, "N K C H W"]:
        return ModelSamples(model, task, self._seed).read(0, len(task), variations)

    def _distance(self, features: Float[Tensor, "N D"]) -> float:
        statistics = GaussianStatistics(FEATURE_DIM)
        statistics.update(features)
        return frechet_distance(statistics, self._reference)


def make_training_evaluation(
    config: Config, train_data: ImageDataset, classifier: str | None
) -> tuple[TrainingEvaluation | None, tuple[str, ...]]:
    """The evaluation during training, and notes for the user.

    Args:
        config: of the run.
        train_data: the training split.
        classifier: folder of a classifier, or None for the one that ships for the data.

    Returns:
        None without a classifier that fits the data, and notes that say why.

    Raises:
        ClassifierError: the named classifier does not fit the data, or cannot be loaded.
        DataError: the held-out images cannot be loaded.
    """
    data = config.data
    if data.missing is not None:
        return None, ("no evaluation during training: the training images are incomplete",)
    folder, places = find_classifier(classifier, "classifier", data.name)
    if folder is None:
        reason = f"no classifier was given and there is no {places}"
        if data.validation_share > 0:
            reason += "; no use is made of the images that data.validation_share holds out"
        return None, (f"no evaluation during training: {reason}",)
    held_out = load_dataset(data, "validation") if has_validation(data) else None
    network = ImageClassifier.from_pretrained(folder).to(train_data.device)
    try:
        evaluation = TrainingEvaluation(
            network, train_data, held_out, config.model.patch_size, cache=default_cache()
        )
    except ClassifierError as error:
        if classifier is not None:
            raise
        return None, (f"no evaluation during training: {error}",)
    share = config.logging.evaluation_time_share
    notes = [
        f"evaluation during training: {evaluation.description}; at most {share:.0%} of the time"
    ]
    if held_out is None:
        notes.append(
            f"data.validation_share is 0 and {data.name} has no validation split, so no state is "
            "kept as the best"
        )
    return evaluation, tuple(notes)
