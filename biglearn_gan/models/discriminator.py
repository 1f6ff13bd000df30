"""The discriminator f(x; S, T)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from biglearn_gan.config import NetworkConfig
from biglearn_gan.models.canvas import OverlapEmbedding, PatchGrid
from biglearn_gan.models.embeddings import EMBEDDING_STD, LabelEmbedding, PatchEmbedding
from biglearn_gan.models.generator import Generator
from biglearn_gan.models.transformer import Transformer, rms_norm
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence


class Discriminator(nn.Module):
    """f(x; S, T): one logit for the tokens of S ∪ T and their roles; high = real.

    Args:
        token_count: L, tokens of an image.
        token_dim: P, values of a token.
        config: sizes of the transformer.
        num_classes: classes of the label; None for a model without labels.
        partial_patches: whether target tokens can have known values.
        grid: how the tokens are arranged; needed for an ``overlap`` above 0.
        overlap: pixels beyond each border of a patch that its embedding also reads.
    """

    def __init__(
        self,
        token_count: int,
        token_dim: int,
        config: NetworkConfig,
        num_classes: int | None = None,
        partial_patches: bool = False,
        grid: PatchGrid | None = None,
        overlap: int = 0,
    ):
        super().__init__()
        width = config.width
        self.embedding = PatchEmbedding(
            token_count, token_dim, width, partial_patches, mask_token=False
        )
        self.class_token = nn.Parameter(EMBEDDING_STD * torch.randn(width))
        self.trunk = Transformer(width, config.depth, config.heads)
        self.head = nn.Linear(2 * width, 1)
        self.label = None if num_classes is None else LabelEmbedding(num_classes, width)
        self.overlap = None
        if overlap > 0:
            assert grid is not None, "an overlap needs to know where the tokens stand"
            self.overlap = OverlapEmbedding(grid, overlap, width)

    def forward(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, " B"]:
        """The logit of each row.

        Args:
            tokens: values of the present tokens, source and target.
            sequence: positions and roles of the tokens; with labels in a model with labels.
        """
        x = self._encode(tokens, sequence)  # (B, 1 + M, D), or one more for the label
        summary = torch.cat([x[:, 0], rms_norm(x[:, 1:].mean(dim=1))], dim=-1)  # (B, 2 D)
        return self.head(summary).squeeze(-1)  # (B,)

    def hidden_states(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence, layer: int | None = None
    ) -> Float[Tensor, "B M D"]:
        """The normalized output of a block (the last one, if None) at each token.

        The labels of ``sequence`` are ignored.
        """
        unknown = sequence.positions.new_full((len(tokens),), UNKNOWN_LABEL)
        states = self._encode(tokens, replace(sequence, labels=unknown), layer)
        return states[:, 1 : 1 + tokens.shape[1]]

    def _encode(
        self, tokens: Tensor, sequence: TokenSequence, layer: int | None = None
    ) -> Float[Tensor, "B _ D"]:
        """The trunk's output at the class token, at each token, then at the label if it has one."""
        x = self.embedding(tokens, sequence)  # (B, M, D)
        if self.overlap is not None:
            x = x + self.overlap(tokens, sequence)
        if self.label is not None:
            assert sequence.labels is not None, "a model with labels needs them, or UNKNOWN_LABEL"
            x = torch.cat([x, self.label(sequence.labels)], dim=1)  # (B, M + 1, D)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)
        return self.trunk(x, layer=layer)

    def init_from_generator(
        self, generator: Generator, transfer: Literal["nothing", "trunk"]
    ) -> None:
        """Start from a generator's weights.

        Args:
            generator: a generator of the same width and heads.
            transfer: ``trunk`` copies the embeddings and as many transformer blocks as both
                networks have; ``nothing`` copies nothing.
        """
        if transfer == "nothing":
            return
        _copy_weights(generator.embedding, self.embedding, surplus={"mask_token"})
        if self.label is not None and generator.label is not None:
            self.label.load_state_dict(generator.label.state_dict())
        for own, trained in zip(self.trunk.blocks, generator.trunk.blocks, strict=False):
            _copy_weights(trained, own, surplus={"modulation.weight", "modulation.bias"})


def _copy_weights(source: nn.Module, to: nn.Module, surplus: set[str]) -> None:
    """Copy all weights of ``source`` except the ``surplus``, which ``to`` does not have."""
    weights = source.state_dict()
    to.load_state_dict({name: value for name, value in weights.items() if name not in surplus})
