"""The protocol on models whose faults are known: each must show in its own number."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from biglearn_gan.config import DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_uint8
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.evaluator import Report
from biglearn_gan.evaluation.protocol import default_tasks, evaluate, evaluate_samples
from biglearn_gan.evaluation.records import Record, metric_name, table, write_records
from biglearn_gan.evaluation.report import curve, write_report
from biglearn_gan.evaluation.saved_samples import SavedSamples
from biglearn_gan.evaluation.task import (
    ModelSamples,
    ProtocolError,
    TwoStepSamples,
    halves,
    make_sourceless_task,
    make_task,
)
from biglearn_gan.metrics.classifier import ClassifierError, ImageClassifier
from biglearn_gan.metrics.classifier_training import train_classifier
from biglearn_gan.metrics.features import ClassifierFeatures
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.metrics.masked_classifier import MaskedClassifier
from biglearn_gan.metrics.metric_models import MetricModels
from biglearn_gan.metrics.reference_statistics import reference_statistics
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.rng import Stream, make_rng

SHIPPED = Path(__file__).parents[2] / "checkpoints"
DIGITS = DataConfig(name="digits", image_size=(8, 8), channels=1)
TRAIN, TEST = (load_dataset(DIGITS, split) for split in ("train", "test"))


@pytest.fixture(scope="module")
def metric_models() -> MetricModels:
    classifier = ImageClassifier.from_pretrained(SHIPPED / "classifier_digits")
    return MetricModels(
        ClassifierFeatures(classifier),
        classifier,
        MaskedClassifier.from_pretrained(SHIPPED / "masked_classifier_digits"),
    )


def drawn_from_train(count: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return TRAIN.batch(torch.randint(len(TRAIN), (count,), generator=rng)).images


class Perfect:
    """Gives back the originals; where nothing is given, real training images."""

    def complete(
        self,
        images: Tensor,
        hole: Tensor,
        *,
        absent: Tensor | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Tensor:
        asked = hole if absent is None else hole | absent
        if asked.all():
            images = drawn_from_train(len(images), seed + first_image)
        return self.fill(images, hole, variations, seed + first_image)

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        return images[:, None].repeat(1, variations, 1, 1, 1)


class Noise(Perfect):
    """Fills every hole with uniform noise, a function of the seed."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        whole = super().fill(images, hole, variations, seed)
        rng = torch.Generator().manual_seed(seed)
        noise = 2 * torch.rand(whole.shape, generator=rng) - 1
        return torch.where(hole[:, None, None], noise, whole)


class Shuffled(Perfect):
    """Right images in wrong rows."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        return super().fill(images.roll(1, 0), hole, variations, seed)


class Glued(Perfect):
    """The hole from another source."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        mismatched_completion = torch.where(hole[:, None], images.roll(1, 0), images)
        return super().fill(mismatched_completion, hole, variations, seed)


