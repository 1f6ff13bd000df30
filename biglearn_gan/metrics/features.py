"""Features of 8-bit images, in which distances are measured.

Any object with the attributes of :class:`Features` can be used. This module has the features of the
data set's own small classifier, and those of pytorch-fid's Inception network, which the literature
uses.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, runtime_checkable
from unittest.mock import patch

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from biglearn_gan.errors import UserError
from biglearn_gan.files import check_space
from biglearn_gan.metrics.classifier import FEATURE_DIM, INFERENCE_ROWS, ImageClassifier
from biglearn_gan.pixel_values import to_signed_float

INCEPTION_ROWS = 50
"""Images per pass, as in pytorch-fid."""

INCEPTION_DIMENSIONS = (64, 192, 768, 2048)


class FeaturesError(UserError):
    """A network of features cannot be loaded, or its features are not finite."""


@runtime_checkable
class Features(Protocol):
    """A function from images to vectors.

    Attributes:
        name: part of the names of metrics.
        dimensions: D, the length of a vector.
        fingerprint: differs between networks of the same name.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def __call__(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Vectors on the CPU; each depends on its image only, up to rounding.

        Raises:
            FeaturesError: a number is not finite.
        """


class ClassifierFeatures:
    """The 64 features of an :class:`ImageClassifier`."""

    name = "classifier"
    dimensions = FEATURE_DIM

    def __init__(self, classifier: ImageClassifier):
        self.classifier = classifier.eval()
        self.fingerprint = fingerprint(classifier)

    @torch.inference_mode()
    def __call__(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        parts = [
            self.classifier.features(to_signed_float(part).to(self.classifier.device)).cpu()
            for part in images.split(INFERENCE_ROWS)
        ]
        return _finite(torch.cat(parts), "the classifier")


class InceptionFeatures:
    """pytorch-fid's InceptionV3 with its resizing and weights; gray images are repeated to RGB.

    Args:
        weights: a file with pytorch-fid's weights; None for its usual URL, which torch.hub caches.
        dimensions: 64, 192, 768 or 2048; selects the block whose spatial mean is returned.
        device: where the network runs.

    Raises:
        FeaturesError: the weights cannot be loaded or are those of another network, or no block
            has this number of dimensions.
    """

    def __init__(
        self,
        weights: Path | None = None,
        dimensions: int = 2048,
        device: torch.device | str = "cpu",
    ):
        from pytorch_fid import inception

        if dimensions not in INCEPTION_DIMENSIONS:
            allowed = ", ".join(map(str, INCEPTION_DIMENSIONS))
            raise FeaturesError(f"Inception features have {allowed} dimensions, not {dimensions}")
        self.name = f"inception{dimensions}"
        self.dimensions = dimensions
        self._device = torch.device(device)
        state, origin = _inception_weights(weights, inception.FID_WEIGHTS_URL)
        block = inception.InceptionV3.BLOCK_INDEX_BY_DIM[dimensions]
        try:
            with patch.object(inception, "load_state_dict_from_url", return_value=state):
                network = inception.InceptionV3([block])
        except (RuntimeError, TypeError, AttributeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FeaturesError(
                f"{origin} does not hold the weights of pytorch-fid's network ({reason})"
            ) from None
        self._network = network.to(self._device).eval()
        self.fingerprint = fingerprint(network)

    @torch.inference_mode()
    def __call__(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        parts = []
        for part in images.split(INCEPTION_ROWS):
            rgb = part.to(self._device).expand(-1, 3, -1, -1).float() / 255
            parts.append(F.adaptive_avg_pool2d(self._network(rgb)[0], 1).flatten(1).cpu())
        return _finite(torch.cat(parts), "the Inception network")


def fingerprint(network: nn.Module) -> str:
    """A hash of a network's weights."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _finite(features: Float[Tensor, "N D"], network: str) -> Float[Tensor, "N D"]:
    if not bool(features.isfinite().all()):
        raise FeaturesError(f"the weights of {network} give features that are not finite")
    return features


def _inception_weights(file: Path | None, url: str) -> tuple[Any, str]:
    """The weights and their origin; only tensors and plain values are unpickled."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        if file is not None:
            state = torch.load(file, map_location="cpu", weights_only=True)
        else:
            state = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, weights_only=True
            )
    except Exception as error:  # a damaged pickle can raise anything
        check_space(error, cached)
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, UnpicklingError):  # torch advises to unpickle everything
            reason = "it holds more than tensors"
        raise FeaturesError(
            f"the weights of the Inception network cannot be loaded from "
            f"{cached if file is None else file} ({reason}): give another file, or "
            f"download {url} to {cached}"
        ) from None
    return state, str(file or cached)
