"""Cached feature statistics of whole data sets.

The name of a cache file is a hash of the images, their transform, and the features. Its metadata
hold the SHA-256 of its arrays. A file that is damaged, or was not written here, is computed again.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.files import WriteError, make_folder, replacing
from biglearn_gan.metrics.classifier import INFERENCE_ROWS
from biglearn_gan.metrics.features import Features, StandardizedFeatures
from biglearn_gan.metrics.frechet import GaussianStatistics
from biglearn_gan.progress import ImageProgress

Transform = Callable[[UInt8[Tensor, "N C H W"], int], UInt8[Tensor, "N C H W"]]
"""Called with a batch of images and the index of its first image."""

HASH = "sha256"
NAMES = ("count", "mean", "scatter")


def default_cache() -> Path:
    """``$BIGLEARN_GAN_CACHE``, or ``~/.cache/biglearn_gan``."""
    return Path(os.environ.get("BIGLEARN_GAN_CACHE") or "~/.cache/biglearn_gan").expanduser()


def reference_statistics(
    features: Features,
    dataset: ImageDataset,
    *,
    cache: Path | None = None,
    transform: Transform | None = None,
    transform_key: str = "",
    progress: ImageProgress = lambda done, total: None,
) -> GaussianStatistics:
    """Moments of the features over all images of a data set, from the cache if it holds them.

    Memory does not grow with the number of images.

    Args:
        features: maps images to vectors.
        dataset: the images.
        cache: folder of the files, or None for no cache. If it cannot be written, there is a
            warning.
        transform: applied to the images first.
        transform_key: names the transform and everything that it depends on.
        progress: called with (images done, all images) after every batch; not called if the cache
            holds the moments.
    """
    if isinstance(features, StandardizedFeatures):  # their moments follow from the original ones
        return features.standardize(
            reference_statistics(
                features.features,
                dataset,
                cache=cache,
                transform=transform,
                transform_key=transform_key,
                progress=progress,
            )
        )
    if cache is None:
        return _measure(features, dataset, transform, progress)
    parts = (dataset.fingerprint(), transform_key, features.name, features.fingerprint)
    key = hashlib.sha256("\n".join((*parts, str(features.dimensions))).encode()).hexdigest()
    path = cache / f"{key[:32]}.safetensors"
    if path.exists():
        try:
            return _load(path, features.dimensions, len(dataset))
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            warnings.warn(f"{path}: damaged statistics are computed again ({error})", stacklevel=2)
    statistics = _measure(features, dataset, transform, progress)
    try:
        make_folder(cache)
        with replacing(path) as temporary:
            tensors = _tensors(statistics)
            save_file(tensors, temporary, {HASH: _hash(tensors)})
    except WriteError as error:
        warnings.warn(f"{cache}: statistics cannot be cached here ({error})", stacklevel=2)
    return statistics


def _measure(
    features: Features,
    dataset: ImageDataset,
    transform: Transform | None,
    progress: ImageProgress,
) -> GaussianStatistics:
    statistics = GaussianStatistics(features.dimensions)
    for indices in torch.arange(len(dataset)).split(INFERENCE_ROWS):
        images = dataset.images_uint8(indices).cpu()
        if transform is not None:
            images = transform(images, int(indices[0]))
        statistics.update(features(images))
        progress(statistics.count, len(dataset))
    return statistics


def _tensors(statistics: GaussianStatistics) -> dict[str, Tensor]:
    return {
        "count": torch.tensor(statistics.count),
        "mean": statistics.mean,
        "scatter": statistics.scatter.contiguous(),
    }


def _hash(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the bytes of count, mean and scatter, in this order."""
    digest = hashlib.sha256()
    for name in NAMES:
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _load(path: Path, dimensions: int, count: int) -> GaussianStatistics:
    """Load the moments of ``count`` vectors; ValueError if the file cannot hold them."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in NAMES}
        metadata = file.metadata() or {}
    mean, scatter = tensors["mean"], tensors["scatter"]
    if mean.shape != (dimensions,) or scatter.shape != (dimensions, dimensions):
        raise ValueError(f"moments of {tuple(mean.shape)} and {tuple(scatter.shape)}")
    if mean.dtype != torch.float64 or scatter.dtype != torch.float64:
        raise ValueError(f"moments in {mean.dtype} and {scatter.dtype}, not in float64")
    if not (mean.isfinite().all() and scatter.isfinite().all()):
        raise ValueError("moments that are not finite")
    if not torch.allclose(scatter, scatter.T, rtol=0, atol=1e-9 * float(scatter.abs().max())):
        raise ValueError("a covariance that is not symmetric")
    if tensors["count"].numel() != 1 or tensors["count"].item() != count:
        raise ValueError(f"a count of {tensors['count'].tolist()}, not {count}")
    if metadata.get(HASH) != _hash(tensors):
        raise ValueError(f"its arrays do not match its {HASH}")
    statistics = GaussianStatistics(dimensions)
    statistics.count, statistics.mean, statistics.scatter = count, mean, scatter
    return statistics
