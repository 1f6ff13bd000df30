"""The generator p(x_T | x_S)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from biglearn_gan.config import GeneratorConfig
from biglearn_gan.models.embeddings import (
    LabelEmbedding,
    PatchEmbedding,
    SourceSummary,
)
from biglearn_gan.models.transformer import Transformer
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence


@dataclass(frozen=True)
class Noise:
    """The generator's random inputs, standard normal: ``z`` of an image, one more of each token."""

    z: Float[Tensor, "B Z"]
    token_noise: Float[Tensor, "B M N"]

    def rows(self, index: Int64[Tensor, " R"] | slice) -> Noise:
        """Some of the rows."""
        return Noise(self.z[index], self.token_noise[index])

    def to(self, device: torch.device) -> Noise:
        """The same noise on another device."""
        return Noise(self.z.to(device), self.token_noise.to(device))


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
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence, noise: Noise
    ) -> Float[Tensor, "B M P"]:
        """Generate the targets; source tokens and kept values are returned untouched.

        Whatever else ``tokens`` holds at target places is ignored. With the ``tanh`` output values
        lie in [-1, 1]. A model with labels needs those of ``sequence``: classes where they are
        given, ``UNKNOWN_LABEL`` where not.
        """
        hidden = self._hidden_states(tokens, sequence, noise)  # (B, M or M + 1, D)
        generated = self.head(hidden[:, : tokens.shape[1]])  # (B, M, P)
        if self.config.output == "tanh":
            generated = generated.tanh()
        return torch.where(sequence.generated, generated, tokens)  # (B, M, P)

    def label_logits(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, "B C"]:
        """Logits of p(y | x_S), the label's distribution given what of x is given; no noise.

        Labels of ``sequence`` are not read.
        """
        assert self.label_head is not None, "only a model with labels predicts them"
        rows, length, _ = tokens.shape
        no_noise = Noise(
            tokens.new_zeros(rows, self.config.latent_dim),
            tokens.new_zeros(rows, length, self.config.token_noise_dim),
        )
        unknown = sequence.positions.new_full((rows,), UNKNOWN_LABEL)
        hidden = self._hidden_states(tokens, replace(sequence, labels=unknown), no_noise)
        return self.label_head(hidden[:, -1])

    def _hidden_states(
        self, tokens: Tensor, sequence: TokenSequence, noise: Noise
    ) -> Float[Tensor, "B _ D"]:
        """The trunk's output for every token, and for the label, which comes last."""
        x = self.embedding.embed_masked(tokens, sequence)  # (B, M, D)
        is_given = ~sequence.is_target  # (B, M)
        if sequence.kept is not None:
            is_given = is_given | sequence.kept.any(dim=-1)
        latent = self.latent(noise.z)  # (B, D)
        per_token = self.config.token_noise_scale * self.token_noise(noise.token_noise)  # (B, M, D)
        added = sequence.is_target[..., None] * (latent[:, None] + per_token)  # (B, M, D)
        if self.label is not None:
            labels = sequence.labels
            assert labels is not None, "a model with labels needs them, or UNKNOWN_LABEL"
            x = torch.cat([x, self.label(labels)], dim=1)  # (B, M + 1, D)
            added = F.pad(added, (0, 0, 0, 1))  # (B, M + 1, D)
            is_given = torch.cat([is_given, labels[:, None] != UNKNOWN_LABEL], dim=1)  # (B, M + 1)
        summary = self.summary(x, is_given)  # (B, D)
        style = F.gelu(self.mix(torch.cat([latent, summary], dim=1)))  # (B, D)
        return self.trunk(x + added, style)

    def draw_noise(self, rows: int, length: int, rng: torch.Generator) -> Noise:
        """Standard normal noise of ``rows`` sequences of ``length`` tokens, on ``rng``'s device."""
        device = rng.device
        shape = (rows, length, self.config.token_noise_dim)
        z = torch.randn(rows, self.config.latent_dim, generator=rng, device=device)
        return Noise(z, torch.randn(shape, generator=rng, device=device))
