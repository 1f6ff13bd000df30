"""Checks on the training log: is the run healthy, and if not, which setting helps?

The thresholds lie far outside what healthy runs show. On digits and MNIST, the discriminator's loss
stays between 0.6 and 0.95 of the loss of a blind discriminator, whose logits are all 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from biglearn_gan.config import Config

LEARNING_ERROR = 0.95
"""Above this share of the mean image's squared error, the warm start has learned no images."""

LEARNING_NATS = 0.02
"""Less than this below the cross-entropy of guessing, the warm start has learned no labels."""

WARM_START_SHARE = 0.1
"""Before this share of the warm start, nothing of it counts."""

PATIENCE = 3
"""Lines of the log in a row that must show a symptom of the losses before it counts.

A symptom of an evaluation counts immediately."""

WINNING_SHARE = 0.15
"""Below this share of a blind discriminator's loss, the generator learns nothing from it."""

BLIND_SHARE = 0.985
"""Above this share of a blind discriminator's loss, the discriminator learns nothing."""

MIN_DIVERSITY = 0.01
"""Below this standard deviation, in units of [-1, 1], completions count as identical."""

MAX_ENTROPY_DROP = 0.5
"""Nats by which the entropy of the class histogram may fall below its maximum so far; the entropy
of ten equal classes is ln 10 = 2.3."""

SETTLED_SHARE = 0.25
"""Before this share of adversarial training, only a winning discriminator counts."""


@dataclass(frozen=True)
class Symptom:
    """A problem of training, and the setting that helps."""

    name: str
    advice: str


LEARNS_NO_IMAGES = Symptom(
    "the warm start's error is still that of the mean image",
    "set data.standardize to true if it is false, or change train.warm_start.learning_rate",
)
LEARNS_NO_LABELS = Symptom(
    "the warm start still guesses the labels",
    "set data.standardize to true if it is false, or raise train.warm_start.share or loss.label",
)
DISCRIMINATOR_WINS = Symptom(
    "the discriminator recognizes every fake",
    "raise loss.penalty.r1 and r2, or lower train.learning_rate.discriminator",
)
FEATURE_DISCRIMINATOR_WINS = Symptom(
    "the discriminator of features recognizes every fake",
    "raise loss.perceptual.adversarial.penalty",
)
DISCRIMINATOR_GUESSES = Symptom(
    "the discriminator cannot distinguish real from fake at all",
    "lower loss.penalty.r1 and r2, or raise train.learning_rate.discriminator",
)
NO_DIVERSITY = Symptom(
    "completions of the same source are all alike",
    "raise loss.energy_score or model.generator.token_noise_scale",
)
LOST_CLASSES = Symptom(
    "joint samples have lost classes",
    "raise loss.penalty.r1 and r2, or train.batch_size",
)


class Diagnostics:
    """Reads the lines of a run's log and reports each symptom once.

    Args:
        config: of the run.
        baselines: by name of the metric, the warm start's losses of a model that learned nothing.
            Checks whose baselines are missing are skipped.

    Attributes:
        found: the images seen when each symptom was found.
    """

    def __init__(self, config: Config, baselines: Mapping[str, float] | None = None):
        loss, warm_start = config.loss, config.train.warm_start.share
        # The coordinates of a Gaussian field may be independent: then no error is below the mean's.
        self._baselines = {} if config.data.gaussian_field else dict(baselines or {})
        self._first_share = -(1 - WARM_START_SHARE) * warm_start / (1 - warm_start)
        self._blind_loss = (2 * loss.logistic + loss.relativistic) * math.log(2)
        self._lines_in_a_row: dict[Symptom, int] = {}
        self._max_entropy = 0.0
        self._settled_lines = 0
        self.found: dict[Symptom, int] = {}

    def check(self, images_seen: int, metrics: Mapping[str, float], share: float) -> list[str]:
        """Warnings about symptoms that are new in this line of the log.

        Args:
            images_seen: images since the start of the run.
            metrics: the line of the log. Checks whose metrics are missing are skipped.
            share: how much of adversarial training is done, in [0, 1]; below 0 in the warm start.
        """
        warnings = []
        self._settled_lines += "loss/discriminator" in metrics and share >= SETTLED_SHARE
        for symptom, present in self._symptoms(metrics).items():
            if share < self._first_checked_share(symptom):
                continue
            lines = self._lines_in_a_row.get(symptom, 0) + 1 if present else 0
            self._lines_in_a_row[symptom] = lines
            of_losses = symptom not in (NO_DIVERSITY, LOST_CLASSES)
            if lines >= (PATIENCE if of_losses else 1) and symptom not in self.found:
                self.found[symptom] = images_seen
                warnings.append(f"{symptom.name} at {images_seen:,} images: {symptom.advice}")
        return warnings

    def summary(self) -> str:
        """One sentence on all lines that were checked."""
        if not self.found and self._settled_lines < PATIENCE:
            return "diagnostics: too few lines were logged to judge adversarial training"
        if not self.found:
            return "diagnostics: adversarial training looked healthy"
        symptoms = "; ".join(
            f"{symptom.name} (since {images:,} images; {symptom.advice})"
            for symptom, images in self.found.items()
        )
        return f"diagnostics: {symptoms}"

    def _first_checked_share(self, symptom: Symptom) -> float:
        """The share of adversarial training after which a symptom counts."""
        if symptom in (LEARNS_NO_IMAGES, LEARNS_NO_LABELS):
            return self._first_share
        winning = (DISCRIMINATOR_WINS, FEATURE_DISCRIMINATOR_WINS)
        return -math.inf if symptom in winning else SETTLED_SHARE

    def _symptoms(self, metrics: Mapping[str, float]) -> dict[Symptom, bool]:
        """Whether each symptom is present, for those that the metrics can show."""
        present = self._warm_start_symptoms(metrics)
        if "loss/discriminator" in metrics:
            ratio = metrics["loss/discriminator"] / self._blind_loss
            present[DISCRIMINATOR_WINS] = ratio < WINNING_SHARE
            present[DISCRIMINATOR_GUESSES] = ratio > BLIND_SHARE
        if "loss/feature_discriminator" in metrics:
            ratio = metrics["loss/feature_discriminator"] / self._blind_loss
            present[FEATURE_DISCRIMINATOR_WINS] = ratio < WINNING_SHARE
        if "evaluation/diversity" in metrics:
            present[NO_DIVERSITY] = metrics["evaluation/diversity"] < MIN_DIVERSITY
        if "evaluation/entropy" in metrics:
            entropy = metrics["evaluation/entropy"]
            self._max_entropy = max(self._max_entropy, entropy)
            present[LOST_CLASSES] = entropy < self._max_entropy - MAX_ENTROPY_DROP
        return present

    def _warm_start_symptoms(self, metrics: Mapping[str, float]) -> dict[Symptom, bool]:
        """The same for symptoms of the warm start; empty in adversarial training."""
        present: dict[Symptom, bool] = {}
        name = "warm_start/squared_error"
        if name not in metrics:
            return present
        if name in self._baselines:
            present[LEARNS_NO_IMAGES] = metrics[name] > LEARNING_ERROR * self._baselines[name]
        name = "loss/label"
        if name in self._baselines and name in metrics:
            present[LEARNS_NO_LABELS] = metrics[name] > self._baselines[name] - LEARNING_NATS
        return present
