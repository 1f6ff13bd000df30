"""Diagnostics report a problem once, with advice, and nothing of a healthy training."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from biglearn_gan.config import Config, load_config
from biglearn_gan.training.diagnostics import (
    DISCRIMINATOR_GUESSES,
    DISCRIMINATOR_WINS,
    FEATURE_DISCRIMINATOR_WINS,
    LEARNS_NO_IMAGES,
    LEARNS_NO_LABELS,
    LOST_CLASSES,
    NO_DIVERSITY,
    Diagnostics,
    Symptom,
)
from biglearn_gan.training.fit import fit

LN2 = math.log(2)


def line(discriminator: float, entropy: float = 2.2, diversity: float = 0.2) -> dict[str, float]:
    return {
        "loss/discriminator": discriminator,
        "evaluation/entropy": entropy,
        "evaluation/diversity": diversity,
    }


def features(loss: float) -> dict[str, float]:
    return line(0.8 * LN2) | {"loss/feature_discriminator": loss}


HEALTHY = line(0.8 * LN2)


@pytest.mark.parametrize(
    ("symptom", "sick"),
    [
        (DISCRIMINATOR_WINS, line(0.05 * LN2)),
        (FEATURE_DISCRIMINATOR_WINS, features(0.05 * LN2)),
        (DISCRIMINATOR_GUESSES, line(0.999 * LN2)),
        (NO_DIVERSITY, line(0.8 * LN2, diversity=0.001)),
        (LOST_CLASSES, line(0.8 * LN2, entropy=1.2)),
    ],
)
def test_each_symptom_is_reported_once_with_advice(
    symptom: Symptom, sick: dict[str, float], tiny_config: Callable[..., Config]
) -> None:
    diagnostics = Diagnostics(tiny_config())
    assert diagnostics.check(100, HEALTHY, share=0.5) == []
    checks = [diagnostics.check(images, sick, share=0.6) for images in (200, 300, 400, 500)]
    warnings = [warning for check in checks for warning in check]
    assert len(warnings) == 1 and warnings[0].endswith(symptom.advice)
    assert list(diagnostics.found) == [symptom]
    assert symptom.name in diagnostics.summary() and symptom.advice in diagnostics.summary()


@pytest.mark.parametrize(
    ("symptom", "healthy", "sick"),
    [
        (DISCRIMINATOR_WINS, line(0.151 * LN2), line(0.149 * LN2)),
        (FEATURE_DISCRIMINATOR_WINS, features(0.151 * LN2), features(0.149 * LN2)),
        (DISCRIMINATOR_GUESSES, line(0.984 * LN2), line(0.986 * LN2)),
        (NO_DIVERSITY, line(0.8 * LN2, diversity=0.011), line(0.8 * LN2, diversity=0.009)),
        (LOST_CLASSES, line(0.8 * LN2, entropy=1.71), line(0.8 * LN2, entropy=1.69)),
    ],
)
def test_a_symptom_begins_at_its_threshold(
    symptom: Symptom,
    healthy: dict[str, float],
    sick: dict[str, float],
    tiny_config: Callable[..., Config],
) -> None:
    """The largest entropy so far is 2.2."""
    for each, expected in ((healthy, []), (sick, [symptom])):
        diagnostics = Diagnostics(tiny_config())
        diagnostics.check(100, HEALTHY, share=0.5)
        for images in (200, 300, 400):
            diagnostics.check(images, each, share=0.6)
        assert list(diagnostics.found) == expected


def test_a_healthy_game_gives_no_warning(tiny_config: Callable[..., Config]) -> None:
    diagnostics = Diagnostics(tiny_config())
    for share in (0.0, 0.1, 0.5):
        assert diagnostics.check(100, HEALTHY, share) == []
    assert diagnostics.check(100, {"warm_start/squared_error": 9.0}, 0.0) == []
    assert (
        diagnostics.summary()
        == "diagnostics: too few lines were logged to judge adversarial training"
    )
    for images in (200, 300):
        assert diagnostics.check(images, HEALTHY, 0.8) == []
    assert diagnostics.summary() == "diagnostics: adversarial training looked healthy"


def test_two_bad_lines_in_a_row_are_no_symptom(tiny_config: Callable[..., Config]) -> None:
    diagnostics = Diagnostics(tiny_config())
    for _ in range(5):
        assert diagnostics.check(1, line(0.01), 0.5) == []
        assert diagnostics.check(2, line(0.01), 0.5) == []
        assert diagnostics.check(3, HEALTHY, 0.5) == []


def test_early_in_the_game_only_a_winning_discriminator_is_a_symptom(
    tiny_config: Callable[..., Config],
) -> None:
    diagnostics = Diagnostics(tiny_config())
    early = line(LN2, entropy=0.0, diversity=0.0)
    assert [diagnostics.check(n, early, 0.1) for n in range(9)] == [[]] * 9
    assert [bool(diagnostics.check(n, line(0.0), 0.1)) for n in range(3)] == [False, False, True]


def test_the_loss_is_compared_with_that_of_a_blind_discriminator(
    tiny_config: Callable[..., Config],
) -> None:
    both = Diagnostics(tiny_config({"loss.logistic": 1.0, "loss.relativistic": 0.5}))
    for number in range(4):
        assert both.check(number, line(0.8 * 2.5 * LN2), 0.5) == []
    assert both.check(1, line(2.5 * LN2), 0.5) == [] == both.check(2, line(2.5 * LN2), 0.5)
    assert both.check(3, line(2.5 * LN2), 0.5)


def test_training_ends_with_a_summary(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    warnings: list[str] = []
    config = tiny_config(
        {
            "train.learning_rate.discriminator": 1e-9,
            "train.max_images": 96,
            "train.warm_start.share": 0.0,
        }
    )
    result = fit(config, tmp_path, device="cpu", on_progress=lambda p: warnings.extend(p.warnings))
    assert len(warnings) == 1 and warnings[0].endswith(DISCRIMINATOR_GUESSES.advice)
    assert DISCRIMINATOR_GUESSES.name in result.diagnostics
    short = fit(tiny_config({"train.max_images": 16}), tmp_path / "short", device="cpu")
    assert "too few lines" in short.diagnostics


def test_the_log_of_a_healthy_run_gives_no_warning() -> None:
    """Losses of a run on digits with the shipped configuration."""
    config = load_config(Path(__file__).parents[2] / "experiments" / "digits.yaml")
    diagnostics = Diagnostics(config)
    losses = "0.561 0.512 0.498 0.503 0.515 0.521 0.529 0.533 0.535 0.538"
    for number, value in enumerate(losses.split()):
        assert diagnostics.check(number, {"loss/discriminator": float(value)}, number / 10) == []


def test_a_warm_start_that_learns_nothing_is_a_symptom_after_its_first_tenth(
    tiny_config: Callable[..., Config],
) -> None:
    """A quarter of the budget: its first tenth ends at -0.3 of the adversarial training."""
    baselines = {"warm_start/squared_error": 0.5, "loss/label": math.log(10)}
    diagnostics = Diagnostics(tiny_config(), baselines)
    guesses = {"warm_start/squared_error": 0.49, "loss/label": 2.30}
    learns = {"warm_start/squared_error": 0.4, "loss/label": 2.2}
    assert [diagnostics.check(n, guesses, -0.31) for n in range(5)] == [[]] * 5
    assert [diagnostics.check(n, learns, -0.29) for n in range(5)] == [[]] * 5
    checks = [diagnostics.check(n, guesses, -0.29) for n in range(4)]
    assert [len(warnings) for warnings in checks] == [0, 0, 2, 0]
    assert list(diagnostics.found) == [LEARNS_NO_IMAGES, LEARNS_NO_LABELS]
    assert LEARNS_NO_IMAGES.name in diagnostics.summary()


def test_a_warm_start_is_not_judged_without_baselines_or_for_gaussian_fields(
    tiny_config: Callable[..., Config],
) -> None:
    field = tiny_config({"data.name": "gaussian_field_smooth", "model.generator.output": "linear"})
    baselines = {"warm_start/squared_error": 0.5}
    for diagnostics in (Diagnostics(tiny_config()), Diagnostics(field, baselines)):
        line_of_log = {"warm_start/squared_error": 0.6, "loss/label": 9.0}
        assert [diagnostics.check(n, line_of_log, -0.01) for n in range(5)] == [[]] * 5
