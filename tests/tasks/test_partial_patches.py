"""Tasks whose holes cut through patches: which pixels of target patches are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biglearn_gan.tasks import partial_patches
from biglearn_gan.tasks.partial_patches import SCATTERED_SHARE, PartialPatchSampler
from biglearn_gan.tasks.patches import unpatchify
from biglearn_gan.tasks.token_masks import TokenMasks


def random_masks(rows: int, tokens: int, seed: int) -> TokenMasks:
    """Each token is source, target or absent, with equal chances."""
    role = torch.randint(3, (rows, tokens), generator=torch.Generator().manual_seed(seed))
    role[:, 0] = 1
    return TokenMasks(role == 0, role == 1)


def draw_tasks(
    sampler: PartialPatchSampler, masks: TokenMasks, seed: int = 0
) -> tuple[TokenMasks, Tensor]:
    """The drawn tasks and their known values."""
    drawn = sampler.draw(masks, torch.Generator().manual_seed(seed))
    assert drawn.known_values is not None
    return drawn, drawn.known_values


@given(
    st.integers(0, 2**32),
    st.sampled_from([(3, 3), (2, 5), (4, 1)]),
    st.integers(2, 7),
    st.integers(1, 3),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_known_values_are_whole_pixels_and_never_a_whole_target(
    seed: int, grid_size: tuple[int, int], patch_size: int, channels: int, share: float
) -> None:
    tokens = math.prod(grid_size)
    masks = random_masks(6, tokens, seed)
    sampler = PartialPatchSampler(share, grid_size, patch_size, channels)
    drawn, known = draw_tasks(sampler, masks, seed)
    assert known.shape == (6, tokens, channels * patch_size**2)
    assert torch.equal(drawn.union, masks.union)
    assert not known[~drawn.target].any()
    assert not known.all(dim=2).any()
    pixels = known.view(6, tokens, channels, -1)
    assert (pixels == pixels[:, :, :1]).all()
    again, known_again = draw_tasks(sampler, masks, seed)
    assert torch.equal(known_again, known) and torch.equal(again.target, drawn.target)


def test_a_share_of_the_tasks_is_partial_and_the_others_are_unchanged() -> None:
    half = torch.arange(16).expand(4000, 16) < 8
    masks = TokenMasks(half, ~half)
    drawn, known = draw_tasks(PartialPatchSampler(0.3, (4, 4), 7, 1), masks)
    is_partial = known.flatten(1).any(dim=1)
    assert 0.25 < float(is_partial.double().mean()) < 0.3 + 0.03  # a band can cover all or nothing
    shares = known[known.any(dim=2)].double().mean(dim=1)
    assert shares.min() < 0.05 and shares.max() > 0.95
    unchanged = (drawn.target == masks.target).all(dim=1)
    assert float((~unchanged & ~is_partial).double().mean()) < 0.01
    everywhere = float((is_partial & drawn.target.all(dim=1)).double().mean())
    assert 0.3 * SCATTERED_SHARE - 0.02 < everywhere < 0.3 * SCATTERED_SHARE + 0.06
    never, nothing = draw_tasks(PartialPatchSampler(0.0, (4, 4), 7, 1), masks)
    assert torch.equal(never.target, masks.target) and not nothing.any()


def moved(target: Tensor, patch_size: int) -> Tensor:
    """Generated pixels, (4000, H, W), if every hole is moved."""
    masks = TokenMasks(~target, target).rows(torch.zeros(4000, dtype=torch.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial_patches, "SCATTERED_SHARE", 0.0)
        patch.setattr(partial_patches, "BRUSHED_SHARE", 0.0)
        drawn, known = draw_tasks(PartialPatchSampler(1.0, (4, 4), patch_size, 1), masks)
    return unpatchify(drawn.target[..., None] & ~known, (4, 4), patch_size)[:, 0]


def test_a_moved_box_is_still_one_box_of_up_to_twice_its_size() -> None:
    box = torch.zeros(1, 4, 4, dtype=torch.bool)
    box[:, 1:3, 1:3] = True
    hidden = moved(box.flatten(1), 4)  # 8 x 8 pixels of 16 x 16
    heights, widths = (hidden.any(dim=d).sum(dim=1) for d in (2, 1))
    upright = hidden.sum(dim=(1, 2)) == heights * widths
    assert 0.5 - 0.03 < float(upright.double().mean()) < 0.7  # rotated small ones can be, too
    inside = ~(hidden[:, 0].any(1) | hidden[:, -1].any(1) | hidden[:, :, 0].any(1))
    inside &= ~hidden[:, :, -1].any(1) & upright
    assert {4, 5, 6, 7, 8, 9, 10, 11, 12} <= set(heights[inside].tolist()) <= set(range(3, 15))
    cut = (heights % 4 > 0) & inside
    assert float(cut.double().mean()) > 0.2
    assert hidden.flatten(1).any(dim=1).all() and not hidden.flatten(1).all(dim=1).any()


def test_a_moved_side_extends_to_the_border() -> None:
    side = torch.zeros(1, 4, 4, dtype=torch.bool)
    side[:, :, 2:] = True
    hidden = moved(side.flatten(1), 4)
    straight = (hidden == hidden[:, :1]).all(dim=(1, 2))
    assert 0.5 - 0.03 < float(straight.double().mean()) < 0.55
    rows = hidden[straight & ~hidden.flatten(1).all(dim=1)][:, 0]  # few holes cover everything
    assert len(rows) > 0.99 * int(straight.sum())
    assert (rows.long().diff(dim=1).abs().sum(dim=1) == 1).all()  # one edge
    given = (~rows).sum(dim=1)
    assert set(given.tolist()) >= set(range(1, 16))
    assert float((given % 4 > 0).double().mean()) > 0.5


def test_a_task_without_a_source_gets_no_known_values() -> None:
    everything = torch.ones(50, 16, dtype=torch.bool)
    drawn, known = draw_tasks(
        PartialPatchSampler(1.0, (4, 4), 7, 1), TokenMasks(~everything, everything)
    )
    assert not known.any()
    assert torch.equal(drawn.target, everything)


def test_only_targets_have_known_values() -> None:
    source, target = torch.tensor([[True, False]]), torch.tensor([[False, True]])
    TokenMasks(source, target, torch.tensor([[[False, False], [True, False]]]))
    with pytest.raises(ValueError, match="only target tokens can have known values"):
        TokenMasks(source, target, torch.tensor([[[True, False], [True, False]]]))


def test_sequences_and_rows_carry_known_values() -> None:
    source = torch.tensor([[True, False, False], [False, False, True]])
    target = torch.tensor([[False, False, True], [True, False, False]])
    known = torch.zeros(2, 3, 2, dtype=torch.bool)
    known[0, 2, 1] = known[1, 0, 0] = True
    masks = TokenMasks(source, target, known)
    sequence = masks.sequence()
    assert sequence.positions.tolist() == [[0, 2], [0, 2]]
    expected = [[[False] * 2, [False, True]], [[True, False], [False] * 2]]
    assert sequence.known_values is not None and sequence.known_values.tolist() == expected
    generated = [[[False] * 2, [True, False]], [[False, True], [False] * 2]]
    assert sequence.generated_values.tolist() == generated
    assert sequence.repeat(2).known_values.tolist() == 2 * expected
    assert sequence.to(torch.device("meta")).known_values.device.type == "meta"
    second = masks.rows(torch.tensor([1]))
    assert torch.equal(second.known_values, known[1:]) and torch.equal(second.source, source[1:])
    assert torch.equal(masks.to("cpu").known_values, known)
