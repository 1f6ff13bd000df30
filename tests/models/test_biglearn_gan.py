"""What samples, completions and scores may and may not depend on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from oblong import HEIGHT, WIDTH, ragged_holes, random_images

from biglearn_gan.config import Config
from biglearn_gan.models.biglearn_gan import BigLearnGAN, ScoreError
from biglearn_gan.models.token_model import CHUNK_ROWS

# What a sample depends on


def test_samples_are_images(model: BigLearnGAN) -> None:
    samples = model.sample(7, seed=0)
    assert samples.shape == (7, 3, HEIGHT, WIDTH)
    assert samples.abs().max() <= 1
    assert not samples.requires_grad


def test_a_sample_does_not_depend_on_the_number_of_samples(model: BigLearnGAN) -> None:
    many = model.sample(CHUNK_ROWS + 7, seed=3)
    assert torch.equal(model.sample(3, seed=3), many[:3])
    assert len(many.flatten(1).unique(dim=0)) == CHUNK_ROWS + 7


def test_a_long_job_can_be_split(model: BigLearnGAN) -> None:
    images, hole = random_images(7), ragged_holes(7)
    whole = model.complete(images, hole, variations=2, seed=3)
    parts = [
        model.complete(images[part], hole[part], variations=2, seed=3, first_image=part.start)
        for part in (slice(0, 3), slice(3, 7))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_a_completion_does_not_depend_on_the_number_of_completions(model: BigLearnGAN) -> None:
    """Nor a variation on the others; 23 images of 5 variations are more than one chunk."""
    images, hole = random_images(23), ragged_holes(23)
    absent = torch.zeros_like(hole)
    absent[1::2, :, 8:] = True
    many = model.complete(images, hole, absent=absent, variations=5, seed=3)
    assert many.shape == (23, 5, 3, HEIGHT, WIDTH)
    for images_asked, variations in ((3, 1), (1, 5), (23, 2)):
        few = model.complete(
            images[:images_asked],
            hole[:images_asked],
            absent=absent[:images_asked],
            variations=variations,
            seed=3,
        )
        assert torch.equal(few, many[:images_asked, :variations])


def test_each_image_and_variation_has_its_own_noise(model: BigLearnGAN) -> None:
    """One source, three times: all of its twelve completions differ."""
    images, hole = random_images(1).repeat(3, 1, 1, 1), ragged_holes(5)[4:].repeat(3, 1, 1)
    completions = model.complete(images, hole, variations=4, seed=3)
    assert len(completions.flatten(0, 1).flatten(1).unique(dim=0)) == 12


def test_the_seed_decides(model: BigLearnGAN) -> None:
    torch.manual_seed(11)
    first = model.sample(5, seed=3)
    torch.manual_seed(12)
    assert torch.equal(model.sample(5, seed=3), first)
    others = model.sample(5, seed=4)
    assert not torch.isclose(others, first).flatten(1).all(dim=1).any()
    assert torch.equal(model.sample(5), model.sample(5, seed=0))


def test_sampling_does_not_change_global_random_numbers(model: BigLearnGAN) -> None:
    state = torch.get_rng_state()
    model.sample(3, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


# Holes


def test_known_pixels_are_returned_unchanged(model: BigLearnGAN) -> None:
    images, hole = random_images(11), ragged_holes(11)
    images[:, 0, 0] = -0.0
    images[:, 1, 1] = 1e-40  # denormal
    images[:, 2, 5] = 1.0005  # rounded
    completions = model.complete(images, hole, variations=2, seed=3)
    is_known = (~hole)[:, None, None].expand_as(completions)
    given = images[:, None].expand_as(completions)
    assert torch.equal(completions[is_known].view(torch.int32), given[is_known].view(torch.int32))
    assert (completions[~is_known] != given[~is_known]).all()
    assert (completions[~is_known].abs() <= 1).all()


def test_a_patch_that_a_hole_touches_is_regenerated_whole(model: BigLearnGAN) -> None:
    """Its known pixels are returned but not read; those of other patches are read."""
    images = random_images(1)
    hole = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    hole[0, 2, 4] = True  # of the patch with rows 2, 3 and columns 4, 5
    completion = model.complete(images, hole, seed=3)[0, 0, :, 2, 4]
    same_patch = images.clone()
    same_patch[..., 3, 5] = 0.5
    again = model.complete(same_patch, hole, seed=3)[0, 0]
    assert torch.equal(again[:, 2, 4], completion)
    assert torch.equal(again[:, 3, 5], torch.full((3,), 0.5))
    next_patch = images.clone()
    next_patch[..., 3, 6] = 0.5
    other = model.complete(next_patch, hole, seed=3)[0, 0, :, 2, 4]
    assert (other != completion).all()


def test_values_inside_the_hole_do_not_matter(model: BigLearnGAN) -> None:
    images, hole = random_images(5), ragged_holes(5)
    completion = model.complete(images, hole, seed=3)
    filled = torch.where(hole[:, None], torch.full_like(images, torch.nan), images)
    assert torch.equal(model.complete(filled, hole, seed=3), completion)


def test_a_hole_wins_over_absent_pixels_in_one_patch(model: BigLearnGAN) -> None:
    images = random_images(1)
    hole, absent = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    hole[0, 2, 4] = absent[0, 3, 5] = True
    completion = model.complete(images, hole, absent=absent, seed=3)
    assert torch.equal(completion, model.complete(images, hole, seed=3))


# The critic


def test_a_score_depends_on_source_and_target_only(
    tiny_config: Callable[..., Config],
) -> None:
    model = BigLearnGAN(tiny_config({"loss.logistic": 1.0})).eval()
    rng = torch.Generator().manual_seed(0)
    images = 1.6 * torch.rand(70, 1, *model.config.data.image_size, generator=rng) - 0.8
    source, target = (torch.zeros(70, *images.shape[2:]).bool() for _ in range(2))
    source[:, :, :4] = True
    target[:35, :2, 4:] = True  # rows differ in their counts
    target[35:, :, 4:6] = True
    scores = model.score(images, source, target)
    assert scores.shape == (70,)
    absent = ~(source | target)[:, None]
    assert torch.equal(model.score(images.masked_fill(absent, 9), source, target), scores)
    assert (model.score(images + 0.1 * source[:, None], source, target) != scores).all()
    assert (model.score(images + 0.1 * target[:, None], source, target) != scores).all()
    alone = model.score(images[5:6], source[5:6], target[5:6])
    assert torch.equal(alone, scores[5:6])


def test_relativistic_logits_are_not_absolute_scores(tiny_config: Callable[..., Config]) -> None:
    model = BigLearnGAN(tiny_config({"loss.logistic": 0.0, "loss.relativistic": 1.0}))
    everything = torch.ones(1, *model.config.data.image_size).bool()
    with pytest.raises(ScoreError, match=r"no absolute scores.*loss.logistic of 0"):
        model.score(torch.zeros(1, 1, *everything.shape[1:]), ~everything, everything)
