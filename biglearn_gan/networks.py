"""The generator and the discriminator: both read the tokens of S ∪ T, their places and their roles.

Absent tokens never enter a network: callers gather the M present tokens of each row (any order,
see ``TokenMasks.sequence``), so cost follows ``|S| + |T|``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.config import Config, GeneratorConfig, NetworkConfig
from biglearn_gan.masks import UNKNOWN_LABEL
from biglearn_gan.transformer import Transformer, rms_norm

EMBEDDING_STD = 0.5
"""Initial standard deviation of positions, roles, mask and class token: at the usual 0.02,
completions ignore where and what they are for a long time (measured on MNIST and digits)."""


class PatchEmbedding(nn.Module):
    """The input side of image patches, one kind of token: value + position + role.

    Given values are embedded linearly; a token that is still to be generated is the learned mask
    token instead. An embedding that ``reads_kept`` values of such a token adds a linear map of them
    and of which they are. In a transformed domain y = A x a token stands at the same mixture of
    positions as it is of values, Σ_j A_ij position_j. Another kind of token is another module with
    this call.
    """

    def __init__(self, token_count: int, token_dim: int, width: int, reads_kept: bool = False):
        super().__init__()
        self.value = nn.Linear(token_dim, width)
        self.position = nn.Parameter(EMBEDDING_STD * torch.randn(token_count, width))
        self.role = nn.Parameter(EMBEDDING_STD * torch.randn(2, width))
        self.unknown = nn.Parameter(EMBEDDING_STD * torch.randn(width))
        self.kept = nn.Linear(2 * token_dim, width, bias=False) if reads_kept else None

    def forward(
        self,
        tokens: Float[Tensor, "B M P"],
        positions: Int64[Tensor, "B M"],
        is_target: Bool[Tensor, "B M"],
        transforms: Float[Tensor, "B M L"] | None = None,
        kept: Bool[Tensor, "B M P"] | None = None,
    ) -> Float[Tensor, "B M D"]:
        values = self.value(tokens) + self._of_kept(tokens, kept)
        return self._placed(values, positions, is_target, transforms)

    def hiding_targets(
        self,
        tokens: Float[Tensor, "B M P"],
        positions: Int64[Tensor, "B M"],
        is_target: Bool[Tensor, "B M"],
        transforms: Float[Tensor, "B M L"] | None = None,
        kept: Bool[Tensor, "B M P"] | None = None,
    ) -> Float[Tensor, "B M D"]:
        """The same with every target's value replaced by the mask token, but for what it keeps."""
        values = torch.where(is_target[..., None], self.unknown, self.value(tokens))
        values = values + self._of_kept(tokens, kept)
        return self._placed(values, positions, is_target, transforms)

    def _of_kept(self, tokens: Tensor, kept: Tensor | None) -> Tensor | float:
        if kept is None:
            return 0.0
        assert self.kept is not None, "tasks.kept_pixels above 0 makes a model that reads them"
        given = torch.where(kept, tokens, 0.0)
        return self.kept(torch.cat([given, kept.to(tokens.dtype)], dim=-1))

    def _placed(
        self, values: Tensor, positions: Tensor, is_target: Tensor, transforms: Tensor | None
    ) -> Tensor:
        if transforms is None:
            # Not by indexing, whose gradient several threads would sum in no fixed order.
            places = F.embedding(positions, self.position)
        else:
            places = transforms @ self.position
        return values + places + F.embedding(is_target.long(), self.role)


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
        reads_kept: whether targets may keep some of their values.
    """

    def __init__(
        self,
        token_count: int,
        token_dim: int,
        config: GeneratorConfig,
        num_classes: int | None = None,
        reads_kept: bool = False,
    ):
        super().__init__()
        width = config.width
        self.config = config
        self.embedding = PatchEmbedding(token_count, token_dim, width, reads_kept)
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
        x = self.embedding.hiding_targets(tokens, positions, is_target, transforms, kept)
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

    def draw_noise(
        self, rows: int, length: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Standard normal ``z`` (rows, Z) and ``token_noise`` (rows, length, N), on its device."""
        device = generator.device
        shape = (rows, length, self.config.token_noise_dim)
        z = torch.randn(rows, self.config.latent_dim, generator=generator, device=device)
        return z, torch.randn(shape, generator=generator, device=device)


class Discriminator(nn.Module):
    """f(x; S, T): one logit for the tokens of S ∪ T and their roles.

    Args:
        token_count: L, tokens of an image.
        token_dim: P, values of a token.
        config: width, depth and heads.
        num_classes: of a model that reads labels.
        reads_kept: whether targets may keep some of their values.
    """

    def __init__(
        self,
        token_count: int,
        token_dim: int,
        config: NetworkConfig,
        num_classes: int | None = None,
        reads_kept: bool = False,
    ):
        super().__init__()
        width = config.width
        self.embedding = PatchEmbedding(token_count, token_dim, width, reads_kept)
        del self.embedding.unknown
        self.class_token = nn.Parameter(EMBEDDING_STD * torch.randn(width))
        self.trunk = Transformer(width, config.depth, config.heads)
        self.head = nn.Linear(2 * width, 1)
        self.label = None if num_classes is None else LabelEmbedding(num_classes, width)

    def forward(
        self,
        tokens: Float[Tensor, "B M P"],
        positions: Int64[Tensor, "B M"],
        is_target: Bool[Tensor, "B M"],
        transforms: Float[Tensor, "B M L"] | None = None,
        labels: Int64[Tensor, " B"] | None = None,
        kept: Bool[Tensor, "B M P"] | None = None,
    ) -> Float[Tensor, " B"]:
        x = self.embedding(tokens, positions, is_target, transforms, kept)  # (B, M, D)
        if self.label is not None:
            assert labels is not None, "a model with labels needs them, or UNKNOWN_LABEL"
            x = torch.cat([x, self.label(labels)], dim=1)  # (B, M + 1, D)
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


def make_networks(config: Config) -> tuple[Generator, Discriminator]:
    """Both networks of a configuration, with random weights."""
    shape = (config.token_count, config.token_dim)
    reads = (config.data.num_classes, config.reads_kept_pixels)
    generator = Generator(*shape, config.model.generator, *reads)
    return generator, Discriminator(*shape, config.model.discriminator, *reads)


def taken_over(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a trained network, for one of the same settings but for what it reads.

    Where it read no kept pixels, that layer is 0; what reads and predicts labels stays ours where
    it knew none, or another number of classes.
    """

    def label_rows(weights: dict[str, Tensor]) -> int:
        return len(weights.get("label.value", ()))  # one more than classes, for unknown

    def of_labels(name: str) -> bool:
        return name.startswith(("label.", "label_head."))

    taken = {name: torch.zeros_like(ours[name]) for name in ours if ".kept." in name} | theirs
    if label_rows(theirs) != label_rows(ours):
        taken = {name: value for name, value in taken.items() if not of_labels(name)}
        taken |= {name: value for name, value in ours.items() if of_labels(name)}
    return taken