class Constant(Perfect):
    """Fills every hole from one and the same training image."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        one = TRAIN.batch(torch.tensor([0])).images
        return super().fill(torch.where(hole[:, None], one, images), hole, variations, seed)


def measure(model: Perfect, metric_models: MetricModels, **options) -> Report:
    options = {"num": 130, "seed": 0, "variations": 3, "tasks": ["random:0.5"]} | options
    train, test = options.pop("train", TRAIN), options.pop("test", TEST)
    return evaluate(model, 2, metric_models, train, test, **options)


def by_metric(model: Perfect, metric_models: MetricModels, **options) -> dict[str, Record]:
    records = measure(model, metric_models, **options).records
    names = [record.metric for record in records]
    assert len(set(names)) == len(names)
    return {record.metric: record for record in records}


def test_names_carry_their_protocol() -> None:
    name = metric_name("fd", 10_000, "classifier", "test", "random:0.75")
    assert name == "fd10k_classifier_test_random75"
    assert metric_name("fd", 1797, "classifier", None, "joint") == "fd1797_classifier_joint"
    name = metric_name("agreement", 1000, "classifier", "test", "random:0.125:7", subject="glued")
    assert name == "agreement1k_classifier_test_random12.5x7_glued"
    name = metric_name("fd", 99, "inception", None, "marginal:random:0.5", few=True)
    assert name == "fd99few_inception_marginal_random50"
    assert metric_name("fd", 99, "pixels", "test", "inside:4") == "fd99_pixels_test_inside4"
    assert metric_name("fd", 99, "pixels", None, "marginal:outside:12", subject="glued") == (
        "fd99_pixels_marginal_outside12_glued"
    )


def test_blocks_of_seven_are_asked_of_models_with_other_patches() -> None:
    assert default_tasks((28, 28), 7) == default_tasks((8, 8), 2)
    assert default_tasks((28, 28), 4)[-3:] == ("random:0.25:7", "random:0.5:7", "random:0.75:7")


def test_originals_given_back_score_as_the_originals(metric_models: MetricModels) -> None:
    records = by_metric(Perfect(), metric_models)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value == pytest.approx(fd.floor, rel=1e-9)
    assert (fd.task, fd.ceiling, fd.samples, fd.seed) == ("random:0.5", None, 130, 0)
    for measure_ in ("precision", "recall"):
        record = records[f"{measure_}130_classifier_test_random50"]
        assert record.value == record.ceiling > 0.5
    agreement = records["agreement130_classifier_test_random50"]
    assert agreement.value == records["agreement130_classifier_test_originals"].value > 0.95
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
    floor = records["fd397_classifier_test_originals"]
    beside = records["fd397_classifier_test_random50"].floor
    assert floor.value == pytest.approx(beside, rel=1e-9) == pytest.approx(expected, rel=1e-6)
    assert floor.error == records["fd397_classifier_test_random50"].error
    assert by_metric(Perfect(), metric_models)["fd130_classifier_test_random50"].floor > expected


def test_the_ceiling_is_the_mean_probability_of_the_true_label(metric_models: MetricModels) -> None:
    record = by_metric(Noise(), metric_models, num=397)["agreement397_classifier_test_random50"]
    order = torch.randperm(397, generator=make_rng(Stream.SOURCES, 0))
    question = make_task("random:0.5", TEST.images_uint8(order), TEST.labels[order], 2, 0)
    p = metric_models.masked_classifier.probabilities(TEST.batch(order).images, question.observed)
    expected = float(p.gather(1, question.labels[:, None]).mean())
    assert record.ceiling == pytest.approx(expected, rel=1e-9)
    assert 0.88 < record.ceiling < 0.97


def test_shuffled_completions_lose_agreement_but_not_distance(metric_models: MetricModels) -> None:
    records = by_metric(Shuffled(), metric_models)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value == pytest.approx(fd.floor, rel=1e-9)
    assert records["agreement130_classifier_test_random50"].value < 0.3
    assert records["changed130_pixels_test_random50"].value > 0.1


def test_glued_completions_lose_agreement_more_clearly_than_distance(
    metric_models: MetricModels,
) -> None:
    """At 25% hidden the distance is a twelfth of what completions without any variation have.

    4.9 against a floor of 1.4, measured; the warning that stands beside every completion's.
    """
    records = by_metric(Glued(), metric_models, num=397, tasks=["random:0.25"])
    agreement = records["agreement397_classifier_test_random25"]
    assert agreement.value < agreement.ceiling - 0.25
    fd = records["fd397_classifier_test_random25"]
    assert fd.value - fd.floor < 64 / 12
    assert fd.value < records["fd397_classifier_test_random25_mean-pasted"].value
    warning = records["fd397_classifier_test_random25_glued"]
    assert warning.value == pytest.approx(fd.value, rel=0.2)


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
        # One answer for ever against p(y | x_S): far from what 64 perfect draws would show.
        label = records[f"label-total-variation397_classifier_test_{name}"]
        assert label.value > 0.3 > 5 * label.floor


def test_noise_is_far_away_and_diverse(metric_models: MetricModels) -> None:
    records = by_metric(Noise(), metric_models, variations=8)
    fd = records["fd130_classifier_test_random50"]
    assert fd.value > 3 * fd.floor
    assert records["agreement130_classifier_test_random50"].value < 0.8
    # Uniform on [-1, 1]: standard deviation 1/√3; the root of an unbiased variance is a little low.
    assert records["diversity130_pixels_test_random50"].value == pytest.approx(3**-0.5, rel=0.03)
    assert records["changed130_pixels_test_random50"].value == 0


def test_diversity_is_the_deviation_inside_the_hole_alone(metric_models: MetricModels) -> None:
    class Alternating(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            whole = super().fill(images, hole, variations, seed)
            fill = torch.tensor([-0.6, 0.6] * 32)[:variations]  # exact in 8 bits
            fill = fill[:, None, None, None].expand(whole.shape)
            return torch.where(hole[:, None, None], fill, whole)

    for task, name in (("random:0.25", "random25"), ("right-half", "right-half")):
        records = by_metric(Alternating(), metric_models, variations=2, tasks=[task])
        diversity = records[f"diversity130_pixels_test_{name}"].value
        assert diversity == pytest.approx(1.2 / 2**0.5, rel=0.01)
    single = by_metric(Perfect(), metric_models, variations=1)
    assert not any(name.startswith("diversity") for name in single)


def test_a_changed_observed_pixel_is_counted(metric_models: MetricModels) -> None:
    class Careless(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            whole = super().fill(images, hole, variations, seed)
            if variations == 3:
                whole[:, 1, :, 0, 0] = -whole[:, 1, :, 0, 0]  # observed: the left half is given
            whole[:, :, :, 0, 7] += 0.5  # inside the hole
            return whole

    records = by_metric(Careless(), metric_models, tasks=["right-half"])
    assert records["changed130_pixels_test_right-half"].value == pytest.approx(1 / (32 * 3))


def test_joint_samples(metric_models: MetricModels) -> None:
    records = by_metric(Perfect(), metric_models, num=1000, tasks=["joint"])
    compared = records["fd397_classifier_joint"]
    assert compared.value > 0 and compared.floor is not None and compared.samples == 397
    everything = records["fd1k_classifier_joint"]
    assert everything.value < compared.value and everything.floor is None
    entropy = records["entropy1k_classifier_joint"]
    assert 2.25 < entropy.value <= entropy.ceiling == pytest.approx(math.log(10))
    # Samples of the training split itself cover it better than test images do.
    assert records["recall397_classifier_joint"].value > 0.8


def test_generated_images_are_not_held_all_at_once(metric_models: MetricModels) -> None:
    class Noting(ClassifierFeatures):
        most = 0

        def __call__(self, images: Tensor) -> Tensor:
            self.most = max(self.most, len(images))
            return super().__call__(images)

    noting = Noting(metric_models.classifier)
    measure(Noise(), replace(metric_models, features=noting), num=1000, tasks=["joint"])
    assert 0 < noting.most <= 500


def test_entropy_counts_the_classes_read(metric_models: MetricModels) -> None:
    images = TRAIN.batch(torch.arange(len(TRAIN))).images
    with torch.inference_mode():
        read = metric_models.classifier(images).argmax(dim=1)
    two = torch.cat([images[read == 3][:50], images[read == 8][:50]])

    class TwoClasses(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            chosen = two[torch.arange(len(images)) % 100]
            return super().fill(chosen, hole, variations, seed)

    records = by_metric(TwoClasses(), metric_models, num=100, tasks=["joint"])
    assert records["entropy100_classifier_joint"].value == pytest.approx(math.log(2))
    assert records["fd100_classifier_joint"].value > 3 * records["fd100_classifier_joint"].floor


def test_marginals_compare_parts_alone(metric_models: MetricModels) -> None:
    """Real parts score near the floor, and what surrounds the part is not looked at."""

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


def test_a_model_that_contradicts_itself_is_found(metric_models: MetricModels) -> None:
    class Contradictory(Noise):
        """Noise where everything is asked at once, black where something is given."""

        def complete(self, images: Tensor, hole: Tensor, **options) -> Tensor:
            absent = options.get("absent")
            asked = hole if absent is None else hole | absent
            if asked.all():
                return super().complete(images, hole, **options)
            whole = images[:, None].repeat(1, options.get("variations", 1), 1, 1, 1)
            return torch.where(hole[:, None, None], -torch.ones(()), whole)

    name = "fd130_classifier_joint_in-two-steps"
    same = by_metric(Noise(), metric_models, tasks=["joint"])[name]
    assert same.value < 1.5 * same.floor
    other = by_metric(Contradictory(), metric_models, tasks=["joint"])[name]
    assert other.value > 5 * other.floor


def test_the_error_in_two_steps_is_that_of_both_sets(metric_models: MetricModels) -> None:
    """Each row is left out of both: by hand, with sets that are as random as one another."""
    record = by_metric(Noise(), metric_models, tasks=["joint"])[
        "fd130_classifier_joint_in-two-steps"
    ]
    question = make_sourceless_task("joint", 130, TEST, 2, 0)
    rngs = [make_rng(Stream.HALVES, 0, row) for row in range(130)]
    first = halves(question.hole, 2, rngs)
    once = metric_models.features(ModelSamples(Noise(), question, 0).read(0, 130, 2)[:, 0])
    twice = metric_models.features(
        TwoStepSamples(Noise(), question, first, (1, 2)).read(0, 130, 1)[:, 0]
    )

    def distance(rows: Tensor) -> float:
        sets = []
        for features in (twice, once):
            sets.append(GaussianStatistics(64))
            sets[-1].update(features[rows])
        return frechet_distance(*sets)

    everything = torch.arange(130)
    assert record.value == pytest.approx(distance(everything), rel=1e-6)
    left_out = torch.tensor(
        [distance(everything[everything // 13 != group]) for group in range(10)]
    )
    error = ((left_out - left_out.mean()).square().sum() * 9 / 10).sqrt()
    assert record.error == pytest.approx(float(error), rel=1e-4)


def test_references_stand_beside_every_completion(metric_models: MetricModels) -> None:
    records = by_metric(Noise(), metric_models, num=397, tasks=["random:0.25", "strokes"])
    for task in ("random25", "strokes"):
        agreement = {
            name: records[f"agreement397_classifier_test_{task}_{name}"].value
            for name in ("nearest-pasted", "mean-pasted", "glued")
        }
        assert agreement["nearest-pasted"] > agreement["mean-pasted"] > agreement["glued"]
        distance = {
            name: records[f"fd397_classifier_test_{task}_{name}"].value
            for name in ("nearest-pasted", "mean-pasted", "glued")
        }
        assert distance["nearest-pasted"] < distance["glued"] < 64


def test_one_seed_gives_one_result_and_every_task_is_its_own(metric_models: MetricModels) -> None:
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


def test_the_cache_changes_nothing(metric_models: MetricModels, tmp_path: Path) -> None:
    options = {"tasks": ["joint", "marginal:center", "marginal:random:0.5"]}
    expected = by_metric(Noise(), metric_models, **options)
    assert by_metric(Noise(), metric_models, cache=tmp_path, **options) == expected
    assert len(list(tmp_path.iterdir())) == 3
    assert by_metric(Noise(), metric_models, cache=tmp_path, **options) == expected


def test_data_without_labels_get_everything_but_labels(metric_models: MetricModels) -> None:
    test = ImageDataset("digits:test", TEST.images_uint8(torch.arange(len(TEST))))
    options = {"num": 130, "seed": 0, "variations": 2, "tasks": ["joint", "random:0.5"]}
    records = by_metric(Perfect(), metric_models, test=test, **options)
    expected = by_metric(Perfect(), metric_models, **options)
    labeled = {name for name in expected if name.startswith("agreement")}
    assert labeled
    assert records == {name: expected[name] for name in expected if name not in labeled}
    unread = by_metric(Perfect(), MetricModels(metric_models.features), **options)
    assert not any(name.startswith(("agreement", "entropy", "label")) for name in unread)
    assert unread.items() <= expected.items()


def test_images_made_elsewhere_score_as_the_model_that_made_them(
    metric_models: MetricModels,
) -> None:
    order = torch.randperm(397, generator=make_rng(Stream.SOURCES, 0))
    images, labels = TEST.images_uint8(order), TEST.labels[order]
    for task, count in (("joint", 1), ("random:0.5", 64), ("outside:4", 64)):
        expected = by_metric(Noise(), metric_models, num=397, variations=count, tasks=[task])
        question = make_task(task, images, labels, 2, 0)
        drawn = ModelSamples(Noise(), question, 0)
        given = SavedSamples(
            torch.cat([drawn.read(start, start + 250, count) for start in (0, 250)])
        )
        report = evaluate_samples(question, given, metric_models, TRAIN, TEST)
        assert not report.images_per_second
        found = {record.metric: record for record in report.records}
        names = [name for name in expected if not name.endswith("in-two-steps")]
        assert found == {name: expected[name] for name in names}


def test_every_variation_of_images_from_nothing_counts(metric_models: MetricModels) -> None:
    """9 rows of 8 are 72 images, enough, beside as many real ones."""
    question = make_sourceless_task("joint", 9, TEST, 2, 0)
    given = SavedSamples(ModelSamples(Noise(), question, 0).read(0, 9, 8))
    found = {
        r.metric: r for r in evaluate_samples(question, given, metric_models, TRAIN, TEST).records
    }
    assert found["fd72_classifier_joint"].floor is not None


def test_progress_reaches_the_end_of_every_task(metric_models: MetricModels) -> None:
    last: dict[str, tuple[int, int]] = {}

    def hear(task: str, done: int, total: int) -> None:
        assert last.get(task, (0, total)) <= (done, total)
        last[task] = (done, total)

    tasks = ["joint", "marginal:center", "random:0.5"]
    measure(Perfect(), metric_models, num=300, variations=1, tasks=tasks, progress=hear)
    steps = ("joint in two steps", "random:0.5 in two steps")
    asked = (*tasks, "random:0.5 labels", *steps)
    compared = ("reference", "marginal:center reference", "random:0.5 nearest images")
    whole = (len(TRAIN), len(TRAIN))
    assert last == dict.fromkeys(asked, (300, 300)) | dict.fromkeys(compared, whole)


def test_impossible_requests_are_refused_before_sampling(metric_models: MetricModels) -> None:
    class Unused(Perfect):
        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            raise AssertionError("drawn")

    for options, message in (
        ({"num": 0}, "num and variations must be at least 1"),
        ({"variations": 0}, "num and variations must be at least 1"),
        ({"seed": -1}, "seed at least 0"),
        ({"tasks": []}, "tasks not empty"),
        ({"tasks": ["joint", "middle"]}, "middle"),
        ({"tasks": ["marginal:middle"]}, "middle"),
        ({"tasks": ["joint", "center", "joint"]}, "the task joint is asked twice"),
        ({"tasks": ["random:0.5", "random:.50"]}, r"the task random:\.50 is asked twice"),
        ({"num": 63}, "63 images are too few for features of 64 dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(Unused(), metric_models, **options)
    with pytest.raises(ClassifierError, match=r"\(1, 9, 8\), but those of digits:train"):
        measure(Unused(), replace(metric_models, masked_classifier=MaskedClassifier((9, 8), 1, 10)))
    with pytest.raises(ProtocolError, match="give at least 10"):
        measure(Unused(), metric_models, num=9, allow_few=True)


def test_sources_that_the_reference_holds_are_refused(metric_models: MetricModels) -> None:
    images = TRAIN.images_uint8(torch.arange(100))
    question = make_task("center", images, TRAIN.labels[:100], 2, 0)
    given = SavedSamples(images[:, None])
    with pytest.raises(ProtocolError, match="100 of 100 sources are training images"):
        evaluate_samples(question, given, metric_models, TRAIN, TEST)
    mirrored = replace(question, images=images.flip(-1), labels=None)
    found = evaluate_samples(
        mirrored, SavedSamples(mirrored.images[:, None]), metric_models, TRAIN, TEST
    ).records
    assert "fd100_classifier_given_center" in [record.metric for record in found]
    for task in ("joint", "marginal:center", "a/b", "random:abc", "outside:abc"):
        with pytest.raises(ProtocolError, match="is no name for completions"):
            evaluate_samples(replace(mirrored, task=task), given, metric_models, TRAIN, TEST)


def test_errors_of_joint_numbers_are_those_of_repeated_draws(metric_models: MetricModels) -> None:
    runs = [by_metric(Perfect(), metric_models, tasks=["joint"], num=200, seed=s) for s in range(6)]
    for name in ("entropy200_classifier_joint", "precision200_classifier_joint"):
        values = torch.tensor([run[name].value for run in runs])
        errors = torch.tensor([run[name].error for run in runs])
        assert 0.2 < float(values.std() / errors.mean()) < 3


def test_few_images_are_measured_where_that_is_forced_and_named_so(
    metric_models: MetricModels,
) -> None:
    records = by_metric(Perfect(), metric_models, num=63, allow_few=True)
    record = records["fd63few_classifier_test_random50"]
    assert record.error is None and record.value == pytest.approx(record.floor, rel=1e-6)


def test_a_reference_of_few_images_is_named_so_too(metric_models: MetricModels) -> None:
    train = ImageDataset("digits:train", TRAIN.images_uint8(torch.arange(63)))
    records = by_metric(Perfect(), metric_models, train=train, allow_few=True)
    assert "fd130few_classifier_test_random50" in records
    assert "fd130_classifier_test_random50_in-two-steps" in records  # of the model with itself


def test_a_report_is_written_alike_each_time(metric_models: MetricModels, tmp_path: Path) -> None:
    tasks = ["joint", "random:0.25", "random:0.5"]
    for name in ("first", "again"):
        write_report(measure(Noise(), metric_models, tasks=tasks), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == [
        "agreement.png",
        "completions_random-0.25.png",
        "completions_random-0.5.png",
        "distance.png",
        "metrics.csv",
        "metrics.json",
        "speed.csv",
    ]
    for name in names:
        if name != "speed.csv":
            pair = [(tmp_path / folder / name).read_bytes() for folder in ("first", "again")]
            assert pair[0] == pair[1], name
    speeds = list(csv.DictReader((tmp_path / "first" / "speed.csv").open(newline="")))
    assert [line["task"] for line in speeds] == tasks
    (tmp_path / "first" / "labels.json").write_text("not of a report")
    report = measure(Noise(), metric_models, tasks=["joint"])
    write_report(replace(report, images_per_second={}), tmp_path / "first")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["labels.json", "metrics.csv", "metrics.json"]


def test_a_curve_names_its_lines_beside_them(metric_models: MetricModels) -> None:
    records = measure(Noise(), metric_models, tasks=["random:0.25", "random:0.5"]).records
    figure = curve(records, "fd", "Fréchet distance")
    assert figure is not None
    (legend,), (axes,) = figure.legends, figure.axes
    named = {text.get_text() for text in legend.get_texts()}
    assert named == {"model", "nearest-pasted", "mean-pasted", "glued", "floor"}
    figure.canvas.draw()
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    assert curve(records[:5], "agreement", "label agreement") is None


def test_galleries_run_from_best_to_worst(metric_models: MetricModels) -> None:
    class WorseAndWorse(Perfect):
        """Row i gets i / 130 of the way to black."""

        def complete(self, images: Tensor, hole: Tensor, *, first_image: int = 0, **options):
            whole = images[:, None].repeat(1, options.get("variations", 1), 1, 1, 1)
            share = (first_image + torch.arange(len(images)))[:, None, None, None, None] / 130
            return torch.where(hole[:, None, None], whole * (1 - share) - share, whole)

    gallery = measure(WorseAndWorse(), metric_models, num=130).galleries["random:0.5"]
    assert gallery.answers.shape == (12, 6, 1, 8, 8)
    error = (gallery.answers[:, 0].float() - gallery.question.images.float()).abs().mean((1, 2, 3))
    assert error[:4].max() < error[-4:].min()


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


def test_eight_bits_are_what_is_measured() -> None:
    question = make_task("right-half", TEST.images_uint8(torch.arange(5)), None, 2, 0)
    read = ModelSamples(Noise(), question, 3).read(1, 4, 2)
    exact = Noise().complete(
        TEST.batch(torch.arange(1, 4)).images,
        question.hole[1:4],
        variations=2,
        seed=3,
        first_image=1,
    )
    assert read.dtype == torch.uint8 and torch.equal(read, to_uint8(exact))


def test_a_classifier_trained_here_will_do(metric_models: MetricModels) -> None:
    classifier = train_classifier(TRAIN, seed=0, images=1_600)
    records = by_metric(Perfect(), MetricModels(ClassifierFeatures(classifier), classifier))
    agreement = records["agreement130_classifier_test_random50"]
    assert agreement.ceiling is None and agreement.value > 0.5
