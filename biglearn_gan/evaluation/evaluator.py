"""Measure generated images on one task: distances, neighbors, labels, diversity, changed pixels."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.baselines import (
    mean_completion,
    mean_image,
    mismatched_completion,
    nearest_completion,
)
from biglearn_gan.evaluation.recorder import JACKKNIFE_GROUPS, Recorder
from biglearn_gan.evaluation.records import BASELINES, HISTOGRAM_DRAWS, REAL, Record
from biglearn_gan.evaluation.task import (
    MARGINAL,
    EvaluationSettings,
    EvaluationTask,
    ModelSamples,
    SampleSource,
    TwoStepSamples,
    draw_half_holes,
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
from biglearn_gan.pixel_values import to_signed_float
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import named_hole

HISTOGRAM_SOURCES = 1000
"""Sources whose label histograms are measured, at most."""

BATCH_ROWS = 250

GALLERY_ROWS = 4
"""Rows of a gallery that show the best completions; as many show the median and the worst."""

GALLERY_VARIATIONS = 6


@dataclass(frozen=True)
class CompletionGallery:
    """Sources and completions, sorted by the distance in features between original and completion.

    Attributes:
        task: the sources.
        completions: K for each source; the first of them is the one that was sorted by.
    """

    task: EvaluationTask
    completions: UInt8[Tensor, "N K C H W"]


@dataclass
class Report:
    """The results of an evaluation.

    Attributes:
        records: the numbers; the same arguments give exactly the same numbers.
        images_per_second: speed of sampling for each task, if a model drew the images.
        galleries: best, median and worst completions for each task with a source.
    """

    records: list[Record] = field(default_factory=list)
    images_per_second: dict[str, float] = field(default_factory=dict)
    galleries: dict[str, CompletionGallery] = field(default_factory=dict)


class Evaluator:
    """Measures one task after another against the same reference and the same original images.

    Args:
        metric_models: networks that measure.
        train_data: the reference.
        originals: unmasked images of the split that is completed, for floors and ceilings.
        labels: labels of the originals, or None.
        split: name of that split.
        settings: seed, cache and progress.

    Attributes:
        report: everything measured so far.
    """

    def __init__(
        self,
        metric_models: MetricModels,
        train_data: ImageDataset,
        originals: UInt8[Tensor, "N C H W"],
        labels: Int64[Tensor, " N"] | None,
        split: str,
        settings: EvaluationSettings,
    ):
        self.report = Report()
        self._features = metric_models.features
        self._classifier = metric_models.classifier
        self._masked_classifier = metric_models.masked_classifier
        self._train_data = train_data
        self._originals = originals
        self._labels = labels
        self._settings = settings
        self._recorder = Recorder(self._features, split, settings)

    def evaluate_originals(self) -> None:
        """Record the floor with its error, and the agreement of the original images."""
        record = self._recorder.distance(
            REAL, self._originals_features, self._reference, None, REAL
        )
        self.report.records.append(record)
        if self._labels is not None and self._classifier is not None:
            correct = (self._classifier.predict(self._originals) == self._labels).double()
            self.report.records.append(
                self._recorder.mean(
                    "agreement", "classifier", REAL, correct, len(correct), subject=REAL
                )
            )

    def evaluate_joint(self, task: EvaluationTask, samples: SampleSource) -> None:
        """Record how images without a source compare with whole training images."""
        feature_parts, label_parts = [], []
        for _, images in self._read_first(task, samples):
            feature_parts.append(self._features(images))
            if self._classifier is not None:
                label_parts.append(self._classifier.predict(images))
        features, count = torch.cat(feature_parts), min(len(self._originals), len(task))
        comparable, recorder, records = features[:count], self._recorder, self.report.records
        records.append(recorder.distance(task.name, comparable, self._reference, self._floor))
        if count < len(features):
            records.append(recorder.distance(task.name, features, self._reference, None))
        records += recorder.precision_and_recall(
            task.name, comparable, self._training_features, self._originals_features
        )
        if self._classifier is not None:
            labels, classes = torch.cat(label_parts), self._classifier.num_classes
            value = entropy(labels, classes)
            error = entropy_error(labels, classes, JACKKNIFE_GROUPS)
            record = recorder.record("entropy", "classifier", task.name, len(labels), value, error)
            records.append(replace(record, ceiling=math.log(classes)))

    def evaluate_marginal(self, task: EvaluationTask, samples: ModelSamples) -> None:
        """Record how parts of images compare with the same parts of training images.

        The rest of every image is filled with the training mean.
        """
        mean, patch_size = mean_image(self._train_data), samples.model.patch_size
        name, size = task.name.removeprefix(MARGINAL), self._train_data.image_size

        def crop(images: UInt8[Tensor, "N C H W"], first_image: int) -> UInt8[Tensor, "N C H W"]:
            hole = named_hole(name, size, patch_size, len(images), self._settings.seed, first_image)
            return torch.where(hole[:, None], images, mean)

        reference = reference_statistics(
            self._features,
            self._train_data,
            cache=self._settings.cache,
            transform=crop,
            transform_key=f"{task.name} on patches of {patch_size}, seed {self._settings.seed}",
            progress=partial(self._settings.progress, f"{task.name} reference"),
        )
        parts = [
            self._features(torch.where(part.hole[:, None], images, mean))
            for part, images in self._read_first(task, samples)
        ]
        features = torch.cat(parts)
        originals = self._features(torch.where(task.hole[:, None], self._originals, mean))
        floor = self._recorder.compute_distance(originals, reference)
        record = self._recorder.distance(task.name, features, reference, floor)
        self.report.records.append(record)
        training = self._features(crop(self._training_images, 0))
        self.report.records += self._recorder.precision_and_recall(
            task.name, features, training, originals
        )

    def evaluate_completions(
        self, task: EvaluationTask, samples: SampleSource, variations: int
    ) -> None:
        """Record how completions of the originals compare, and how the baselines do."""
        measured = self._measure_completions(task, samples, variations)
        recorder, records = self._recorder, self.report.records
        features, generated = measured.features, len(task) * measured.variations
        records.append(recorder.distance(task.name, features, self._reference, self._floor))
        records += recorder.precision_and_recall(
            task.name, features, self._training_features, self._originals_features
        )
        p = self._label_probabilities(task)
        ceiling = None
        if p is not None and task.labels is not None:
            ceiling = float(p.gather(1, task.labels[:, None]).mean())
        if measured.labels is not None and task.labels is not None:
            correct = (measured.labels == task.labels[:, None]).double().mean(dim=1)
            records.append(
                recorder.mean(
                    "agreement", "classifier", task.name, correct, generated, ceiling=ceiling
                )
            )
        if p is not None:
            records += self._label_total_variation(task, samples, p)
        for measure, values in (("diversity", measured.diversity), ("changed", measured.changed)):
            if values is not None:
                records.append(recorder.mean(measure, "pixels", task.name, values, generated))
        self._evaluate_baselines(task, ceiling)
        self.report.galleries[task.name] = self._make_gallery(task, samples, features)

    def evaluate_two_step(self, task: EvaluationTask, samples: ModelSamples) -> None:
        """Record how far images drawn in two steps are from images drawn in one."""
        rows, seed, model = len(task), self._settings.seed, samples.model
        rngs = [make_rng(Stream.HALVES, seed, row) for row in range(rows)]
        first_half = draw_half_holes(task.hole, model.patch_size, rngs)
        two_step_samples = TwoStepSamples(model, task, first_half, (seed + 1, seed + 2))
        once, again, two_step = [], [], []
        for start in range(0, rows, BATCH_ROWS):
            stop = min(start + BATCH_ROWS, rows)
            pairs = samples.read(start, stop, 2)
            once.append(self._features(pairs[:, 0]))
            again.append(self._features(pairs[:, 1]))
            two_step.append(self._features(two_step_samples.read(start, stop, 1)[:, 0]))
            self._settings.progress(f"{task.name} in two steps", stop, rows)
        one_step, recorder = torch.cat(once), self._recorder
        floor = recorder.compute_distance(torch.cat(again), recorder.statistics(one_step))
        self.report.records.append(
            recorder.two_step_distance(task.name, torch.cat(two_step), one_step, floor)
        )

    def _measure_completions(
        self, task: EvaluationTask, samples: SampleSource, variations: int
    ) -> _MeasuredCompletions:
        """Read every completion once."""
        rows, variations = len(task), min(variations, samples.variations or variations)
        features, labels, diversities, changes = [], [], [], []
        seconds = 0.0
        for start in range(0, rows, BATCH_ROWS):
            part = task.select(slice(start, start + BATCH_ROWS))
            started = time.perf_counter()
            images = samples.read(start, start + BATCH_ROWS, variations)
            seconds += time.perf_counter() - started
            features.append(self._features(images[:, 0]))
            if self._classifier is not None and task.labels is not None:
                labels.append(self._classifier.predict(images.flatten(0, 1)).view(-1, variations))
            if variations > 1:
                diversities.append(diversity(images, part.hole))
            changes.append(changed_fraction(images, part.images, part.known))
            self._settings.progress(task.name, start + len(part), rows)
        if isinstance(samples, ModelSamples):
            self.report.images_per_second[task.name] = rows * variations / seconds
        return _MeasuredCompletions(
            variations,
            torch.cat(features),
            torch.cat(labels) if labels else None,
            torch.cat(diversities) if diversities else None,
            torch.cat(changes),
        )

    def _evaluate_baselines(self, task: EvaluationTask, ceiling: float | None) -> None:
        """Record distance and agreement of completions that need no model."""
        progress = partial(self._settings.progress, f"{task.name} nearest images")
        completions = (
            nearest_completion(task, self._train_data, progress),
            mean_completion(task, self._train_data),
            mismatched_completion(task),
        )
        for subject, images in zip(BASELINES, completions, strict=True):
            features = self._features(images)
            self.report.records.append(
                self._recorder.distance(task.name, features, self._reference, self._floor, subject)
            )
            if task.labels is not None and self._classifier is not None:
                correct = (self._classifier.predict(images) == task.labels).double()
                self.report.records.append(
                    self._recorder.mean(
                        "agreement",
                        "classifier",
                        task.name,
                        correct,
                        len(correct),
                        ceiling=ceiling,
                        subject=subject,
                    )
                )

    def _label_total_variation(
        self, task: EvaluationTask, samples: SampleSource, p: Float[Tensor, "N classes"]
    ) -> list[Record]:
        """Total variation between the labels of many completions of a source and p(y | x_S)."""
        draws = min(HISTOGRAM_DRAWS, samples.variations or HISTOGRAM_DRAWS)
        if self._classifier is None or draws < 2:
            return []
        sources = min(HISTOGRAM_SOURCES, len(task))
        labels = []
        for start in range(0, sources, BATCH_ROWS):
            stop = min(start + BATCH_ROWS, sources)
            images = samples.read(start, stop, draws).flatten(0, 1)
            labels.append(self._classifier.predict(images).view(-1, draws))
            self._settings.progress(f"{task.name} labels", stop, sources)
        shares = histograms(torch.cat(labels), self._classifier.num_classes)
        rng = make_rng(Stream.HISTOGRAMS, self._settings.seed)
        floor = total_variation_of_perfect_draws(p[:sources], draws, rng)
        values = total_variation(shares, p[:sources])
        return [
            self._recorder.mean(
                "label-total-variation",
                "classifier",
                task.name,
                values,
                sources * draws,
                floor=floor,
            )
        ]

    def _label_probabilities(self, task: EvaluationTask) -> Float[Tensor, "N classes"] | None:
        if self._masked_classifier is None:
            return None
        return self._masked_classifier.probabilities(to_signed_float(task.images), task.known)

    def _make_gallery(
        self, task: EvaluationTask, samples: SampleSource, features: Float[Tensor, "N D"]
    ) -> CompletionGallery:
        originals = self._features(task.images)
        order = (features - originals).square().sum(dim=1).argsort(stable=True)
        middle = max(0, len(order) // 2 - GALLERY_ROWS // 2)
        central = order[middle : middle + GALLERY_ROWS]
        rows = torch.cat([order[:GALLERY_ROWS], central, order[-GALLERY_ROWS:]])
        count = min(GALLERY_VARIATIONS, samples.variations or GALLERY_VARIATIONS)
        completions = torch.cat([samples.read(row, row + 1, count) for row in rows.tolist()])
        return CompletionGallery(task.select(rows), completions)

    def _read_first(
        self, task: EvaluationTask, samples: SampleSource
    ) -> Iterator[tuple[EvaluationTask, UInt8[Tensor, "B C H W"]]]:
        """Yield batches of rows with the first image of each row, to bound memory."""
        seconds = 0.0
        for start in range(0, len(task), BATCH_ROWS):
            part = task.select(slice(start, start + BATCH_ROWS))
            started = time.perf_counter()
            images = samples.read(start, start + BATCH_ROWS, 1)[:, 0]
            seconds += time.perf_counter() - started
            yield part, images
            self._settings.progress(task.name, start + len(part), len(task))
        if isinstance(samples, ModelSamples):
            self.report.images_per_second[task.name] = len(task) / seconds

    @cached_property
    def _reference(self) -> GaussianStatistics:
        return reference_statistics(
            self._features,
            self._train_data,
            cache=self._settings.cache,
            progress=partial(self._settings.progress, "reference"),
        )

    @cached_property
    def _originals_features(self) -> Float[Tensor, "N D"]:
        return self._features(self._originals)

    @cached_property
    def _floor(self) -> float:
        return self._recorder.compute_distance(self._originals_features, self._reference)

    @cached_property
    def _training_images(self) -> UInt8[Tensor, "N C H W"]:
        """As many training images as originals, for precision and recall."""
        rng = make_rng(Stream.REFERENCE, self._settings.seed)
        rows = torch.randperm(len(self._train_data), generator=rng)[: len(self._originals)]
        return self._train_data.images_uint8(rows).cpu()

    @cached_property
    def _training_features(self) -> Float[Tensor, "N D"]:
        return self._features(self._training_images)


@dataclass(frozen=True)
class _MeasuredCompletions:
    """What is read off N sources with K completions each."""

    variations: int
    features: Float[Tensor, "N D"]  # of the first completion
    labels: Int64[Tensor, "N K"] | None
    diversity: Float[Tensor, " N"] | None
    changed: Float[Tensor, " N"]
