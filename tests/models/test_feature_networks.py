"""Networks of torchvision give the outputs of their layers, and are not trained."""

from __future__ import annotations

import copy
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from biglearn_gan.models.efficientnet import FeatureNetworkError
from biglearn_gan.models.feature_networks import load_feature_network


def picture() -> torch.Tensor:
    return 2 * torch.linspace(-2, 2, 3 * 64 * 32).view(1, 3, 64, 32).sin()


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
