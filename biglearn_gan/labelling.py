"""What ``biglearn-gan classify`` does: p(y | x_S) of each image, printed and written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from biglearn_gan.files import replacing
from biglearn_gan.images import to_unit_range
from biglearn_gan.model import BigLearnGAN

LISTED_LABELS = 3
"""Labels of an image that are printed, the likeliest first; the file has all."""


@dataclass(frozen=True)
class Labelled:
    """p(y | x_S) of N images, C classes each."""

    probabilities: Float[Tensor, "N C"]

    def lines(self) -> Iterator[str]:
        """One line for each image: its likeliest labels and their probabilities."""
        listed = min(LISTED_LABELS, self.probabilities.shape[1])
        for row, probabilities in enumerate(self.probabilities):
            best = probabilities.topk(listed)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            yield f"{row:5d}: " + ", ".join(f"{label} ({p:.3f})" for label, p in pairs)

    def write(self, path: Path) -> None:
        """A CSV file: image, likeliest label, and the probability of each label.

        Raises:
            OSError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["image", "predicted", *range(self.probabilities.shape[1])])
            for row, probabilities in enumerate(self.probabilities):
                label = int(probabilities.argmax())
                rows.writerow([row, label, *(f"{p:.6f}" for p in probabilities.tolist())])


def classify(
    model: BigLearnGAN,
    images: UInt8[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    *,
    batch_size: int,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Labelled:
    """Read each image outside of its hole.

    Raises:
        LabelError: the model has no labels.
    """
    parts = []
    for rows in torch.arange(len(images)).split(batch_size):
        parts.append(model.classify(to_unit_range(images[rows]), observed=~hole[rows]))
        on_rows(len(rows))
    return Labelled(torch.cat(parts))
