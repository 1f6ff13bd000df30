"""The protocol on models whose faults are known: each must show in its own number."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.data import ImageDataset, load_dataset
from biglearn_gan.evaluation.classifier import ClassifierError, ImageClassifier, train_classifier
from biglearn_gan.evaluation.frechet import frechet_distance
from biglearn_gan.evaluation.protocol import (
    DEFAULT_TASKS,
    dataset_statistics,
    evaluate,
)
from biglearn_gan.evaluation.records import Record, metric_name, table, write_records

DIGITS = DataConfig(name="digits", image_size=(8, 8), channels=1)
TRAIN, TEST = (load_dataset(DIGITS, split) for split in ("train", "test"))


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    return train_classifier(TRAIN, seed=0, images=16_000)


class Perfect:
    """Gives back the originals, and real training images as joint samples."""

    config = SimpleNamespace(model=SimpleNamespace(patch_size=2))

    def sample(self, num: int, *, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return TRAIN.batch(torch.randint(len(TRAIN), (num,), generator=generator)).images

    def complete(
        self,
        images: Tensor,
        hole: Tensor,
        *,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ):
        return images[:, None].repeat(1, variations, 1, 1, 1)


class Noise(Perfect):
    """Fills holes with uniform noise, a function of the seed."""

    def complete(
        self,
        images: Tensor,
        hole: Tensor,
        *,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ):
        whole = super().complete(images, hole, variations=variations)
        noise = (
            torch.rand(whole.shape, generator=torch.Generator().manual_seed(seed + first_image)) * 2
            - 1
        )
        return torch.where(hole[:, None, None], noise, whole)


class Shuffled(Perfect):
    """Right images in wrong rows."""

    def complete(
        self,
        images: Tensor,
        hole: Tensor,
        *,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ):
        return super().complete(images.roll(1, 0), hole, variations=variations)


def by_metric(model: Perfect, classifier: ImageClassifier, **options) -> dict[str, Record]:
    options = {"num": 130, "seed": 0, "variations": 3, "tasks": ["random:0.5"]} | options
    records = evaluate(model, classifier, TRAIN, TEST, **options)
    names = [record.metric for record in records]
    assert len(set(names)) == len(names)
    return {record.metric: record for record in records}


def test_names_carry_their_protocol() -> None:
    name = metric_name("fd", 10_000, "classifier", "test", "random:0.75")
    assert name == "fd10k_classifier_test_random75"
    assert metric_name("fd", 1797, "classifier", None, "joint") == "fd1797_classifier_joint"
    name = metric_name("agreement", 1000, "classifier", "test", "random:0.125:7")
    assert name == "agreement1k_classifier_test_random12.5x7"
    name = metric_name("changed", 397, "pixels", "validation", "right-half")
    assert name == "changed397_pixels_validation_right-half"


def test_originals_given_back_score_as_the_originals(classifier: ImageClassifier) -> None:
    records = by_metric(Perfect(), classifier)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value == pytest.approx(fd.floor, rel=1e-9)
    assert (fd.task, fd.ceiling, fd.samples, fd.seed) == ("random:0.5", None, 130, 0)
    agreement = records["agreement130_classifier_test_random50"]
    assert agreement.value == records["agreement130_classifier_test_originals"].value > 0.85
    assert agreement.samples == 390
    assert records["diversity130_pixels_test_random50"].value == 0
    assert records["changed130_pixels_test_random50"].value == 0


def test_the_floor_is_the_same_test_images_against_the_training_split(
    classifier: ImageClassifier,
) -> None:
    expected = frechet_distance(
        dataset_statistics(classifier, TEST), dataset_statistics(classifier, TRAIN)
    )
    records = by_metric(Perfect(), classifier, num=397)
    assert records["fd397_classifier_test_random50"].floor == pytest.approx(expected, rel=1e-9)
    subset = by_metric(Perfect(), classifier)["fd130_classifier_test_random50"]
    assert subset.floor > expected


def test_shuffled_completions_lose_agreement_but_not_distance(classifier: ImageClassifier) -> None:
    records = by_metric(Shuffled(), classifier)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value == pytest.approx(fd.floor, rel=1e-9)
    assert records["agreement130_classifier_test_random50"].value < 0.3
    assert records["changed130_pixels_test_random50"].value > 0.1


def test_noise_is_far_away_and_diverse(classifier: ImageClassifier) -> None:
    records = by_metric(Noise(), classifier, variations=8)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value > 3 * fd.floor
    assert records["agreement130_classifier_test_random50"].value < 0.8
    # Uniform on [-1, 1]: standard deviation 1/√3; the root of an unbiased variance is a little low.
    assert records["diversity130_pixels_test_random50"].value == pytest.approx(3**-0.5, rel=0.03)
    assert records["changed130_pixels_test_random50"].value == 0


def test_diversity_is_the_deviation_inside_the_hole_alone(classifier: ImageClassifier) -> None:
    class Alternating(Perfect):
        def complete(
            self,
            images: Tensor,
            hole: Tensor,
            *,
            variations: int = 1,
            seed: int = 0,
            first_image: int = 0,
        ):
            whole = super().complete(images, hole, variations=variations)
            fill = torch.tensor([-0.5, 0.5])[:, None, None, None].expand(whole.shape)
            return torch.where(hole[:, None, None], fill, whole)

    for task, name in (("random:0.25", "random25"), ("right-half", "right-half")):
        records = by_metric(Alternating(), classifier, variations=2, tasks=[task])
        assert records[f"diversity130_pixels_test_{name}"].value == pytest.approx(0.5**0.5)
    single = by_metric(Perfect(), classifier, variations=1)
    assert not any(name.startswith("diversity") for name in single)


def test_a_changed_observed_pixel_is_counted(classifier: ImageClassifier) -> None:
    class Careless(Perfect):
        def complete(
            self,
            images: Tensor,
            hole: Tensor,
            *,
            variations: int = 1,
            seed: int = 0,
            first_image: int = 0,
        ):
            whole = super().complete(images, hole, variations=variations)
            whole[:, 1, :, 0, 0] += 1e-6  # observed: the left half is given
            whole[:, :, :, 0, 7] += 0.5  # inside the hole
            return whole

    records = by_metric(Careless(), classifier, tasks=["right-half"])
    changed = records["changed130_pixels_test_right-half"]
    assert changed.value == pytest.approx(1 / (32 * 3))
    assert records["diversity130_pixels_test_right-half"].value == 0


def test_joint_samples(classifier: ImageClassifier) -> None:
    records = by_metric(Perfect(), classifier, num=1000, tasks=["joint"])
    compared = records["fd397_classifier_joint"]
    assert compared.value > 0 and compared.floor is not None and compared.samples == 397
    everything = records["fd1k_classifier_joint"]
    assert everything.value < compared.value and everything.floor is None
    entropy = records["entropy1k_classifier_joint"]
    assert 2.25 < entropy.value <= entropy.ceiling == pytest.approx(math.log(10))
    names = list(by_metric(Perfect(), classifier, tasks=["joint"]))
    assert names[1:] == ["fd130_classifier_joint", "entropy130_classifier_joint"]


def test_entropy_counts_the_classes_read(classifier: ImageClassifier) -> None:
    images = TRAIN.batch(torch.arange(len(TRAIN))).images
    with torch.inference_mode():
        read = classifier(images).argmax(dim=1)
    two = torch.cat([images[read == 3][:50], images[read == 8][:50]])

    class TwoClasses(Perfect):
        def sample(self, num: int, *, seed: int = 0) -> Tensor:
            return two

    records = by_metric(TwoClasses(), classifier, num=100, tasks=["joint"])
    entropy = records["entropy100_classifier_joint"]
    assert entropy.value == pytest.approx(math.log(2))
    assert records["fd100_classifier_joint"].value > 3 * records["fd100_classifier_joint"].floor


def test_one_seed_gives_one_result_and_every_task_is_its_own(classifier: ImageClassifier) -> None:
    torch.manual_seed(0)
    options = {"num": 397, "tasks": ["joint", "random:0.5", "right-half"]}
    first = by_metric(Noise(), classifier, **options)
    torch.manual_seed(1)
    assert by_metric(Noise(), classifier, **options) == first
    alone = by_metric(Noise(), classifier, num=397, tasks=["right-half"])
    assert alone.items() <= first.items()
    other = by_metric(Noise(), classifier, **options | {"seed": 1})
    name = "fd397_classifier_test_random50"
    assert other[name].value != first[name].value


def test_data_without_labels_get_everything_but_agreement(classifier: ImageClassifier) -> None:
    everything = torch.arange(len(TEST))
    test_data = ImageDataset("digits:test", TEST.images_uint8(everything))
    options = {"num": 130, "seed": 0, "variations": 2, "tasks": ["joint", "random:0.5"]}
    records = evaluate(Perfect(), classifier, TRAIN, test_data, **options)
    with_labels = evaluate(Perfect(), classifier, TRAIN, TEST, **options)
    assert records == [r for r in with_labels if not r.metric.startswith("agreement")]


def test_progress_reaches_the_end_of_every_task(classifier: ImageClassifier) -> None:
    last: dict[str, tuple[int, int]] = {}
    evaluate(
        Perfect(),
        classifier,
        TRAIN,
        TEST,
        num=300,
        seed=0,
        variations=1,
        progress=lambda task, done, total: last.update({task: (done, total)}),
    )
    assert last == dict.fromkeys(DEFAULT_TASKS, (300, 300))


def test_impossible_requests_are_refused_before_sampling(classifier: ImageClassifier) -> None:
    class Unused(Perfect):
        def sample(self, num: int, *, seed: int = 0) -> Tensor:
            raise AssertionError("sampled")

        def complete(
            self,
            images: Tensor,
            hole: Tensor,
            *,
            variations: int = 1,
            seed: int = 0,
            first_image: int = 0,
        ):
            raise AssertionError("completed")

    for options, message in (
        ({"num": 0}, "num and variations must be at least 1"),
        ({"variations": 0}, "num and variations must be at least 1"),
        ({"seed": -1}, "seed at least 0"),
        ({"tasks": []}, "tasks not empty"),
        ({"tasks": ["joint", "middle"]}, "middle"),
        ({"num": 63}, "63 samples are too few for features of 64 dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            by_metric(Unused(), classifier, **options)
    with pytest.raises(ClassifierError, match=r"\(1, 9, 8\), but those of digits:train"):
        by_metric(Perfect(), ImageClassifier((9, 8), 1, 10))


def test_records_are_written_and_shown(tmp_path: Path) -> None:
    record = Record("fd1k_classifier_joint", "joint", 12.3456789, None, 1.5, None, 1000, 3)
    folder = tmp_path / "new" / "folder"
    write_records([replace(record, value=0.0)], folder)
    write_records([record, replace(record, floor=None, ceiling=2.0)], folder)
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "metrics.json"]
    rows = json.loads((folder / "metrics.json").read_text())
    assert rows[0] == {
        "metric": "fd1k_classifier_joint",
        "task": "joint",
        "value": 12.3456789,
        "error": None,
        "floor": 1.5,
        "ceiling": None,
        "samples": 1000,
        "seed": 3,
    }
    with open(folder / "metrics.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["floor"] for line in lines] == ["1.5", ""]
    assert lines[0].keys() == rows[0].keys() and float(lines[0]["value"]) == 12.3456789
    assert table([record]).splitlines()[-1] == (
        "| fd1k_classifier_joint | joint | 12.35 | – | 1.5 | – | 1000 | 3 |"
    )
    with pytest.raises(ValueError, match="JSON compliant"):
        write_records([replace(record, value=float("nan"))], folder)
    assert json.loads((folder / "metrics.json").read_text()) == rows
