"""Frozen networks trained on ImageNet, whose feature maps images are compared in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from biglearn_gan.files import check_space
from biglearn_gan.models.efficientnet import FeatureNetworkError, load_efficientnet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of the red, green and blue values of ImageNet's images in [0, 1]."""


def load_feature_network(name: str, layers: Sequence[int]) -> nn.Module:
    """A frozen network on the CPU that maps images to the outputs of some layers, a list.

    Its images (B, 3, H, W) have ImageNet's mean and deviation taken out.

    Args:
        name: ``efficientnet``, or a network of torchvision with ``features``, such as ``vgg16``.
        layers: blocks of EfficientNet-lite0, 0 to 15, or places in ``features``.

    Raises:
        FeatureNetworkError: there is no such network or layer, the extra ``efficientnet`` is not
            installed, or torchvision's weights cannot be downloaded.
    """
    if name == "efficientnet":
        return load_efficientnet(layers)
    return _load_torchvision(name, layers)


def normalize_channels(
    features: Float[Tensor, "B C H W"], eps: float = 1e-3
) -> Float[Tensor, "B C H W"]:
    """Feature maps divided by their root mean square over channels, with ε under the root."""
    return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + eps)


class SequentialFeatures(nn.Module):
    """The outputs of some layers of a sequence; later layers are left out.

    Args:
        network: its layers.
        layers: places of the layers, from 0.
    """

    def __init__(self, network: nn.Sequential, layers: Sequence[int]):
        super().__init__()
        self.layers = tuple(layers)
        self.network = network[: max(layers) + 1]
        for module in self.network.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # type: ignore[assignment]  # it would change its input

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The output of each layer of ``layers``, in the order of the network."""
        x, outputs = images, []
        for number, layer in enumerate(self.network):
            x = layer(x)
            if number in self.layers:
                outputs.append(x)
        return outputs


def _load_torchvision(name: str, layers: Sequence[int]) -> SequentialFeatures:
    """See :func:`load_feature_network`."""
    from torchvision.models import get_model, get_model_weights, list_models

    with torch.device("meta"):  # without memory for weights
        untrained = get_model(name, weights=None) if name in list_models() else None
    features = getattr(untrained, "features", None)
    has_channels_last = name.startswith("swin")
    if has_channels_last or not isinstance(features, nn.Sequential):
        raise FeatureNetworkError(
            "loss.perceptual.network must be efficientnet, or a network of torchvision with "
            f"`features`, such as vgg16, not {name!r}"
        )
    if max(layers) >= len(features):
        raise FeatureNetworkError(
            f"loss.perceptual.layers: {name} has the layers 0 to {len(features) - 1}, not "
            f"{max(layers)}"
        )
    weights = get_model_weights(name).DEFAULT
    try:
        network = get_model(name, weights=weights)
    except Exception as error:  # no network, or a damaged file, which can raise anything
        cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        check_space(error, cached)
        reason = " ".join(str(error).split())[:200]
        raise FeatureNetworkError(
            f"the weights of {name} cannot be loaded from {weights.url} ({reason}): put that file "
            f"at {cached}"
        ) from None
    return SequentialFeatures(network.features, layers).requires_grad_(False).eval()
