"""The two networks and what is drawn and read with them, in tokens.

The networks always run on chunks of one fixed size, and the noise of draw *k* of image *i* has a
generator of its own, so neither the number of images asked for nor the order of the work changes a
result (to the bit, but for some layer widths below 16, where the last bit of a matrix product may
depend on a row's place).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.config import Config
from biglearn_gan.models.factory import build_networks
from biglearn_gan.models.generator import Noise
from biglearn_gan.models.input_checks import (
    WITHOUT_LABELS,
    LabelError,
    Labels,
    check_draws,
    checked_labels,
)
from biglearn_gan.models.progressive import OrderName, checked_order, parts_in_order
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import gather_tokens, scatter_tokens
from biglearn_gan.tasks.token_masks import (
    UNKNOWN_LABEL,
    TokenMasks,
    TokenSequence,
    present_tokens,
)

CHUNK_ROWS = 64
"""Rows of every inference pass; fewer are padded."""


class TokenModel(nn.Module):
    """A generator p(x_T | x_S), with p(y | x_S) in a model with labels, and a critic f(x; S, T).

    Args:
        config: the configuration it was (or will be) trained with.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.generator, self.discriminator = build_networks(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def _check_precision(self) -> None:
        """Refuse weights of another precision than noise is drawn in."""
        drawn = torch.get_default_dtype()
        for parameter in self.parameters():
            if parameter.dtype != drawn:
                raise ValueError(
                    f"the model computes in {drawn}, not {parameter.dtype}: call .to({drawn})"
                )

    @torch.inference_mode()
    def generate(
        self,
        tokens: Float[Tensor, "N L P"],
        masks: TokenMasks,
        *,
        labels: Labels | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
        steps: int = 1,
        order: OrderName = "random",
    ) -> Float[Tensor, "N K L P"]:
        """Draw the target tokens given the source tokens; all others come back as they were.

        Args:
            tokens: the images' tokens; values at targets are ignored, but for those they keep.
            masks: the task of each image; rows may differ in their counts.
            labels: class of each image (N,) or of each draw (N, K), for a model with labels;
                where it is -1 (or None, for all) it is drawn from p(y | x_S) first.
            variations: K, draws for each image.
            seed: at least 0; draw k of image i depends on (seed, i, k) alone.
            first_image: the number i of the first image.
            steps: parts that the targets are drawn in, one after another.
            order: of the targets.

        Raises:
            OrderError: an unknown order, or steps that are not 1 to the tokens of an image.
            LabelError: the model has no labels, or not that one.
            ValueError: ``variations`` or ``seed`` is no whole number, or below 1 or 0, or the
                weights are not of the default dtype, float32.
        """
        self._check_precision()
        checked_order(order, steps, self.config.token_count)
        check_draws(variations, seed)
        classes = self.config.data.num_classes
        given = checked_labels(labels, len(tokens), variations, classes)
        known = self.known_labels(given, tokens, masks, seed, first_image)
        parts = [(torch.arange(len(tokens)), masks)]
        if steps > 1:
            numbers = range(first_image, first_image + len(tokens))
            orders = [make_rng(Stream.ORDER, seed, number) for number in numbers]
            parts = list(parts_in_order(masks, self.config.grid_size, steps, order, orders))
        results = tokens[:, None].repeat(1, variations, 1, 1)  # (N, K, L, P)
        for step, (images, part) in enumerate(parts):
            counts = part.union.sum(dim=1)
            for count in counts.unique().tolist():
                rows = (counts == count).nonzero()[:, 0]
                pairs = torch.cartesian_prod(rows, torch.arange(variations)).view(-1, 2)
                for chunk in pairs.split(CHUNK_ROWS):
                    row, variation = chunk.T
                    image = images[row]
                    results[image, variation] = self._generate_chunk(
                        results[image, variation],
                        part.rows(row),
                        known[image, variation],
                        [
                            _noise_of(step, seed, first_image + i, k)
                            for i, k in zip(image.tolist(), variation.tolist(), strict=True)
                        ],
                    )
        return results

    @torch.inference_mode()
    def critic_logits(
        self,
        tokens: Float[Tensor, "N L P"],
        masks: TokenMasks,
        labels: Labels | None = None,
    ) -> Float[Tensor, " N"]:
        """The critic's logits f(x; S, T); the higher of two candidates of one source is the better.

        Args:
            tokens: the images' tokens; absent ones are ignored.
            masks: source and target tokens of each image; rows may differ in their counts.
            labels: the class of each image, for a model with labels; None for one that is unknown.

        Raises:
            LabelError: the model has no labels, or not that one.
            ValueError: the weights are not of the default dtype, float32.
        """
        self._check_precision()
        known = checked_labels(labels, len(tokens), 1, self.config.data.num_classes)[:, 0]
        logits = torch.empty(len(tokens))
        counts = masks.union.sum(dim=1)
        for count in counts.unique().tolist():
            for rows in (counts == count).nonzero()[:, 0].split(CHUNK_ROWS):
                sequence = self._with_labels(masks.rows(rows).sequence(), known[rows])
                present = gather_tokens(tokens[rows], sequence.positions)
                every = _padding(len(rows))
                scored = self.discriminator(
                    present[every].to(self.device), sequence.rows(every).to(self.device)
                )
                logits[rows] = scored[: len(rows)].cpu()
        return logits

    @torch.inference_mode()
    def label_probabilities(
        self,
        tokens: Float[Tensor, "N L P"],
        source: Bool[Tensor, "N L"],
        target: Bool[Tensor, "N L"],
        known_values: Bool[Tensor, "N L P"] | None = None,
    ) -> Float[Tensor, "N Y"]:
        """p(y | x_S) from tokens; targets are hidden, as in training, and may be none.

        Raises:
            LabelError: the model has no labels.
            ValueError: the weights are not of the default dtype, float32.
        """
        if self.config.data.num_classes is None:
            raise LabelError(WITHOUT_LABELS)
        self._check_precision()
        given = source if known_values is None else source | known_values.any(dim=2)
        distinct, inverse = _distinct(given, target)
        if len(distinct) < len(tokens):
            some = None if known_values is None else known_values[distinct]
            alike = (tokens[distinct], source[distinct], target[distinct], some)
            return self.label_probabilities(*alike)[inverse]
        probabilities = torch.empty(len(tokens), self.config.data.num_classes)
        union = source | target
        counts = union.sum(dim=1)
        for count in counts.unique().tolist():
            for rows in (counts == count).nonzero()[:, 0].split(CHUNK_ROWS):
                known = None if known_values is None else known_values[rows]
                sequence = present_tokens(source[rows], target[rows], known)
                present = gather_tokens(tokens[rows], sequence.positions)
                every = _padding(len(rows))
                logits = self.generator.label_logits(
                    present[every].to(self.device), sequence.rows(every).to(self.device)
                )
                probabilities[rows] = logits[: len(rows)].float().softmax(dim=1).cpu()
        return probabilities

    def known_labels(
        self,
        labels: Int64[Tensor, "N K"],
        tokens: Float[Tensor, "N L P"],
        masks: TokenMasks,
        seed: int,
        first_image: int,
    ) -> Int64[Tensor, "N K"]:
        """The same with every unknown label drawn from p(y | x_S), as (seed, i, k) says."""
        rows = (labels == UNKNOWN_LABEL).any(dim=1).nonzero()[:, 0]
        if self.config.data.num_classes is None or len(rows) == 0:
            return labels
        asked = masks.rows(rows)
        probabilities = self.label_probabilities(
            tokens[rows], asked.source, asked.target, asked.known_values
        )
        cumulative = probabilities.double().cumsum(dim=1)
        row, variation = (labels[rows] == UNKNOWN_LABEL).nonzero().T
        upper, image = cumulative[row], rows[row]
        rngs = [
            make_rng(Stream.LABELS, seed, first_image + i, k)
            for i, k in zip(image.tolist(), variation.tolist(), strict=True)
        ]
        uniform = [torch.rand(1, generator=each, dtype=torch.float64) for each in rngs]
        level = torch.stack(uniform) * upper[:, -1:]
        result = labels.clone()
        result[image, variation] = torch.searchsorted(upper, level, right=True)[:, 0]
        return result

    def _generate_chunk(
        self,
        tokens: Tensor,
        masks: TokenMasks,
        labels: Tensor,
        rngs: Sequence[torch.Generator],
    ) -> Float[Tensor, "R L P"]:
        """Draw up to ``CHUNK_ROWS`` rows of equal counts, each with noise of its own."""
        sequence = self._with_labels(masks.sequence(), labels)
        length = sequence.positions.shape[1]
        draws = [self.generator.draw_noise(1, length, rng) for rng in rngs]
        noise = Noise(
            torch.cat([draw.z for draw in draws]), torch.cat([draw.token_noise for draw in draws])
        )
        present = gather_tokens(tokens, sequence.positions)
        every = _padding(len(tokens))
        drawn = self.generator(
            present[every].to(self.device),
            sequence.rows(every).to(self.device),
            noise.rows(every).to(self.device),
        )[: len(tokens)]
        return scatter_tokens(tokens, drawn.to(tokens.device), sequence.positions)

    def _with_labels(self, sequence: TokenSequence, labels: Tensor) -> TokenSequence:
        """The same sequence with labels, unless the model knows none."""
        if self.config.data.num_classes is None:
            return sequence
        return replace(sequence, labels=labels)


def _distinct(
    given: Bool[Tensor, "N L"], target: Bool[Tensor, "N L"]
) -> tuple[Int64[Tensor, " D"], Int64[Tensor, " N"]]:
    """Rows that differ, and for each row which of them it equals: those given nothing may."""
    numbers = torch.arange(len(given))
    own = torch.where(given.any(dim=1), 1 + numbers, 0)
    keys, inverse = torch.cat([own[:, None], target], dim=1).unique(dim=0, return_inverse=True)
    first = numbers.new_full((len(keys),), len(given))
    return first.scatter_reduce(0, inverse, numbers, "amin"), inverse


def _padding(count: int) -> Int64[Tensor, "CHUNK_ROWS"]:
    """Row numbers that repeat the last of ``count`` rows until a chunk is full."""
    return torch.arange(CHUNK_ROWS).clamp_max(count - 1)


def _noise_of(step: int, seed: int, image: int, variation: int) -> torch.Generator:
    if step == 0:
        return make_rng(Stream.SAMPLE, seed, image, variation)
    return make_rng(Stream.LATER_STEPS, seed, image, variation, step)
