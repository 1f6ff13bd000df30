"""Class probabilities p(y | x_S) of images, printed and written as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.files import make_folder, replacing
from biglearn_gan.inference.inputs import Inputs
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import range_is_known
from biglearn_gan.pixel_values import to_signed_float

PRINTED_CLASSES = 3
"""Classes that are printed for each image, the most likely first; the file has all of them."""


@dataclass(frozen=True)
class ClassProbabilities:
    """p(y | x_S) of N images for all classes, and the names of the images and classes."""

    probabilities: Float[Tensor, "N classes"]
    names: tuple[str, ...]
    classes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """One line for each image: its most likely classes and their probabilities."""
        count = min(PRINTED_CLASSES, self.probabilities.shape[1])
        for name, probabilities in zip(self.names, self.probabilities, strict=True):
            best = probabilities.topk(count)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            yield f"{name:>5}: " + ", ".join(
                f"{self.classes[label]} ({p:.3f})" for label, p in pairs
            )

    def write_csv(self, path: Path) -> None:
        """Write a row for each image: its name, its most likely class, and all probabilities.

        Raises:
            WriteError: the file cannot be written.
        """
        make_folder(path.parent)
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["image", "predicted", *self.classes])
            for name, probabilities in zip(self.names, self.probabilities, strict=True):
                label = self.classes[int(probabilities.argmax())]
                rows.writerow([name, label, *(f"{p:.6f}" for p in probabilities.tolist())])


@range_is_known()
def classify_images(
    model: BigLearnGAN,
    inputs: Inputs,
    *,
    batch_size: int,
    on_images: Callable[[int], None] = lambda count: None,
) -> ClassProbabilities:
    """Classify images by the pixels outside of their holes, ``batch_size`` at a time.

    Args:
        model: a model with labels.
        inputs: the images, and the holes that are hidden from the model.
        batch_size: images in memory at a time.
        on_images: called after each batch with its number of images.

    Raises:
        LabelError: the model has no labels.
    """
    batches = []
    for rows in torch.arange(len(inputs.hole)).split(batch_size):
        images = to_signed_float(inputs.images[rows])
        batches.append(model.classify(images, observed=~inputs.hole[rows]))
        on_images(len(rows))
    classes = model.config.data.label_names
    return ClassProbabilities(torch.cat(batches), inputs.names, classes)
