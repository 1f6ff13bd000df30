"""Features of 8-bit images, in which distances are measured.

Any object with the attributes of :class:`Features` can be used. This module has the features of the
data set's own small classifier, those of pytorch-fid's Inception network, which the literature
uses, and those of EfficientNet-lite0, which needs no download.
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
from biglearn_gan.metrics.frechet import GaussianStatistics
from biglearn_gan.models.efficientnet import POOLED_CHANNELS, load_pooled_efficientnet
from biglearn_gan.models.feature_networks import IMAGENET_DEVIATION, IMAGENET_MEAN
from biglearn_gan.pixel_values import to_signed_float

INCEPTION_ROWS = 50
"""Images per pass, as in pytorch-fid."""

INCEPTION_DIMENSIONS = (64, 192, 768, 2048)

EFFICIENTNET_ROWS = 100
"""Images per pass."""

MIN_DEVIATION = 0.1
"""Smallest deviation that is divided by, as a share of the root mean square of all deviations."""

EFFICIENTNET_SIDE = 64
"""Images are enlarged until their shorter side has as many pixels."""


class FeaturesError(UserError):
    """A network of features cannot be loaded, or its features are not finite."""


class WeightsFileError(FeaturesError):
    """A file that the user named does not hold the weights of such a network."""

    exit_code = 2


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
            kind = FeaturesError if weights is None else WeightsFileError
            raise kind(
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


class EfficientNetFeatures:
    """The pooled 1,280 features of EfficientNet-lite0; gray images are repeated to RGB.

    Their scales differ much, so that :class:`StandardizedFeatures` should be measured in. Images
    with a side below 64 pixels are enlarged by bilinear interpolation.

    Args:
        device: where the network runs.

    Raises:
        FeatureNetworkError: the extra ``efficientnet`` is not installed.
    """

    name = f"efficientnet{POOLED_CHANNELS}"
    dimensions = POOLED_CHANNELS

    def __init__(self, device: torch.device | str = "cpu"):
        self._device = torch.device(device)
        self._network = load_pooled_efficientnet().to(self._device)
        self.fingerprint = fingerprint(self._network)

    @torch.inference_mode()
    def __call__(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        mean, deviation = (
            torch.tensor(values, device=self._device).view(3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )
        scale = max(1.0, EFFICIENTNET_SIDE / min(images.shape[-2:]))
        size = [round(scale * side) for side in images.shape[-2:]]
        parts = []
        for part in images.split(EFFICIENTNET_ROWS):
            rgb = part.to(self._device).expand(-1, 3, -1, -1).float() / 255
            rgb = F.interpolate(rgb, size, mode="bilinear") if scale > 1 else rgb
            parts.append(self._network((rgb - mean) / deviation).cpu())
        return _finite(torch.cat(parts), "EfficientNet")


class StandardizedFeatures:
    """Features with the mean and the deviation of a reference taken out of each dimension.

    A dimension that hardly varies in the reference is divided by a tenth of the root mean square of
    all deviations, because a few rare values would otherwise outweigh everything else.

    Args:
        features: any features.
        reference: their moments over the images that set mean and deviation.
    """

    def __init__(self, features: Features, reference: GaussianStatistics):
        self.features = features
        self.name = f"{features.name}-standardized"
        self.dimensions = features.dimensions
        self._mean = reference.mean
        variance = reference.covariance.diagonal()
        smallest = MIN_DEVIATION * float(variance.mean().sqrt())
        self._deviation = variance.sqrt().clamp_min(smallest or 1.0)
        digest = hashlib.sha256(features.fingerprint.encode())
        for values in (self._mean, self._deviation):
            digest.update(values.numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def __call__(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        return ((self.features(images).double() - self._mean) / self._deviation).float()

    def standardize(self, statistics: GaussianStatistics) -> GaussianStatistics:
        """The moments of these features, from those of the original features of any images."""
        result = GaussianStatistics(self.dimensions)
        result.count = statistics.count
        result.mean = (statistics.mean - self._mean) / self._deviation
        result.scatter = statistics.scatter / torch.outer(self._deviation, self._deviation)
        return result


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
        kind = FeaturesError if file is None else WeightsFileError
        raise kind(
            f"the weights of the Inception network cannot be loaded from "
            f"{cached if file is None else file} ({reason}): give another file, or "
            f"download {url} to {cached}"
        ) from None
    return state, str(file or cached)
