"""Token masks and sequences: polarity, checks and order."""

from __future__ import annotations

import dataclasses

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10_000)


def booleans(*rows: str) -> Tensor:
    return torch.tensor([[character == "1" for character in row] for row in rows])


class TestTokenMasks:
    def test_the_union_is_source_or_target(self) -> None:
        masks = TokenMasks(booleans("10010", "00001"), booleans("01000", "11000"))
        assert torch.equal(masks.union, booleans("11010", "11001"))

    def test_a_token_in_both_is_refused(self) -> None:
        with pytest.raises(ValueError, match="disjoint"):
            TokenMasks(booleans("100", "010"), booleans("001", "011"))

    def test_a_row_without_target_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one target token, but row"):
            TokenMasks(booleans("100", "110"), booleans("001", "000"))

    @pytest.mark.parametrize("target", [booleans("0011"), booleans("001", "001")])
    def test_unequal_shapes_are_refused_with_both_shapes(
        self, target: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
        with pytest.raises(ValueError, match="same shape") as caught:
            TokenMasks(booleans("100"), target)
        assert "(1, 3)" in str(caught.value)
        assert str(tuple(target.shape)) in str(caught.value)

    def test_masks_are_immutable(self) -> None:
        masks = TokenMasks(booleans("100"), booleans("011"))
        with pytest.raises(dataclasses.FrozenInstanceError):
            masks.source = masks.target  # type: ignore[misc]

    def test_no_source_is_allowed(self) -> None:
        sequence = TokenMasks(booleans("000"), booleans("101")).sequence()
        assert sequence.positions.tolist() == [[0, 2]]
        assert sequence.is_target.tolist() == [[True, True]]

    def test_on_another_device_roles_stay_the_same(self) -> None:
        moved = TokenMasks(booleans("100"), booleans("010")).to("cpu")
        assert torch.equal(moved.source, booleans("100"))
        assert torch.equal(moved.target, booleans("010"))


class TestSequence:
    def test_by_hand(self) -> None:
        masks = TokenMasks(booleans("10010", "00001"), booleans("01000", "01100"))
        sequence = masks.sequence()
        assert sequence.positions.tolist() == [[0, 1, 3], [1, 2, 4]]
        assert sequence.is_target.tolist() == [[False, True, False], [True, True, False]]
        assert sequence.positions.dtype == torch.int64

    @given(SEEDS, st.integers(1, 13))
    @PROPERTY
    def test_it_holds_each_present_token_once_in_raster_order(self, seed: int, count: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        order = torch.rand(5, 13, generator=rng).argsort(dim=1)
        union = order < count
        target = union & ((torch.rand(5, 13, generator=rng) < 0.4) | (order == 0))
        masks = TokenMasks(union & ~target, target)
        sequence = masks.sequence()
        for row in range(5):
            positions = sequence.positions[row].tolist()
            assert positions == [i for i in range(13) if masks.union[row, i]]
            assert sequence.is_target[row].tolist() == [bool(target[row, i]) for i in positions]

    def test_ragged_rows_are_refused_with_their_counts(self) -> None:
        masks = TokenMasks(booleans("10000", "11100", "00000"), booleans("01000", "00011", "10000"))
        with pytest.raises(ValueError, match=r"between 1 and 5.*group them"):
            masks.sequence()

    def test_repeat_concatenates_whole_batches(self) -> None:
        sequence = TokenSequence(torch.tensor([[0, 2], [1, 4]]), booleans("10", "01"))
        assert sequence.repeat(3).transforms is None
        rows = torch.arange(20.0).view(2, 2, 5)
        repeated = dataclasses.replace(sequence, transforms=rows).repeat(3)
        assert torch.equal(repeated.transforms, torch.cat([rows] * 3))
        assert repeated.positions.tolist() == [[0, 2], [1, 4]] * 3
        assert repeated.is_target.tolist() == [[True, False], [False, True]] * 3

    def test_the_other_device_gets_positions_and_roles(self) -> None:
        rows = torch.zeros(1, 2, 5)
        sequence = TokenSequence(torch.tensor([[0, 2]]), booleans("10"), rows)
        there = sequence.to(torch.device("meta"))
        for tensor in (there.positions, there.is_target, there.transforms):
            assert tensor.device.type == "meta"
