"""The protocol: which numbers are measured for which task, against which reference.

Every Fréchet distance is to the *training* split. Its floor is the distance of the same number of
unmasked test images to the same reference. Completions are of test images, so the reference never
holds a source. Generated images are rounded to 8 bits first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from biglearn_gan.config import HOLE_NAMES
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.evaluator import Evaluator, Report
from biglearn_gan.evaluation.records import short_task_name
from biglearn_gan.evaluation.sample_reader import SavedSamples, find_images, joint_samples
from biglearn_gan.evaluation.task import (
    DEFAULT_SETTINGS,
    MARGINAL,
    CompletionModel,
    EvaluationSettings,
    EvaluationTask,
    ModelSamples,
    ProtocolError,
    TooFewImagesError,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.metrics.features import EfficientNetFeatures, StandardizedFeatures
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.metrics.reference_statistics import reference_statistics
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import (
    COMPLETION_TASKS,
    UnknownHoleError,
    named_hole,
)

TASKS = ("joint", "marginal:center", "marginal:random:0.5", *COMPLETION_TASKS)

TWO_STEP_TASKS = ("joint", "random:0.5")
"""Tasks on which a model is also compared with itself: images drawn in one step and in two."""

BLOCK = 7
"""Block size in pixels of the random holes that models of different patch sizes share."""

TASK_NAME = re.compile(r"[\w-]+|random:\d*\.?\d+(:\d+)?|(in|out)side:\d+")
"""Allowed names for completions from a file."""

MIN_IMAGES = 10
"""Fewer images have no three nearest neighbors and no jackknife, even with ``allow_few``."""


def default_tasks(image_size: tuple[int, int], patch_size: int) -> tuple[str, ...]:
    """``TASKS``, and random holes of 7-pixel blocks if they fit the images but are not patches."""
    if patch_size == BLOCK or any(size % BLOCK for size in image_size):
        return TASKS
    return (*TASKS, *(f"random:{share}:{BLOCK}" for share in (0.25, 0.5, 0.75)))


def check_tasks(names: Sequence[str], image_size: tuple[int, int], patch_size: int) -> None:
    """Reject unknown tasks, and names of the same task.

    Raises:
        ProtocolError: a task is unknown or comes twice.
        HoleError: a hole does not fit images of this size.
    """
    seen = set()
    for name in names:
        try:
            named_hole(name.removeprefix(MARGINAL), image_size, patch_size, count=1, seed=0)
        except UnknownHoleError:
            raise ProtocolError(
                f"unknown task {name!r}: choose one of {', '.join(HOLE_NAMES)}, or {MARGINAL}HOLE "
                "with one of these holes"
            ) from None
        if short_task_name(name) in seen:
            raise ProtocolError(f"the task {name} comes twice: name each task once")
        seen.add(short_task_name(name))


def evaluate(
    model: CompletionModel,
    metric_models: MetricModels,
    train_data: ImageDataset,
    test_data: ImageDataset,
    *,
    num: int = 10_000,
    variations: int = 8,
    tasks: Sequence[str] = TASKS,
    settings: EvaluationSettings = DEFAULT_SETTINGS,
) -> Report:
    """Measure a model on each task; the same arguments give exactly the same records.

    - ``joint`` draws ``num`` images without a source. If ``test_data`` has fewer, there are two
      distances, because a distance depends on the count: one of as many samples as there are test
      images, with its floor, and one of all samples, without a floor.
    - ``marginal:HOLE`` draws only the hole, with everything else absent.
    - Every other task is the name of a hole. It completes each of ``num`` test images, chosen by
      the seed (all of them if there are fewer), ``variations`` times.

    The methods of :class:`~biglearn_gan.evaluation.evaluator.Evaluator` say what is measured of
    each, and ``docs/evaluation.md`` what the numbers mean. Standard errors are over sources. For
    distances and entropies they come from the jackknife over 10 parts, for precision and recall
    from independent images with the manifolds held fixed.

    Args:
        model: draws the images.
        metric_models: networks that measure.
        train_data: the reference.
        test_data: sources of the completions, and originals of the floors.
        num: images per task, at least 1.
        variations: completions of each source, at least 1.
        tasks: names of the tasks.
        settings: seed, cache, progress, and whether too few images are allowed.

    Raises:
        ProtocolError: a number is out of range, a task is unknown or comes twice, there are no
            tasks, or there are fewer images than features.
        HoleError: a hole does not fit the images.
        ClassifierError: a classifier is for other images.
    """
    seed, patch_size = settings.seed, model.patch_size
    if num < 1 or variations < 1 or seed < 0 or not tasks:
        raise ProtocolError(
            "num and variations must be at least 1, seed at least 0 and tasks not empty, "
            f"not {num}, {variations}, {seed} and {list(tasks)}"
        )
    check_tasks(tasks, test_data.image_size, patch_size)
    count = min(num, len(test_data))
    _check_images(metric_models, train_data, test_data, count, settings.allow_few)
    originals, labels = _choose_images(test_data, count, seed)
    split = test_data.name.rpartition(":")[2]
    metric_models = _standardize(metric_models, train_data, settings)
    evaluator = Evaluator(metric_models, train_data, originals, labels, split, settings, patch_size)
    evaluator.evaluate_originals()
    for name in tasks:
        if name == "joint":
            task = make_sourceless_task(name, num, test_data, patch_size, seed)
            evaluator.evaluate_joint(task, ModelSamples(model, task, seed))
        elif name.startswith(MARGINAL):
            task = make_sourceless_task(name, count, test_data, patch_size, seed)
            evaluator.evaluate_marginal(task, ModelSamples(model, task, seed))
        else:
            task = make_task(name, originals, labels, patch_size, seed)
            evaluator.evaluate_completions(task, ModelSamples(model, task, seed), variations)
        if name in TWO_STEP_TASKS:
            evaluator.evaluate_two_step(task, ModelSamples(model, task, seed))
    return evaluator.report


def evaluate_samples(
    task: EvaluationTask,
    samples: SavedSamples,
    metric_models: MetricModels,
    train_data: ImageDataset,
    test_data: ImageDataset,
    settings: EvaluationSettings = DEFAULT_SETTINGS,
    patch_size: int | None = None,
) -> Report:
    """Measure images of any system as :func:`evaluate` measures those of a model.

    The floor of completions is that of their own sources. All variations in the file are used. If
    there are fewer than 64, the name of ``label-total-variation`` ends in their number, such as
    ``8-draws``, and its floor is that of the same number of perfect draws. The records name the
    split of ``test_data`` if it holds all sources, else ``given``. Seams are measured if there is a
    ``patch_size``, in pixels.

    Raises:
        ProtocolError: there are fewer images than features, a source is a training image (the
            reference would hold the answer), or the task's name is not allowed for completions.
        ClassifierError: a classifier is for other images.
    """
    joint = not bool(task.known.any())
    count = len(task)
    if joint:
        task, samples = joint_samples(samples.images, test_data)
        count = min(len(task), len(test_data))
    _check_images(metric_models, train_data, test_data, count, settings.allow_few)
    split = test_data.name.rpartition(":")[2]
    if joint:
        originals, labels = _choose_images(test_data, count, settings.seed)
    else:
        originals, labels = task.images, task.labels
        split = _find_split(task, train_data, test_data)
    metric_models = _standardize(metric_models, train_data, settings)
    evaluator = Evaluator(metric_models, train_data, originals, labels, split, settings, patch_size)
    evaluator.evaluate_originals()
    if joint:
        evaluator.evaluate_joint(task, samples)
    else:
        evaluator.evaluate_completions(task, samples, samples.variations)
    return evaluator.report


def _standardize(
    metric_models: MetricModels, train_data: ImageDataset, settings: EvaluationSettings
) -> MetricModels:
    """EfficientNet's features with the training split's mean and deviation taken out."""
    features = metric_models.features
    if not isinstance(features, EfficientNetFeatures):
        return metric_models
    moments = reference_statistics(
        features,
        train_data,
        cache=settings.cache,
        progress=partial(settings.progress, "reference"),
    )
    return replace(metric_models, features=StandardizedFeatures(features, moments))


def _check_images(
    metric_models: MetricModels,
    train_data: ImageDataset,
    test_data: ImageDataset,
    count: int,
    allow_few: bool,
) -> None:
    """Reject metric models for other images, and too few images."""
    for classifier in (metric_models.classifier, metric_models.masked_classifier):
        for data in (train_data, test_data):
            if classifier is not None:
                classifier.check_dataset(data)
    dimensions = metric_models.features.dimensions
    fewest = min(count, len(train_data))
    if fewest < dimensions and not allow_few:
        raise TooFewImagesError(
            f"{fewest} images are too few for features of {dimensions} dimensions: give at least "
            f"{dimensions}, or allow few images"
        )
    if count < MIN_IMAGES:
        raise ProtocolError(f"{count} images are too few: give at least {MIN_IMAGES}")


def _choose_images(
    dataset: ImageDataset, count: int, seed: int
) -> tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, " N"] | None]:
    """``count`` random images with their labels."""
    rows = torch.randperm(len(dataset), generator=make_rng(Stream.SOURCES, seed))[:count]
    labels = None if dataset.labels is None else dataset.labels.cpu()[rows]
    return dataset.images_uint8(rows).cpu(), labels


def _find_split(task: EvaluationTask, train_data: ImageDataset, test_data: ImageDataset) -> str:
    """The split that holds the sources, after checking that they may be measured."""
    if task.name == "joint" or not TASK_NAME.fullmatch(task.name):
        raise ProtocolError(
            f"{task.name!r} cannot name completions: give the name of a hole, or letters, digits "
            "and hyphens"
        )
    in_train = find_images(task.images, train_data) >= 0
    if in_train.any():
        raise ProtocolError(
            f"{int(in_train.sum())} of {len(in_train)} sources are training images, which the "
            "reference holds: complete images of the test split"
        )
    in_test = bool((find_images(task.images, test_data) >= 0).all())
    return test_data.name.rpartition(":")[2] if in_test else "given"
