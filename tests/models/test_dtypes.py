"""Models in other dtypes give nearly the results of float32, from the same noise."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.transformer import Transformer, rms_norm
from biglearn_gan.tasks.holes import named_hole

# mean and largest difference of pixels, which are in [-1, 1], as measured on 256 images, doubled
MOVES = {torch.float64: (1e-5, 1e-3), torch.float16: (1e-3, 0.05), torch.bfloat16: (1e-2, 0.4)}


@pytest.mark.parametrize("dtype", MOVES)
def test_results_are_near_those_of_float32(dtype: torch.dtype) -> None:
    mean, largest = MOVES[dtype]
    model = BigLearnGAN.from_pretrained("digits")
    images = model.sample(32, seed=5)
    hole = named_hole("right-half", (8, 8), patch_size=2, count=32, seed=0)
    labels = model.draw_labels(images, hole)

    def results() -> tuple[torch.Tensor, ...]:
        return (
            model.complete(images, hole, labels=labels)[..., 4:],
            model.sample(32, labels=3),
            model.classify(images, observed=~hole),
            model.rank(images, hole),
        )

    expected = results()
    converted = model.to(dtype)
    assert converted.dtype == dtype
    for value, reference in zip(results(), expected, strict=True):
        assert value.dtype == torch.float32
        difference = (value - reference).abs()
        assert difference.mean() < mean
        assert difference.max() < largest
    assert torch.equal(model.complete(images, hole)[:, 0, :, :, :4], images[..., :4])


def test_large_numbers_do_not_overflow_in_float16() -> None:
    """The squares of 300 and the sum of two blocks, 80,000, are above the largest float16."""
    x = torch.tensor([[300.0, -300.0]]).half()
    assert torch.equal(rms_norm(x), torch.tensor([[1.0, -1.0]]).half())
    trunk = Transformer(width=2, depth=2, heads=1).half()
    with torch.no_grad():
        for block in trunk.blocks:
            for parameter in block.parameters():
                parameter.zero_()
            block.feed_forward[2].bias.copy_(torch.tensor([40_000.0, -40_000.0]))
    assert torch.equal(
        trunk(torch.zeros(1, 3, 2).half()), torch.tensor([1.0, -1.0]).expand(1, 3, 2)
    )
