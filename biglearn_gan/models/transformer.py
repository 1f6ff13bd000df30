"""A plain pre-norm transformer, the trunk of both networks.

It reads sequences (B, M, D) and knows nothing of images or tasks. A block can be *modulated* by a
conditioning vector, as in adaptive layer norm (Peebles & Xie 2022, arXiv 2212.09748, section 3.2).
All its other parameters are the same with and without modulation, so the discriminator can start
from the generator's weights.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

QUERY_KEY_SCALE = 1.5
"""Attention logits are 1.5 / sqrt(head width) times the product of unit-RMS queries and keys, so at
most 1.5 * sqrt(head width). This was better than 3 / sqrt(head width) on MNIST."""

MODULATION_GAIN = 0.1
"""Gain of the modulation's Xavier initialization: small, so a block starts almost unmodulated."""


def rms_norm(x: Float[Tensor, "*B D"], eps: float = 1e-6) -> Float[Tensor, "*B D"]:
    """Divide by the root mean square over the last axis (Zhang & Sennrich 2019), without a gain.

    In float16, whose largest number is 65,504, the squares are computed in float32.
    """
    if x.dtype == torch.float16:
        return rms_norm(x.float(), eps).half()
    if x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _RMSNorm.apply(x, eps)
    return x * _inverse_rms(x, eps)


def _inverse_rms(x: Float[Tensor, "*B D"], eps: float) -> Float[Tensor, "*B 1"]:
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


class _RMSNorm(torch.autograd.Function):
    """``x * _inverse_rms(x, eps)``, with a backward pass of 4 kernels; autograd would run 14."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        inverse = _inverse_rms(x, eps)
        y = x * inverse
        ctx.save_for_backward(x, y, inverse)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        x, y, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            inverse = _inverse_rms(x, ctx.eps)
            y = x * inverse
        mean = (gradient * y).mean(-1, keepdim=True)
        return inverse * torch.addcmul(gradient, y, mean, value=-1), None


class Attention(nn.Module):
    """Self-attention with RMS-normalized queries and keys (Henry et al. 2020, arXiv 2010.04245)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B M D"]) -> Float[Tensor, "B M D"]:
        batch, length, width = x.shape
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)  # (B, M, D) each
        query_key = torch.stack([query, key]).view(2, batch, length, self.heads, -1)
        query, key = rms_norm(query_key).transpose(2, 3)  # (B, h, M, D/h) each
        value = value.view(batch, length, self.heads, -1).transpose(1, 2)  # (B, h, M, D/h)
        scale = QUERY_KEY_SCALE / math.sqrt(width // self.heads)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=scale)  # (B, h, M, D/h)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Sequential):
    """Two linear layers with a hidden width of 4 D and exact GELU."""

    def __init__(self, width: int):
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Block(nn.Module):
    """Attention, then a feed-forward layer, each on normalized input and added to the residual.

    Args:
        width: D, a multiple of ``heads``.
        heads: attention heads.
        conditioning_dim: E, the size of the conditioning vector; None for no modulation.
    """

    def __init__(self, width: int, heads: int, conditioning_dim: int | None = None):
        super().__init__()
        self.attention = Attention(width, heads)
        self.feed_forward = FeedForward(width)
        self.modulation = None
        if conditioning_dim is not None:
            self.modulation = nn.Linear(conditioning_dim, 6 * width)
            nn.init.xavier_uniform_(self.modulation.weight, gain=MODULATION_GAIN)
            nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "B M D"], conditioning: Float[Tensor, "B E"] | None = None
    ) -> Float[Tensor, "B M D"]:
        if self.modulation is None:
            x = x + _apply(self.attention, rms_norm(x))
            return x + _apply(self.feed_forward, rms_norm(x))
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(conditioning)[:, None].chunk(
            6, dim=-1
        )  # (B, 1, D) each
        x = x + (1 + gate1) * _apply(self.attention, rms_norm(x) * (1 + scale1) + shift1)
        return x + (1 + gate2) * _apply(self.feed_forward, rms_norm(x) * (1 + scale2) + shift2)


class Transformer(nn.Module):
    """``depth`` blocks and a final normalization; see :class:`Block` for the arguments.

    In float16, the sum of the blocks is float32: it reached 85,779 in a trained model.
    """

    def __init__(self, width: int, depth: int, heads: int, conditioning_dim: int | None = None):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, conditioning_dim) for _ in range(depth))

    def forward(
        self,
        x: Float[Tensor, "B M D"],
        conditioning: Float[Tensor, "B E"] | None = None,
        layer: int | None = None,
    ) -> Float[Tensor, "B M D"]:
        """The normalized output of the last block, or of block number ``layer`` (from 1)."""
        is_float16 = x.dtype == torch.float16
        x = x.float() if is_float16 else x
        for block in self.blocks[:layer]:
            x = block(x, conditioning)
        return rms_norm(x).half() if is_float16 else rms_norm(x)


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer's output; float32 in and out of layers with float16 weights."""
    if next(layer.parameters()).dtype == torch.float16:
        return layer(x.half()).float()
    return layer(x)


def twice_differentiable_attention() -> AbstractContextManager[None]:
    """A context in which attention can be differentiated twice, as fused kernels cannot."""
    return sdpa_kernel(SDPBackend.MATH)
