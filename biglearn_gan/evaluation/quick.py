"""A quick form of the protocol, for the generator's average while it trains."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.data import ImageDataset
from biglearn_gan.evaluation.answers import Drawn, Sampler, ask, ask_from_nothing
from biglearn_gan.evaluation.classifier import FEATURES, ClassifierError, ImageClassifier
from biglearn_gan.evaluation.features import ClassifierFeatures
from biglearn_gan.evaluation.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.evaluation.labels import entropy
from biglearn_gan.evaluation.pixels import spread
from biglearn_gan.evaluation.reference import reference_statistics
from biglearn_gan.randomness import Stream, generator_for

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
        ruler: changes with the classifier, the held-out images and the seed.

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
        generator = generator_for(Stream.SOURCES, seed)
        chosen = torch.randperm(len(data), generator=generator)[:QUICK_IMAGES]
        self._originals = data.images_uint8(chosen).cpu()
        self._labels = None if data.labels is None else data.labels.cpu()[chosen]
        self._blank = ask_from_nothing("joint", len(chosen), data, patch_size, seed)
        self._reference = reference_statistics(self._features, train_data, cache=cache)
        self.ruler = f"{self._features.fingerprint} {data.fingerprint()} {seed}"
        floor = "which are trained on, too"
        if self._held_out:
            distance = self._distance(self._features(self._originals))
            floor = f"floor of the distances {distance:.3f}"
        self.description = f"{len(chosen):,} images of {data.name}, holes {QUICK_TASK}, {floor}"

    def measure(self, model: Sampler) -> dict[str, float]:
        """The numbers of ``names``; agreement only for data with labels.

        Neither the model nor anything global is changed.
        """
        joint = Drawn(model, self._blank, self._seed).read(0, len(self._blank), 1)[:, 0]
        read = self._classifier.read(joint)
        measured = {
            "evaluation/joint_distance": self._distance(self._features(joint)),
            "evaluation/entropy": entropy(read, self._classifier.num_classes),
        }
        question = ask(QUICK_TASK, self._originals, self._labels, self._patch_size, self._seed)
        completed = Drawn(model, question, self._seed).read(0, len(question), QUICK_VARIATIONS)
        first = completed[:, 0]
        measured["evaluation/completion_distance"] = self._distance(self._features(first))
        measured["evaluation/diversity"] = float(spread(completed, question).mean())
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
