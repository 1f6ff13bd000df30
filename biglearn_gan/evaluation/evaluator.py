"""Measure generated images on one task: distances, neighbors, seams, labels and pixels."""

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
from biglearn_gan.evaluation.completion_measures import (
    BATCH_ROWS,
    FIRST_ONLY,
    MeasuredCompletions,
    measure_completions,
)
from biglearn_gan.evaluation.gallery import CompletionGallery, make_gallery
from biglearn_gan.evaluation.recorder import JACKKNIFE_GROUPS, Recorder
from biglearn_gan.evaluation.records import BASELINES, REAL, Record
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
    agreement,
    entropy,
    entropy_error,
    histograms,
    total_variation,
    total_variation_of_perfect_draws,
)
from biglearn_gan.metrics.frechet import GaussianStatistics
from biglearn_gan.metrics.image_similarity import psnr
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.metrics.reference_statistics import reference_statistics
from biglearn_gan.metrics.seams import border_steps, seam_error, seam_ratio
from biglearn_gan.pixel_values import to_signed_float
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import named_hole
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

HISTOGRAM_SOURCES = 1000
"""Sources whose label histograms are measured, at most."""


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
        labels: labels of the originals or ``UNKNOWN_LABEL``, or None.
        split: name of that split.
        settings: seed, cache and progress.
        patch_size: of the model, for the seams; None if it is unknown.

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
        patch_size: int | None,
    ):
        self.report = Report()
        self._metric_models = metric_models
        self._features = metric_models.features
        self._classifier = metric_models.classifier
        self._masked_classifier = metric_models.masked_classifier
        self._train_data = train_data
        self._originals = originals
        self._labels = labels
        self._settings = settings
        self._patch_size = patch_size
        self._recorder = Recorder(self._features, split, settings)

    def evaluate_originals(self) -> None:
        """Record the floor with its error, and the agreement of the original images."""
        record = self._recorder.distance(
            REAL, self._originals_features, self._reference, None, REAL
        )
        self.report.records.append(record)
        correct = self._agreement(self._originals, self._labels)
        if correct is not None:
            self.report.records.append(
                self._recorder.mean(
                    "agreement", "classifier", REAL, correct, len(correct), subject=REAL
                )
            )

    def evaluate_joint(self, task: EvaluationTask, samples: SampleSource) -> None:
        """Record how images without a source compare with whole training images."""
        feature_parts, label_parts, steps = [], [], []
        for part, images in self._read_first(task, samples):
            feature_parts.append(self._features(images))
            if self._patch_size is not None:
                steps.append(border_steps(images[:, None], part.hole, part.known, self._patch_size))
            if self._classifier is not None:
                label_parts.append(self._classifier.predict(images))
        features, count = torch.cat(feature_parts), min(len(self._originals), len(task))
        comparable, recorder, records = features[:count], self._recorder, self.report.records
        records.append(recorder.distance(task.name, comparable, self._reference, self._floor))
        if count < len(features):
            records.append(recorder.distance(task.name, features, self._reference, None))
        records += recorder.comparisons(
            task.name, comparable, self._training_features, self._originals_features
        )
        records += self._seams(task, torch.cat(steps) if steps else None, len(features))
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
        self.report.records += self._recorder.comparisons(task.name, features, training, originals)

    def evaluate_completions(
        self, task: EvaluationTask, samples: SampleSource, variations: int
    ) -> None:
        """Record how completions of the originals compare, and how the baselines do."""
        measured = measure_completions(
            task,
            samples,
            variations,
            self._metric_models,
            self._patch_size,
            self._settings.progress,
        )
        if isinstance(samples, ModelSamples):
            speed = len(task) * measured.variations / measured.seconds
            self.report.images_per_second[task.name] = speed
        recorder, records = self._recorder, self.report.records
        features, generated = measured.features, len(task) * measured.variations
        records.append(recorder.distance(task.name, features, self._reference, self._floor))
        records += recorder.comparisons(
            task.name, features, self._training_features, self._originals_features
        )
        p = self._label_probabilities(task)
        ceiling = None
        correct = None if measured.labels is None else agreement(measured.labels, task.labels)
        if p is not None and correct is not None:
            assert task.labels is not None
            known = task.labels != UNKNOWN_LABEL
            ceiling = float(p[known].gather(1, task.labels[known, None]).mean())
        if correct is not None:
            judged = len(correct) * measured.variations
            records.append(
                recorder.mean(
                    "agreement", "classifier", task.name, correct, judged, ceiling=ceiling
                )
            )
        if p is not None:
            records += self._label_total_variation(task, samples, p)
        records += self._pixel_records(task, measured)
        records += self._seams(task, measured.steps, generated)
        self._evaluate_baselines(task, ceiling)
        self.report.galleries[task.name] = make_gallery(
            task, samples, features, self._originals_features
        )

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

    def _pixel_records(self, task: EvaluationTask, measured: MeasuredCompletions) -> list[Record]:
        records = []
        for measure, values in measured.pixels.items():
            samples = len(task) * (1 if measure in FIRST_ONLY else measured.variations)
            records.append(self._recorder.mean(measure, "pixels", task.name, values, samples))
        return records

    def _seams(
        self, task: EvaluationTask, steps: Float[Tensor, "N 4"] | None, samples: int
    ) -> list[Record]:
        """The seams of a task, with those of the same pairs of pixels in the originals."""
        if steps is None or self._patch_size is None:
            return []
        rows = slice(min(len(task), len(self._originals)))
        real = border_steps(
            self._originals[rows, None], task.hole[rows], task.known[rows], self._patch_size
        )
        value, expected = seam_ratio(steps), seam_ratio(real)
        if value is None or expected is None:
            return []
        error = seam_error(steps, JACKKNIFE_GROUPS)
        record = self._recorder.record(
            "seams", f"patch{self._patch_size}", task.name, len(steps), value, error
        )
        return [replace(record, floor=expected, samples=samples)]

    def _evaluate_baselines(self, task: EvaluationTask, ceiling: float | None) -> None:
        """Record distance, PSNR and agreement of completions that need no model."""
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
            ratios = psnr(images[:, None], task.images, task.hole)[:, 0]
            self.report.records.append(
                self._recorder.mean(
                    "psnr", "pixels", task.name, ratios, len(ratios), subject=subject
                )
            )
            correct = self._agreement(images, task.labels)
            if correct is not None:
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

    def _agreement(
        self, images: UInt8[Tensor, "N C H W"], labels: Int64[Tensor, " N"] | None
    ) -> Float[Tensor, " M"] | None:
        """Whether the classifier reads each known label; None without labels or a classifier."""
        if labels is None or self._classifier is None:
            return None
        return agreement(self._classifier.predict(images)[:, None], labels)

    def _label_total_variation(
        self, task: EvaluationTask, samples: SampleSource, p: Float[Tensor, "N classes"]
    ) -> list[Record]:
        """Total variation between the labels of many completions of a source and p(y | x_S)."""
        draws = self._settings.label_draws
        if samples.variations is not None:
            draws = min(draws, samples.variations)
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
