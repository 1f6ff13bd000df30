"""Evaluation alongside training: what it measures, when, what it keeps, what it leaves alone."""

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
from biglearn_gan.evaluation.during_training import QuickEvaluation
from biglearn_gan.metrics import reference_statistics as reference
from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.training.fit import Progress, fit
from biglearn_gan.training.trainer import Trainer

SHIPPED = Path(__file__).parents[2] / "checkpoints"
DIGITS = DataConfig(name="digits", image_size=(8, 8), channels=1, validation_share=0.2)
TRAIN, HELD_OUT = (load_dataset(DIGITS, split) for split in ("train", "validation"))


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    return ImageClassifier.from_pretrained(SHIPPED / "classifier_digits")


class Echo:
    """Gives back what it gets; from nothing, training images."""

    def complete(self, images: Tensor, hole: Tensor, *, variations: int = 1, **_: Any) -> Tensor:
        if hole.all():
            images = TRAIN.batch(torch.arange(len(images)) * 3 % len(TRAIN)).images
        return images[:, None].repeat(1, variations, 1, 1, 1)


class Blank(Echo):
    """Fills every hole with black."""

    def complete(self, images: Tensor, hole: Tensor, *, variations: int = 1, **_: Any) -> Tensor:
        filled = torch.where(hole[:, None], -torch.ones(()), images)
        return filled[:, None].repeat(1, variations, 1, 1, 1)


def test_good_and_bad_models_are_told_apart(classifier: ImageClassifier) -> None:
    quick = QuickEvaluation(classifier, TRAIN, HELD_OUT, patch_size=2)
    good, bad = quick.measure(Echo()), quick.measure(Blank())
    assert tuple(sorted(good)) == tuple(sorted(quick.names))
    assert "280 images of digits:validation" in quick.description
    assert good["evaluation/agreement"] > 0.97 > bad["evaluation/agreement"]
    assert good["evaluation/completion_distance"] < bad["evaluation/completion_distance"]
    assert good["evaluation/entropy"] > 2.25 and bad["evaluation/entropy"] == 0
    assert good["evaluation/diversity"] == bad["evaluation/diversity"] == 0
    assert quick.score(good) == (
        good["evaluation/joint_distance"] + good["evaluation/completion_distance"]
    )
    assert quick.score(good) < quick.score(bad)


