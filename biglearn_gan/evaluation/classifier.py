"""A small convolutional classifier: its labels say what an image shows, its features how far two
sets of images are apart.

It is trained on a data set's own training split by :func:`train_and_save_classifier` and kept as a
folder of ``model.safetensors``, ``config.json`` and a card ``README.md``:

    classifier = ImageClassifier.from_pretrained("checkpoints/classifier_digits")
    labels = classifier(images).argmax(dim=1)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor, nn

from biglearn_gan.config import DataConfig
from biglearn_gan.data import EpochOrder, ImageDataset, load_dataset
from biglearn_gan.hub import CONFIG_NAME, weights_file
from biglearn_gan.randomness import Stream, generator_for

FEATURES = 64
"""Numbers in one image's feature vector."""

INFERENCE_ROWS = 500
"""Images in one pass without gradients, which bounds its memory."""

BATCH_SIZE = 64
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
LABEL_SMOOTHING = 0.1


class ClassifierError(ValueError):
    """A classifier that cannot be trained, loaded or used on these images, in one sentence."""


class ImageClassifier(nn.Module, PyTorchModelHubMixin):
    """Convolutions, then 64 features, then one linear layer.

    The features leave an affine-free batch normalisation without a nonlinearity behind it, so each
    has about mean 0 and variance 1 on the training images: a Fréchet distance of 64 is what images
    without any variation would have, whichever classifier measures it.

    Args:
        image_size: (height, width) in pixels, each at least 4.
        channels: 1 or 3.
        num_classes: number of labels.
        width: channels of the first convolution, doubled by each later one.
    """

    def __init__(self, image_size: Sequence[int], channels: int, num_classes: int, width: int = 8):
        super().__init__()
        rows, columns = image_size
        self.image_size = (rows, columns)
        self.channels = channels
        self.num_classes = num_classes
        layers = [_convolution(channels, width), _convolution(width, 2 * width)]
        outputs = 2 * width
        while min(rows, columns) >= 8:
            layers += [nn.MaxPool2d(2), _convolution(outputs, 2 * outputs)]
            rows, columns, outputs = rows // 2, columns // 2, 2 * outputs
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.project = nn.Linear(outputs * rows * columns, FEATURES)
        self.normalise = nn.BatchNorm1d(FEATURES, affine=False)
        self.head = nn.Linear(FEATURES, num_classes)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> ImageClassifier:
        """Load a folder written by :func:`save_classifier`, or a hub name, in evaluation mode.

        Raises:
            ClassifierError: nothing is there, or its files are broken or do not fit each other.
        """
        name = str(pretrained_model_name_or_path)
        try:
            if Path(name).is_dir() and not (Path(name) / CONFIG_NAME).is_file():
                raise FileNotFoundError(f"the folder holds no {CONFIG_NAME}")
            return super().from_pretrained(name, **options)
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ClassifierError(f"{name}: no classifier can be loaded ({reason})") from None

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **arguments: Any,
    ) -> ImageClassifier:
        """As the mixin's, but strict, silent, and from safetensors only."""
        weights = weights_file(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            token=token,
            local_files_only=local_files_only,
        )
        classifier = cls(**arguments)
        load_model(classifier, weights, strict=True)
        return classifier.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    def features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 64"]:
        """What the last layer reads, for images in [-1, 1]."""
        return self.normalise(self.project(self.trunk(images)))

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Logits of the labels, for images in [-1, 1]."""
        return self.head(self.features(images))

    def check_images_of(self, dataset: ImageDataset) -> None:
        """Raise ClassifierError unless the data set's images and classes are those it reads."""
        ours = (self.channels, *self.image_size)
        theirs = (dataset.channels, *dataset.image_size)
        if ours != theirs:
            raise ClassifierError(
                f"the classifier reads images of (channels, height, width) {ours}, "
                f"but those of {dataset.name} are {theirs}"
            )
        if dataset.labels is not None and dataset.num_classes != self.num_classes:
            raise ClassifierError(
                f"the classifier knows {self.num_classes} classes, "
                f"but {dataset.name} has {dataset.num_classes}"
            )


