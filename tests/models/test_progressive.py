"""Progressive sampling: which parts, in which order, and that every part is given those before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biglearn_gan import BigLearnGAN
from biglearn_gan.config import Config
from biglearn_gan.models.progressive import OrderError, check_order, split_targets
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.tasks.token_masks import TokenMasks

GRID = (3, 4)
L = 12
ORDERS = ("random", "raster", "center-out")
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


def generators(rows: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(row) for row in range(rows)]


def everything(rows: int) -> TokenMasks:
    return TokenMasks(torch.zeros(rows, L).bool(), torch.ones(rows, L).bool())


@given(st.integers(1, L), st.sampled_from(ORDERS), st.integers(0, 1000))
@PROPERTY
def test_parts_cover_the_targets_once_given_all_earlier_ones(
    steps: int, order: str, seed: int
) -> None:
    draws = torch.rand(5, L, generator=torch.Generator().manual_seed(seed))
    target = draws < 0.6
    target[:, seed % L] = True
    source = ~target & (draws < 0.9)
    known = source.clone()
    name = check_order(order, steps, L)
    parts = list(split_targets(TokenMasks(source, target), GRID, steps, name, generators(5)))
    assert len(parts) == steps
    for step, (rows, part) in enumerate(parts, 1):
        assert torch.equal(part.source, known[rows])
        assert not (part.target & known[rows]).any()
        known[rows] |= part.target
        drawn = (known & target).sum(dim=1)
        assert torch.equal(drawn, -(-target.sum(dim=1) * step // steps))  # rounded up
    assert torch.equal(known, source | target)


def test_raster_order_is_row_by_row() -> None:
    parts = split_targets(everything(2), GRID, L, "raster", generators(2))
    for step, (_, part) in enumerate(parts):
        assert part.target.nonzero()[:, 1].tolist() == [step, step]


def test_center_out_draws_the_corners_last() -> None:
    (_, first), (_, last) = split_targets(everything(1), GRID, 2, "center-out", generators(1))
    inner = torch.zeros(GRID).bool()
    inner[1, 1:3] = True
    assert first.target[0][inner.flatten()].all()
    corners = torch.zeros(GRID).bool()
    corners[:: GRID[0] - 1, :: GRID[1] - 1] = True
    assert last.target[0][corners.flatten()].all()


def test_random_orders_differ_between_rows() -> None:
    (_, first), _ = split_targets(everything(20), GRID, 2, "random", generators(20))
    assert len(first.target.unique(dim=0)) == 20


@pytest.mark.parametrize(
    ("order", "steps", "message"),
    [
        ("random", 0, "steps must be 1 to 12, the tokens of an image, not 0"),
        ("random", 13, "steps must be 1 to 12, the tokens of an image, not 13"),
        ("spiral", 1, "order must be one of random, raster, center-out, not 'spiral'"),
    ],
)
def test_bad_orders_are_one_sentence(order: str, steps: int, message: str) -> None:
    with pytest.raises(OrderError) as caught:
        check_order(order, steps, L)
    assert str(caught.value) == message


class TestModel:
    @pytest.fixture
    def model(self, oblong_config: Config) -> BigLearnGAN:
        torch.manual_seed(0)
        return BigLearnGAN(oblong_config).eval()

    @pytest.fixture
    def task(self, model: BigLearnGAN) -> tuple[Tensor, TokenMasks]:
        """Tokens, and tasks with different numbers of sources, targets and absent tokens."""
        config = model.config
        draws = torch.rand(6, config.token_count, generator=torch.Generator().manual_seed(1))
        target = draws < 0.5
        target[:, 0] = True
        tokens = torch.rand(6, config.token_count, config.token_dim)
        return tokens, TokenMasks(~target & (draws < 0.9), target)

    def test_one_step_is_the_one_pass(
        self, model: BigLearnGAN, task: tuple[Tensor, TokenMasks]
    ) -> None:
        one = model.generate(*task, SamplingOptions(variations=2, seed=3))
        for order in ("raster", "center-out"):
            assert torch.equal(
                model.generate(*task, SamplingOptions(variations=2, seed=3, order=order)), one
            )

    def test_steps_are_passes_one_after_another(
        self, model: BigLearnGAN, task: tuple[Tensor, TokenMasks]
    ) -> None:
        """The first part is drawn as ever; the second reads it, and everything else stays."""
        tokens, masks = task
        options = SamplingOptions(seed=3, steps=2, order="raster")
        drawn = model.generate(tokens, masks, options)[:, 0]
        (rows, first), _ = split_targets(masks, model.config.grid_size, 2, "raster", generators(6))
        assert rows.tolist() == list(range(6))
        alone = model.generate(tokens, first, SamplingOptions(seed=3))[:, 0]
        assert torch.equal(drawn[first.target], alone[first.target])
        assert torch.equal(drawn[~masks.target], tokens[~masks.target])
        moved = tokens + 0.1 * masks.source[..., None]
        again = model.generate(moved, masks, options)[:, 0]
        assert (again != drawn)[masks.target].any()

    def test_neither_rows_nor_variations_change_a_sample(
        self, model: BigLearnGAN, task: tuple[Tensor, TokenMasks]
    ) -> None:
        tokens, masks = task
        many = model.generate(tokens, masks, SamplingOptions(variations=3, seed=3, steps=3))
        for row in range(6):
            part = TokenMasks(masks.source[row : row + 1], masks.target[row : row + 1])
            one = model.generate(
                tokens[row : row + 1], part, SamplingOptions(seed=3, steps=3, first_image=row)
            )
            assert torch.equal(one[0, 0], many[row, 0])
        hidden = masks.target[:, None].expand(-1, 3, -1)
        assert not torch.isclose(many[:, :1], many[:, 1:])[hidden[:, 1:]].any()


def test_whole_images_can_be_drawn_in_steps(tiny_config: Callable[..., Config]) -> None:
    model = BigLearnGAN(tiny_config()).eval()
    one, two = (model.sample(3, seed=1, steps=steps) for steps in (1, 2))
    assert one.shape == two.shape
    assert (one != two).any()
    with pytest.raises(OrderError, match="not 99"):
        model.sample(1, steps=99)


@pytest.mark.parametrize("partial_patches", [0.0, 0.5])
def test_more_steps_than_targets_draw_one_at_a_time(
    tiny_config: Callable[..., Config], partial_patches: float
) -> None:
    model = BigLearnGAN(tiny_config({"tasks.partial_patches": partial_patches})).eval()
    images = model.sample(2, seed=1)
    hole = torch.zeros(2, 8, 8, dtype=torch.bool)
    hole[0, 3, 3] = hole[1, 2:4, 1:7] = True
    drawn = model.complete(images, hole, seed=2, steps=16)
    alone = model.complete(images[:1], hole[:1], seed=2, steps=1)
    assert torch.equal(drawn[:1], alone)
    assert torch.equal(drawn[~hole[:, None, None]], images[:, None][~hole[:, None, None]])
    assert (drawn != images[:, None])[hole[:, None, None]].all()
