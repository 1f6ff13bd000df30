"""Images and masks of all formats mean the same, and results come back as the images came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oblong import HEIGHT, WIDTH, ragged_holes
from PIL import Image
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.models.biglearn_gan import BigLearnGAN

COUNT, VARIATIONS = 3, 2
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@pytest.fixture
def gray(tiny_config: Callable[..., Config]) -> BigLearnGAN:
    """A model of gray images of 6 x 10 pixels with ten labels."""
    changes = {"data.labels": True, "data.image_size": [HEIGHT, WIDTH]}
    return BigLearnGAN(tiny_config(changes)).eval()


def random_bytes(channels: int = 3) -> Tensor:
    """Images (3, channels, 6, 10) in [0, 255]."""
    rng = torch.Generator().manual_seed(4)
    return torch.randint(256, (COUNT, channels, HEIGHT, WIDTH), generator=rng, dtype=torch.uint8)


def to_float(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    return ((images + 1) * 127.5).round().clamp(0, 255).byte()


def expected_bytes(model: BigLearnGAN, channels: int = 3) -> Tensor:
    """Completions of the random images as the model's own format gives them, then rounded."""
    images = to_float(random_bytes(channels))
    return to_bytes(model.complete(images, ragged_holes(COUNT), variations=VARIATIONS))


def complete(model: BigLearnGAN, images: Any, **options: Any) -> Any:
    return model.complete(images, ragged_holes(COUNT), variations=VARIATIONS, **options)


def channels_last(images: Tensor) -> np.ndarray:
    return images.movedim(-3, -1).numpy()


