"""What is measured of a model on each task, against which reference, and under which name.

Every Fréchet distance is to the *training* split and stands beside its floor: the distance of as
many unmasked originals of the test split to the same reference. Completions are of test images, so
the reference never holds a source itself. Generated images are rounded to 8 bits first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.evaluator import Evaluator, Report
from biglearn_gan.evaluation.records import metric_name
from biglearn_gan.evaluation.saved_samples import SavedSamples, find_images, joint_samples
from biglearn_gan.evaluation.task import (
    MARGINAL,
    CompletionModel,
    EvaluationTask,
    ModelSamples,
    ProtocolError,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.progress import TaskProgress
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import COMPLETION_TASKS

TASKS = ("joint", "marginal:center", "marginal:random:0.5", *COMPLETION_TASKS)

TASKS_IN_TWO_STEPS = ("joint", "random:0.5")
"""Where a model is compared with itself: all at once against half by half."""

BLOCK = 7
"""Where it divides the images, random holes are also asked on blocks of so many pixels, so that
models of different patch sizes get the same questions."""


TASK_NAME = re.compile(r"[\w-]+|random:\d*\.?\d+(:\d+)?|(in|out)side:\d+")
"""What completions made elsewhere may be called."""

LEAST_IMAGES = 10
"""Fewer have no three nearest neighbors and no jackknife, even where few are forced."""


def default_tasks(image_size: tuple[int, int], patch_size: int) -> tuple[str, ...]:
    """``TASKS``, and random holes on blocks of 7 pixels where these are not the model's patch."""
    if patch_size == BLOCK or any(size % BLOCK for size in image_size):
        return TASKS
    return (*TASKS, *(f"random:{share}:{BLOCK}" for share in (0.25, 0.5, 0.75)))


def evaluate(
    model: CompletionModel,
    patch_size: int,
    metric_models: MetricModels,
    train_data: ImageDataset,
    test_data: ImageDataset,
    *,
    num: int,
    seed: int,
    variations: int = 8,
    tasks: Sequence[str] = TASKS,
    cache: Path | None = None,
    allow_few: bool = False,
    progress: TaskProgress = lambda task, done, total: None,
) -> Report:
    """Measure a model on each task; the same arguments give the same records to the bit.

    ``joint`` draws ``num`` images from nothing and gives

    - ``fd``: Fréchet distance to ``train_data``. If ``test_data`` has fewer than ``num`` images,
      of as many samples as it has, beside their floor, and of all ``num`` once more without one,
      because the distance depends on the count.
    - ``precision``, ``recall``: share of samples inside the 3-nearest-neighbor manifold of as many
      training images, and the other way round; the ceiling is what the originals score.
    - ``entropy``: of the histogram of the classes read, in nats.
    - ``fd`` of samples drawn in two steps, half of the patches and then the rest given them, to the
      samples drawn at once (``in-two-steps``); the floor is that of two sets drawn at once.

    ``marginal:HOLE`` draws the hole alone, with everything else absent, and gives ``fd``,
    ``precision`` and ``recall`` against training images; both are cut to such holes and filled with
    the training mean elsewhere.

    Every other task is the name of a hole and completes ``variations`` times each of ``num`` test
    images (all of them if there are fewer), chosen by ``seed``, and gives

    - ``fd``, ``precision``, ``recall`` as above, of the first variation of each source; the floor
      and the ceiling are those of the unmasked originals of the same sources.
    - ``agreement``: share of all completions in which the classifier reads the source's true
      label, beside its ceiling E[p(y_true | x_S)]. Task ``originals`` has the same for the
      unmasked images, and their ``fd``, which is the floor with its standard error.
    - ``label-total-variation``: mean total variation between the label histogram of 64 completions
      of a source and p(y | x_S), for the first 1,000 sources, beside that of 64 perfect draws.
    - ``diversity``: standard deviation over the variations, in units of the pixels' range [-1, 1],
      averaged over channels and the pixels of the hole; with fewer variations it comes out less.
    - ``changed``: share of the observed pixels that came back otherwise; 0 is right.
    - ``fd`` and ``agreement`` of what is no model: the nearest training image pasted into the hole
      (``nearest-pasted``), the training mean (``mean-pasted``), and the next source's original
      (``mismatched_completion``).

    Standard errors are over sources; of distances and entropies, by the jackknife over 10 parts; of
    precision and recall over images, with the manifolds held fixed.

    Args:
        model: draws.
        patch_size: of the model, in pixels; random holes are drawn on it.
        metric_models: what measures.
        train_data: the reference.
        test_data: sources, and the images of the floors.
        num: images of each task.
        seed: of sampling, holes and the choice of test images.
        variations: completions of each source.
        tasks: what is asked.
        cache: folder for the reference's statistics, or None.
        allow_few: measure with fewer images than features have dimensions; names then say ``few``.
        progress: hears of every batch.

    Raises:
        ProtocolError: ``num``, ``variations`` or ``seed`` out of range, no tasks or one twice, or
            fewer images than features.
        HoleError: an unknown task.
        ClassifierError: a classifier for other images.
    """
    if num < 1 or variations < 1 or seed < 0 or not tasks:
        raise ProtocolError(
            "num and variations must be at least 1, seed at least 0 and tasks not empty, "
            f"not {num}, {variations}, {seed} and {list(tasks)}"
        )
    for task in tasks:
        make_sourceless_task(task, 1, test_data, patch_size, seed)
    called = [metric_name("", 1, "", None, task) for task in tasks]
    twice = next((task for i, task in enumerate(tasks) if called[i] in called[:i]), None)
    if twice is not None:
        raise ProtocolError(f"the task {twice} is asked twice; name each task once")
    count = min(num, len(test_data))
    _check(metric_models, train_data, test_data, count, allow_few)
    originals, labels = _choose(test_data, count, seed)
    bench = Evaluator(
        metric_models,
        train_data,
        originals,
        labels,
        test_data.name.rpartition(":")[2],
        seed=seed,
        cache=cache,
        allow_few=allow_few,
        progress=progress,
    )
    report = Report(bench.evaluate_originals())
    for task in tasks:
        if task == "joint":
            question = make_sourceless_task(task, num, test_data, patch_size, seed)
            bench.joint(question, ModelSamples(model, question, seed), report)
        elif task.startswith(MARGINAL):
            question = make_sourceless_task(task, count, test_data, patch_size, seed)
            bench.marginal(question, ModelSamples(model, question, seed), patch_size, report)
        else:
            question = make_task(task, originals, labels, patch_size, seed)
            bench.completion(question, ModelSamples(model, question, seed), variations, report)
        if task in TASKS_IN_TWO_STEPS:
            bench.two_step(question, ModelSamples(model, question, seed), patch_size, report)
    return report


