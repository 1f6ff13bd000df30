"""What goes into an evaluation and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import UInt8
from torch import Tensor

from biglearn_gan.evaluation.answers import Question
from biglearn_gan.evaluation.classifier import ImageClassifier
from biglearn_gan.evaluation.features import Features
from biglearn_gan.evaluation.masked_classifier import MaskedClassifier
from biglearn_gan.evaluation.records import Record


@dataclass(frozen=True)
class Rulers:
    """What measures.

    Attributes:
        features: in which distances, precision and recall are taken.
        classifier: reads labels; without one, nothing is said of them.
        masked_classifier: gives the ceiling of agreement, p(y | x_S).
    """

    features: Features
    classifier: ImageClassifier | None = None
    masked_classifier: MaskedClassifier | None = None


@dataclass(frozen=True)
class Gallery:
    """Sources with completions, ordered by how near the first came to its original in features."""

    question: Question
    answers: UInt8[Tensor, "N K C H W"]


@dataclass
class Report:
    """Everything that was measured; ``records`` are the same to the bit for the same arguments.

    Attributes:
        records: the numbers.
        images_per_second: of sampling, for each task that was asked of a model.
        galleries: best, median and worst completions, for each task with a source.
    """

    records: list[Record] = field(default_factory=list)
    images_per_second: dict[str, float] = field(default_factory=dict)
    galleries: dict[str, Gallery] = field(default_factory=dict)