def test_tensors_come_back_as_tensors_of_their_type(model: BigLearnGAN) -> None:
    images, expected = random_bytes(), expected_bytes(model)
    completions = complete(model, images)
    assert completions.dtype == torch.uint8
    assert torch.equal(completions, expected)
    for dtype in DTYPES:
        completions = complete(model, to_float(images).to(dtype))
        assert completions.dtype == dtype
        difference = to_bytes(completions.float()).int() - expected.int()
        assert difference.abs().max() <= (2 if dtype == torch.bfloat16 else 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_known_pixels_are_unchanged_in_every_type(model: BigLearnGAN, dtype: torch.dtype) -> None:
    images = (2 * torch.rand(COUNT, 3, HEIGHT, WIDTH, dtype=torch.float64) - 1).to(dtype)
    known = ~ragged_holes(COUNT)[:, None, None].expand(-1, VARIATIONS, 3, -1, -1)
    originals = images[:, None].expand(-1, VARIATIONS, -1, -1, -1)
    assert torch.equal(complete(model, images)[known], originals[known])


def test_arrays_come_back_as_arrays_in_their_layout(model: BigLearnGAN) -> None:
    images, expected = random_bytes(), expected_bytes(model)
    first = complete(model, images.numpy())
    last = complete(model, channels_last(images))
    listed = complete(model, list(channels_last(images)))
    floats = complete(model, channels_last(to_float(images).double()))
    assert {each.dtype.name for each in (first, last, listed)} == {"uint8"}
    assert floats.dtype == np.float64
    assert np.array_equal(first, expected.numpy())
    assert np.array_equal(last, channels_last(expected))
    assert np.array_equal(listed, last)
    assert np.abs((floats + 1) * 127.5 - last).max() < 0.51
    read_only = images.numpy()[:, :, ::-1, ::-1][:, :, ::-1, ::-1]
    read_only.setflags(write=False)
    assert np.array_equal(complete(model, read_only), first)


def test_pil_images_come_back_as_pil_images(model: BigLearnGAN) -> None:
    images, expected = channels_last(random_bytes()), channels_last(expected_bytes(model))
    pictures = [Image.fromarray(image) for image in images]
    completions = complete(model, pictures)
    assert [len(row) for row in completions] == [VARIATIONS] * COUNT
    assert {picture.mode for row in completions for picture in row} == {"RGB"}
    assert np.array_equal([[np.asarray(each) for each in row] for row in completions], expected)
    palette = [picture.quantize(16) for picture in pictures]
    rgb = [picture.convert("RGB") for picture in palette]
    for picture, other in zip(complete(model, palette), complete(model, rgb), strict=True):
        assert picture == other


def test_a_single_image_comes_back_without_a_batch_axis(
    model: BigLearnGAN, gray: BigLearnGAN
) -> None:
    image, hole = random_bytes()[0], ragged_holes(COUNT)[0]
    expected = model.complete(image[None], hole, variations=VARIATIONS)[0]
    assert torch.equal(model.complete(image, hole, variations=VARIATIONS), expected)
    last = model.complete(channels_last(image), hole, variations=VARIATIONS)
    assert np.array_equal(last, channels_last(expected))
    picture = Image.fromarray(channels_last(image))
    pictures = model.complete(picture, hole, variations=VARIATIONS)
    assert np.array_equal([np.asarray(each) for each in pictures], last)
    flat = random_bytes(1)[0, 0]
    expected = gray.complete(flat[None, None], hole, variations=VARIATIONS)[0, :, 0]
    for each in (flat, flat.numpy(), Image.fromarray(flat.numpy())):
        result = gray.complete(each, hole, variations=VARIATIONS)
        assert np.array_equal([np.asarray(part) for part in result], expected.numpy())
    assert gray.classify(flat).shape == (10,)
    assert gray.draw_labels(flat, hole, variations=VARIATIONS).shape == (VARIATIONS,)
    assert model.rank(image, hole).shape == ()


def test_gray_images_without_a_channel_axis_are_not_guessed(gray: BigLearnGAN) -> None:
    with pytest.raises(ValueError, match=r"not \(3, 6, 10\); images\[:, None\] adds the channel"):
        gray.classify(random_bytes(1)[:, 0])


def test_output_chooses_another_format(model: BigLearnGAN) -> None:
    images, expected = random_bytes(), expected_bytes(model)
    arrays = complete(model, to_float(images), output="np")
    assert arrays.dtype == np.uint8
    assert np.array_equal(arrays, channels_last(expected))
    tensors = complete(model, channels_last(images), output="pt")
    assert tensors.dtype == torch.float32
    assert torch.equal(to_bytes(tensors), expected)
    pictures = complete(model, images.numpy(), output="pil")
    assert np.array_equal([[np.asarray(each) for each in row] for row in pictures], arrays)
    assert complete(model, to_float(images).half(), output="pt").dtype == torch.float16
    drawn = model.sample(COUNT)
    assert np.array_equal(model.sample(COUNT, output="np"), channels_last(to_bytes(drawn)))
    assert [each.size for each in model.sample(COUNT, output="pil")] == [(WIDTH, HEIGHT)] * COUNT


def test_numbers_are_arrays_if_the_images_are(gray: BigLearnGAN) -> None:
    images, hole = random_bytes(1), ragged_holes(COUNT)
    for method in (
        gray.classify,
        lambda x: gray.rank(x, hole),
        lambda x: gray.draw_labels(x, hole),
    ):
        expected = method(to_float(images))
        assert torch.equal(method(images), expected)
        result = method(images.numpy())
        assert isinstance(result, np.ndarray)
        assert np.array_equal(result, expected.numpy())
        pictures = [Image.fromarray(image[0]) for image in images.numpy()]
        assert torch.equal(method(pictures), expected)


def test_scores_take_all_formats(tiny_config: Callable[..., Config]) -> None:
    model = BigLearnGAN(tiny_config({"loss.logistic": 1.0})).eval()
    images = random_bytes(1)[..., :8].repeat(1, 1, 2, 1)[:, :, :8]
    target = np.zeros((8, 8), np.uint8)
    target[:, 4:] = 255
    expected = model.score(to_float(images), torch.tensor(target == 0), torch.tensor(target > 0))
    assert np.array_equal(model.score(images.numpy(), target == 0, target), expected.numpy())
    pictures = [Image.fromarray(image[0]) for image in images.numpy()]
    mask, inverse = Image.fromarray(target), Image.fromarray(255 - target)
    assert torch.equal(model.score(pictures, inverse, mask), expected)


def test_masks_of_all_formats_mean_the_same(model: BigLearnGAN) -> None:
    images, hole = random_bytes(), ragged_holes(COUNT)
    expected = model.complete(images, hole, absent=~hole)
    white = 255 * hole.byte()
    masks = [hole.numpy(), hole.float(), hole.half(), hole.long(), hole.byte(), white]
    masks += [white.numpy(), hole[:, None].numpy(), hole[..., None].numpy().astype(float)]
    masks += [list(hole), [Image.fromarray(each) for each in white.numpy()]]
    masks += [[Image.fromarray(each).convert("RGB") for each in white.numpy()]]
    masks += [[Image.fromarray(each).convert("1") for each in white.numpy()]]
    for mask in masks:
        assert torch.equal(model.complete(images, mask, absent=~hole), expected)
    soft = torch.where(hole, 0.9, 0.1)
    soft[0, 0] = torch.where(hole[0, 0], 0.6, 0.4)
    assert torch.equal(model.complete(images, soft, absent=~hole), expected)
    one = Image.fromarray(white[0].numpy())
    assert torch.equal(model.complete(images, one), model.complete(images, hole[0]))


def test_bright_bytes_cause_no_warning(
    model: BigLearnGAN, recwarn: pytest.WarningsRecorder
) -> None:
    complete(model, random_bytes() // 4 + 190)
    assert not recwarn.list


def test_values_without_bounds_are_neither_bytes_nor_pictures(
    tiny_config: Callable[..., Config],
) -> None:
    changes = {"model.generator.output": "linear"}
    model = BigLearnGAN(tiny_config(changes)).eval()
    assert model.sample(2, output="np").dtype == np.float32
    with pytest.raises(ValueError, match="output must be 'pt' or 'np': the model's values have no"):
        model.sample(2, output="pil")
    with pytest.raises(ValueError, match="images must be floats, not uint8"):
        model.complete(torch.zeros(2, 1, 8, 8).byte(), torch.ones(8, 8).bool())


def test_a_generator_draws_the_seed_and_moves_on(model: BigLearnGAN) -> None:
    images, hole = random_bytes(), ragged_holes(COUNT)
    generator = torch.Generator().manual_seed(7)
    first, second = (complete(model, images, generator=generator) for _ in range(2))
    assert not torch.equal(first, second)
    generator.manual_seed(7)
    assert torch.equal(complete(model, images, generator=generator), first)
    seed = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(7)))
    assert torch.equal(complete(model, images, seed=seed), first)
    drawn = model.sample(2, generator=torch.Generator().manual_seed(7))
    assert torch.equal(drawn, model.sample(2, seed=seed))
    assert torch.equal(model.complete(images, hole, seed=0), model.complete(images, hole))


