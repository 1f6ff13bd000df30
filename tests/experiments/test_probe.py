"""The probe study reads labels from features, and compares like with like."""

from __future__ import annotations

from pathlib import Path

import fine_tuned_network
import numpy as np
import probe
import pytest
import torch
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset


def striped_images(count: int) -> ImageDataset:
    """Class k has a bright row number k."""
    labels = torch.arange(count) % 4
    pixels = torch.randint(0, 2, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    pixels[torch.arange(count), 0, labels] += 150
    return ImageDataset("stripes:train", pixels.byte(), labels, 4)


def as_rows(images: Tensor) -> np.ndarray:
    return images.flatten(1).numpy()


def as_zeros(images: Tensor) -> np.ndarray:
    return np.zeros((len(images), 3))


def test_labels_are_read_from_features_that_show_them() -> None:
    data = striped_images(80)
    shown = probe.measure(as_rows, (data, data), [1, 10], 2, probe.probes)
    hidden = probe.measure(as_zeros, (data, data), [1, 10], 2, probe.probes)
    for kind in ("linear", "neighbors"):
        assert shown[kind] == {"1": [1.0, 1.0], "10": [1.0, 1.0]}
        assert hidden[kind] == {"1": [0.25, 0.25], "10": [0.25, 0.25]}


def test_fine_tuning_learns_what_random_weights_learn_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fine_tuned_network, "STEPS", 20)
    model = BigLearnGAN.from_pretrained("digits")
    data = load_dataset(model.config.data, "test")
    networks: dict[str, probe.Network] = {
        "random weights": (probe.untrained(model), "generator"),
        "generator": (model, "generator"),
    }
    results = probe.measure_fine_tuned(networks, (data, data), [5], 1)
    accuracies = {name: found["fine-tuned"]["5"][0] for name, found in results.items()}
    assert accuracies["random weights"] + 0.1 < accuracies["generator"]
    assert accuracies["generator"] > 0.85


def test_random_weights_are_those_of_no_training_and_always_the_same() -> None:
    model = BigLearnGAN.from_pretrained("digits")
    one, other = (probe.untrained(model).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    trained = model.state_dict()
    assert not any(torch.equal(one[name], trained[name]) for name in one if "trunk" in name)
    assert model.generator.training is False


def test_the_table_has_means_and_deviations_of_draws() -> None:
    results = {"raw": {"linear": {"1": [0.5, 0.7]}, "neighbors": {"1": [0.25, 0.25]}}}
    assert probe.table(results, [1]).splitlines() == [
        "| what is probed | linear, 1 | neighbors, 1 |",
        "|---|---|---|",
        "| raw | 60.0 ± 14.1 | 25.0 ± 0.0 |",
    ]


def test_more_labels_than_the_smallest_class_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CommandError, match=r"--labels must be at most 1\d\d, the images of the small"
    ):
        probe.main("digits", tmp_path / "probe.json", labels="1,2000", draws=1)
    assert not (tmp_path / "probe.json").exists()
