"""Features depend on the observed patches alone, and on nothing else in the batch."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import NETWORKS, NetworkName, check_layer


@pytest.fixture(scope="module")
def model() -> BigLearnGAN:
    return BigLearnGAN.from_pretrained("digits")


@pytest.fixture(scope="module")
def images(model: BigLearnGAN) -> torch.Tensor:
    return model.sample(10, seed=3)


@pytest.mark.parametrize("network", NETWORKS)
def test_hidden_pixels_change_no_bit(
    model: BigLearnGAN, images: torch.Tensor, network: NetworkName
) -> None:
    observed = torch.ones(10, 8, 8, dtype=torch.bool)
    observed[::2, :, 4:] = False
    observed[1, 3, 3] = False  # hides its patch
    features = model.features(images, observed=observed, network=network)
    noisy = torch.where(observed[:, None], images, torch.rand(images.shape) - 0.5)
    assert torch.equal(model.features(noisy, observed=observed, network=network), features)
    elsewhere = torch.where(observed[:, None], torch.rand(images.shape) - 0.5, images)
    others = model.features(elsewhere, observed=observed, network=network)
    assert not torch.isclose(others, features).all(dim=1).any()
    alone = model.features(images[3:5], observed=observed[3:5], network=network)
    assert torch.equal(alone, features[3:5])


@pytest.mark.parametrize("network", NETWORKS)
def test_the_last_layer_is_the_default(
    model: BigLearnGAN, images: torch.Tensor, network: NetworkName
) -> None:
    depth = getattr(model.config.model, network).depth
    layers = [model.features(images, network=network, layer=n) for n in range(1, depth + 1)]
    assert torch.equal(model.features(images, network=network), layers[-1])
    assert not any(torch.equal(one, other) for one, other in pairwise(layers))


def test_features_are_the_mean_of_normalized_tokens(
    model: BigLearnGAN, images: torch.Tensor
) -> None:
    """Each token has a root mean square of 1, so its mean has at most that."""
    features = model.features(images)
    assert features.shape == (10, model.config.model.generator.width)
    assert (features.square().mean(dim=1) <= 1).all()
    single = torch.zeros(8, 8, dtype=torch.bool)
    single[:2, :2] = True  # one patch
    of_one_token = model.features(images, observed=single)
    torch.testing.assert_close(of_one_token.square().mean(dim=1), torch.ones(10))


@pytest.mark.parametrize(
    ("network", "layer", "message"),
    [
        ("critic", None, "network must be one of generator, discriminator, not 'critic'"),
        ("generator", 0, "layer must be an integer from 1 to 2, the generator's depth, not 0"),
        ("discriminator", 3, "layer must be an integer from 1 to 2, the discriminator's depth, n"),
        ("generator", "2", "layer must be an integer from 1 to 2, the generator's depth, not '2'"),
        ("generator", 1.5, "the generator's depth, not 1.5"),
        ("generator", 2.0, "the generator's depth, not 2.0"),
        ("generator", True, "the generator's depth, not True"),
        ("generator", [1], "the generator's depth, not [1]"),
    ],
)
def test_an_unknown_layer_is_refused(
    model: BigLearnGAN, network: str, layer: object, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_layer(network, layer, model.config.model)
    assert "\n" not in str(caught.value)
    check_layer("generator", np.int64(2), model.config.model)


def test_an_image_needs_an_observed_patch(model: BigLearnGAN, images: torch.Tensor) -> None:
    observed = torch.ones(10, 8, 8, dtype=torch.bool)
    observed[4, ::2] = False
    with pytest.raises(ValueError, match="image 4 has no patch that is observed completely"):
        model.features(images, observed=observed)