def train_classifier(
    dataset: ImageDataset,
    *,
    seed: int,
    images: int = 180_000,
    learning_rate: float = 2e-3,
    horizontal_flip: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImageClassifier:
    """Train on randomly shifted images, by cross-entropy with label smoothing and AdamW.

    The same data, arguments, device and number of threads give the same weights; nothing global
    is read or left changed.

    Args:
        dataset: with labels, of at least 64 images.
        seed: of the initial weights, the order, shifts and flips.
        images: the budget, in images seen; whole batches of 64 are taken from it.
        learning_rate: its largest value; it rises for a tenth of the budget and falls to 0.
        horizontal_flip: mirror every other image, where the data allow it.
        progress: called after every step with (images seen, images).

    Returns:
        The classifier in evaluation mode, on the data set's device.

    Raises:
        ClassifierError: the data have no labels or too few images, or the budget is no batch.
    """
    if dataset.labels is None or dataset.num_classes is None:
        raise ClassifierError(f"{dataset.name} has no labels to train a classifier on")
    if min(len(dataset), images) < BATCH_SIZE:
        raise ClassifierError(
            f"a classifier needs at least {BATCH_SIZE} images and a budget of as many, "
            f"not {len(dataset)} ({dataset.name}) and {images}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = ImageClassifier(dataset.image_size, dataset.channels, dataset.num_classes)
    classifier.to(dataset.device).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), learning_rate, weight_decay=WEIGHT_DECAY)
    order = EpochOrder(len(dataset), seed)
    generator = generator_for(Stream.FLIPS, seed)
    reach = max(1, min(dataset.image_size) // 14)
    steps = images // BATCH_SIZE
    for step in range(steps):
        done = step / steps
        rate = learning_rate * min((done + 1 / steps) / WARMUP_SHARE, 1.0, 1.0 - done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        flips = torch.rand(BATCH_SIZE, generator=generator) < 0.5
        batch = dataset.batch(
            order.indices(step * BATCH_SIZE, BATCH_SIZE), flips if horizontal_flip else None
        )
        assert batch.labels is not None
        logits = classifier(_shifted(batch.images, reach, generator))
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress((step + 1) * BATCH_SIZE, images)
    return classifier.eval()


@torch.inference_mode()
def accuracy(classifier: ImageClassifier, dataset: ImageDataset) -> float:
    """Share of the data set's images whose label the classifier reads, in [0, 1].

    Raises:
        ClassifierError: the data have no labels, or other images or classes than the classifier.
    """
    classifier.check_images_of(dataset)
    if dataset.labels is None:
        raise ClassifierError(f"{dataset.name} has no labels to compare with")
    right = 0
    for indices in torch.arange(len(dataset)).split(INFERENCE_ROWS):
        logits = classifier(dataset.batch(indices).images.to(classifier.device))
        right += int((logits.argmax(dim=1).cpu() == dataset.labels[indices].cpu()).sum())
    return right / len(dataset)


def save_classifier(classifier: ImageClassifier, folder: str | Path, card: str) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` (the card) into a folder.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        (Path(temporary) / "README.md").write_text(card, encoding="utf-8")
        classifier.save_pretrained(temporary)
        for file in sorted(Path(temporary).iterdir()):
            os.replace(file, folder / file.name)


def train_and_save_classifier(
    config: DataConfig,
    config_name: str,
    folder: str | Path,
    *,
    seed: int = 0,
    images: int = 180_000,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Train on the whole training split, measure on the test split, and save with a card.

    Args:
        config: the data; its ``validation_share`` is ignored, nothing is held out of train.
        config_name: the file it came from, as the card's command shall name it.
        folder: where the classifier goes.
        seed, images, progress: those of :func:`train_classifier`.

    Returns:
        The accuracy on the test split.

    Raises:
        ClassifierError: the data have no labels or too few images.
        DataError: the data cannot be loaded.
        OSError: the folder cannot be written.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    config = config.model_copy(update={"validation_share": 0.0})
    train, test = load_dataset(config, "train"), load_dataset(config, "test")
    classifier = train_classifier(
        train, seed=seed, images=images, horizontal_flip=config.horizontal_flip, progress=progress
    )
    measured = accuracy(classifier, test)
    card = _CARD.format(
        data=config.name,
        height=config.image_size[0],
        width=config.image_size[1],
        channels=config.channels,
        train=train.name,
        train_size=len(train),
        test=test.name,
        test_size=len(test),
        images=images // BATCH_SIZE * BATCH_SIZE,
        seed=seed,
        accuracy=measured,
        features=FEATURES,
        parameters=sum(parameter.numel() for parameter in classifier.parameters()),
        config_name=config_name,
        folder=Path(folder).as_posix(),
    )
    save_classifier(classifier, folder, card)
    return measured


_CARD = """---
license: mit
library_name: biglearn_gan
pipeline_tag: image-classification
tags: [biglearn-gan, image-classification, evaluation]
---

# Classifier for measuring BigLearn-GAN on {data}

A small convolutional network. `biglearn-gan evaluate` reads labels with it and takes Fréchet
distances in its {features} features (the last layer's input, about mean 0 and variance 1 on the
training images). Distances in it compare with no other network's.

| | |
|---|---|
| data | {data}, {height} x {width} pixels, {channels} channel(s), in [-1, 1] |
| trained on | all {train_size:,} images of {train}, {images:,} images seen, seed {seed} |
| accuracy | {accuracy:.4f} on the {test_size:,} images of {test}, measured once, after training |
| parameters | {parameters:,} |
| licence | MIT (weights and code); the data have their own |

Made by

```bash
biglearn-gan train-classifier --config {config_name} --output {folder}
```
"""


def _convolution(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _shifted(
    images: Float[Tensor, "N C H W"], reach: int, generator: torch.Generator
) -> Float[Tensor, "N C H W"]:
    """Each image moved by up to ``reach`` pixels along both axes, its edge repeated."""
    count, _, height, width = images.shape
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    top, left = torch.randint(2 * reach + 1, (2, count, 1), generator=generator)
    image = torch.arange(count)[:, None, None]
    rows = (top + torch.arange(height))[:, :, None]
    columns = (left + torch.arange(width))[:, None, :]
    return padded[image, :, rows, columns].permute(0, 3, 1, 2)
