"""Measure what a model's generated images and predicted labels teach to a classifier.

    python experiments/studies/generated_labels.py --checkpoint digits --output generated.json

A classifier of whole images learns from the images whose labels the model knew, from images that
the model generated for labels, from both, and from all training images with predicted labels. Its
accuracy on the real test images is printed beside that of the model itself. The accuracy after
learning from generated images alone is the classification accuracy score (Ravuri and Vinyals 2019,
arXiv 1905.10887). If the model generated exactly the data's distribution, it would be that of as
many real images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from label_tools import accuracy_of_model, images_for_labels, predicted_labels
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import Checkpoint, DataRoot, with_all_pixels, with_data_root
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.labeled import known_labels
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.metrics.classifier import accuracy
from biglearn_gan.metrics.classifier_training import BATCH_SIZE, train_classifier


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    data_root: DataRoot = None,
    num: Annotated[int, typer.Option(min=BATCH_SIZE, help="Images to generate.")] = 54_000,
    budget: Annotated[
        int, typer.Option(min=BATCH_SIZE, help="Images that each classifier sees.")
    ] = 180_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of images and classifiers.")] = 0,
) -> None:
    """Print the accuracies as a Markdown table and write them as JSON."""
    torch.set_num_threads(1)
    model = BigLearnGAN.from_pretrained(checkpoint)
    if not model.config.data.labels:
        fail(f"--checkpoint must be a model with labels; {checkpoint} has none", code=2)
    data = with_data_root(data_root, with_all_pixels(model.config.data))
    train, test = load_dataset(data, "train"), load_dataset(data, "test")
    test = test.subset(test.labeled)
    known = known_labels(train, data)
    known = known.subset(known.labeled)
    if len(known) < BATCH_SIZE:
        fail(f"{known.name} has {len(known)} labeled images: choose at least {BATCH_SIZE}", code=2)
    make_folder(output.parent)
    generated = images_for_labels(model, num, seed)
    teachers = {
        "the images with known labels": known,
        "images generated for labels": generated,
        "both": joined(known, generated),
        "all training images, labels predicted": train.with_labels(predicted_labels(model, train)),
    }
    results = {"the model itself": accuracy_of_model(model, test)}
    for name, images in teachers.items():
        classifier = train_classifier(
            images, seed=seed, images=budget, horizontal_flip=data.horizontal_flip
        )
        results[f"classifier: {name}"] = accuracy(classifier, test)
    settings = {"seed": seed, "generated": num, "budget": budget}
    write_json(output, settings | {"accuracy": results})
    typer.echo(table(results))


def joined(one: ImageDataset, other: ImageDataset) -> ImageDataset:
    """The images of both; the smaller one is repeated as often as it fits into the larger one.

    If their sizes differ much, each is about half of what a classifier sees.
    """
    small, large = sorted((one, other), key=len)
    copies = torch.arange(len(small)).repeat(max(1, len(large) // len(small)))
    parts = (small.subset(copies), large)
    pixels = torch.cat([part.images_uint8(torch.arange(len(part))) for part in parts])
    labels = torch.cat([_labels(part) for part in parts])
    return ImageDataset(f"{one.name}, {other.name}", pixels, labels, one.num_classes)


def table(results: dict[str, float]) -> str:
    """The accuracies as Markdown, in percent."""
    lines = ["| who reads the labels, and what taught it | accuracy |", "|---|---|"]
    lines += [f"| {name} | {100 * share:.1f} |" for name, share in results.items()]
    return "\n".join(lines)


def _labels(images: ImageDataset) -> Tensor:
    assert images.labels is not None
    return images.labels


if __name__ == "__main__":
    run(main, "generated_labels")
