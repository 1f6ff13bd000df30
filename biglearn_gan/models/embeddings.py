"""The inputs of both networks: embeddings of patches and labels, and a summary of the sources."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.models.transformer import rms_norm
from biglearn_gan.tasks.token_masks import TokenSequence

EMBEDDING_STD = 0.5
"""Initial standard deviation of positions, roles, mask token and class token. With the usual 0.02,
completions ignore their source and positions for a long time (measured on MNIST and digits)."""


class PatchEmbedding(nn.Module):
    """Embeds image patches: value + position + role (source or target).

    In a transformed domain y = A x, a token's position is the same mixture as its value:
    Σ_j A_ij position_j. Another kind of token needs another module with the same ``forward``.

    Args:
        token_count: L, tokens of an image.
        token_dim: P, values of a token.
        width: D.
        partial_patches: whether target tokens can have known values.
        mask_token: whether :meth:`embed_masked` is used.
    """

    def __init__(
        self,
        token_count: int,
        token_dim: int,
        width: int,
        partial_patches: bool = False,
        mask_token: bool = True,
    ):
        super().__init__()
        self.value = nn.Linear(token_dim, width)
        self.position = nn.Parameter(EMBEDDING_STD * torch.randn(token_count, width))
        self.role = nn.Parameter(EMBEDDING_STD * torch.randn(2, width))
        mask_token_value = EMBEDDING_STD * torch.randn(width)  # drawn always: a seed's weights stay
        self.mask_token = nn.Parameter(mask_token_value) if mask_token else None
        self.known_values = nn.Linear(2 * token_dim, width, bias=False) if partial_patches else None

    def forward(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, "B M D"]:
        """Embed the values of all tokens, as the discriminator reads them."""
        x = self.value(tokens) + self._embed_known_values(tokens, sequence)
        return self._add_position_and_role(x, sequence)

    def embed_masked(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, "B M D"]:
        """Embed source values only: a target gets the mask token, plus its known values."""
        assert self.mask_token is not None, "only a network with a mask token reads masked tokens"
        x = torch.where(sequence.is_target[..., None], self.mask_token, self.value(tokens))
        x = x + self._embed_known_values(tokens, sequence)
        return self._add_position_and_role(x, sequence)

    def _embed_known_values(self, tokens: Tensor, sequence: TokenSequence) -> Tensor | float:
        """A linear map of the known values of targets and of their mask; 0 if there are none."""
        is_known = sequence.known_values
        if is_known is None:
            return 0.0
        assert self.known_values is not None, "known values need tasks.partial_patches above 0"
        values = torch.where(is_known, tokens, 0.0)
        return self.known_values(torch.cat([values, is_known.to(tokens.dtype)], dim=-1))

    def _add_position_and_role(self, x: Tensor, sequence: TokenSequence) -> Tensor:
        if sequence.transforms is None:
            # The gradient of indexing would be summed in no fixed order on several threads.
            position = F.embedding(sequence.positions, self.position)
        else:
            position = sequence.transforms @ self.position
        return x + position + F.embedding(sequence.is_target.long(), self.role)


class LabelEmbedding(nn.Module):
    """Embeds the label of an image as one token: its class, or a mask token if it is unknown.

    It needs neither position nor role: there is one label, and the mask token says its role.
    """

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        self.value = nn.Parameter(EMBEDDING_STD * torch.randn(num_classes + 1, width))

    def forward(self, labels: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 D"]:
        """Embed classes; ``UNKNOWN_LABEL`` (-1) is the last row."""
        return F.embedding(labels.remainder(len(self.value)), self.value)[:, None]


class SourceSummary(nn.Module):
    """Sum-pooled MLP embedding of the source tokens (only the last bias if there are none)."""

    def __init__(self, token_count: int, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)
        self.scale = token_count**-0.5

    def forward(
        self, x: Float[Tensor, "B M D"], is_source: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B D"]:
        hidden = F.gelu(self.fc1(rms_norm(x))) * is_source[..., None]
        return self.fc2(self.scale * hidden.sum(dim=1))
