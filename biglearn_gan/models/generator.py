"""The generator p(x_T | x_S)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from biglearn_gan.config import GeneratorConfig
from biglearn_gan.models.canvas import CanvasConvolutions, PatchGrid
from biglearn_gan.models.embeddings import LabelEmbedding, PatchEmbedding, SourceSummary
from biglearn_gan.models.transformer import Transformer
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence


@dataclass(frozen=True)
class Noise:
    """The random inputs of the generator, standard normal.

    Attributes:
        z: the latent of each row.
        token_noise: noise of each token.
    """

    z: Float[Tensor, "B Z"]
    token_noise: Float[Tensor, "B M N"]

    def rows(self, index: Int64[Tensor, " R"] | slice) -> Noise:
        """The noise of some rows."""
        return Noise(self.z[index], self.token_noise[index])

    def to(self, device: torch.device, dtype: torch.dtype) -> Noise:
        """The same noise on another device, rounded to another dtype."""
        return Noise(self.z.to(device, dtype), self.token_noise.to(device, dtype))


class Generator(nn.Module):
    """p(x_T | x_S): draws target tokens from source tokens and noise, in one forward pass.

    Latent and token noise enter at target tokens. Each block is also modulated by the latent *and*
    a summary of the source (co-modulation, Zhao et al. 2021, arXiv 2103.10428). If the latent alone
    modulates the blocks, completions follow it where they should follow their source (measured).

    Args:
        token_count: L, tokens of an image.
        token_dim: P, values of a token.
        config: sizes of the transformer and the noise, and the range of the output.
        num_classes: classes of the label; None for a model without labels.
        partial_patches: whether target tokens can have known values.
        grid: how the tokens are arranged; needed for ``config.canvas_channels`` above 0.
    """

    def __init__(
        self,
        token_count: int,
        token_dim: int,
        config: GeneratorConfig,
        num_classes: int | None = None,
        partial_patches: bool = False,
        grid: PatchGrid | None = None,
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
        self.canvas = None
        if config.canvas_channels > 0:
            assert grid is not None, "convolutions need to know where the tokens stand"
            self.canvas = CanvasConvolutions(
                grid,
                width,
                hidden_channels=config.canvas_channels,
                feature_channels=config.canvas_features,
            )

    def forward(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence, noise: Noise
    ) -> Float[Tensor, "B M P"]:
        """Generate the targets; source tokens and known values are returned unchanged.

        Args:
            tokens: values of the present tokens; unknown values of targets are ignored.
            sequence: positions and roles of the tokens; with labels in a model with labels.
            noise: see :meth:`draw_noise`.

        Returns:
            Tokens with generated targets, in [-1, 1] if the output is ``tanh``.
        """
        states = self._encode(tokens, sequence, noise)  # (B, M or M + 1, D)
        states = states[:, : tokens.shape[1]]  # (B, M, D)
        drawn = self.head(states)  # (B, M, P)
        composed = torch.where(sequence.generated_values, self._to_values(drawn), tokens)
        if self.canvas is None:
            return composed  # (B, M, P)
        if self.config.canvas_detached:
            composed = composed.detach()
        drawn = drawn + self.canvas(composed, sequence, states)
        return torch.where(sequence.generated_values, self._to_values(drawn), tokens)

    def label_logits(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence
    ) -> Float[Tensor, "B classes"]:
        """Logits of p(y | x_S), the label given the source; without noise.

        The labels of ``sequence`` are ignored.
        """
        assert self.label_head is not None, "only a model with labels predicts them"
        states = self._encode_without_noise(tokens, sequence)  # (B, M + 1, D)
        return self.label_head(states[:, -1])  # (B, C)

    def hidden_states(
        self, tokens: Float[Tensor, "B M P"], sequence: TokenSequence, layer: int | None = None
    ) -> Float[Tensor, "B M D"]:
        """The normalized output of a block (the last one, if None) at each token; without noise.

        The labels of ``sequence`` are ignored.
        """
        return self._encode_without_noise(tokens, sequence, layer)[:, : tokens.shape[1]]

    def _encode_without_noise(
        self, tokens: Tensor, sequence: TokenSequence, layer: int | None = None
    ) -> Float[Tensor, "B _ D"]:
        rows, length, _ = tokens.shape
        no_noise = Noise(
            tokens.new_zeros(rows, self.config.latent_dim),
            tokens.new_zeros(rows, length, self.config.token_noise_dim),
        )
        unknown = sequence.positions.new_full((rows,), UNKNOWN_LABEL)
        return self._encode(tokens, replace(sequence, labels=unknown), no_noise, layer)

    def _to_values(self, drawn: Float[Tensor, "B M P"]) -> Float[Tensor, "B M P"]:
        return drawn.tanh() if self.config.output == "tanh" else drawn

    def _encode(
        self, tokens: Tensor, sequence: TokenSequence, noise: Noise, layer: int | None = None
    ) -> Float[Tensor, "B _ D"]:
        """The trunk's output at each token, then at the label in a model with labels."""
        x = self.embedding.embed_masked(tokens, sequence)  # (B, M, D)
        is_source = ~sequence.is_target  # (B, M)
        if sequence.known_values is not None:
            is_source = is_source | sequence.known_values.any(dim=-1)
        latent = self.latent(noise.z)  # (B, D)
        token_noise = self.config.token_noise_scale * self.token_noise(noise.token_noise)
        injected = sequence.is_target[..., None] * (latent[:, None] + token_noise)  # (B, M, D)
        if self.label is not None:
            labels = sequence.labels
            assert labels is not None, "a model with labels needs them, or UNKNOWN_LABEL"
            x = torch.cat([x, self.label(labels)], dim=1)  # (B, M + 1, D)
            injected = F.pad(injected, (0, 0, 0, 1))  # (B, M + 1, D)
            is_source = torch.cat([is_source, labels[:, None] != UNKNOWN_LABEL], dim=1)
        style = torch.cat([latent, self.summary(x, is_source)], dim=1)  # (B, 2 D)
        return self.trunk(x + injected, F.gelu(self.mix(style)), layer)

    def draw_noise(self, rows: int, length: int, rng: torch.Generator) -> Noise:
        """Noise for ``rows`` sequences of ``length`` tokens, on the device of ``rng``."""
        device = rng.device
        shape = (rows, length, self.config.token_noise_dim)
        z = torch.randn(rows, self.config.latent_dim, generator=rng, device=device)
        return Noise(z, torch.randn(shape, generator=rng, device=device))
