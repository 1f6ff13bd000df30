"""What is measured of a model, on which images, and under which name.

Every Fréchet distance is to the *training* split, in the classifier's features, and stands beside
its floor: the distance of as many real test images to the same reference. Completions are of test
images, so the reference never holds a source itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.data import ImageDataset
from biglearn_gan.evaluation.classifier import FEATURES, INFERENCE_ROWS, ImageClassifier
from biglearn_gan.evaluation.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.evaluation.records import Record, metric_name
from biglearn_gan.holes import named_hole
from biglearn_gan.randomness import Stream, generator_for

DEFAULT_TASKS = ("joint", "random:0.25", "random:0.5", "random:0.75", "right-half")

SOURCES_AT_ONCE = 250
"""Test images completed in one call, which bounds memory."""


class ProtocolError(ValueError):
    """Something is asked that the protocol cannot measure, in one sentence."""


Progress = Callable[[str, int, int], None]
"""Called with (task, images done, images of this task)."""


@runtime_checkable
class Sampler(Protocol):
    """What is measured; ``BigLearnGAN`` is one."""

    @property
    def config(self) -> Config: ...

    def sample(self, num: int, *, seed: int = 0) -> Float[Tensor, "N C H W"]: ...

    def complete(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        *,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Float[Tensor, "N K C H W"]: ...


def evaluate(
    model: Sampler,
    classifier: ImageClassifier,
    train_data: ImageDataset,
    test_data: ImageDataset,
    *,
    num: int,
    seed: int,
    variations: int = 8,
    tasks: Sequence[str] = DEFAULT_TASKS,
    progress: Progress | None = None,
) -> list[Record]:
    """Measure a model on each task; the same arguments give the same records to the bit.

    ``joint`` draws ``num`` images from nothing and gives

    - ``fd``: Fréchet distance to ``train_data``. If ``test_data`` has fewer than ``num`` images,
      of as many samples as it has, beside their floor, and of all ``num`` once more without one,
      because the distance depends on the count.
    - ``entropy``: of the histogram of the classes read, in nats, at most ln(number of classes).

    Every other task is the name of a hole and completes ``variations`` times each of ``num`` test
    images (all of them if there are fewer), chosen by ``seed``, and gives

    - ``fd``: the completion distance, of the first variation of each source, with the unmasked
      originals of the same sources as its floor.
    - ``agreement``: share of all completions in which the classifier reads the source's true
      label. The record of task ``originals`` has the same for the unmasked images. Both are left
      out for data without labels.
    - ``diversity``: standard deviation over the variations (unbiased), in units of the pixels'
      range [-1, 1], averaged over channels and the pixels of the hole; left out for one variation.
    - ``changed``: share of pixels outside of the hole that came back with other bits; 0 is right.

    Raises:
        ProtocolError: ``num``, ``variations`` or ``seed`` out of range, no tasks, or fewer images
            than features.
        HoleError: an unknown task.
        ClassifierError: a classifier for other images.
    """
    if num < 1 or variations < 1 or seed < 0 or not tasks:
        raise ProtocolError(
            "num and variations must be at least 1, seed at least 0 and tasks not empty, "
            f"not {num}, {variations}, {seed} and {list(tasks)}"
        )
    for data in (train_data, test_data):
        classifier.check_images_of(data)
    for task in tasks:
        named_hole(task, test_data.image_size, model.config.model.patch_size, 1, seed)
    classifier.eval()
    sources = torch.randperm(len(test_data), generator=generator_for(Stream.SOURCES, seed))[:num]
    reference = dataset_statistics(classifier, train_data)
    originals = dataset_statistics(classifier, test_data, sources)
    bench = _Bench(
        model=model,
        classifier=classifier,
        reference=reference,
        floor=frechet_distance(originals, reference),
        test_data=test_data,
        sources=sources,
        split=test_data.name.rpartition(":")[2],
        seed=seed,
        progress=progress or (lambda task, done, total: None),
    )
    records = _originals_records(bench)
    for task in tasks:
        if task == "joint":
            records += _joint_records(bench, num)
        else:
            records += _completion_records(bench, task, variations)
    return records


def dataset_statistics(
    classifier: ImageClassifier,
    dataset: ImageDataset,
    indices: Int64[Tensor, " N"] | None = None,
) -> GaussianStatistics:
    """Moments of the classifier's features over a data set, or over those of its images."""
    statistics = GaussianStatistics(FEATURES)
    if indices is None:
        indices = torch.arange(len(dataset))
    for part in indices.split(INFERENCE_ROWS):
        features, _ = _read(classifier, dataset.batch(part).images)
        statistics.update(features)
    return statistics


