"""The plan of a run: borders in whole batches, and step sizes computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from biglearn_gan.config import Config
from biglearn_gan.training.schedule import Schedule

BATCH = 7


@pytest.fixture
def schedule(tiny_config: Callable[..., Config]) -> Callable[..., Schedule]:
    """A plan of batches of seven, after changes to the tiny configuration."""

    def make(max_images: int, changes: dict[str, object] | None = None) -> Schedule:
        return Schedule(tiny_config({"train.batch_size": BATCH} | (changes or {})), max_images)

    return make


@pytest.mark.parametrize(
    ("max_images", "total"), [(1, 7), (6, 7), (7, 7), (8, 14), (70, 70), (71, 77)]
)
def test_the_budget_is_rounded_up_to_whole_batches(
    schedule: Callable[..., Schedule], max_images: int, total: int
) -> None:
    assert schedule(max_images).total_images == total


def test_a_raised_budget_keeps_the_warm_start(tiny_config: Callable[..., Config]) -> None:
    config = tiny_config({"train.batch_size": BATCH, "train.warm_start.share": 0.5})
    raised = Schedule(config, 1_400, first_budget=140)
    assert (raised.total_images, raised.warm_images) == (1_400, 70)
    assert raised.at(140).generator > Schedule(config, 141, first_budget=140).at(140).generator


@pytest.mark.parametrize(
    ("max_images", "share", "warm"),
    [
        (140, 0.0, 0),
        (140, 0.1, 14),
        (140, 0.12, 14),  # 2.4 batches
        (140, 0.13, 21),  # 2.6 batches
        (140, 0.999, 133),  # the game has at least one batch
        (7, 0.9, 0),
    ],
)
def test_the_warm_start_ends_with_a_whole_batch_and_before_the_budget(
    schedule: Callable[..., Schedule], max_images: int, share: float, warm: int
) -> None:
    assert schedule(max_images, {"train.warm_start.share": share}).warm_images == warm


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


def test_step_sizes_of_the_warm_start(schedule: Callable[..., Schedule]) -> None:
    """A rise over ten batches, then flat; the discriminator rests."""
    plan = schedule(1001, RATES)
    assert (plan.warm_images, plan.total_images) == (301, 1001)
    expected = {0: 0.05, 7: 0.10, 35: 0.30, 63: 0.50, 70: 0.50, 294: 0.50}
    for images, rate in expected.items():
        sizes = plan.at(images)
        assert sizes.generator == pytest.approx(rate)
        assert (sizes.discriminator, sizes.penalty_factor) == (0.0, 0.0)


def test_step_sizes_of_the_game(schedule: Callable[..., Schedule]) -> None:
    """The game has 700 images: a rise over 70, flat to 420, then 280 of fall.

    At 560, half of the fall is left: factor 0.1 + 0.9 / 2 for rates, 0.2 + 0.8 / 2 for penalties.
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
        sizes = plan.at(301 + played)
        assert sizes.generator == pytest.approx(2.0 * rate), played
        assert sizes.discriminator == pytest.approx(3.0 * rate), played
        assert sizes.penalty_factor == pytest.approx(penalty), played


def test_without_rise_and_fall_rates_are_constant(schedule: Callable[..., Schedule]) -> None:
    changes = {
        "train.learning_rate.warmup_images": 0,
        "train.learning_rate.hold_share": 1.0,
        "train.warm_start.learning_rate": 0.5,
    }
    plan = schedule(140, RATES | changes)
    assert {plan.at(images).generator for images in range(0, plan.warm_images, BATCH)} == {0.5}
    game = [plan.at(images) for images in range(plan.warm_images, 140, BATCH)]
    assert {(sizes.generator, sizes.discriminator, sizes.penalty_factor) for sizes in game} == {
        (2.0, 3.0, 1.0)
    }


def test_the_average_forgets_half_in_its_half_life(schedule: Callable[..., Schedule]) -> None:
    """35 images are five batches: five decays of a late step multiply to one half."""
    plan = schedule(100_000, {"train.ema_half_life_images": 35.0})
    assert plan.at(70_000).ema_decay ** 5 == pytest.approx(0.5)


def test_the_average_forgets_faster_at_first(schedule: Callable[..., Schedule]) -> None:
    """(1 + n) / (10 + n) after n steps, until the half-life's decay is below it."""
    plan = schedule(1_000_000, {"train.ema_half_life_images": 11_000.0})
    for steps, decay in ((0, 0.1), (1, 2 / 11), (10, 11 / 20), (90, 91 / 100)):
        assert plan.at(steps * BATCH).ema_decay == pytest.approx(decay)
    assert plan.at(30_000 * BATCH).ema_decay == pytest.approx(0.5 ** (7 / 11_000))


def test_the_average_of_a_trained_model_forgets_no_faster_at_first(
    schedule: Callable[..., Schedule],
) -> None:
    started = {"train.initial_model": "a/model", "train.warm_start.share": 0.0}
    plan = schedule(1_000_000, {"train.ema_half_life_images": 11_000.0} | started)
    assert plan.at(0).ema_decay == pytest.approx(0.5 ** (7 / 11_000))
