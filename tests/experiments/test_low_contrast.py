"""The study of low contrast: what it measures, and that standardized images learn alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import low_contrast
import pytest
import torch

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset

LABELED: dict[str, Any] = {"data.labels": True, "train.warm_start.share": 0.5}


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    """White images with one darker half, of which the label says which; 0.05 of all contrast."""
    labels = torch.arange(40) % 10
    pixels = torch.full((40, 1, 8, 8), 250, dtype=torch.uint8)
    for label in range(10):
        pixels[labels == label, :, :, :4] -= label
    result = ImageDataset("toy:train", pixels, labels, 10)
    monkeypatch.setattr(low_contrast, "load_training_images", lambda *_: result)
    return result


def test_a_change_is_made_to_all_pixels_and_keeps_the_labels(dataset: ImageDataset) -> None:
    everything = torch.arange(40)
    for name, expected in (("inverted", 5), ("a quarter as bright", 62), ("as they are", 250)):
        changed = low_contrast.changed(dataset, low_contrast.CHANGES[name])
        assert int(changed.images_uint8(everything)[0, 0, 0, 0]) == expected
        assert changed.labels is dataset.labels and changed.num_classes == 10


def test_measures_say_what_was_learned(
    dataset: ImageDataset, tiny_config: Callable[..., Config]
) -> None:
    """Standardized images are learned, and those of other contrast are not within these steps."""
    with_rate = LABELED | {"train.warm_start.learning_rate": 0.02}
    found = {
        standardize: low_contrast.learn(
            tiny_config(with_rate | {"data.standardize": standardize}), lambda p: p, 800
        )
        for standardize in (True, False)
    }
    assert found[True]["error"] < 0.8
    assert found[False]["error"] > found[True]["error"]
    untrained = low_contrast.learn(tiny_config(LABELED), lambda p: p, 40)
    assert untrained["nats"] < 0.1


def test_the_table_has_a_row_for_each_change() -> None:
    measures = {"error": 0.5, "nats": 1.0}
    results = {"inverted": {"standardized": measures, "not standardized": measures}}
    assert (
        low_contrast.table(results).splitlines()[-1] == "| inverted | 0.500, 1.00 | 0.500, 1.00 |"
    )
