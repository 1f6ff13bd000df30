"""The discriminator f(x; S, T)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from biglearn_gan.config import NetworkConfig
from biglearn_gan.models.embeddings import (
    EMBEDDING_STD,
    LabelEmbedding,
    PatchEmbedding,
)
from biglearn_gan.models.generator import Generator
from biglearn_gan.models.transformer import Transformer, rms_norm
from biglearn_gan.tasks.token_masks import TokenSequence


class Discriminator(nn.Module):
    """f(x; S, T): one logit for the tokens of S ∪ T and their roles.

    Args:
        token_count: L, tokens of an image.
        token_dim: P, values of a token.
        config: width, depth and heads.
        num_classes: of a model that reads labels.
        partial_patches: whether targets may keep some of their values.
    """

    def __init__(
        self,
        token_count: int,
        token_dim: int,
        config: NetworkConfig,
        num_classes: int | None = None,
        partial_patches: bool = False,
    ):
        super().__init__()
        width = config.width
        self.embedding = PatchEmbedding(token_count, token_dim, width, partial_patches)
        del self.embedding.unknown
        self.class_token = nn.Parameter(EMBEDDING_STD * torch.randn(width))
        self.trunk = Transformer(width, config.depth, config.heads)
        self.head = nn.Linear(2 * width, 1)
        self.label = None if num_classes is None else LabelEmbedding(num_classes, width)

    def forward(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, " B"]:
        x = self.embedding(tokens, sequence)  # (B, M, D)
        if self.label is not None:
            assert sequence.labels is not None, "a model with labels needs them, or UNKNOWN_LABEL"
            x = torch.cat([x, self.label(sequence.labels)], dim=1)  # (B, M + 1, D)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, 1 + M, D)
        x = self.trunk(x)
        summary = torch.cat([x[:, 0], rms_norm(x[:, 1:].mean(dim=1))], dim=-1)  # (B, 2 D)
        return self.head(summary).squeeze(-1)  # (B,)

    def start_from(self, generator: Generator, hand_over: str) -> None:
        """Take over what the generator has learned of reading tokens.

        Args:
            generator: a generator of the same width (and heads, for the trunk).
            hand_over: ``embedding`` for values (kept ones, too), positions, roles and labels;
                ``trunk`` for these and the transformer's blocks, as many as both networks have;
                ``nothing``.
        """
        if hand_over in ("embedding", "trunk"):
            self.embedding.load_state_dict(generator.embedding.state_dict(), strict=False)
            if self.label is not None and generator.label is not None:
                self.label.load_state_dict(generator.label.state_dict())
        if hand_over == "trunk":
            for ours, theirs in zip(self.trunk.blocks, generator.trunk.blocks, strict=False):
                ours.load_state_dict(theirs.state_dict(), strict=False)
