"""What ``biglearn-gan classify`` does: p(y | x_S) of each image, printed and written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan.data.image_files import to_signed_float
from biglearn_gan.files import replacing
from biglearn_gan.inference.inputs import InputImages
from biglearn_gan.models.biglearn_gan import BigLearnGAN

LISTED_LABELS = 3
"""Labels of an image that are printed, the likeliest first; the file has all."""


@dataclass(frozen=True)
class Labeled:
    """p(y | x_S) of N images, C classes each, and what the images are called."""

    probabilities: Float[Tensor, "N C"]
    names: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """One line for each image: its likeliest labels and their probabilities."""
        listed = min(LISTED_LABELS, self.probabilities.shape[1])
        for name, probabilities in zip(self.names, self.probabilities, strict=True):
            best = probabilities.topk(listed)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            yield f"{name:>5}: " + ", ".join(f"{label} ({p:.3f})" for label, p in pairs)

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
            for name, probabilities in zip(self.names, self.probabilities, strict=True):
                label = int(probabilities.argmax())
                rows.writerow([name, label, *(f"{p:.6f}" for p in probabilities.tolist())])


def classify(
    model: BigLearnGAN,
    sources: InputImages,
    hole: Bool[Tensor, "N H W"],
    *,
    batch_size: int,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Labeled:
    """Read each image outside of its hole.

    Raises:
        LabelError: the model has no labels.
    """
    parts = []
    for rows in torch.arange(len(hole)).split(batch_size):
        images = to_signed_float(sources.images[rows])
        parts.append(model.classify(images, observed=~hole[rows]))
        on_rows(len(rows))
    return Labeled(torch.cat(parts), sources.names)
