"""A fine-tuned network starts from the model's weights, and leaves the model as it was."""

from __future__ import annotations

import fine_tuned_network
import numpy as np
import pytest
import torch

from biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import NetworkName


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_labels_that_images_show_are_learned(
    network: NetworkName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuned_network, "STEPS", 30)
    model = BigLearnGAN.from_pretrained("digits")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    labels = np.arange(24) % 3
    rng = np.random.RandomState(0)
    images = rng.uniform(-1, -0.5, (24, 1, 8, 8)).astype(np.float32)
    images[np.arange(24), 0, 2 * labels] = 1.0  # class k has a bright row number 2 k
    one = fine_tuned_network.FineTunedNetwork(model, network, 3).fit(images[:12], labels[:12])
    assert one.predict(images[12:]).tolist() == labels[12:].tolist()
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    again = one.fit(images[:12], 2 - labels[:12])  # starts from the model once more
    assert again.predict(images[12:]).tolist() == (2 - labels[12:]).tolist()


def test_before_the_first_step_its_features_are_those_of_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fine_tuned_network, "LEARNING_RATE", 0.0)
    monkeypatch.setattr(fine_tuned_network, "STEPS", 1)
    model = BigLearnGAN.from_pretrained("digits")
    images = model.sample(5, seed=0)
    network = fine_tuned_network.FineTunedNetwork(model, "generator", 2)
    network.fit(images.numpy(), np.zeros(5, dtype=np.int64))
    head = network._head
    with torch.no_grad():
        head.weight[1, 0] = 1.0  # class 1 where the first feature is positive
    positive = model.features(images)[:, 0] > 0
    assert network.predict(images.numpy()).tolist() == positive.long().tolist()