def test_a_generator_draws_the_labels_of_the_completions(gray: BigLearnGAN) -> None:
    images, hole = random_bytes(1), ragged_holes(COUNT)
    labels = gray.draw_labels(images, hole, generator=torch.Generator().manual_seed(7))
    given, drawn = (
        gray.complete(images, hole, labels=each, generator=torch.Generator().manual_seed(7))
        for each in (labels, None)
    )
    assert torch.equal(given, drawn)
    of_numpy = gray.sample(COUNT, labels=np.array([3, 4, 5]))
    assert torch.equal(of_numpy, gray.sample(COUNT, labels=[3, 4, 5]))


def test_lists_of_images_are_batches(model: BigLearnGAN, gray: BigLearnGAN) -> None:
    hole = ragged_holes(COUNT)
    flat = random_bytes(1)
    expected = gray.complete(flat, hole, variations=VARIATIONS)
    for images in (list(flat[:, 0]), tuple(flat[:, 0].numpy())):  # gray, without a channel axis
        completions = gray.complete(images, hole, variations=VARIATIONS)
        assert type(completions) is type(images[0])
        assert np.array_equal(completions, expected[:, :, 0])
    one = gray.complete([flat[0, 0]], hole[:1], variations=VARIATIONS)
    assert torch.equal(one, expected[:1, :, 0])
    assert torch.equal(gray.classify(list(flat[:, 0])), gray.classify(flat))
    colored = random_bytes()
    expected = complete(model, colored)
    last = [channels_last(image) for image in colored]
    batches = [image[None] for image in colored]
    assert torch.equal(complete(model, list(colored)), expected)
    assert torch.equal(complete(model, batches), expected)
    assert np.array_equal(complete(model, last), channels_last(expected))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (torch.zeros(HEIGHT, WIDTH).byte(), r"not \(1, 6, 10\) and \(6, 10\)"),
        (torch.zeros(1, HEIGHT, WIDTH), r"not torch\.float32 and torch\.uint8"),
        (np.zeros((1, HEIGHT, WIDTH), np.uint8), "not np and pt"),
        (torch.zeros(1, HEIGHT, HEIGHT).byte(), r"not \(1, 6, 6\)"),
    ],
)
def test_lists_of_different_images_are_refused(gray: BigLearnGAN, second: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gray.classify([torch.zeros(1, HEIGHT, WIDTH).byte(), second])


def test_pil_images_of_other_modes_are_read_as_their_files(gray: BigLearnGAN) -> None:
    height, width = gray.config.data.image_size
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width) * 3
    hole = torch.ones(height, width, dtype=torch.bool)
    hole[0] = False
    for picture in (
        Image.fromarray(pixels.astype(np.uint16) * 256 + 255),  # of 16 bits, the upper 8
        Image.fromarray(pixels).convert("LA").convert("La"),
    ):
        (completion,) = gray.complete(picture, hole)
        assert completion.mode == "L"
        assert np.array_equal(np.asarray(completion)[0], pixels[0])
        same = gray.complete(Image.fromarray(pixels), hole)[0]
        assert np.array_equal(np.asarray(completion), np.asarray(same))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pil_images_are_turned_upright(orientation: int, gray: BigLearnGAN) -> None:
    upright, hole = random_bytes(1)[0, 0].numpy(), ragged_holes(COUNT)[0]
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]  # by 90 degrees to the left, as stored
    picture, mask = (
        Image.fromarray(np.ascontiguousarray(np.rot90(each, turns)))
        for each in (upright, hole.numpy())
    )
    for image in (picture, mask):
        image.getexif()[0x0112] = orientation
    expected = gray.complete(Image.fromarray(upright), hole)
    completed = gray.complete(picture, mask)
    assert completed == gray.complete([picture], mask)[0] == expected
    assert picture.getexif()[0x0112] == orientation  # the caller's image is not changed
