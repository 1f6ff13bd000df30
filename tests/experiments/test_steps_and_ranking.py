"""Choosing by the critic, and what its logit tells apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from steps_and_ranking import BestOf, other_images, told_apart

from biglearn_gan import BigLearnGAN
from biglearn_gan.inference.batched import rank_candidates

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> BigLearnGAN:
    return BigLearnGAN.from_pretrained(ROOT / "checkpoints" / "digits")


def test_the_best_of_one_is_a_completion(model: BigLearnGAN) -> None:
    images, hole = model.sample(3, seed=1), torch.zeros(3, 8, 8, dtype=torch.bool)
    hole[:, :5] = True
    plain = model.complete(images, hole, variations=2, seed=4, first_image=7)
    chosen = BestOf(model, 1).complete(images, hole, variations=2, seed=4, first_image=7)
    assert torch.equal(chosen, plain)


def test_of_several_the_critics_favorite_is_chosen_among_candidates_of_one_label(
    model: BigLearnGAN,
) -> None:
    images, hole = model.sample(3, seed=1), torch.zeros(3, 8, 8, dtype=torch.bool)
    hole[:, :5] = True
    labels = model.draw_labels(images, hole, variations=2, seed=4).repeat_interleave(3, dim=1)
    every = model.complete(images, hole, labels=labels, variations=6, seed=4)
    logits = rank_candidates(model, every, hole, labels).view(3, 2, 3)
    chosen = BestOf(model, 3).complete(images, hole, variations=2, seed=4)
    for row in range(3):
        for variation in range(2):
            best = 3 * variation + int(logits[row, variation].argmax())
            assert torch.equal(chosen[row, variation], every[row, best])


def test_what_is_absent_is_not_judged(model: BigLearnGAN) -> None:
    images, (hole, absent) = model.sample(3, seed=1), torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    hole[:, :5], absent[:, 6:] = True, True
    options = {"absent": absent, "variations": 2, "seed": 4}
    chosen = BestOf(model, 3).complete(images, hole, **options)
    other = images.masked_fill(absent[:, None], 0.5)
    again = BestOf(model, 3).complete(other, hole, **options)
    assert torch.equal(again[:, :, :, :6], chosen[:, :, :, :6])
    assert not torch.equal(BestOf(model, 3).complete(images, hole, variations=2, seed=4), chosen)


def test_images_that_are_none_are_told_from_digits(model: BigLearnGAN) -> None:
    data = model.config.data
    areas = told_apart(model, data, other_images(data, "digits"), 397)
    assert areas["the same with their pixels shuffled"] > 0.95
    assert 0.3 < areas["the model's own"] < 0.8
    assert areas["digits"] == pytest.approx(0.5)
