"""Evaluation during training: its numbers, its schedule, the best state, and no side effects."""

from __future__ import annotations

import csv
import json
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from biglearn_gan.config import Config, DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.during_training import TrainingEvaluation
from biglearn_gan.metrics import reference_statistics as reference
from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.progress import TrainingProgress
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL
from biglearn_gan.training.batch_sampler import BatchSampler
from biglearn_gan.training.fit import fit

SHIPPED = Path(__file__).parents[2] / "checkpoints"
DIGITS = DataConfig(name="digits", image_size=(8, 8), channels=1, validation_share=0.2)
TRAIN, HELD_OUT = (load_dataset(DIGITS, split) for split in ("train", "validation"))


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    return ImageClassifier.from_pretrained(SHIPPED / "classifier_digits")


class Perfect:
    """Returns the originals; without a source, training images."""

    patch_size = 2

    def complete(self, images: Tensor, hole: Tensor, *, variations: int = 1, **_: Any) -> Tensor:
        if hole.all():
            images = TRAIN.batch(torch.arange(len(images)) * 3 % len(TRAIN)).images
        return images[:, None].repeat(1, variations, 1, 1, 1)


class Black(Perfect):
    """Fills every hole with black."""

    def complete(self, images: Tensor, hole: Tensor, *, variations: int = 1, **_: Any) -> Tensor:
        filled = torch.where(hole[:, None], -torch.ones(()), images)
        return filled[:, None].repeat(1, variations, 1, 1, 1)


def test_a_good_model_scores_better_than_a_bad_one(classifier: ImageClassifier) -> None:
    evaluation = TrainingEvaluation(classifier, TRAIN, HELD_OUT, patch_size=2)
    good, bad = evaluation.measure(Perfect()), evaluation.measure(Black())
    assert tuple(sorted(good)) == tuple(sorted(evaluation.names))
    assert "280 images of digits:validation" in evaluation.description
    assert good["evaluation/agreement"] > 0.97 > bad["evaluation/agreement"]
    assert good["evaluation/completion_distance"] < bad["evaluation/completion_distance"]
    assert good["evaluation/entropy"] > 2.25 and bad["evaluation/entropy"] == 0
    assert good["evaluation/diversity"] == bad["evaluation/diversity"] == 0
    assert evaluation.score(good) == (
        good["evaluation/joint_distance"] + good["evaluation/completion_distance"]
    )
    assert evaluation.score(good) < evaluation.score(bad)