def test_the_reference_comes_from_the_cache(
    classifier: ImageClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = QuickEvaluation(classifier, TRAIN, HELD_OUT, 2, cache=tmp_path).measure(Echo())
    monkeypatch.setattr(reference, "_measure", lambda *_: pytest.fail("was measured again"))
    again = QuickEvaluation(classifier, TRAIN, HELD_OUT, 2, cache=tmp_path)
    assert again.measure(Echo()) == measured


def test_without_held_out_images_nothing_is_the_best(classifier: ImageClassifier) -> None:
    quick = QuickEvaluation(classifier, TRAIN, None, patch_size=2)
    assert quick.score(quick.measure(Echo())) is None
    assert "of digits:train" in quick.description
    unlabeled = ImageDataset("x:validation", HELD_OUT.images_uint8(torch.arange(100)))
    quick = QuickEvaluation(classifier, TRAIN, unlabeled, patch_size=2)
    assert "evaluation/agreement" not in quick.measure(Echo())


class Scripted:
    """Scores that a test writes down; remembers at how many images it was asked."""

    names = ("evaluation/number",)

    def __init__(self, scores: list[float], fingerprint: str = "a fingerprint"):
        self.scores = scores
        self.fingerprint = fingerprint
        self.asked = 0

    def measure(self, model: BigLearnGAN) -> dict[str, float]:
        torch.rand(17)  # what it draws from the global generator must not matter either
        score = self.scores[min(self.asked, len(self.scores) - 1)]
        self.asked += 1
        return {"evaluation/number": score}

    def score(self, measured: dict[str, float]) -> float:
        return measured["evaluation/number"]


def always(config: Config) -> Config:
    """The same run, evaluated as often as can be."""
    logging = config.logging.model_copy(update={"evaluation_time_share": 1.0})
    return config.model_copy(update={"logging": logging})


def test_training_is_the_same_to_the_bit_with_and_without(
    tiny_config: Callable[..., Config], tmp_path: Path, classifier: ImageClassifier
) -> None:
    config = tiny_config({"train.max_images": 96})
    fit(config, tmp_path / "without", device="cpu")
    asked: list[ImageDataset] = []

    def make(dataset: ImageDataset) -> QuickEvaluation:
        asked.append(dataset)
        return QuickEvaluation(classifier, dataset, None, config.model.patch_size)

    fit(always(config), tmp_path / "with", device="cpu", make_evaluation=make)
    assert [dataset.name for dataset in asked] == ["digits:train"]
    ours, theirs = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors")
        for name in ("with", "without")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    players, expected = (
        torch.load(tmp_path / name / "state.pt", weights_only=True)["trainer"]["players"]
        for name in ("with", "without")
    )
    mine, theirs = players["generator"], expected["generator"]
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    with (tmp_path / "with" / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["evaluation/entropy"]]
    assert rows and all(math.isfinite(float(row["evaluation/joint_distance"])) for row in rows)


def test_what_is_measured_goes_to_tensorboard(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers and places of ``metrics.csv``, and once more after the run goes on."""
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)

    def told(images: int, *scores: float) -> dict[int, float]:
        changes = {"train.max_images": images, "logging.tensorboard": True}
        config, evaluation = always(tiny_config(changes)), Scripted([*scores])
        fit(config, tmp_path, device="cpu", make_evaluation=lambda _: evaluation)
        with (tmp_path / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["evaluation/number"]]
        events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
        found = {each.step: each.value for each in events.Scalars("evaluation/number")}
        assert found == {int(row["images"]): float(row["evaluation/number"]) for row in rows}
        return found

    first, more = told(24, 5.0, 3.0, 4.0), told(48, 2.0, 1.0)
    assert list(first.values())[:3] == [5.0, 3.0, 4.0] and max(first) == 24
    assert more == first | {images: 2.0 if images == 24 else 1.0 for images in more if images >= 24}


def test_the_best_state_is_kept_and_a_resumed_run_knows_it(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that stands still, so that there is always time to evaluate."""
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    config, run = always(tiny_config()), tmp_path / "run"

    def interrupted(scores: list[float], images: int, *fingerprint: str) -> dict[str, float]:
        def press(progress: Progress) -> None:
            if progress.images_seen == images:
                signal.raise_signal(signal.SIGINT)

        evaluation = Scripted(scores, *fingerprint)
        fit(config, run, device="cpu", on_progress=press, make_evaluation=lambda _: evaluation)
        assert evaluation.asked
        return json.loads((run / "best" / "evaluation.json").read_text())

    best = interrupted([5.0, 3.0, 4.0], 24)
    assert best["score"] == best["evaluation/number"] == 3.0 and best["images"] > 0
    assert BigLearnGAN.from_pretrained(run / "best").config == config.portable()
    assert interrupted([3.5], 32) == best
    assert interrupted([2.5], 40)["score"] == 2.5
    assert interrupted([9.0], 44, "another fingerprint")["score"] == 9.0


def test_what_was_measured_stays_where_a_run_goes_on_without(
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
    """Train at a half for evaluation, by a clock that a step moves by 1 and an evaluation by 3.

    Gives the steps at which it was evaluated, and what was said of when it would be.
    """
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    original = Trainer._draw

    def draw(self: Any, *arguments: Any, **options: Any) -> Any:
        now[0] += 1.0
        return original(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "_draw", draw)

    class Slow(Scripted):
        def measure(self, model: BigLearnGAN) -> dict[str, float]:
            now[0] += 3.0
            return super().measure(model)

        def score(self, measured: dict[str, float]) -> None:
            return None

    def call(steps: int, making: float = 0.0) -> tuple[list[int], list[str]]:
        def make(_: ImageDataset) -> Slow:
            now[0] += making
            return Slow([1.0])

        asked, outlooks = [], []

        def hear(progress: Progress) -> None:
            if progress.evaluation:
                asked.append(progress.images_seen // 4)
            if progress.outlook:
                outlooks.append(f"{progress.images_seen // 4}: {progress.outlook}")

        config = tiny_config({"train.max_images": 4 * steps, "logging.evaluation_time_share": 0.5})
        run = tmp_path / "run"
        fit(config, run, device="cpu", on_progress=hear, make_evaluation=make)
        assert not (run / "best").exists()
        return asked, outlooks

    return call


def test_its_share_of_the_time_is_kept(spend: Callable[..., tuple[list[int], list[str]]]) -> None:
    """At a half, one in six steps; the first one, at the start, is paid for as well.

    The first 15 of 60 steps are a warm start, in which nothing is foretold.
    """
    asked, outlooks = spend(60)
    assert asked == [0, *range(12, 61, 6)]
    expected = ["16: next evaluation in about 8 images"]
    expected += [f"{step}: next evaluation in about 24 images" for step in range(18, 54, 6)]
    assert outlooks == [*expected, "54: next evaluation at the end, if time allows"]


def test_its_making_is_paid_for_as_well(
    spend: Callable[..., tuple[list[int], list[str]]],
) -> None:
    asked, outlooks = spend(60, making=6.0)
    assert asked == [0, *range(24, 61, 6)]
    assert outlooks[0] == "16: next evaluation in about 32 images"


def test_time_is_put_aside_for_the_last_state(
    spend: Callable[..., tuple[list[int], list[str]]],
) -> None:
    """That at step 54 would leave 1.5 of the 3 that the last one costs."""
    asked, outlooks = spend(57)
    assert asked == [0, *range(12, 49, 6), 57]
    assert outlooks[-1] == "48: next evaluation at the end, if time allows"


def test_where_there_is_no_time_that_is_said(
    spend: Callable[..., tuple[list[int], list[str]]],
) -> None:
    asked, outlooks = spend(11)
    assert asked == [0] and outlooks == ["4: no time for another evaluation"]


def test_a_share_of_zero_turns_it_off(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    config = tiny_config({"logging.evaluation_time_share": 0.0})
    fit(config, tmp_path, device="cpu", make_evaluation=lambda _: pytest.fail("was made"))
