"""A classifier of partial images: p(y | x_S), the label given the known pixels.

It gives the ceiling of label agreement. Completions from the true conditional have the true label
with probability E[p(y_true | x_S)], and the labels of many completions of one source follow
p(y | x_S). Completions below the ceiling ignore their source. Completions above it miss some of the
possible answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.metrics.classifier import (
    INFERENCE_ROWS,
    ClassifierError,
    PretrainedClassifier,
)
from biglearn_gan.metrics.classifier_trunk import NetworkName, make_trunk

HIDDEN_UNITS = 128
DROPOUT: dict[NetworkName, float] = {"plain": 0.3, "deep": 0.1}
"""Less where a small output follows many layers, which would otherwise be underconfident."""

CALIBRATION_BINS = 15


class MaskedClassifier(PretrainedClassifier):
    """Convolutions over the known pixels and their mask, then one hidden layer.

    Args:
        image_size: (height, width) in pixels, each at least 4.
        channels: 1 or 3.
        num_classes: number of labels.
        width: channels of the first convolution.
        network: ``plain`` or ``deep``, see :func:`~.classifier_trunk.make_trunk`.
    """

    def __init__(
        self,
        image_size: Sequence[int],
        channels: int,
        num_classes: int,
        width: int = 16,
        network: NetworkName = "plain",
    ):
        super().__init__(image_size, channels, num_classes)
        layers, outputs = make_trunk(network, image_size, channels + 1, width)
        dropout = DROPOUT[network]
        self.trunk = nn.Sequential(*layers, nn.Dropout(dropout))
        self.head = nn.Sequential(
            nn.Linear(outputs, HIDDEN_UNITS),
            nn.BatchNorm1d(HIDDEN_UNITS),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN_UNITS, num_classes),
        )

    def forward(
        self, images: Float[Tensor, "N C H W"], known: Bool[Tensor, "N H W"]
    ) -> Float[Tensor, "N classes"]:
        """Logits of the classes given the known pixels (True); all others are ignored."""
        is_known = known[:, None]  # (N, 1, H, W)
        pixels = torch.where(is_known, images, torch.zeros_like(images))
        return self.head(self.trunk(torch.cat([pixels, is_known.to(images.dtype)], dim=1)))

    @torch.inference_mode()
    def probabilities(
        self, images: Float[Tensor, "N C H W"], known: Bool[Tensor, "N H W"]
    ) -> Float[Tensor, "N classes"]:
        """p(y | x_S) in float64 on the CPU, for images in [-1, 1]; True in ``known`` is x_S."""
        parts = [
            self(part.to(self.device), is_known.to(self.device)).double().softmax(dim=1).cpu()
            for part, is_known in zip(
                images.split(INFERENCE_ROWS), known.split(INFERENCE_ROWS), strict=True
            )
        ]
        return torch.cat(parts)


@dataclass(frozen=True)
class Calibration:
    """How accurate p(y | x_S) is for one kind of hole.

    Attributes:
        ceiling: mean probability of the true label, E[p(y_true | x_S)].
        expected: mean of the sum of squared probabilities; it equals the ceiling if the
            probabilities are right.
        accuracy: share of images whose most probable label is the true one.
        error: expected calibration error of the most probable label (Guo et al. 2017, eq. 3), in
            15 bins of equal width.
    """

    ceiling: float
    expected: float
    accuracy: float
    error: float


def calibration(
    probabilities: Float[Tensor, "N classes"], labels: Int64[Tensor, " N"]
) -> Calibration:
    """Compare predicted probabilities with the true labels."""
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == labels).double()
    bins = (confidence * CALIBRATION_BINS).ceil().clamp(1, CALIBRATION_BINS).long() - 1
    gap = torch.zeros(CALIBRATION_BINS, dtype=torch.float64)
    gap.index_add_(0, bins, correct - confidence)
    return Calibration(
        ceiling=float(probabilities.gather(1, labels[:, None]).mean()),
        expected=float(probabilities.square().sum(dim=1).mean()),
        accuracy=float(correct.mean()),
        error=float(gap.abs().sum() / len(labels)),
    )


def calibration_on(
    classifier: MaskedClassifier, dataset: ImageDataset, holes: Bool[Tensor, "N H W"]
) -> Calibration:
    """The calibration on all labeled images of a data set, with a hole in each image.

    Raises:
        ClassifierError: the data have no labels, or the classifier does not fit them.
    """
    classifier.check_dataset(dataset)
    labeled = dataset.labeled
    if dataset.labels is None or len(labeled) == 0:
        raise ClassifierError(f"{dataset.name} has no labels to compare with")
    parts = [
        classifier.probabilities(dataset.batch(indices).images, ~holes[indices])
        for indices in labeled.split(INFERENCE_ROWS)
    ]
    return calibration(torch.cat(parts), dataset.labels.cpu()[labeled])
