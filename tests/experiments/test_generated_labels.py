"""What generated images and predicted labels teach: which images and labels a classifier sees."""

from __future__ import annotations

from collections.abc import Callable

import generated_labels
import torch
from toys import random_images

from biglearn_gan import BigLearnGAN
from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset


def test_images_are_generated_for_every_label_equally_often() -> None:
    model = BigLearnGAN.from_pretrained("digits")
    images = generated_labels.generated_images(model, 40, seed=0)
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
    head = model.generator.label_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-100.0)
        head.bias[2] = 0.0
    images = ImageDataset("toy", random_images(5, 1, 8, 8), torch.tensor([2, 1, 0, 2, 3]), 10)
    assert generated_labels.predicted_labels(model, images).tolist() == [2] * 5
    assert generated_labels.accuracy_of_model(model, images) == 0.4


def test_the_table_has_percent() -> None:
    lines = generated_labels.table({"the model itself": 0.9637}).splitlines()
    assert lines[-1] == "| the model itself | 96.4 |"