def test_the_reference_comes_from_the_cache(
    classifier: ImageClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = TrainingEvaluation(classifier, TRAIN, HELD_OUT, 2, cache=tmp_path).measure(Perfect())
    monkeypatch.setattr(reference, "_measure", lambda *_: pytest.fail("was measured again"))
    again = TrainingEvaluation(classifier, TRAIN, HELD_OUT, 2, cache=tmp_path)
    assert again.measure(Perfect()) == measured


def test_without_held_out_images_nothing_is_the_best(classifier: ImageClassifier) -> None:
    evaluation = TrainingEvaluation(classifier, TRAIN, None, patch_size=2)
    assert evaluation.score(evaluation.measure(Perfect())) is None
    assert "of digits:train" in evaluation.description
    unlabeled = ImageDataset("x:validation", HELD_OUT.images_uint8(torch.arange(100)))
    evaluation = TrainingEvaluation(classifier, TRAIN, unlabeled, patch_size=2)
    assert "evaluation/agreement" not in evaluation.measure(Perfect())


def test_agreement_is_that_of_images_with_a_label(classifier: ImageClassifier) -> None:
    assert HELD_OUT.labels is not None
    wrong = (torch.arange(len(HELD_OUT)) % 2).bool()
    for stands_in, expected in ((UNKNOWN_LABEL, 1.0), (HELD_OUT.labels + 1, 0.5)):
        labels = torch.where(wrong, stands_in, HELD_OUT.labels)
        evaluation = TrainingEvaluation(classifier, TRAIN, HELD_OUT.with_labels(labels), 2)
        found = evaluation.measure(Perfect())["evaluation/agreement"]
        assert found == pytest.approx(expected, abs=0.03)


class Scripted:
    """Returns the scores of a list, and counts its calls."""

    names = ("evaluation/number",)

    def __init__(self, scores: list[float], fingerprint: str = "a fingerprint"):
        self.scores = scores
        self.fingerprint = fingerprint
        self.calls = 0

    def measure(self, model: BigLearnGAN) -> dict[str, float]:
        torch.rand(17)  # the global generator must not matter either
        score = self.scores[min(self.calls, len(self.scores) - 1)]
        self.calls += 1
        return {"evaluation/number": score}

    def score(self, measured: dict[str, float]) -> float:
        return measured["evaluation/number"]


def always(config: Config) -> Config:
    """The same run, evaluated as often as possible."""
    logging = config.logging.model_copy(update={"evaluation_time_share": 1.0})
    return config.model_copy(update={"logging": logging})


def test_evaluation_does_not_change_training(
    tiny_config: Callable[..., Config], tmp_path: Path, classifier: ImageClassifier
) -> None:
    config = tiny_config({"train.max_images": 96})
    fit(config, tmp_path / "without", device="cpu")
    datasets: list[ImageDataset] = []

    def make(dataset: ImageDataset) -> TrainingEvaluation:
        datasets.append(dataset)
        return TrainingEvaluation(classifier, dataset, None, config.model.patch_size)

    fit(always(config), tmp_path / "with", device="cpu", make_evaluation=make)
    assert [dataset.name for dataset in datasets] == ["digits:train"]
    ours, theirs = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors")
        for name in ("with", "without")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    networks, expected = (
        torch.load(tmp_path / name / "state.pt", weights_only=True)["trainer"]["adversarial"]
        for name in ("with", "without")
    )
    mine, theirs = networks["generator"], expected["generator"]
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    with (tmp_path / "with" / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["evaluation/entropy"]]
    assert rows and all(math.isfinite(float(row["evaluation/joint_distance"])) for row in rows)


def test_numbers_are_logged_to_tensorboard(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers as in ``metrics.csv``, also after the run is resumed."""
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)

    def logged(images: int, *scores: float) -> dict[int, float]:
        changes = {"train.max_images": images, "logging.tensorboard": True}
        config, evaluation = always(tiny_config(changes)), Scripted([*scores])
        fit(config, tmp_path, device="cpu", make_evaluation=lambda _: evaluation)
        with (tmp_path / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["evaluation/number"]]
        events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
        found = {each.step: each.value for each in events.Scalars("evaluation/number")}
        assert found == {int(row["images"]): float(row["evaluation/number"]) for row in rows}
        return found

    first, more = logged(24, 5.0, 3.0, 4.0), logged(48, 2.0, 1.0)
    assert list(first.values())[:3] == [5.0, 3.0, 4.0] and max(first) == 24
    assert more == first | {images: 2.0 if images == 24 else 1.0 for images in more if images >= 24}


def test_the_best_state_is_kept_also_by_a_resumed_run(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock stands still, so that there is always time to evaluate."""
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    config, run = always(tiny_config()), tmp_path / "run"

    def interrupted(scores: list[float], images: int, *fingerprint: str) -> dict[str, float]:
        def press(progress: TrainingProgress) -> None:
            if progress.images_seen == images:
                signal.raise_signal(signal.SIGINT)

        evaluation = Scripted(scores, *fingerprint)
        fit(config, run, device="cpu", on_progress=press, make_evaluation=lambda _: evaluation)
        assert evaluation.calls
        return json.loads((run / "best" / "evaluation.json").read_text())

    best = interrupted([5.0, 3.0, 4.0], 24)
    assert best["score"] == best["evaluation/number"] == 3.0 and best["images"] > 0
    assert BigLearnGAN.from_pretrained(run / "best").config == config.portable()
    assert interrupted([3.5], 32) == best
    assert interrupted([2.5], 40)["score"] == 2.5
    assert interrupted([9.0], 44, "another fingerprint")["score"] == 9.0


def test_a_run_resumed_without_evaluation_keeps_its_numbers(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    def rows() -> list[dict[str, str]]:
        with (tmp_path / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    config = tiny_config({"train.max_images": 24})
    fit(always(config), tmp_path, device="cpu", make_evaluation=lambda _: Scripted([2.5]))
    before = rows()
    assert any(row["evaluation/number"] == "2.5" for row in before)
    fit(tiny_config({"train.max_images": 48}), tmp_path, device="cpu")
    assert rows()[: len(before)] == before and len(rows()) > len(before)


@pytest.fixture
def spend(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[int], list[str]]]:
    """Train with half of the time for evaluation; a step takes 1 second and an evaluation 3.

    Returns the steps at which the model was evaluated, and the messages about the next evaluation.
    """
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    original = BatchSampler.draw

    def draw(self: Any, *arguments: Any, **options: Any) -> Any:
        now[0] += 1.0
        return original(self, *arguments, **options)

    monkeypatch.setattr(BatchSampler, "draw", draw)

    class Slow(Scripted):
        def measure(self, model: BigLearnGAN) -> dict[str, float]:
            now[0] += 3.0
            return super().measure(model)

        def score(self, measured: dict[str, float]) -> None:
            return None

    def call(steps: int, setup: float = 0.0) -> tuple[list[int], list[str]]:
        def make(_: ImageDataset) -> Slow:
            now[0] += setup
            return Slow([1.0])

        evaluated, messages = [], []

        def on_progress(progress: TrainingProgress) -> None:
            if progress.evaluation:
                evaluated.append(progress.images_seen // 4)
            if progress.evaluation_eta:
                messages.append(f"{progress.images_seen // 4}: {progress.evaluation_eta}")

        config = tiny_config({"train.max_images": 4 * steps, "logging.evaluation_time_share": 0.5})
        run = tmp_path / "run"
        fit(config, run, device="cpu", on_progress=on_progress, make_evaluation=make)
        assert not (run / "best").exists()
        return evaluated, messages

    return call


def test_evaluation_keeps_to_its_share_of_the_time(
    spend: Callable[..., tuple[list[int], list[str]]],
) -> None:
    """With a half, one in six steps; the evaluation at the start counts, too.

    The first 15 of 60 steps are a warm start, for which there is no estimate.
    """
    evaluated, messages = spend(60)
    assert evaluated == [0, *range(12, 61, 6)]
    expected = ["16: next evaluation in about 8 images"]
    expected += [f"{step}: next evaluation in about 24 images" for step in range(18, 54, 6)]
    assert messages == [*expected, "54: next evaluation at the end, if time allows"]


def test_setup_counts_as_evaluation_time(
    spend: Callable[..., tuple[list[int], list[str]]],
) -> None:
    evaluated, messages = spend(60, setup=6.0)
    assert evaluated == [0, *range(24, 61, 6)]
    assert messages[0] == "16: next evaluation in about 32 images"


def test_time_is_reserved_for_the_last_state(
    spend: Callable[..., tuple[list[int], list[str]]],
) -> None:
    """That at step 54 would leave 1.5 of the 3 that the last one costs."""
    evaluated, messages = spend(57)
    assert evaluated == [0, *range(12, 49, 6), 57]
    assert messages[-1] == "48: next evaluation at the end, if time allows"


def test_a_message_says_if_there_is_no_time(
    spend: Callable[..., tuple[list[int], list[str]]],
) -> None:
    evaluated, messages = spend(11)
    assert evaluated == [0] and messages == ["4: no time for another evaluation"]


def test_a_share_of_zero_turns_it_off(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    config = tiny_config({"logging.evaluation_time_share": 0.0})
    fit(config, tmp_path, device="cpu", make_evaluation=lambda _: pytest.fail("was created"))
