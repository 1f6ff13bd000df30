"""The generator p(x_T | x_S)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.config import GeneratorConfig
from biglearn_gan.models.embeddings import (
    LabelEmbedding,
    PatchEmbedding,
    SourceSummary,
)
from biglearn_gan.models.transformer import Transformer
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


class Generator(nn.Module):
    """p(x_T | x_S): target tokens from source tokens and noise, in one forward pass.

    The latent enters where something is generated. Every block is modulated by it *and* by the
    source together (co-modulation, Zhao et al. 2021, arXiv 2103.10428): modulated by the latent
    alone, completions follow the latent where they should follow their source (measured).

    Args:
        token_count: L, tokens of an image.
        token_dim: P, values of a token.
        config: width, depth, heads, noise sizes and the output's range.
        num_classes: C, of a model that reads and predicts labels.
        partial_patches: whether targets may keep some of their values.
    """

    def __init__(
        self,
        token_count: int,
        token_dim: int,
        config: GeneratorConfig,
        num_classes: int | None = None,
        partial_patches: bool = False,
    ):
        super().__init__()
        width = config.width
        self.config = config
        self.embedding = PatchEmbedding(token_count, token_dim, width, partial_patches)
        self.token_noise = nn.Linear(config.token_noise_dim, width, bias=False)
        self.latent = nn.Sequential(
            nn.Linear(config.latent_dim, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.summary = SourceSummary(token_count, width)
        self.mix = nn.Linear(2 * width, width)
        self.trunk = Transformer(width, config.depth, config.heads, conditioning_dim=width)
        self.head = nn.Linear(width, token_dim)
        self.label = self.label_head = None
        if num_classes is not None:
            self.label = LabelEmbedding(num_classes, width)
            self.label_head = nn.Linear(width, num_classes)

    def forward(
        self,
        tokens: Float[Tensor, "B M P"],
        positions: Int64[Tensor, "B M"],
        is_target: Bool[Tensor, "B M"],
        z: Float[Tensor, "B Z"],
        token_noise: Float[Tensor, "B M N"],
        transforms: Float[Tensor, "B M L"] | None = None,
        labels: Int64[Tensor, " B"] | None = None,
        kept: Bool[Tensor, "B M P"] | None = None,
    ) -> Float[Tensor, "B M P"]:
        """Generate the targets; source tokens and kept values are returned untouched.

        Whatever else ``tokens`` holds at target places is ignored. ``z`` and ``token_noise`` are
        standard normal. With the ``tanh`` output values lie in [-1, 1]. A model with labels needs
        them: classes where they are given, ``UNKNOWN_LABEL`` where not.
        """
        states = self._states(
            tokens, positions, is_target, z, token_noise, transforms, labels, kept
        )  # (B, M or M + 1, D)
        generated = self.head(states[:, : tokens.shape[1]])  # (B, M, P)
        if self.config.output == "tanh":
            generated = generated.tanh()
        asked = is_target[..., None] if kept is None else is_target[..., None] & ~kept
        return torch.where(asked, generated, tokens)

    def label_logits(
        self,
        tokens: Float[Tensor, "B M P"],
        positions: Int64[Tensor, "B M"],
        is_target: Bool[Tensor, "B M"],
        transforms: Float[Tensor, "B M L"] | None = None,
        kept: Bool[Tensor, "B M P"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Logits of p(y | x_S), the label's distribution given what of x is given; no noise."""
        assert self.label_head is not None, "only a model with labels predicts them"
        rows, length, _ = tokens.shape
        z = tokens.new_zeros(rows, self.config.latent_dim)
        token_noise = tokens.new_zeros(rows, length, self.config.token_noise_dim)
        unknown = positions.new_full((rows,), UNKNOWN_LABEL)
        states = self._states(
            tokens, positions, is_target, z, token_noise, transforms, unknown, kept
        )
        return self.label_head(states[:, -1])

    def _states(
        self,
        tokens: Tensor,
        positions: Tensor,
        is_target: Tensor,
        z: Tensor,
        token_noise: Tensor,
        transforms: Tensor | None,
        labels: Tensor | None,
        kept: Tensor | None,
    ) -> Tensor:
        """What the trunk makes of the tokens, and of the label, which comes last."""
        x = self.embedding.embed_masked(tokens, positions, is_target, transforms, kept)
        is_given = ~is_target if kept is None else ~is_target | kept.any(dim=-1)
        latent = self.latent(z)  # (B, D)
        own = self.config.token_noise_scale * self.token_noise(token_noise)  # (B, M, D)
        noise = is_target[..., None] * (latent[:, None] + own)
        if self.label is not None:
            assert labels is not None, "a model with labels needs them, or UNKNOWN_LABEL"
            x = torch.cat([x, self.label(labels)], dim=1)  # (B, M + 1, D)
            noise = F.pad(noise, (0, 0, 0, 1))
            is_given = torch.cat([is_given, labels[:, None] != UNKNOWN_LABEL], dim=1)
        style = F.gelu(self.mix(torch.cat([latent, self.summary(x, is_given)], dim=1)))
        return self.trunk(x + noise, style)

    def draw_noise(self, rows: int, length: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Standard normal ``z`` (rows, Z) and ``token_noise`` (rows, length, N), on its device."""
        device = rng.device
        shape = (rows, length, self.config.token_noise_dim)
        z = torch.randn(rows, self.config.latent_dim, generator=rng, device=device)
        return z, torch.randn(shape, generator=rng, device=device)
