"""Checks on the training log: is adversarial training healthy, and if not, which setting helps?

The thresholds lie far outside what healthy runs show. On digits and MNIST, the discriminator's loss
stays between 0.6 and 0.95 of the loss of a blind discriminator, whose logits are all 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from biglearn_gan.config import Config

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
    """A problem of adversarial training, and the setting that helps."""

    name: str
    advice: str


DISCRIMINATOR_WINS = Symptom(
    "the discriminator recognizes every fake",
    "raise loss.penalty.r1 and r2, or lower train.learning_rate.discriminator",
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

    Attributes:
        found: the images seen when each symptom was found.
    """

    def __init__(self, config: Config):
        loss = config.loss
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
            if symptom is not DISCRIMINATOR_WINS and share < SETTLED_SHARE:
                continue
            lines = self._lines_in_a_row.get(symptom, 0) + 1 if present else 0
            self._lines_in_a_row[symptom] = lines
            of_losses = symptom in (DISCRIMINATOR_WINS, DISCRIMINATOR_GUESSES)
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

    def _symptoms(self, metrics: Mapping[str, float]) -> dict[Symptom, bool]:
        """Whether each symptom is present, for those that the metrics can show."""
        present: dict[Symptom, bool] = {}
        if "loss/discriminator" in metrics:
            ratio = metrics["loss/discriminator"] / self._blind_loss
            present[DISCRIMINATOR_WINS] = ratio < WINNING_SHARE
            present[DISCRIMINATOR_GUESSES] = ratio > BLIND_SHARE
        if "evaluation/diversity" in metrics:
            present[NO_DIVERSITY] = metrics["evaluation/diversity"] < MIN_DIVERSITY
        if "evaluation/entropy" in metrics:
            entropy = metrics["evaluation/entropy"]
            self._max_entropy = max(self._max_entropy, entropy)
            present[LOST_CLASSES] = entropy < self._max_entropy - MAX_ENTROPY_DROP
        return present
