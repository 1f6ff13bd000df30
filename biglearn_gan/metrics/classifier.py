"""A small convolutional classifier: its labels say what an image shows, its features how far two
sets of images are apart.

It is trained on a data set's own training split (``classifier_training.py``) and kept as a folder
of ``model.safetensors``, ``config.json`` and a card ``README.md``:

    classifier = ImageClassifier.from_pretrained("checkpoints/classifier_digits")
    labels = classifier.read(images)  # of uint8 (N, C, H, W)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import to_signed_float
from biglearn_gan.errors import UserError
from biglearn_gan.models.checkpoint import CONFIG_NAME, CheckpointError, load_checkpoint

FEATURES = 64
"""Numbers in one image's feature vector."""

INFERENCE_ROWS = 500
"""Images in one pass without gradients, which bounds its memory."""


class ClassifierError(UserError, ValueError):
    """A classifier that cannot be trained, loaded or used on these images, in one sentence."""


Kind = TypeVar("Kind", bound="PretrainedClassifier")


class PretrainedClassifier(nn.Module, PyTorchModelHubMixin):
    """What every classifier here knows of its images, and how it is loaded.

    Args:
        image_size: (height, width) in pixels, each at least 4.
        channels: 1 or 3.
        num_classes: number of labels.
    """

    def __init__(self, image_size: Sequence[int], channels: int, num_classes: int):
        super().__init__()
        height, width = image_size
        self.image_size = (height, width)
        self.channels = channels
        self.num_classes = num_classes

    @classmethod
    def from_pretrained(  # type: ignore[override]  # theirs takes any keyword, unread
        cls: type[Kind],
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> Kind:
        """Load a folder written by :func:`save_classifier`, or a hub name, in evaluation mode.

        Args:
            pretrained_model_name_or_path: folder, or ``owner/name`` on the Hugging Face hub.
            revision: branch, tag or commit there.
            token: of a user who may read it; True for the one that is stored here.

        Raises:
            ClassifierError: nothing is there, or its files are broken or do not fit each other.
        """
        name = str(pretrained_model_name_or_path)
        try:
            values, weights = load_checkpoint(name, revision=revision, token=token)
        except CheckpointError as error:
            raise ClassifierError(f"no classifier can be loaded: {error}") from None
        try:
            classifier = cls(**values)
            classifier.load_state_dict(weights)
        except (TypeError, ValueError):
            raise ClassifierError(
                f"no classifier can be loaded: {name}/{CONFIG_NAME} is not a classifier's"
            ) from None
        except RuntimeError as error:
            last = str(error).splitlines()[-1].strip()
            raise ClassifierError(
                f"no classifier can be loaded: the weights in {name} are those of another kind or "
                f"size of classifier: {last}"
            ) from None
        return classifier.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

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


class ImageClassifier(PretrainedClassifier):
    """Convolutions, then 64 features, then one linear layer.

    The features leave an affine-free batch normalization without a nonlinearity behind it, so each
    has about mean 0 and variance 1 on the training images: images without any variation are at a
    Fréchet distance of 64 or more, whichever classifier measures it.

    Args:
        image_size: (height, width) in pixels, each at least 4.
        channels: 1 or 3.
        num_classes: number of labels.
        width: channels of the first convolution, doubled by each later one.
    """

    def __init__(self, image_size: Sequence[int], channels: int, num_classes: int, width: int = 8):
        super().__init__(image_size, channels, num_classes)
        layers, outputs = convolutions(image_size, channels, width)
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.project = nn.Linear(outputs, FEATURES)
        self.normalize = nn.BatchNorm1d(FEATURES, affine=False)
        self.head = nn.Linear(FEATURES, num_classes)

    def features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 64"]:
        """What the last layer reads, for images in [-1, 1]."""
        return self.normalize(self.project(self.trunk(images)))

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Logits of the labels, for images in [-1, 1]."""
        return self.head(self.features(images))

    @torch.inference_mode()
    def read(self, images: UInt8[Tensor, "N C H W"]) -> Int64[Tensor, " N"]:
        """The most probable label of each image, on the CPU; N at least 1."""
        parts = [
            self(to_signed_float(part).to(self.device)).argmax(dim=1).cpu()
            for part in images.split(INFERENCE_ROWS)
        ]
        return torch.cat(parts)


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
        read = classifier.read(dataset.images_uint8(indices))
        right += int((read == dataset.labels[indices].cpu()).sum())
    return right / len(dataset)


def save_classifier(classifier: PretrainedClassifier, folder: str | Path, card: str) -> None:
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


def convolutions(
    image_size: Sequence[int], channels: int, width: int
) -> tuple[list[nn.Module], int]:
    """Layers that halve images down to less than 8 pixels, and the numbers that leave them.

    The first has ``width`` channels, each later one twice as many.
    """
    rows, columns = image_size
    layers = [_convolution(channels, width), _convolution(width, 2 * width)]
    outputs = 2 * width
    while min(rows, columns) >= 8:
        layers += [nn.MaxPool2d(2), _convolution(outputs, 2 * outputs)]
        rows, columns, outputs = rows // 2, columns // 2, 2 * outputs
    return layers, outputs * rows * columns


def _convolution(inputs: int, outputs: int) -> nn.Module:
    """3 x 3 weights, batch normalization and a rectifier; the size stays."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
