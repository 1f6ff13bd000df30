"""The schedule of a run: phases in whole batches, and step settings computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from biglearn_gan.config import Config
from biglearn_gan.training.schedule import TrainingSchedule

BATCH = 7


@pytest.fixture
def schedule(tiny_config: Callable[..., Config]) -> Callable[..., TrainingSchedule]:
    """A schedule with batches of seven, for a changed tiny configuration."""

    def make(max_images: int, changes: dict[str, object] | None = None) -> TrainingSchedule:
        return TrainingSchedule(
            tiny_config({"train.batch_size": BATCH} | (changes or {})), max_images
        )

    return make


@pytest.mark.parametrize(
    ("max_images", "total"), [(1, 7), (6, 7), (7, 7), (8, 14), (70, 70), (71, 77)]
)
def test_the_budget_is_rounded_up_to_whole_batches(
    schedule: Callable[..., TrainingSchedule], max_images: int, total: int
) -> None:
    assert schedule(max_images).total_images == total


def test_a_raised_budget_keeps_the_warm_start(tiny_config: Callable[..., Config]) -> None:
    config = tiny_config({"train.batch_size": BATCH, "train.warm_start.share": 0.5})
    raised = TrainingSchedule(config, 1_400, original_max_images=140)
    assert (raised.total_images, raised.warm_start_images) == (1_400, 70)
    assert (
        raised.at(140).generator_lr
        > TrainingSchedule(config, 141, original_max_images=140).at(140).generator_lr
    )


@pytest.mark.parametrize(
    ("max_images", "share", "warm"),
    [
        (140, 0.0, 0),
        (140, 0.1, 14),
        (140, 0.12, 14),  # 2.4 batches
        (140, 0.13, 21),  # 2.6 batches
        (140, 0.999, 133),  # one batch is left
        (7, 0.9, 0),
    ],
)
def test_the_warm_start_is_in_whole_batches_and_leaves_one_for_adversarial_training(
    schedule: Callable[..., TrainingSchedule], max_images: int, share: float, warm: int
) -> None:
    assert schedule(max_images, {"train.warm_start.share": share}).warm_start_images == warm


RATES = {
    "train.warm_start.share": 0.3,  # 300 of 1,000 images are 42.9 of 142.9 batches: 301 of 1,001
    "train.warm_start.learning_rate": 0.5,
    "train.learning_rate.generator": 2.0,
    "train.learning_rate.discriminator": 3.0,
    "train.learning_rate.warmup_images": 70,
    "train.learning_rate.hold_share": 0.6,
    "train.learning_rate.final_factor": 0.1,
    "loss.penalty.final_factor": 0.2,
}


def test_step_settings_of_the_warm_start(schedule: Callable[..., TrainingSchedule]) -> None:
    """The rate rises over ten batches, then stays flat; the discriminator is not trained."""
    plan = schedule(1001, RATES)
    assert (plan.warm_start_images, plan.total_images) == (301, 1001)
    expected = {0: 0.05, 7: 0.10, 35: 0.30, 63: 0.50, 70: 0.50, 294: 0.50}
    for images, rate in expected.items():
        settings = plan.at(images)
        assert settings.generator_lr == pytest.approx(rate)
        assert (settings.discriminator_lr, settings.penalty_factor) == (0.0, 0.0)


def test_step_settings_of_adversarial_training(schedule: Callable[..., TrainingSchedule]) -> None:
    """Of 700 images, rates rise over 70, stay flat until 420 and fall over the last 280.

    Half of the fall is left at 560, so the factors are 0.1 + 0.9 / 2 and 0.2 + 0.8 / 2.
    The last step, at 693, has 7 / 280 = 0.025 of the fall left.
    """
    plan = schedule(1001, RATES)
    expected = {
        0: (0.1, 1.0),
        7: (0.2, 1.0),
        63: (1.0, 1.0),
        413: (1.0, 1.0),
        420: (1.0, 1.0),
        490: (0.775, 0.8),
        560: (0.55, 0.6),
        693: (0.1225, 0.22),
    }
    for played, (rate, penalty) in expected.items():
        settings = plan.at(301 + played)
        assert settings.generator_lr == pytest.approx(2.0 * rate), played
        assert settings.discriminator_lr == pytest.approx(3.0 * rate), played
        assert settings.penalty_factor == pytest.approx(penalty), played


def test_penalties_come_at_their_interval_from_the_first_step_of_adversarial_training(
    schedule: Callable[..., TrainingSchedule],
) -> None:
    """70 adversarial images after a warm start of 70: a penalty every third step."""
    changes = {"train.warm_start.share": 0.5, "loss.penalty.interval": 3}
    plan = schedule(140, changes)
    penalized = [images for images in range(0, 140, BATCH) if plan.has_penalty(images)]
    assert penalized == [70, 91, 112, 133]
    free = schedule(140, changes | {"loss.penalty.r1": 0.0, "loss.penalty.r2": 0.0})
    assert not any(free.has_penalty(images) for images in range(0, 140, BATCH))


def test_communication_is_played_in_every_step_of_adversarial_training(
    schedule: Callable[..., TrainingSchedule],
) -> None:
    changes = {"train.warm_start.share": 0.5, "loss.logistic": 1.0, "loss.communication": 0.3}
    plan = schedule(140, changes)
    played = [images for images in range(0, 140, BATCH) if plan.has_communication(images)]
    assert played == list(range(70, 140, BATCH))
    assert not schedule(140, changes | {"loss.communication": 0.0}).has_communication(105)


def test_without_rise_and_fall_rates_are_constant(
    schedule: Callable[..., TrainingSchedule],
) -> None:
    changes = {
        "train.learning_rate.warmup_images": 0,
        "train.learning_rate.hold_share": 1.0,
        "train.warm_start.learning_rate": 0.5,
    }
    plan = schedule(140, RATES | changes)
    assert {plan.at(images).generator_lr for images in range(0, plan.warm_start_images, BATCH)} == {
        0.5
    }
    adversarial = [plan.at(images) for images in range(plan.warm_start_images, 140, BATCH)]
    assert {
        (settings.generator_lr, settings.discriminator_lr, settings.penalty_factor)
        for settings in adversarial
    } == {(2.0, 3.0, 1.0)}


def test_the_average_forgets_half_in_its_half_life(
    schedule: Callable[..., TrainingSchedule],
) -> None:
    """35 images are five batches, and five late decays multiply to one half."""
    plan = schedule(100_000, {"train.ema_half_life_images": 35.0})
    assert plan.at(70_000).ema_decay ** 5 == pytest.approx(0.5)


def test_the_average_forgets_faster_at_first(schedule: Callable[..., TrainingSchedule]) -> None:
    """The decay is (1 + n) / (10 + n) after n steps, until that of the half-life is lower."""
    plan = schedule(1_000_000, {"train.ema_half_life_images": 11_000.0})
    for steps, decay in ((0, 0.1), (1, 2 / 11), (10, 11 / 20), (90, 91 / 100)):
        assert plan.at(steps * BATCH).ema_decay == pytest.approx(decay)
    assert plan.at(30_000 * BATCH).ema_decay == pytest.approx(0.5 ** (7 / 11_000))


def test_the_average_of_a_trained_model_has_its_half_life_from_the_start(
    schedule: Callable[..., TrainingSchedule],
) -> None:
    started = {"train.initial_model": "a/model", "train.warm_start.share": 0.0}
    plan = schedule(1_000_000, {"train.ema_half_life_images": 11_000.0} | started)
    assert plan.at(0).ema_decay == pytest.approx(0.5 ** (7 / 11_000))
