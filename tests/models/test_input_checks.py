"""Wrong images, masks and numbers are one sentence; unusual but valid ones are used."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from oblong import HEIGHT, WIDTH, ragged_holes, random_images
from PIL import Image
from torch import Tensor, nn

from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import range_is_known


def test_weights_of_two_dtypes_are_refused(model: BigLearnGAN) -> None:
    images, hole = random_images(2), ragged_holes(2)
    message = r"must have one dtype, not torch\.float16 and torch\.float32: model\.float\(\)"
    for part in (model.generator, model.discriminator):
        part.half()
        for call in (lambda: model.sample(2), lambda: model.rank(images, hole)):
            with pytest.raises(ValueError, match=message):
                call()
        part.float()
    assert len(model.sample(2)) == 2


def test_wrong_sizes_are_refused(model: BigLearnGAN) -> None:
    images, hole = random_images(2), ragged_holes(2)
    expected = r"\(N, C, H, W\) = \(N, 3, 6, 10\)"
    wrong: list[tuple[Tensor, Tensor]] = [
        (images[:, :1], hole),
        (nn.functional.pad(images, (0, 2)), nn.functional.pad(hole, (0, 2))),
        (images.transpose(2, 3), hole.transpose(1, 2)),
    ]
    for some_images, some_hole in wrong:
        with pytest.raises(ValueError, match=expected):
            model.complete(some_images, some_hole)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        model.complete(images, hole, variations=0)
    with pytest.raises(ValueError, match="the hole of image 1 is empty"):
        model.complete(images, hole & torch.tensor([True, False])[:, None, None])
    with pytest.raises(ValueError, match="seed must be at least 0, not -1"):
        model.sample(1, seed=-1)
    with pytest.raises(ValueError, match="first_image must be at least 0, not -1"):
        model.complete(images, hole, first_image=-1)


def test_only_integers_are_numbers_of_images_and_steps(unchecked: None, model: BigLearnGAN) -> None:
    for num in (2.5, "2", True, None):
        with pytest.raises(ValueError, match="num must be an integer of at least 1, not "):
            model.sample(num)  # type: ignore[arg-type]
    for steps in (1.5, 2.0):
        with pytest.raises(ValueError, match=f"steps must be 1 to 15, .* not {steps}"):
            model.sample(1, steps=steps)  # type: ignore[arg-type]


def test_integers_of_numpy_are_integers(unchecked: None, model: BigLearnGAN) -> None:
    num, seed, steps = np.int64(2), np.int32(3), np.int64(4)
    drawn = model.sample(num, seed=seed, steps=steps)  # type: ignore[arg-type]
    assert torch.equal(drawn, model.sample(2, seed=3, steps=4))


def test_masks_of_other_sizes_than_the_images_are_refused(
    unchecked: None, model: BigLearnGAN
) -> None:
    images, hole = random_images(2), ragged_holes(2)
    for wrong in (hole.repeat(2, 1, 1), hole[:, :4], hole.transpose(1, 2)):
        with pytest.raises(ValueError, match="hole must have the shape"):
            model.complete(images, wrong)
        with pytest.raises(ValueError, match="absent must have the shape"):
            model.complete(images, hole, absent=wrong)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": "cat.png"}, "images must be a torch tensor, a NumPy array, .*, not str"),
        ({"images": []}, "images must be .*, not an empty list"),
        ({"images": [[1.0], [2.0]]}, "images must be .*, not a list of lists"),
        (
            {"images": [torch.zeros(3, 6, 10), np.zeros((3, 6, 10), np.float32)]},
            "images in a list must be of one kind, size and type, not np and pt",
        ),
        (
            {"images": [torch.zeros(3, 6, 10), torch.zeros(6, 10, 3)]},
            r"of one kind, size and type, not \(3, 6, 10\) and \(6, 10, 3\)",
        ),
        (
            {"images": torch.zeros(2, 3, 6, 10).long()},
            r"floats in \[-1, 1\] or uint8 in \[0, 255\], not torch.int64",
        ),
        ({"images": np.full((2, 3, 6, 10), "x")}, "images must hold numbers of PyTorch, not <U1"),
        (
            {"images": Image.new("RGB", (6, 10))},
            r"10 x 6 pixels \(width x height\), not 6 x 10: image.resize\(\(10, 6\)\)",
        ),
        ({"images": Image.new("F", (10, 6))}, "images must be of PIL's mode L or RGB, not F"),
        (
            {"images": Image.new("RGBA", (10, 6))},
            r"has transparent pixels: image.convert\('RGB'\)",
        ),
        (
            {"images": torch.full((2, 3, 6, 10), 200.0)},
            r"in \[-1, 1\], not in .*200",
        ),
        ({"images": torch.full((2, 3, 6, 10), math.nan)}, "images must be finite"),
        ({"hole": None}, "hole must be a Boolean torch tensor, .*, not NoneType"),
        ({"hole": []}, "hole must be a Boolean torch tensor, .*, not an empty list"),
        ({"hole": torch.full((6, 10), 1.5)}, "Boolean, 0 and 1, or .* from 1.5 to 1.5"),
        ({"absent": -torch.ones(6, 10).int()}, "0 and 1, or black and white .* from -1 to -1"),
        ({"absent": torch.full((6, 10), 2).byte()}, "black and white .* from 2 to 2"),
        ({"hole": torch.full((6, 10), 128).byte()}, "hole must be black .* 100% of its values"),
        ({"hole": [np.ones((6, 10)), np.ones((6, 9))]}, "in a list must be of one kind and size"),
        (
            {"hole": Image.new("LA", (10, 6))},
            r"hole must be opaque, .*: mask.getchannel\('A'\) gives its alpha channel",
        ),
        ({"hole": "center"}, "hole must be pixels, not 'center': named_hole gives the pixels of"),
        ({"output": "jpg"}, "output must be one of 'pt', 'np', 'pil', or None, not 'jpg'"),
        ({"generator": 3}, "generator must be a torch.Generator, not int"),
        (
            {"generator": torch.Generator(), "seed": 3},
            "give a seed or a generator, not seed 3 and a generator",
        ),
    ],
)
def test_wrong_types_and_values_are_one_sentence(
    model: BigLearnGAN, changed: dict[str, Any], message: str
) -> None:
    arguments = {"images": random_images(2), "hole": ragged_holes(2)} | changed
    with pytest.raises(ValueError, match=message):
        model.complete(**arguments)


def test_values_inside_the_hole_are_not_checked(model: BigLearnGAN) -> None:
    images, hole = random_images(2), ragged_holes(2)
    nothing = images.masked_fill(hole[:, None], math.nan)
    assert torch.equal(model.complete(nothing, hole), model.complete(images, hole))


def test_zero_images_have_zero_completions(model: BigLearnGAN) -> None:
    images, hole = random_images(0), torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    assert model.complete(images, hole, variations=2).shape == (0, 2, 3, HEIGHT, WIDTH)


def test_one_mask_is_used_for_all_images(model: BigLearnGAN) -> None:
    images, hole = random_images(3), ragged_holes(1)
    expected = model.complete(images, hole.repeat(3, 1, 1), absent=~hole.repeat(3, 1, 1))
    for one in (hole[0], hole, hole[None], hole.repeat(3, 1, 1)[:, None]):
        assert torch.equal(model.complete(images, one, absent=~one), expected)


def test_images_in_0_to_1_cause_a_warning(model: BigLearnGAN) -> None:
    images, hole = random_images(3), ragged_holes(3)
    with pytest.warns(UserWarning, match=r"no known pixel is below 0: .* 2 \* x - 1"):
        model.complete((images + 1) / 2, hole)
    with pytest.warns(UserWarning) as caught:
        model.complete((images + 1) / 2, hole, variations=2)
    assert len(caught) == 1


def test_images_of_a_known_range_cause_none(model: BigLearnGAN) -> None:
    images, hole = (random_images(3) + 1) / 2, ragged_holes(3)
    with warnings.catch_warnings(action="error"):
        with range_is_known():
            model.complete(images, hole)
        with pytest.raises(UserWarning):
            model.complete(images, hole)
