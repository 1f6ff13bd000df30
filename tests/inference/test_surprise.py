"""Surprise and critic quantile: closed forms, what they depend on, and what is refused."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from biglearn_gan import BigLearnGAN
from biglearn_gan.config import Config, load_config
from biglearn_gan.inference import surprise
from biglearn_gan.inference.surprise import (
    SPREAD_FLOOR,
    critic_loss,
    critic_quantile,
    joint_logits,
    judge_parts,
    mean_over_windows,
    own_logits,
    part_distance,
    quantile_among,
    sliding_windows,
    surprise_map,
)
from biglearn_gan.pixel_values import to_signed_float, to_uint8

H, W, K = 5, 7, 3


@pytest.fixture(scope="module")
def digits() -> BigLearnGAN:
    return BigLearnGAN.from_pretrained("digits")


@pytest.fixture(scope="module")
def images(digits: BigLearnGAN) -> torch.Tensor:
    return digits.sample(5, seed=3)


@pytest.fixture
def tiny(tiny_config: Callable[..., Config]) -> BigLearnGAN:
    """Reads the known pixels of a patch that a window cuts through."""
    return BigLearnGAN(tiny_config({"tasks.partial_patches": 0.5}))


def two_windows() -> torch.Tensor:
    """The upper left pixel, and the two pixels at its right."""
    holes = torch.zeros(2, H, W, dtype=torch.bool)
    holes[0, 0, 0] = True
    holes[1, 0, 1:3] = True
    return holes


def test_the_distance_of_completions_by_hand() -> None:
    """Completions 0, 0, 1.5 of a pixel have mean 0.5 and variance 0.75."""
    image = torch.rand(2, H, W, generator=torch.Generator().manual_seed(0)) - 0.5
    image[:, 0, :3] = torch.tensor([[0.1, 0.2, 0.3], [-0.5, 0.6, 0.7]])
    completions = image.repeat(2, K, 1, 1, 1)  # equal to the image outside of the windows
    completions[0, :, :, 0, 0] = torch.tensor([0.0, 0.0, 1.5])[:, None]
    distance = part_distance(image, two_windows(), completions)
    variance = (1 + 1 / K) * (0.75 + SPREAD_FLOOR**2)
    by_hand = (((0.1 - 0.5) ** 2 + (-0.5 - 0.5) ** 2) / 2 / variance) ** 0.5
    torch.testing.assert_close(distance, torch.tensor([by_hand, 0.0]))


def test_a_part_without_spread_is_measured_in_units_of_the_floor() -> None:
    image = torch.zeros(1, H, W)
    completions = image.repeat(2, K, 1, 1, 1)
    image[0, 0, 1:3] = 0.7
    distance = part_distance(image, two_windows(), completions)
    expected = 0.7 / (SPREAD_FLOOR * (1 + 1 / K) ** 0.5)
    torch.testing.assert_close(distance, torch.tensor([0.0, expected]))


def test_one_more_completion_has_a_distance_near_one() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = 20 * torch.randn(9, 1, 60, 60, generator=rng)  # far above the floor
    holes = torch.ones(1, 60, 60, dtype=torch.bool)
    distance = part_distance(drawn[0], holes, drawn[None, 1:])
    # of 8 normal values, the mean of 1 / variance is 7 / 5
    assert abs(distance.item() - (7 / 5) ** 0.5) < 0.1


def test_the_loss_of_the_critic_by_hand() -> None:
    logits = torch.tensor([2.0, 2.0, 2.0])
    others = torch.tensor([[2.0, 2.0], [-98.0, -98.0], [102.0, 2.0]])
    bits = 100 / torch.log(torch.tensor(2.0))
    expected = torch.tensor([1.0, 0.0, (float(bits) + 1) / 2])
    torch.testing.assert_close(critic_loss(logits, others), expected)
    torch.testing.assert_close(critic_loss(logits - 7, others - 7), expected)


def test_a_pixel_gets_the_mean_of_the_windows_that_cover_it() -> None:
    holes = torch.tensor([[[True, True, False]], [[False, True, True]]])
    values = mean_over_windows(torch.tensor([1.0, 4.0]), holes)
    assert values.tolist() == [[1.0, 2.5, 4.0]]


@pytest.mark.parametrize(
    ("name", "window", "stride", "count", "side"),
    [
        ("digits", None, None, 9, 4),  # 3/8 of 8 is 3, and patches have 2 pixels
        ("digits", 2, None, 16, 2),
        ("digits", 8, 8, 1, 8),
        ("mnist", None, None, 49, 10),
        ("mnist", 10, 10, 9, 10),  # the last windows end with the image
    ],
)
def test_windows_cover_every_pixel(
    name: str, window: int | None, stride: int | None, count: int, side: int
) -> None:
    holes = sliding_windows(load_config(name), window, stride)
    assert len(holes) == len(holes.unique(dim=0)) == count
    assert holes.any(dim=0).all()
    assert (holes.sum(dim=(1, 2)) == side**2).all()
    assert (holes.any(dim=2).sum(dim=1) == side).all()


def test_windows_of_an_oblong_image(oblong_config: Config) -> None:
    holes = sliding_windows(oblong_config, 4, 4)  # 6 x 10 pixels
    corners = [tuple(hole.nonzero()[0].tolist()) for hole in holes]
    assert corners == [(0, 0), (0, 4), (0, 6), (2, 0), (2, 4), (2, 6)]


def test_a_map_is_the_mean_of_distance_times_loss(
    digits: BigLearnGAN, images: torch.Tensor
) -> None:
    """Follow one window by the methods of the model."""
    holes = sliding_windows(digits.config)
    *_, parts = judge_parts(digits, images, holes, variations=4, seed=2)
    hole = holes[5]
    completions = digits.complete(images[-1], hole, variations=4, seed=2, first_image=5)
    assert torch.equal(parts.completions[5], completions)
    logits = digits.rank(torch.cat([images[-1:], completions]), hole)
    distance = part_distance(images[-1], hole[None], completions[None])
    torch.testing.assert_close(parts.distance[5:6], distance)
    torch.testing.assert_close(parts.critic_loss[5:6], critic_loss(logits[:1], logits[None, 1:]))
    total = sum(d * b * h for d, b, h in zip(parts.distance, parts.critic_loss, holes, strict=True))
    expected = total / holes.sum(dim=0)
    torch.testing.assert_close(parts.surprise_map(), expected)
    maps = surprise_map(digits, images, variations=4, seed=2)
    assert torch.equal(maps[-1], parts.surprise_map())


def test_a_map_does_not_depend_on_the_other_images(
    digits: BigLearnGAN, images: torch.Tensor
) -> None:
    maps = surprise_map(digits, images, variations=3)
    assert torch.equal(surprise_map(digits, images[3:], variations=3), maps[3:])
    assert torch.equal(surprise_map(digits, images.flip(0), variations=3), maps.flip(0))
    assert torch.equal(surprise_map(digits, images[2], variations=3), maps[2])
    other_seed = surprise_map(digits, images, variations=3, seed=1)
    assert not torch.isclose(other_seed, maps).any()


@pytest.mark.parametrize("name", ["digits", "tiny"])
def test_completions_depend_on_no_pixel_of_their_window(
    name: str, images: torch.Tensor, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    windows = sliding_windows(model.config)
    for hole in windows[:: len(windows) // 3]:
        noisy = torch.where(hole, torch.rand(images[:1].shape) - 0.5, images[:1])
        pair = torch.cat([images[:1], noisy])
        one, other = (
            next(judge_parts(model, each[None], hole[None], variations=2)) for each in pair
        )
        assert torch.equal(one.completions[..., hole], other.completions[..., hole])
        assert not torch.equal(one.distance, other.distance)


def test_a_pasted_part_is_the_most_surprising(digits: BigLearnGAN) -> None:
    images = digits.sample(10, labels=torch.arange(10), seed=0)
    changed = images.clone()
    changed[..., :4, :4] = changed[..., :4, :4].roll(3, 0).flip(-1)
    before, after = surprise_map(digits, images), surprise_map(digits, changed)
    assert np.median(after[:, :4, :4].mean((1, 2)) / before[:, :4, :4].mean((1, 2))) > 1.5
    assert (after - before)[:, :4, :4].mean() > 3 * (after - before)[:, 4:, 4:].mean()


def test_the_quantile_is_the_share_of_lower_logits(
    digits: BigLearnGAN, images: torch.Tensor
) -> None:
    own = torch.tensor([3.0, 1.0, 2.0, 5.0])
    levels = quantile_among(torch.tensor([0.0, 1.0, 2.5, 9.0]), own)
    assert levels.tolist() == [0.0, 0.0, 0.5, 1.0]
    quantiles = critic_quantile(digits, images, num=50, seed=4)
    logits = digits.rank(images, torch.ones(8, 8, dtype=torch.bool))
    assert torch.equal(joint_logits(digits, images), logits)
    expected = [
        float((joint_logits(digits, digits.sample(50, seed=4)) < logit).float().mean())
        for logit in logits
    ]
    assert quantiles.tolist() == pytest.approx(expected)
    assert torch.equal(critic_quantile(digits, images[1:3], num=50, seed=4), quantiles[1:3])


def test_batches_change_no_logit(digits: BigLearnGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the model's own images, and of given ones, in one chunk or several."""
    hole = torch.ones(8, 8, dtype=torch.bool)
    logits = digits.rank(digits.sample(70, seed=4), hole)
    done: list[int] = []
    for size, batches in ((64, [64, 6]), (30, [30, 30, 10])):
        monkeypatch.setattr(surprise, "BATCH_IMAGES", size)
        assert torch.equal(own_logits(digits, 70, 4, done.append), logits)
        assert torch.equal(joint_logits(digits, digits.sample(70, seed=4)), logits)
        assert done == batches
        done.clear()


