"""What generated images and predicted labels teach: which images and labels a classifier sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import generated_labels
import pytest
import torch
from toy_models import always_predict
from toys import random_images

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset


def test_images_are_generated_for_every_label_equally_often() -> None:
    model = BigLearnGAN.from_pretrained("digits")
    images = generated_labels.images_for_labels(model, 40, seed=0)
    assert images.labels is not None
    assert torch.bincount(images.labels).tolist() == [4] * 10
    assert generated_labels.accuracy_of_model(model, images) > 0.8


def test_half_of_what_is_joined_comes_from_the_smaller_data_set() -> None:
    few = ImageDataset("few", random_images(2, 1, 4, 4), torch.tensor([0, 1]), 2)
    many = ImageDataset("many", random_images(7, 1, 4, 4), torch.ones(7).long(), 2)
    for both in (generated_labels.joined(few, many), generated_labels.joined(many, few)):
        assert both.labels is not None
        assert both.labels.tolist() == [0, 1, 0, 1, 0, 1, *[1] * 7]
        pixels = both.images_uint8(torch.arange(13))
        assert torch.equal(pixels[:6], few.images_uint8(torch.tensor([0, 1, 0, 1, 0, 1])))
        assert torch.equal(pixels[6:], many.images_uint8(torch.arange(7)))


def test_a_model_that_always_predicts_two_is_right_for_twos(
    tiny_config: Callable[..., Config],
) -> None:
    model = BigLearnGAN(tiny_config({"data.labels": True}))
    always_predict(model, 2)
    images = ImageDataset("toy", random_images(5, 1, 8, 8), torch.tensor([2, 1, 0, 2, 3]), 10)
    assert generated_labels.predicted_labels(model, images).tolist() == [2] * 5
    assert generated_labels.accuracy_of_model(model, images) == 0.4


def test_the_table_has_percent() -> None:
    lines = generated_labels.table({"the model itself": 0.9637}).splitlines()
    assert lines[-1] == "| the model itself | 96.4 |"


def test_every_classifier_learns_from_its_images_and_is_tested_on_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[ImageDataset] = []

    def remember(images: ImageDataset, /, **options: Any) -> ImageDataset:
        assert options == {"seed": 3, "images": 128, "horizontal_flip": False}
        seen.append(images)
        return images

    def share_of_test_images(classifier: ImageDataset, test: ImageDataset) -> float:
        assert test.name == "digits:test"
        return len(classifier) / 10_000

    monkeypatch.setattr(generated_labels, "train_classifier", remember)
    monkeypatch.setattr(generated_labels, "accuracy", share_of_test_images)
    model = BigLearnGAN.from_pretrained("digits")
    changes = {"labeled_images": 100, "labeled_seed": 1}
    data = model.config.data.model_copy(update=changes)
    model.config = model.config.model_copy(update={"data": data})
    model.save_pretrained(tmp_path / "model")
    output = tmp_path / "results.json"
    generated_labels.main(str(tmp_path / "model"), output, num=70, budget=128, seed=3)
    known, generated, both, predicted = seen
    assert [len(images) for images in seen[:3]] == [100, 70, 170]
    assert (known.name, generated.name) == (predicted.name, "generated")
    assert known.labels is not None and both.labels is not None
    assert torch.bincount(known.labels).tolist() == [10] * 10
    whole = load_dataset(data, "train")
    assert predicted.labels is not None and whole.labels is not None
    assert torch.equal(predicted.labels, generated_labels.predicted_labels(model, whole))
    assert 0.9 < float((predicted.labels == whole.labels).double().mean()) < 1
    results = json.loads(output.read_text(encoding="utf-8"))
    assert (results["seed"], results["generated"], results["budget"]) == (3, 70, 128)
    accuracies = list(results["accuracy"].values())
    assert accuracies[0] > 0.95
    assert accuracies[1:4] == [0.01, 0.007, 0.017]


def test_too_few_known_labels_are_told_before_anything_is_generated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(generated_labels, "images_for_labels", lambda *_: pytest.fail("too late"))
    model = BigLearnGAN.from_pretrained("digits")
    data = model.config.data.model_copy(update={"labeled_images": 50})
    model.config = model.config.model_copy(update={"data": data})
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(CommandError, match="has 50 labeled images: choose at least 64"):
        generated_labels.main(str(tmp_path / "model"), tmp_path / "results.json")