def evaluate_samples(
    question: EvaluationTask,
    given: SavedSamples,
    metric_models: MetricModels,
    train_data: ImageDataset,
    test_data: ImageDataset,
    *,
    seed: int = 0,
    cache: Path | None = None,
    allow_few: bool = False,
    progress: TaskProgress = lambda task, done, total: None,
) -> Report:
    """Measure images made elsewhere as :func:`evaluate` measures a model's on the same task.

    Completions have their own sources as floor, and all variations that are there are used: from
    fewer than 64, ``label-total-variation`` ends in their number, as ``8-draws``, and its floor is
    that of as many perfect draws. The split in the names is that of ``test_data`` where all sources
    are in it, else ``given``.

    Raises:
        ProtocolError: fewer images than features have dimensions, a source that is a training
            image (the reference would hold the answer), or a task's name for completions that
            names none.
        ClassifierError: a classifier for other images.
    """
    joint = not bool(question.observed.any())
    count = len(question)
    if joint:
        question, given = joint_samples(given.images, test_data)
        count = min(len(question), len(test_data))
    _check(metric_models, train_data, test_data, count, allow_few)
    split = test_data.name.rpartition(":")[2]
    if joint:
        originals, labels = _choose(test_data, count, seed)
    else:
        originals, labels = question.images, question.labels
        split = _split_of(question, train_data, test_data)
    bench = Evaluator(
        metric_models,
        train_data,
        originals,
        labels,
        split,
        seed=seed,
        cache=cache,
        allow_few=allow_few,
        progress=progress,
    )
    report = Report(bench.evaluate_originals())
    if joint:
        bench.joint(question, given, report)
    else:
        bench.completion(question, given, given.variations, report)
    return report


def _check(
    metric_models: MetricModels,
    train_data: ImageDataset,
    test_data: ImageDataset,
    count: int,
    allow_few: bool,
) -> None:
    """Refuse metric_models that do not fit the data, and too few images."""
    for classifier in (metric_models.classifier, metric_models.masked_classifier):
        for data in (train_data, test_data):
            if classifier is not None:
                classifier.check_images_of(data)
    dimensions = metric_models.features.dimensions
    fewest = min(count, len(train_data))
    if fewest < dimensions and not allow_few:
        raise ProtocolError(
            f"{fewest} images are too few for features of {dimensions} dimensions: give at least "
            f"{dimensions}, or --force it"
        )
    if count < LEAST_IMAGES:
        raise ProtocolError(f"{count} images are too few; give at least {LEAST_IMAGES}")


def _choose(
    dataset: ImageDataset, count: int, seed: int
) -> tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, " N"] | None]:
    """``count`` images with their labels, by the seed."""
    chosen = torch.randperm(len(dataset), generator=make_rng(Stream.SOURCES, seed))[:count]
    labels = None if dataset.labels is None else dataset.labels.cpu()[chosen]
    return dataset.images_uint8(chosen).cpu(), labels


def _split_of(question: EvaluationTask, train_data: ImageDataset, test_data: ImageDataset) -> str:
    """The split that given completions are of, where they may be measured at all."""
    if question.task == "joint" or not TASK_NAME.fullmatch(question.task):
        raise ProtocolError(
            f"{question.task!r} is no name for completions: give the name of a hole, or letters, "
            "digits and hyphens"
        )
    in_train = find_images(question.images, train_data) >= 0
    if in_train.any():
        raise ProtocolError(
            f"{int(in_train.sum())} of {len(in_train)} sources are training images, which the "
            "reference holds: complete images of the test split"
        )
    in_test = bool((find_images(question.images, test_data) >= 0).all())
    return test_data.name.rpartition(":")[2] if in_test else "given"
