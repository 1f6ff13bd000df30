"""A small convolutional classifier that measures images.

Its labels say what an image shows, and its features how far two sets of images are apart. It is
trained on the training split of a data set, see ``classifier_training.py``. Its folder holds
``model.safetensors``, ``config.json`` and the card ``README.md``:

    classifier = ImageClassifier.from_pretrained("checkpoints/classifier_digits")
    labels = classifier.predict(images)  # of uint8 (N, C, H, W)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.errors import UserError
from biglearn_gan.files import make_folder, replacing_folder
from biglearn_gan.metrics.classifier_trunk import NetworkName, make_trunk
from biglearn_gan.models.checkpoint import CONFIG_NAME, CheckpointError, load_checkpoint
from biglearn_gan.pixel_values import to_signed_float

FEATURE_DIM = 64
"""Length of a feature vector."""

CLASSIFIER_FILES = ("README.md", "config.json", "model.safetensors")
"""What the folder of a classifier holds: its card, its configuration and its weights."""

INFERENCE_ROWS = 500
"""Images per pass without gradients, to bound its memory."""


class ClassifierError(UserError, ValueError):
    """A classifier cannot be trained, loaded, or used on these images."""

    exit_code = 2


ClassifierT = TypeVar("ClassifierT", bound="PretrainedClassifier")


class PretrainedClassifier(nn.Module, PyTorchModelHubMixin):
    """A network for images of one size, and how it is loaded.

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
    def from_pretrained(  # type: ignore[override]  # the mixin takes any keyword
        cls: type[ClassifierT],
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> ClassifierT:
        """Load a classifier by folder, shipped name or hub name, in evaluation mode.

        Args:
            pretrained_model_name_or_path: folder written by :func:`save_classifier`; name of a
                shipped one, such as ``classifier_digits``; or ``owner/name`` on the Hugging Face
                hub.
            revision: branch, tag or commit there.
            token: access token of the hub; True for the stored one.

        Raises:
            ClassifierError: there is no classifier, or its files are broken or do not fit.
        """
        name = str(pretrained_model_name_or_path)
        try:
            values, weights = load_checkpoint(
                name, of_classifier=True, revision=revision, token=token
            )
        except CheckpointError as error:
            unusable = ClassifierError(f"no classifier can be loaded: {error}")
            unusable.exit_code = error.exit_code
            raise unusable from None
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
                f"no classifier can be loaded: the weights in {name} are of another kind or "
                f"size of classifier: {last}"
            ) from None
        return classifier.eval()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def check_dataset(self, dataset: ImageDataset) -> None:
        """Raise ClassifierError unless the classifier fits the images and classes of a data set."""
        ours = (self.channels, *self.image_size)
        theirs = (dataset.channels, *dataset.image_size)
        if ours != theirs:
            raise ClassifierError(
                f"the classifier is for images of (channels, height, width) {ours}, "
                f"but those of {dataset.name} are {theirs}"
            )
        if dataset.labels is not None and dataset.num_classes != self.num_classes:
            raise ClassifierError(
                f"the classifier has {self.num_classes} classes, "
                f"but {dataset.name} has {dataset.num_classes}"
            )


class ImageClassifier(PretrainedClassifier):
    """Convolutions, then 64 features, then one linear layer.

    The features are the output of a batch normalization without affine parameters. Each has a mean
    of about 0 and a variance of about 1 on the training images, so images without any variation
    have a Fréchet distance of at least about 64, whatever the classifier.

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
        width: int = 8,
        network: NetworkName = "plain",
    ):
        super().__init__(image_size, channels, num_classes)
        layers, outputs = make_trunk(network, image_size, channels, width)
        self.trunk = nn.Sequential(*layers)
        self.project = nn.Linear(outputs, FEATURE_DIM)
        self.normalize = nn.BatchNorm1d(FEATURE_DIM, affine=False)
        self.head = nn.Linear(FEATURE_DIM, num_classes)

    def features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 64"]:
        """Input of the last layer, for images in [-1, 1]."""
        return self.normalize(self.project(self.trunk(images)))

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Logits of the classes, for images in [-1, 1]."""
        return self.head(self.features(images))

    @torch.inference_mode()
    def predict(self, images: UInt8[Tensor, "N C H W"]) -> Int64[Tensor, " N"]:
        """The most probable label of each image, on the CPU; N at least 1."""
        parts = [
            self(to_signed_float(part).to(self.device)).argmax(dim=1).cpu()
            for part in images.split(INFERENCE_ROWS)
        ]
        return torch.cat(parts)


def accuracy(classifier: ImageClassifier, dataset: ImageDataset) -> float:
    """Share of the labeled images of a data set whose label the classifier predicts, in [0, 1].

    Raises:
        ClassifierError: the data have no labels, or the classifier does not fit them.
    """
    classifier.check_dataset(dataset)
    labeled = dataset.labeled
    if dataset.labels is None or len(labeled) == 0:
        raise ClassifierError(f"{dataset.name} has no labels to compare with")
    correct = 0
    for indices in labeled.split(INFERENCE_ROWS):
        labels = classifier.predict(dataset.images_uint8(indices))
        correct += int((labels == dataset.labels[indices].cpu()).sum())
    return correct / len(labeled)


def save_classifier(classifier: PretrainedClassifier, folder: str | Path, card: str) -> None:
    """Write a folder of :data:`CLASSIFIER_FILES`; it replaces what was there.

    Raises:
        WriteError: the folder cannot be created or written.
    """
    folder = Path(folder)
    make_folder(folder.parent)
    with replacing_folder(folder) as temporary:
        (temporary / "README.md").write_text(card, encoding="utf-8")
        classifier.save_pretrained(temporary)
