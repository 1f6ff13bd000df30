"""One question and its answers, measured: distances, neighbors, labels, diversity, pixels kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_signed_float
from biglearn_gan.evaluation import baselines as pasted
from biglearn_gan.evaluation.recorder import GROUPS, Recorder
from biglearn_gan.evaluation.records import Record
from biglearn_gan.evaluation.task import (
    MARGINAL,
    EvaluationTask,
    ModelSamples,
    SampleSource,
    TwoStepSamples,
    halves,
)
from biglearn_gan.metrics.completion_metrics import (
    changed_fraction,
    diversity,
    entropy,
    entropy_error,
    histograms,
    total_variation,
    total_variation_of_perfect_draws,
)
from biglearn_gan.metrics.frechet import GaussianStatistics
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.metrics.reference_statistics import reference_statistics
from biglearn_gan.progress import TaskProgress
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import named_hole

HISTOGRAM_DRAWS = 64
"""Completions in the label histogram of a source; of fewer, the metric's name says how many."""

HISTOGRAM_ROWS = 1000
ROWS_AT_ONCE = 250

GALLERY_ROWS = 4
GALLERY_VARIATIONS = 6


class Evaluator:
    """What all questions share: metric_models, the reference, and the originals of the floors.

    Args:
        metric_models: what measures.
        train_data: the reference.
        originals: unmasked images of the split that completions are of.
        labels: theirs, or None.
        split: its name.
        seed: of everything that is drawn here.
        cache: folder for the statistics of the reference, or None.
        allow_few: measure distances of fewer images than dimensions; names then say ``few``.
        progress: hears of every batch.
    """

    def __init__(
        self,
        metric_models: MetricModels,
        train_data: ImageDataset,
        originals: UInt8[Tensor, "N C H W"],
        labels: Int64[Tensor, " N"] | None,
        split: str,
        *,
        seed: int,
        cache: Path | None = None,
        allow_few: bool = False,
        progress: TaskProgress = lambda task, done, total: None,
    ):
        self.metric_models = metric_models
        self.train_data = train_data
        self.originals = originals
        self.labels = labels
        self.seed = seed
        self.cache = cache
        self.progress = progress
        self._recorder = Recorder(metric_models.features, split, seed, allow_few)

    def evaluate_originals(self) -> list[Record]:
        """The floor with its error, and how often the true label is read from an original."""
        record = self._recorder
        records = [record.distance("originals", self._floor_features, self._reference, None)]
        classifier = self.metric_models.classifier
        if self.labels is not None and classifier is not None:
            right = (classifier.read(self.originals) == self.labels).double()
            records.append(record.mean("agreement", "classifier", "originals", right, len(right)))
        return records

    def joint(self, question: EvaluationTask, answers: SampleSource, report: Report) -> None:
        """Images from nothing, against whole training images."""
        classifier = self.metric_models.classifier
        parts, read = [], []
        for _, images in self._answered(question, answers, report):
            parts.append(self.metric_models.features(images))
            if classifier is not None:
                read.append(classifier.read(images))
        features, comparable = torch.cat(parts), min(len(self.originals), len(question))
        alike, record = features[:comparable], self._recorder
        report.records.append(record.distance(question.task, alike, self._reference, self._floor))
        if comparable < len(features):
            report.records.append(record.distance(question.task, features, self._reference, None))
        report.records += record.neighbors(question.task, alike, self._real, self._floor_features)
        if classifier is not None:
            labels, classes = torch.cat(read), classifier.num_classes
            report.records.append(
                record.record(
                    "entropy",
                    "classifier",
                    question.task,
                    entropy(labels, classes),
                    entropy_error(labels, classes, GROUPS),
                    len(labels),
                    ceiling=math.log(classes),
                )
            )

    def marginal(
        self, question: EvaluationTask, answers: SampleSource, patch_size: int, report: Report
    ) -> None:
        """A part from nothing against the same part of real images, both on the training mean."""
        mean = pasted.mean_image(self.train_data)
        name, size = question.task.removeprefix(MARGINAL), self.train_data.image_size

        def cut(images: UInt8[Tensor, "N C H W"], first_image: int) -> UInt8[Tensor, "N C H W"]:
            hole = named_hole(name, size, patch_size, len(images), self.seed, first_image)
            return torch.where(hole[:, None], images, mean)

        reference = reference_statistics(
            self.metric_models.features,
            self.train_data,
            cache=self.cache,
            transform=cut,
            transform_key=f"{question.task} on patches of {patch_size}, seed {self.seed}",
            progress=partial(self.progress, f"{question.task} reference"),
        )
        parts = [
            self.metric_models.features(torch.where(part.hole[:, None], images, mean))
            for part, images in self._answered(question, answers, report)
        ]
        features, hole = torch.cat(parts), question.hole[:, None]
        floor_features = self.metric_models.features(torch.where(hole, self.originals, mean))
        floor = self._recorder.distance_between(floor_features, reference)
        report.records.append(self._recorder.distance(question.task, features, reference, floor))
        real = self.metric_models.features(cut(self._real_images, 0))
        report.records += self._recorder.neighbors(question.task, features, real, floor_features)

    def completion(
        self, question: EvaluationTask, answers: SampleSource, variations: int, report: Report
    ) -> None:
        """Completions of originals, and of what is no model beside them."""
        task, rows, classifier = question.task, len(question), self.metric_models.classifier
        variations = min(variations, answers.variations or variations)
        features, labels, spreads, changes = [], [], [], []
        seconds = 0.0
        for start in range(0, rows, ROWS_AT_ONCE):
            part = question.rows(start, start + ROWS_AT_ONCE)
            started = time.perf_counter()
            images = answers.read(start, start + ROWS_AT_ONCE, variations)
            seconds += time.perf_counter() - started
            features.append(self.metric_models.features(images[:, 0]))
            if classifier is not None and question.labels is not None:
                labels.append(classifier.read(images.flatten(0, 1)).view(-1, variations))
            if variations > 1:
                spreads.append(diversity(images, part.hole))
            changes.append(changed_fraction(images, part.images, part.observed))
            self.progress(task, start + len(part), rows)
        if isinstance(answers, ModelSamples):
            report.images_per_second[task] = rows * variations / seconds
        everything = torch.cat(features)
        samples = rows * variations
        records, record = report.records, self._recorder
        records.append(record.distance(task, everything, self._reference, self._floor))
        records += record.neighbors(task, everything, self._real, self._floor_features)
        p = self._label_probabilities(question)
        ceiling = None
        if p is not None and question.labels is not None:
            ceiling = float(p.gather(1, question.labels[:, None]).mean())
        if labels and question.labels is not None:
            right = (torch.cat(labels) == question.labels[:, None]).double().mean(dim=1)
            records.append(
                record.mean("agreement", "classifier", task, right, samples, ceiling=ceiling)
            )
        if p is not None:
            records += self._label_variation(question, answers, p)
        if spreads:
            records.append(record.mean("diversity", "pixels", task, torch.cat(spreads), samples))
        records.append(record.mean("changed", "pixels", task, torch.cat(changes), samples))
        self._references(question, ceiling, report)
        report.galleries[task] = self._gallery(question, answers, everything)

    def two_step(
        self, question: EvaluationTask, drawn: ModelSamples, patch_size: int, report: Report
    ) -> None:
        """How far samples drawn half by half are from those drawn at once."""
        rows = len(question)
        rngs = [make_rng(Stream.HALVES, self.seed, row) for row in range(rows)]
        first = halves(question.hole, patch_size, rngs)
        stepwise = TwoStepSamples(drawn.model, question, first, (self.seed + 1, self.seed + 2))
        once, again, twice = [], [], []
        for start in range(0, rows, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, rows)
            pairs = drawn.read(start, stop, 2)
            once.append(self.metric_models.features(pairs[:, 0]))
            again.append(self.metric_models.features(pairs[:, 1]))
            twice.append(self.metric_models.features(stepwise.read(start, stop, 1)[:, 0]))
            self.progress(f"{question.task} in two steps", stop, rows)
        at_once = torch.cat(once)
        floor = self._recorder.distance_between(torch.cat(again), self._recorder.moments(at_once))
        report.records.append(
            self._recorder.two_step_distance(question.task, torch.cat(twice), at_once, floor)
        )

    def _references(self, question: EvaluationTask, ceiling: float | None, report: Report) -> None:
        """Distance and agreement of images that are pasted together."""
        nearest = partial(self.progress, f"{question.task} nearest images")
        classifier = self.metric_models.classifier
        for name, images in (
            ("nearest-pasted", pasted.nearest_completion(question, self.train_data, nearest)),
            ("mean-pasted", pasted.mean_completion(question, self.train_data)),
            ("glued", pasted.mismatched_completion(question)),
        ):
            features = self.metric_models.features(images)
            record = self._recorder
            report.records.append(
                record.distance(question.task, features, self._reference, self._floor, name)
            )
            if question.labels is not None and classifier is not None:
                right = (classifier.read(images) == question.labels).double()
                report.records.append(
                    record.mean(
                        "agreement",
                        "classifier",
                        question.task,
                        right,
                        len(right),
                        ceiling=ceiling,
                        subject=name,
                    )
                )

    def _label_variation(
        self, question: EvaluationTask, answers: SampleSource, p: Float[Tensor, "N classes"]
    ) -> list[Record]:
        """Total variation between the labels of many completions of a source and p(y | x_S)."""
        classifier = self.metric_models.classifier
        draws = min(HISTOGRAM_DRAWS, answers.variations or HISTOGRAM_DRAWS)
        if classifier is None or draws < 2:
            return []
        rows = min(HISTOGRAM_ROWS, len(question))
        labels = []
        for start in range(0, rows, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, rows)
            images = answers.read(start, stop, draws).flatten(0, 1)
            labels.append(classifier.read(images).view(-1, draws))
            self.progress(f"{question.task} labels", stop, rows)
        shares = histograms(torch.cat(labels), classifier.num_classes)
        rng = make_rng(Stream.HISTOGRAMS, self.seed)
        floor = total_variation_of_perfect_draws(p[:rows], draws, rng)
        value = total_variation(shares, p[:rows])
        return [
            self._recorder.mean(
                "label-total-variation",
                "classifier",
                question.task,
                value,
                rows * draws,
                floor=floor,
                subject="" if draws == HISTOGRAM_DRAWS else f"{draws}-draws",
            )
        ]

    def _label_probabilities(self, question: EvaluationTask) -> Float[Tensor, "N classes"] | None:
        if self.metric_models.masked_classifier is None:
            return None
        return self.metric_models.masked_classifier.probabilities(
            to_signed_float(question.images), question.observed
        )

    def _gallery(
        self, question: EvaluationTask, answers: SampleSource, features: Float[Tensor, "N D"]
    ) -> CompletionGallery:
        originals = self.metric_models.features(question.images)
        order = (features - originals).square().sum(dim=1).argsort(stable=True)
        middle = max(0, len(order) // 2 - GALLERY_ROWS // 2)
        chosen = [
            *order[:GALLERY_ROWS].tolist(),
            *order[middle : middle + GALLERY_ROWS].tolist(),
            *order[-GALLERY_ROWS:].tolist(),
        ]
        count = min(GALLERY_VARIATIONS, answers.variations or GALLERY_VARIATIONS)
        shown = torch.cat([answers.read(row, row + 1, count) for row in chosen])
        rows = torch.tensor(chosen)
        labels = None if question.labels is None else question.labels[rows]
        part = EvaluationTask(
            question.task, question.images[rows], labels, question.hole[rows], question.absent[rows]
        )
        return CompletionGallery(part, shown)

    @cached_property
    def _reference(self) -> GaussianStatistics:
        return reference_statistics(
            self.metric_models.features,
            self.train_data,
            cache=self.cache,
            progress=partial(self.progress, "reference"),
        )

    @cached_property
    def _floor_features(self) -> Float[Tensor, "N D"]:
        return self.metric_models.features(self.originals)

    @cached_property
    def _floor(self) -> float:
        return self._recorder.distance_between(self._floor_features, self._reference)

    @cached_property
    def _real_images(self) -> UInt8[Tensor, "N C H W"]:
        """As many training images as originals, for precision and recall."""
        rng = make_rng(Stream.REFERENCE, self.seed)
        chosen = torch.randperm(len(self.train_data), generator=rng)[: len(self.originals)]
        return self.train_data.images_uint8(chosen).cpu()

    @cached_property
    def _real(self) -> Float[Tensor, "N D"]:
        return self.metric_models.features(self._real_images)

    def _answered(
        self, question: EvaluationTask, answers: SampleSource, report: Report
    ) -> Iterator[tuple[EvaluationTask, UInt8[Tensor, "B C H W"]]]:
        """Parts of the question with the first answer to each row; no more are held at once."""
        seconds = 0.0
        for start in range(0, len(question), ROWS_AT_ONCE):
            part = question.rows(start, start + ROWS_AT_ONCE)
            started = time.perf_counter()
            images = answers.read(start, start + ROWS_AT_ONCE, 1)[:, 0]
            seconds += time.perf_counter() - started
            yield part, images
            self.progress(question.task, start + len(part), len(question))
        if isinstance(answers, ModelSamples):
            report.images_per_second[question.task] = len(question) / seconds


@dataclass(frozen=True)
class CompletionGallery:
    """Sources with completions, ordered by how near the first came to its original in features."""

    question: EvaluationTask
    answers: UInt8[Tensor, "N K C H W"]


@dataclass
class Report:
    """Everything that was measured; ``records`` are the same to the bit for the same arguments.

    Attributes:
        records: the numbers.
        images_per_second: of sampling, for each task that was asked of a model.
        galleries: best, median and worst completions, for each task with a source.
    """

    records: list[Record] = field(default_factory=list)
    images_per_second: dict[str, float] = field(default_factory=dict)
    galleries: dict[str, CompletionGallery] = field(default_factory=dict)
