"""Tasks whose holes cut through patches: which pixels of target patches are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.tasks import partial_patches
from biglearn_gan.tasks.partial_patches import SCATTERED_SHARE, PartialPatchSampler
from biglearn_gan.tasks.patches import unpatchify
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training.trainer import Trainer


def tasks(rows: int, tokens: int, seed: int) -> TokenMasks:
    """Of each token with equal chances source, target or absent."""
    role = torch.randint(3, (rows, tokens), generator=torch.Generator().manual_seed(seed))
    role[:, 0] = 1
    return TokenMasks(role == 0, role == 1)


def drawn(law: PartialPatchSampler, masks: TokenMasks, seed: int = 0) -> tuple[TokenMasks, Tensor]:
    made = law.draw(masks, torch.Generator().manual_seed(seed))
    assert made.known_values is not None
    return made, made.known_values


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
    asked = tasks(6, tokens, seed)
    law = PartialPatchSampler(share, grid_size, patch_size, channels)
    made, kept = drawn(law, asked, seed)
    assert kept.shape == (6, tokens, channels * patch_size**2)
    assert torch.equal(made.union, asked.union)
    assert not kept[~made.target].any()
    assert not kept.all(dim=2).any()
    pixels = kept.view(6, tokens, channels, -1)
    assert (pixels == pixels[:, :, :1]).all()
    again, kept_again = drawn(law, asked, seed)
    assert torch.equal(kept_again, kept) and torch.equal(again.target, made.target)


def test_a_share_of_the_tasks_is_partial_and_the_others_are_unchanged() -> None:
    half = torch.arange(16).expand(4000, 16) < 8
    asked = TokenMasks(half, ~half)
    made, kept = drawn(PartialPatchSampler(0.3, (4, 4), 7, 1), asked)
    keeps = kept.flatten(1).any(dim=1)
    assert 0.25 < float(keeps.double().mean()) < 0.3 + 0.03  # a brush may hide all, or nothing
    shares = kept[kept.any(dim=2)].double().mean(dim=1)
    assert shares.min() < 0.05 and shares.max() > 0.95
    unchanged = (made.target == asked.target).all(dim=1)
    assert float((~unchanged & ~keeps).double().mean()) < 0.01
    everywhere = float((keeps & made.target.all(dim=1)).double().mean())
    assert 0.3 * SCATTERED_SHARE - 0.02 < everywhere < 0.3 * SCATTERED_SHARE + 0.06
    never, nothing = drawn(PartialPatchSampler(0.0, (4, 4), 7, 1), asked)
    assert torch.equal(never.target, asked.target) and not nothing.any()


def moved(target: Tensor, patch_size: int) -> Tensor:
    """What is hidden, (4000, H, W), where every hole is moved."""
    asked = TokenMasks(~target, target).rows(torch.zeros(4000, dtype=torch.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial_patches, "SCATTERED_SHARE", 0.0)
        patch.setattr(partial_patches, "BRUSHED_SHARE", 0.0)
        made, kept = drawn(PartialPatchSampler(1.0, (4, 4), patch_size, 1), asked)
    return unpatchify(made.target[..., None] & ~kept, (4, 4), patch_size)[:, 0]


def test_a_moved_box_is_still_one_box_of_up_to_twice_its_size() -> None:
    box = torch.zeros(1, 4, 4, dtype=torch.bool)
    box[:, 1:3, 1:3] = True
    hidden = moved(box.flatten(1), 4)  # 8 x 8 pixels of 16 x 16
    heights, widths = (hidden.any(dim=d).sum(dim=1) for d in (2, 1))
    upright = hidden.sum(dim=(1, 2)) == heights * widths
    assert 0.5 - 0.03 < float(upright.double().mean()) < 0.7  # small ones turn into one, too
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
    rows = hidden[straight][:, 0]
    assert (rows.long().diff(dim=1).abs().sum(dim=1) == 1).all()  # one edge, no strip beyond it
    given = (~rows).sum(dim=1)
    assert set(given.tolist()) >= set(range(1, 16))
    assert float((given % 4 > 0).double().mean()) > 0.5


def test_a_task_without_a_source_gets_no_known_values() -> None:
    everything = torch.ones(50, 16, dtype=torch.bool)
    made, kept = drawn(PartialPatchSampler(1.0, (4, 4), 7, 1), TokenMasks(~everything, everything))
    assert not kept.any()
    assert torch.equal(made.target, everything)


def test_only_targets_have_known_values() -> None:
    source, target = torch.tensor([[True, False]]), torch.tensor([[False, True]])
    TokenMasks(source, target, torch.tensor([[[False, False], [True, False]]]))
    with pytest.raises(ValueError, match="only target tokens can have known values"):
        TokenMasks(source, target, torch.tensor([[[True, False], [True, False]]]))


def test_sequences_and_rows_carry_known_values() -> None:
    source = torch.tensor([[True, False, False], [False, False, True]])
    target = torch.tensor([[False, False, True], [True, False, False]])
    kept = torch.zeros(2, 3, 2, dtype=torch.bool)
    kept[0, 2, 1] = kept[1, 0, 0] = True
    masks = TokenMasks(source, target, kept)
    sequence = masks.sequence()
    assert sequence.positions.tolist() == [[0, 2], [0, 2]]
    expected = [[[False] * 2, [False, True]], [[True, False], [False] * 2]]
    assert sequence.known_values is not None and sequence.known_values.tolist() == expected
    generated = [[[False] * 2, [True, False]], [[False, True], [False] * 2]]
    assert sequence.generated_values.tolist() == generated
    assert sequence.repeat(2).known_values.tolist() == 2 * expected
    assert sequence.to(torch.device("meta")).known_values.device.type == "meta"
    second = masks.rows(torch.tensor([1]))
    assert torch.equal(second.known_values, kept[1:]) and torch.equal(second.source, source[1:])
    assert torch.equal(masks.to("cpu").known_values, kept)


# Training


def test_training_reads_them_and_transfers_their_layer(
    tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
) -> None:
    config = tiny_config({"tasks.partial_patches": 0.7, "train.warm_start.share": 0.5})
    trainer = Trainer(config, tiny_dataset, Accelerator(cpu=True), 48)
    training = trainer.adversarial
    start = training.generator.embedding.known_values.weight.clone()
    while trainer.in_warm_start:
        trainer.step()
    assert not torch.equal(training.generator.embedding.known_values.weight, start)
    training.transfer_to_discriminator()
    ours, theirs = (
        n.embedding.known_values.weight for n in (training.discriminator, training.generator)
    )
    assert torch.equal(ours, theirs)
    while not trainer.finished:
        trainer.step()
    assert not torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"model.patch_size": 1},
            "tasks.partial_patches: no hole cuts through a patch of one pixel",
        ),
        (
            {
                "tasks": {
                    "components": [{"name": "x", "weight": 1, "domain": "orthogonal"}],
                    "partial_patches": 0.5,
                },
                "model.generator.output": "linear",
                "train.warm_start.share": 0.0,
            },
            "holds no pixels; set tasks.partial_patches to 0",
        ),
    ],
)
def test_impossible_partial_patches_are_refused(
    tiny_config: Callable[..., Config], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        tiny_config({"tasks.partial_patches": 0.5} | changes)
