"""Is the game healthy? What the training log tells, and which knob to turn.

Thresholds are far outside of what healthy runs show: on digits and MNIST the discriminator's loss
stays between 0.6 and 0.95 of a blind one's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from biglearn_gan.config import Config

PATIENCE = 3
"""Log lines in a row that must show a symptom of the losses; an evaluation says it at once."""

WINNING = 0.15
"""Below this share of a blind discriminator's loss, the generator learns nothing from it."""

BLIND = 0.985
"""Above this share, the discriminator learns nothing."""

ALIKE = 0.01
"""Standard deviation of completions, in units of [-1, 1], below which they are one and the same."""

MISSING_CLASSES = 0.5
"""Nats that the class histogram's entropy may lie below the most it has been; ln 10 is 2.3."""

SETTLED = 0.25
"""Share of the game before which it may look odd."""


@dataclass(frozen=True)
class Symptom:
    """What was seen, and the knob that helps."""

    name: str
    advice: str


WINS = Symptom(
    "the discriminator tells every fake",
    "raise loss.penalty.r1 and r2, or lower train.learning_rate.discriminator",
)
GUESSES = Symptom(
    "the discriminator cannot tell real from fake at all",
    "lower loss.penalty.r1 and r2, or raise train.learning_rate.discriminator",
)
ONE_ANSWER = Symptom(
    "completions of one source are all alike",
    "raise loss.energy_score or model.generator.token_noise_scale",
)
FEW_CLASSES = Symptom(
    "joint samples have lost classes",
    "raise loss.penalty.r1 and r2, or train.batch_size",
)


class Diagnostics:
    """Watches the lines of a run's log, and names each symptom once.

    Args:
        config: of the run.
    """

    def __init__(self, config: Config):
        loss = config.loss
        self._blind = (2 * loss.logistic + loss.relativistic) * math.log(2)
        self._in_a_row: dict[Symptom, int] = {}
        self._most_entropy = 0.0
        self._settled_lines = 0
        self.found: dict[Symptom, int] = {}

    def check(self, images_seen: int, metrics: Mapping[str, float], share: float) -> list[str]:
        """Warnings about what is new in a line of the log.

        Args:
            images_seen: in the whole run.
            metrics: the line; names that are missing are not judged.
            share: of the game that is played; before ``SETTLED`` only a winning discriminator
                is a symptom.
        """
        warnings = []
        self._settled_lines += "loss/discriminator" in metrics and share >= SETTLED
        for symptom, shows in self._judge(metrics).items():
            if symptom is not WINS and share < SETTLED:
                continue
            row = self._in_a_row[symptom] = self._in_a_row.get(symptom, 0) + 1 if shows else 0
            patience = PATIENCE if symptom in (WINS, GUESSES) else 1
            if row >= patience and symptom not in self.found:
                self.found[symptom] = images_seen
                warnings.append(f"{symptom.name} at {images_seen:,} images: {symptom.advice}")
        return warnings

    def summary(self) -> str:
        """One sentence on everything that was looked at."""
        if not self.found and self._settled_lines < PATIENCE:
            return "diagnostics: too few lines of the game were logged to judge it"
        if not self.found:
            return "diagnostics: the game looked healthy"
        named = "; ".join(
            f"{symptom.name} (since {images:,} images; {symptom.advice})"
            for symptom, images in self.found.items()
        )
        return f"diagnostics: {named}"

    def _judge(self, metrics: Mapping[str, float]) -> dict[Symptom, bool]:
        judged: dict[Symptom, bool] = {}
        if "loss/discriminator" in metrics:
            share = metrics["loss/discriminator"] / self._blind
            judged |= {WINS: share < WINNING, GUESSES: share > BLIND}
        if "evaluation/diversity" in metrics:
            judged[ONE_ANSWER] = metrics["evaluation/diversity"] < ALIKE
        if "evaluation/entropy" in metrics:
            entropy = metrics["evaluation/entropy"]
            self._most_entropy = max(self._most_entropy, entropy)
            judged[FEW_CLASSES] = entropy < self._most_entropy - MISSING_CLASSES
        return judged