@dataclass(frozen=True)
class _Bench:
    """What all tasks share: the model, the ruler, the reference and the sources."""

    model: Sampler
    classifier: ImageClassifier
    reference: GaussianStatistics
    floor: float
    test_data: ImageDataset
    sources: Int64[Tensor, " N"]
    split: str
    seed: int
    progress: Progress

    def record(
        self,
        measure: str,
        features: str,
        task: str,
        value: float,
        *,
        count: int,
        samples: int,
        floor: float | None = None,
        ceiling: float | None = None,
    ) -> Record:
        split = None if task == "joint" else self.split
        name = metric_name(measure, count, features, split, task)
        return Record(name, task, value, None, floor, ceiling, samples, self.seed)


def _originals_records(bench: _Bench) -> list[Record]:
    """Label agreement of the unmasked test images, which is the classifier's accuracy on them."""
    truth = bench.test_data.labels
    if truth is None:
        return []
    right = 0
    for part in bench.sources.split(INFERENCE_ROWS):
        _, labels = _read(bench.classifier, bench.test_data.batch(part).images)
        right += int((labels == truth.cpu()[part]).sum())
    count = len(bench.sources)
    value = right / count
    return [bench.record("agreement", "classifier", "originals", value, count=count, samples=count)]


def _joint_records(bench: _Bench, num: int) -> list[Record]:
    comparable = len(bench.sources)
    first, everything = GaussianStatistics(FEATURES), GaussianStatistics(FEATURES)
    histogram = torch.zeros(bench.classifier.num_classes, dtype=torch.int64)
    bench.progress("joint", 0, num)
    for part in bench.model.sample(num, seed=bench.seed).split(INFERENCE_ROWS):
        features, labels = _read(bench.classifier, part)
        first.update(features[: max(0, comparable - first.count)])
        everything.update(features)
        histogram += torch.bincount(labels, minlength=len(histogram))
        bench.progress("joint", everything.count, num)
    records = []
    for statistics, floor in ((first, bench.floor), (everything, None)):
        if statistics is everything and num == comparable:
            continue
        value = frechet_distance(statistics, bench.reference)
        count = statistics.count
        records.append(
            bench.record(
                "fd", "classifier", "joint", value, count=count, samples=count, floor=floor
            )
        )
    shares = histogram.double() / num
    records.append(
        bench.record(
            "entropy",
            "classifier",
            "joint",
            float(torch.special.entr(shares).sum()),
            count=num,
            samples=num,
            ceiling=math.log(len(histogram)),
        )
    )
    return records


def _completion_records(bench: _Bench, task: str, variations: int) -> list[Record]:
    count = len(bench.sources)
    holes = named_hole(
        task,
        bench.test_data.image_size,
        bench.model.config.model.patch_size,
        count,
        bench.seed,
    )
    statistics = GaussianStatistics(FEATURES)
    agreeing = changed = 0
    deviation = 0.0
    for start in range(0, count, SOURCES_AT_ONCE):
        batch = bench.test_data.batch(bench.sources[start : start + SOURCES_AT_ONCE])
        hole = holes[start : start + SOURCES_AT_ONCE]
        images = batch.images.cpu()
        completions = bench.model.complete(
            images, hole, variations=variations, seed=bench.seed, first_image=start
        ).cpu()  # (N, K, C, H, W)
        features, labels = _read(bench.classifier, completions.flatten(0, 1))
        statistics.update(features[::variations])
        if batch.labels is not None:
            truth = batch.labels.cpu().repeat_interleave(variations)
            agreeing += int((labels == truth).sum())
        if variations > 1:
            spread = completions.double().std(dim=1).mean(dim=1)  # (N, H, W)
            deviation += float(spread[hole].sum())
        differs = (completions != images[:, None]).any(dim=2)  # (N, K, H, W)
        changed += int((differs & ~hole[:, None]).sum())
        bench.progress(task, statistics.count, count)
    hidden = int(holes.sum())
    observed = holes.numel() - hidden
    samples = count * variations
    records = [
        bench.record(
            "fd",
            "classifier",
            task,
            frechet_distance(statistics, bench.reference),
            count=count,
            samples=count,
            floor=bench.floor,
        )
    ]
    if bench.test_data.labels is not None:
        value = agreeing / samples
        records.append(
            bench.record("agreement", "classifier", task, value, count=count, samples=samples)
        )
    if variations > 1:
        value = deviation / hidden
        records.append(
            bench.record("diversity", "pixels", task, value, count=count, samples=samples)
        )
    value = changed / max(observed * variations, 1)
    records.append(bench.record("changed", "pixels", task, value, count=count, samples=samples))
    return records


@torch.inference_mode()
def _read(
    classifier: ImageClassifier, images: Float[Tensor, "N C H W"]
) -> tuple[Float[Tensor, "N 64"], Int64[Tensor, " N"]]:
    """Features and labels of images, on the CPU."""
    features, labels = [], []
    for part in images.split(INFERENCE_ROWS):
        features.append(classifier.features(part.to(classifier.device)))
        labels.append(classifier.head(features[-1]).argmax(dim=1))
    return torch.cat(features).cpu(), torch.cat(labels).cpu()
