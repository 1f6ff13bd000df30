"""How tokens enter a network: patches, labels, and the sources as a whole."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.models.transformer import rms_norm
from biglearn_gan.tasks.token_masks import TokenSequence

EMBEDDING_STD = 0.5
"""Initial standard deviation of positions, roles, mask and class token: at the usual 0.02,
completions ignore where and what they are for a long time (measured on MNIST and digits)."""


class PatchEmbedding(nn.Module):
    """The input side of image patches, one kind of token: value + position + role.

    Given values are embedded linearly; a token that is still to be generated is the learned mask
    token instead. With ``partial_patches`` a linear map of the given values of such a token, and of
    which they are, is added. In a transformed domain y = A x a token stands at the same mixture of
    positions as it is of values, Σ_j A_ij position_j. Another kind of token is another module with
    this call.
    """

    def __init__(self, token_count: int, token_dim: int, width: int, partial_patches: bool = False):
        super().__init__()
        self.value = nn.Linear(token_dim, width)
        self.position = nn.Parameter(EMBEDDING_STD * torch.randn(token_count, width))
        self.role = nn.Parameter(EMBEDDING_STD * torch.randn(2, width))
        self.unknown = nn.Parameter(EMBEDDING_STD * torch.randn(width))
        self.kept = nn.Linear(2 * token_dim, width, bias=False) if partial_patches else None

    def forward(
        self,
        tokens: Float[Tensor, "B M P"],
        sequence: TokenSequence,
    ) -> Float[Tensor, "B M D"]:
        values = self.value(tokens) + self._embed_known_values(tokens, sequence.kept)
        return self._add_position_and_role(values, sequence)

    def embed_masked(
        self,
        tokens: Float[Tensor, "B M P"],
        sequence: TokenSequence,
    ) -> Float[Tensor, "B M D"]:
        """The same with every target's value replaced by the mask token, but for what it keeps."""
        values = torch.where(sequence.is_target[..., None], self.unknown, self.value(tokens))
        values = values + self._embed_known_values(tokens, sequence.kept)
        return self._add_position_and_role(values, sequence)

    def _embed_known_values(self, tokens: Tensor, kept: Tensor | None) -> Tensor | float:
        if kept is None:
            return 0.0
        assert self.kept is not None, "tasks.partial_patches above 0 makes a model that reads them"
        given = torch.where(kept, tokens, 0.0)
        return self.kept(torch.cat([given, kept.to(tokens.dtype)], dim=-1))

    def _add_position_and_role(self, values: Tensor, sequence: TokenSequence) -> Tensor:
        if sequence.transforms is None:
            # Not by indexing, whose gradient several threads would sum in no fixed order.
            places = F.embedding(sequence.positions, self.position)
        else:
            places = sequence.transforms @ self.position
        return values + places + F.embedding(sequence.is_target.long(), self.role)


class LabelEmbedding(nn.Module):
    """The input side of an image's label, another kind of token: its class, or the mask token.

    Which of them it is says its role, known or unknown, and there is one place for it: neither has
    an embedding.
    """

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        self.value = nn.Parameter(EMBEDDING_STD * torch.randn(num_classes + 1, width))

    def forward(self, labels: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 D"]:
        """``UNKNOWN_LABEL`` (-1) is the last row, the mask token."""
        return F.embedding(labels.remainder(len(self.value)), self.value)[:, None]


class SourceSummary(nn.Module):
    """What is given says as a whole: a sum of one two-layer map of each token; 0 for none."""

    def __init__(self, token_count: int, width: int):
        super().__init__()
        self.rise = nn.Linear(width, 2 * width)
        self.fall = nn.Linear(2 * width, width)
        self.scale = token_count**-0.5

    def forward(
        self, x: Float[Tensor, "B M D"], is_given: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B D"]:
        given = F.gelu(self.rise(rms_norm(x))) * is_given[..., None]
        return self.fall(self.scale * given.sum(dim=1))
