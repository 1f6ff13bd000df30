"""The transformer against its formulas."""

from __future__ import annotations

import math

import torch
from torch import nn

from biglearn_gan.models.transformer import (
    Attention,
    Block,
    rms_norm,
    twice_differentiable_attention,
)

B, M = 3, 7


def test_rms_norm_by_hand() -> None:
    x = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
    mean_squares = torch.tensor([[12.5], [0.5]])
    torch.testing.assert_close(rms_norm(x, eps=0.0), x / mean_squares.sqrt())


def test_rms_norm_has_first_and_second_derivatives(float64: None) -> None:
    x = torch.randn(B, M, 5, requires_grad=True)
    assert torch.autograd.gradcheck(rms_norm, x)
    assert torch.autograd.gradgradcheck(rms_norm, x)
    with torch.no_grad():
        torch.testing.assert_close(
            rms_norm(x), rms_norm(x.clone().requires_grad_()), rtol=0, atol=0
        )


def test_attention_against_the_formula(float64: None) -> None:
    """Softmax of 1.5 / sqrt(head width) times products of unit-RMS queries and keys, by head."""
    width, heads = 6, 2
    attention = Attention(width, heads)
    x = torch.randn(B, M, width)
    query, key, value = (
        x @ attention.query_key_value.weight.T + attention.query_key_value.bias
    ).split(width, dim=-1)
    mixed = []
    for head in range(heads):
        own = slice(head * 3, head * 3 + 3)
        q = query[..., own] / (query[..., own].square().mean(-1, keepdim=True) + 1e-6).sqrt()
        k = key[..., own] / (key[..., own].square().mean(-1, keepdim=True) + 1e-6).sqrt()
        weights = (1.5 / math.sqrt(3) * q @ k.transpose(1, 2)).softmax(dim=-1)
        mixed.append(weights @ value[..., own])
    expected = torch.cat(mixed, dim=-1) @ attention.out.weight.T + attention.out.bias
    torch.testing.assert_close(attention(x), expected)
    with twice_differentiable_attention():
        torch.testing.assert_close(attention(x), expected)


def test_a_block_whose_modulation_is_zero_is_a_plain_block(float64: None) -> None:
    plain, modulated = Block(8, 2), Block(8, 2, conditioning_dim=3)
    plain.load_state_dict(modulated.state_dict(), strict=False)
    x, conditioning = torch.randn(B, M, 8), torch.randn(B, 3)
    assert (modulated(x, conditioning) != plain(x)).all()
    assert modulated.modulation is not None
    nn.init.zeros_(modulated.modulation.weight)
    torch.testing.assert_close(modulated(x, conditioning), plain(x))


def test_scale_shift_and_gate_are_in_this_order(float64: None) -> None:
    """scale, shift and gate of the attention, then those of the feed-forward layer."""
    block = Block(2, 1, conditioning_dim=12)
    assert block.modulation is not None
    with torch.no_grad():
        block.modulation.weight.copy_(torch.eye(12))
    x, conditioning = torch.randn(1, M, 2), torch.randn(1, 12)
    scale1, shift1, gate1, scale2, shift2, gate2 = conditioning.view(6, 2)
    x1 = x + (1 + gate1) * block.attention(rms_norm(x) * (1 + scale1) + shift1)
    expected = x1 + (1 + gate2) * block.feed_forward(rms_norm(x1) * (1 + scale2) + shift2)
    torch.testing.assert_close(block(x, conditioning), expected)