def test_results_come_in_the_kind_of_the_images(digits: BigLearnGAN, images: torch.Tensor) -> None:
    maps = surprise_map(digits, to_signed_float(to_uint8(images)), variations=2)
    arrays = to_uint8(images).movedim(1, -1).numpy()
    from_arrays = surprise_map(digits, arrays, variations=2)
    assert isinstance(from_arrays, np.ndarray) and from_arrays.shape == (5, 8, 8)
    assert np.array_equal(from_arrays, maps.numpy())
    assert surprise_map(digits, images[0], variations=2).shape == (8, 8)
    assert isinstance(critic_quantile(digits, arrays, num=3), np.ndarray)
    assert critic_quantile(digits, images[0], num=3).shape == ()


def test_each_call_gives_one_hint_on_the_range(digits: BigLearnGAN) -> None:
    bright = torch.rand(1, 1, 8, 8)
    for call in (surprise_map, critic_quantile):
        with pytest.warns(UserWarning, match="no known pixel is below 0") as caught:
            call(digits, bright)
        assert len(caught) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be at least 1, not 0"),
        ({"window": 10}, "window must be at most 8 pixels, not 10"),
        ({"window": 3}, "window must be a multiple of 2 pixels, because this model only reads"),
        ({"window": 4.0}, "window must be an integer of at least 1, not 4.0"),
        ({"stride": 6}, "stride must be at most 4 pixels, not 6"),
        ({"window": 4, "stride": 1}, "stride must be a multiple of 2 pixels"),
        ({"variations": 1}, "variations must be at least 2, not 1"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_a_wrong_number_is_refused(
    unchecked: None,
    digits: BigLearnGAN,
    images: torch.Tensor,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        surprise_map(digits, images, **options)


def test_wrong_images_are_refused(digits: BigLearnGAN, images: torch.Tensor) -> None:
    for call in (surprise_map, critic_quantile):
        with pytest.raises(ValueError, match=re.escape("not (5, 1, 8, 7)")):
            call(digits, images[..., :7])
        with pytest.raises(ValueError, match=re.escape("images must be in [-1, 1], not")):
            call(digits, 3 * images)
    with pytest.raises(ValueError, match="num must be at least 1, not 0"):
        critic_quantile(digits, images, num=0)


@pytest.mark.parametrize("name", ["surprise_map", "critic_quantile"])
def test_an_example_prints_what_it_says(name: str) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    names = dict(vars(surprise))
    (example,) = finder.find(getattr(surprise, name), name, globs=names)
    failures: list[str] = []
    doctest.DocTestRunner().run(example, out=failures.append)
    assert example.examples and not failures, "".join(failures)
