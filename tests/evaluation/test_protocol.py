"""The protocol on models with known faults: each fault must show in its own number."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toy_models import (
    TEST,
    TRAIN,
    Constant,
    Mismatched,
    Noise,
    Perfect,
    Shuffled,
    by_metric,
    measure,
)

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.evaluation.protocol import default_tasks
from biglearn_gan.evaluation.task import ModelSamples, ProtocolError, make_task
from biglearn_gan.metrics.classifier import ClassifierError
from biglearn_gan.metrics.classifier_training import train_classifier
from biglearn_gan.metrics.features import ClassifierFeatures
from biglearn_gan.metrics.frechet import frechet_distance
from biglearn_gan.metrics.masked_classifier import MaskedClassifier
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.metrics.reference_statistics import reference_statistics
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.pixel_values import to_uint8
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

SHIPPED = Path(__file__).parents[2] / "checkpoints"


def test_random_holes_of_seven_pixel_blocks_are_added_for_other_patches() -> None:
    assert default_tasks((28, 28), 7) == default_tasks((8, 8), 2)
    assert default_tasks((28, 28), 4)[-3:] == ("random:0.25:7", "random:0.5:7", "random:0.75:7")


def test_a_model_that_returns_the_originals_scores_like_them(metric_models: MetricModels) -> None:
    records = by_metric(Perfect(), metric_models)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value == pytest.approx(fd.floor, rel=1e-9)
    assert (fd.task, fd.ceiling, fd.samples, fd.seed) == ("random:0.5", None, 130, 0)
    for measure_ in ("precision", "recall"):
        record = records[f"{measure_}130_classifier_test_random50"]
        assert record.value == record.ceiling > 0.5
    agreement = records["agreement130_classifier_test_random50"]
    assert agreement.value == records["agreement130_classifier_test_real"].value > 0.95
    assert agreement.samples == 390
    assert records["diversity130_pixels_test_random50"].value == 0
    assert records["changed130_pixels_test_random50"].value == 0


def test_the_floor_is_the_same_test_images_against_the_training_split(
    metric_models: MetricModels,
) -> None:
    expected = frechet_distance(
        *(reference_statistics(metric_models.features, data) for data in (TEST, TRAIN))
    )
    records = by_metric(Perfect(), metric_models, num=397)
    floor = records["fd397_classifier_test_real"]
    same = records["fd397_classifier_test_random50"].floor
    assert floor.value == pytest.approx(same, rel=1e-9) == pytest.approx(expected, rel=1e-6)
    assert floor.error == records["fd397_classifier_test_random50"].error
    assert by_metric(Perfect(), metric_models)["fd130_classifier_test_random50"].floor > expected


def test_the_ceiling_is_the_mean_probability_of_the_true_label(metric_models: MetricModels) -> None:
    record = by_metric(Noise(), metric_models, num=397)["agreement397_classifier_test_random50"]
    order = torch.randperm(397, generator=make_rng(Stream.SOURCES, 0))
    task = make_task("random:0.5", TEST.images_uint8(order), TEST.labels[order], 2, 0)
    p = metric_models.masked_classifier.probabilities(TEST.batch(order).images, task.known)
    expected = float(p.gather(1, task.labels[:, None]).mean())
    assert record.ceiling == pytest.approx(expected, rel=1e-9)
    assert 0.88 < record.ceiling < 0.97


def test_shuffled_completions_lose_agreement_but_not_distance(metric_models: MetricModels) -> None:
    records = by_metric(Shuffled(), metric_models)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value == pytest.approx(fd.floor, rel=1e-9)
    assert records["agreement130_classifier_test_random50"].value < 0.3
    assert records["changed130_pixels_test_random50"].value > 0.1


def test_mismatched_completions_lose_more_agreement_than_distance(
    metric_models: MetricModels,
) -> None:
    """With 25% hidden, the distance is 4.9 and its floor 1.4.

    Completions without any variation have a distance of at least 64.
    """
    records = by_metric(Mismatched(), metric_models, num=397, tasks=["random:0.25"])
    agreement = records["agreement397_classifier_test_random25"]
    assert agreement.value < agreement.ceiling - 0.25
    fd = records["fd397_classifier_test_random25"]
    assert fd.value - fd.floor < 64 / 12
    assert fd.value < records["fd397_classifier_test_random25_mean"].value
    baseline = records["fd397_classifier_test_random25_mismatched"]
    assert baseline.value == pytest.approx(fd.value, rel=0.2)


def test_constant_completions_lose_diversity_recall_and_agreement(
    metric_models: MetricModels,
) -> None:
    tasks = {"random:0.5": "random50", "right-half": "right-half"}
    records = by_metric(Constant(), metric_models, num=397, tasks=list(tasks))
    shipped = by_metric(
        BigLearnGAN.from_pretrained(SHIPPED / "digits"), metric_models, num=100, tasks=list(tasks)
    )
    for name, share in (("random50", 0.7), ("right-half", 0.05)):
        assert records[f"changed397_pixels_test_{name}"].value == 0
        assert records[f"diversity397_pixels_test_{name}"].value == 0
        assert shipped[f"diversity100_pixels_test_{name}"].value > 0.1
        recall = records[f"recall397_classifier_test_{name}"]
        assert recall.value < share * recall.ceiling
        agreement = records[f"agreement397_classifier_test_{name}"]
        assert agreement.value < agreement.ceiling - 0.25
        # One answer per source is far from 64 perfect draws of p(y | x_S).
        label = records[f"label-total-variation397_classifier_test_{name}"]
        assert label.value > 0.3 > 5 * label.floor


def test_without_label_draws_only_the_label_total_variation_is_missing(
    metric_models: MetricModels,
) -> None:
    usual, without = (by_metric(Shuffled(), metric_models, label_draws=n) for n in (64, 0))
    name = "label-total-variation130_classifier_test_random50"
    assert usual.keys() - without.keys() == {name}
    assert without == {key: record for key, record in usual.items() if key != name}


def test_noise_is_far_away_and_diverse(metric_models: MetricModels) -> None:
    records = by_metric(Noise(), metric_models, variations=8)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value > 3 * fd.floor
    assert records["agreement130_classifier_test_random50"].value < 0.8
    # The standard deviation of U[-1, 1] is 1/√3; the root of an unbiased variance is a bit low.
    assert records["diversity130_pixels_test_random50"].value == pytest.approx(3**-0.5, rel=0.03)
    assert records["changed130_pixels_test_random50"].value == 0


def test_diversity_is_the_deviation_inside_the_hole_only(metric_models: MetricModels) -> None:
    class Alternating(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            originals = super().fill(images, hole, variations, seed)
            fill = torch.tensor([-0.6, 0.6] * 32)[:variations]  # exact in 8 bits
            fill = fill[:, None, None, None].expand(originals.shape)
            return torch.where(hole[:, None, None], fill, originals)

    for task, name in (("random:0.25", "random25"), ("right-half", "right-half")):
        records = by_metric(Alternating(), metric_models, variations=2, tasks=[task])
        diversity = records[f"diversity130_pixels_test_{name}"].value
        assert diversity == pytest.approx(1.2 / 2**0.5, rel=0.01)
    single = by_metric(Perfect(), metric_models, variations=1)
    assert not any(name.startswith("diversity") for name in single)


def test_a_changed_known_pixel_is_counted(metric_models: MetricModels) -> None:
    class Careless(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            completed = super().fill(images, hole, variations, seed)
            if variations == 3:
                completed[:, 1, :, 0, 0] *= -1  # known: the left half
            completed[:, :, :, 0, 7] += 0.5  # inside the hole
            return completed

    records = by_metric(Careless(), metric_models, tasks=["right-half"])
    assert records["changed130_pixels_test_right-half"].value == pytest.approx(1 / (32 * 3))


def test_joint_samples_are_compared_with_equally_many_test_images(
    metric_models: MetricModels,
) -> None:
    records = by_metric(Perfect(), metric_models, num=1000, tasks=["joint"])
    compared = records["fd397_classifier_joint"]
    assert compared.value > 0 and compared.floor is not None and compared.samples == 397
    everything = records["fd1k_classifier_joint"]
    assert everything.value < compared.value and everything.floor is None
    entropy = records["entropy1k_classifier_joint"]
    assert 2.25 < entropy.value <= entropy.ceiling == pytest.approx(math.log(10))
    # Samples from the training split cover it better than test images do.
    assert records["recall397_classifier_joint"].value > 0.8


def test_images_are_generated_in_batches(metric_models: MetricModels) -> None:
    class CountingFeatures(ClassifierFeatures):
        largest = 0

        def __call__(self, images: Tensor) -> Tensor:
            self.largest = max(self.largest, len(images))
            return super().__call__(images)

    features = CountingFeatures(metric_models.classifier)
    measure(Noise(), replace(metric_models, features=features), num=1000, tasks=["joint"])
    assert 0 < features.largest <= 500


def test_entropy_is_that_of_the_predicted_classes(metric_models: MetricModels) -> None:
    images = TRAIN.batch(torch.arange(len(TRAIN))).images
    with torch.inference_mode():
        labels = metric_models.classifier(images).argmax(dim=1)
    two = torch.cat([images[labels == 3][:50], images[labels == 8][:50]])

    class TwoClasses(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            chosen = two[torch.arange(len(images)) % 100]
            return super().fill(chosen, hole, variations, seed)

    records = by_metric(TwoClasses(), metric_models, num=100, tasks=["joint"])
    assert records["entropy100_classifier_joint"].value == pytest.approx(math.log(2))
    assert records["fd100_classifier_joint"].value > 3 * records["fd100_classifier_joint"].floor


def test_marginals_compare_parts_of_images(metric_models: MetricModels) -> None:
    """Real parts score near the floor, and pixels outside of the part do not count."""

    class WrongAround(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            around = torch.where(hole[:, None], images, -images)
            return super().fill(around, hole, variations, seed)

    for task, name in (("marginal:center", "center"), ("marginal:random:0.5", "random50")):
        real = by_metric(Perfect(), metric_models, num=397, tasks=[task])
        fd = real[f"fd397_classifier_marginal_{name}"]
        assert fd.value < 2 * fd.floor
        assert by_metric(WrongAround(), metric_models, num=397, tasks=[task]) == real
        noise = by_metric(Noise(), metric_models, num=397, tasks=[task])
        assert noise[f"fd397_classifier_marginal_{name}"].value > 5 * fd.floor


def test_every_completion_task_has_the_baselines(metric_models: MetricModels) -> None:
    records = by_metric(Noise(), metric_models, num=397, tasks=["random:0.25", "strokes"])
    for task in ("random25", "strokes"):
        agreement = {
            name: records[f"agreement397_classifier_test_{task}_{name}"].value
            for name in ("nearest", "mean", "mismatched")
        }
        assert agreement["nearest"] > agreement["mean"] > agreement["mismatched"]
        distance = {
            name: records[f"fd397_classifier_test_{task}_{name}"].value
            for name in ("nearest", "mean", "mismatched")
        }
        assert distance["nearest"] < distance["mismatched"] < 64


def test_a_seed_determines_the_result_of_each_task_alone(metric_models: MetricModels) -> None:
    torch.manual_seed(0)
    options = {"num": 397, "tasks": ["joint", "random:0.5", "right-half"]}
    first = by_metric(Noise(), metric_models, **options)
    torch.manual_seed(1)
    assert by_metric(Noise(), metric_models, **options) == first
    alone = by_metric(Noise(), metric_models, num=397, tasks=["right-half"])
    assert alone.items() <= first.items()
    other = by_metric(Noise(), metric_models, **options | {"seed": 1})
    name = "fd397_classifier_test_random50"
    assert other[name].value != first[name].value


def test_the_cache_does_not_change_the_result(metric_models: MetricModels, tmp_path: Path) -> None:
    options = {"tasks": ["joint", "marginal:center", "marginal:random:0.5"]}
    expected = by_metric(Noise(), metric_models, **options)
    assert by_metric(Noise(), metric_models, cache=tmp_path, **options) == expected
    assert len(list(tmp_path.iterdir())) == 3
    assert by_metric(Noise(), metric_models, cache=tmp_path, **options) == expected


def test_data_without_labels_have_all_other_numbers(metric_models: MetricModels) -> None:
    test = ImageDataset("digits:test", TEST.images_uint8(torch.arange(len(TEST))))
    options = {"num": 130, "variations": 2, "tasks": ["joint", "random:0.5"]}
    records = by_metric(Perfect(), metric_models, test=test, **options)
    expected = by_metric(Perfect(), metric_models, **options)
    labeled = {name for name in expected if name.startswith("agreement")}
    assert labeled
    assert records == {name: expected[name] for name in expected if name not in labeled}
    without_classifier = by_metric(Perfect(), MetricModels(metric_models.features), **options)
    assert not any(
        name.startswith(("agreement", "entropy", "label")) for name in without_classifier
    )
    assert without_classifier.items() <= expected.items()


def test_labels_are_measured_on_the_images_that_have_one(metric_models: MetricModels) -> None:
    """Half of the images that are chosen have no label; the others agree as they did before."""
    order = torch.randperm(len(TEST), generator=make_rng(Stream.SOURCES, 0))[:130]
    hidden = TEST.labels.clone()
    hidden[order[::2]] = UNKNOWN_LABEL
    wrong = TEST.labels.clone()
    wrong[order[::2]] = (wrong[order[::2]] + 1) % 10
    options = {"variations": 2, "tasks": ["random:0.5"]}
    part, whole = (
        by_metric(Perfect(), metric_models, test=TEST.with_labels(labels), **options)
        for labels in (hidden, wrong)
    )
    for name in ("random50", "real", "random50_nearest"):
        some = part[f"agreement65_classifier_test_{name}"]
        every = whole[f"agreement130_classifier_test_{name}"]
        assert every.value < 0.55 < some.value
        assert some.samples == every.samples / 2
    classifier = metric_models.masked_classifier
    known = order[1::2]
    task = make_task("random:0.5", TEST.images_uint8(order), TEST.labels[order], 2, 0)
    p = classifier.probabilities(TEST.batch(known).images, task.known[1::2])
    expected = float(p.gather(1, TEST.labels[known, None]).mean())
    assert part["agreement65_classifier_test_random50"].ceiling == pytest.approx(expected, rel=1e-9)
    others = {name for name in part if not name.startswith("agreement")}
    assert all(part[name] == whole[name] for name in others)


def test_progress_reaches_the_end_of_every_task(metric_models: MetricModels) -> None:
    last: dict[str, tuple[int, int]] = {}

    def on_progress(task: str, done: int, total: int) -> None:
        assert last.get(task, (0, total)) <= (done, total)
        last[task] = (done, total)

    tasks = ["joint", "marginal:center", "random:0.5"]
    measure(Perfect(), metric_models, num=300, variations=1, tasks=tasks, progress=on_progress)
    steps = ("joint in two steps", "random:0.5 in two steps")
    sampled = (*tasks, "random:0.5 labels", *steps)
    compared = ("reference", "marginal:center reference", "random:0.5 nearest images")
    all_rows = (len(TRAIN), len(TRAIN))
    assert last == dict.fromkeys(sampled, (300, 300)) | dict.fromkeys(compared, all_rows)


def test_impossible_arguments_are_rejected_before_sampling(metric_models: MetricModels) -> None:
    class Unused(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            raise AssertionError("sampled")

    for options, message in (
        ({"num": 0}, "num and variations must be at least 1"),
        ({"variations": 0}, "num and variations must be at least 1"),
        ({"seed": -1}, "seed at least 0"),
        ({"tasks": []}, "tasks not empty"),
        ({"tasks": ["joint", "middle"]}, "middle"),
        ({"tasks": ["marginal:middle"]}, "middle"),
        ({"tasks": ["joint", "center", "joint"]}, "the task joint comes twice"),
        ({"tasks": ["random:0.5", "random:.50"]}, r"the task random:\.50 comes twice"),
        ({"num": 63}, "63 images are too few for features of 64 dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(Unused(), metric_models, **options)
    with pytest.raises(ClassifierError, match=r"\(1, 9, 8\), but those of digits:train"):
        measure(Unused(), replace(metric_models, masked_classifier=MaskedClassifier((9, 8), 1, 10)))
    with pytest.raises(ProtocolError, match="give at least 10"):
        measure(Unused(), metric_models, num=9, allow_few=True)


def test_errors_of_joint_numbers_are_those_of_repeated_draws(metric_models: MetricModels) -> None:
    runs = [by_metric(Perfect(), metric_models, tasks=["joint"], num=200, seed=s) for s in range(6)]
    for name in ("entropy200_classifier_joint", "precision200_classifier_joint"):
        values = torch.tensor([run[name].value for run in runs])
        errors = torch.tensor([run[name].error for run in runs])
        assert 0.2 < float(values.std() / errors.mean()) < 3


def test_too_few_images_are_marked_in_the_name(
    metric_models: MetricModels,
) -> None:
    records = by_metric(Perfect(), metric_models, num=63, allow_few=True)
    record = records["fd63few_classifier_test_random50"]
    assert record.error is None and record.value == pytest.approx(record.floor, rel=1e-6)


def test_a_reference_of_too_few_images_is_marked_too(metric_models: MetricModels) -> None:
    train = ImageDataset("digits:train", TRAIN.images_uint8(torch.arange(63)))
    records = by_metric(Perfect(), metric_models, train=train, allow_few=True)
    assert "fd130few_classifier_test_random50" in records
    assert "fd130_classifier_test_random50_two-step" in records  # no reference


def test_samples_are_rounded_to_eight_bits() -> None:
    task = make_task("right-half", TEST.images_uint8(torch.arange(5)), None, 2, 0)
    read = ModelSamples(Noise(), task, 3).read(1, 4, 2)
    exact = Noise().complete(
        TEST.batch(torch.arange(1, 4)).images,
        task.hole[1:4],
        variations=2,
        seed=3,
        first_image=1,
    )
    assert read.dtype == torch.uint8 and torch.equal(read, to_uint8(exact))


def test_a_newly_trained_classifier_can_measure(metric_models: MetricModels) -> None:
    classifier = train_classifier(TRAIN, seed=0, images=1_600)
    records = by_metric(Perfect(), MetricModels(ClassifierFeatures(classifier), classifier))
    agreement = records["agreement130_classifier_test_random50"]
    assert agreement.ceiling is None and agreement.value > 0.5
