"""``TokenModel``: both networks of a configuration, applied to tokens.

The networks always run on chunks of one fixed size. Each sample has its own random generator, named
by (seed, image, variation). So neither the number of images nor their order changes a sample. This
holds exactly, except for some layer widths below 16, for which the last bit of a matrix product can
depend on the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from biglearn_gan.argument_checks import check_integer
from biglearn_gan.config import Config
from biglearn_gan.models.factory import build_networks
from biglearn_gan.models.generator import Noise
from biglearn_gan.models.input_checks import NetworkName, check_layer
from biglearn_gan.models.labels import Labels, check_labels, require_labels
from biglearn_gan.models.progressive import OrderName, check_order, split_targets
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import gather_tokens, scatter_tokens
from biglearn_gan.tasks.token_masks import (
    UNKNOWN_LABEL,
    TokenMasks,
    TokenSequence,
    present_tokens,
)

CHUNK_ROWS = 64
"""Rows of each forward pass; smaller chunks are padded."""


@dataclass(frozen=True)
class SamplingOptions:
    """How samples are drawn.

    Attributes:
        labels: the class of each image (N,) or of each sample (N, K), for a model with labels. A
            label that is -1 (all, if None) is drawn from p(y | x_S).
        variations: K, samples of each image, at least 1.
        seed: at least 0; sample k of image i depends on (seed, i, k) only.
        first_image: number i of the first image, so that a long job can be split.
        steps: 1 draws all targets in one pass; more draw them in as many passes, each given the
            earlier ones.
        order: order of the targets if there are several steps.
    """

    labels: Labels | None = None
    variations: int = 1
    seed: int = 0
    first_image: int = 0
    steps: int = 1
    order: OrderName = "random"


DEFAULT_OPTIONS = SamplingOptions()


class TokenModel(nn.Module):
    """The generator p(x_T | x_S), which also predicts labels p(y | x_S), and the discriminator.

    Args:
        config: the configuration that the model was or will be trained with.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.generator, self.discriminator = build_networks(config)
        self.standardization = Standardization(config)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, in which the networks compute."""
        return next(self.parameters()).dtype

    @torch.inference_mode()
    def generate(
        self,
        tokens: Float[Tensor, "N L P"],
        masks: TokenMasks,
        options: SamplingOptions = DEFAULT_OPTIONS,
    ) -> Float[Tensor, "N K L P"]:
        """Draw the target tokens given the source tokens; all others are returned unchanged.

        Args:
            tokens: the images' tokens; unknown values of targets are ignored.
            masks: the task of each image; their numbers of present tokens may differ.
            options: how to draw.

        Raises:
            OrderError: the order is unknown, or ``steps`` is not 1 to the tokens of an image.
            LabelError: the model has no labels, or not this one.
            ValueError: ``variations`` is not an integer of at least 1, ``seed`` or ``first_image``
                is not one of at least 0, or the weights have several dtypes.
        """
        self._check_dtype()
        check_order(options.order, options.steps, self.config.token_count)
        labels = self.draw_unknown_labels(options, tokens, masks)  # checks the numbers
        parts: Iterator[tuple[Tensor, TokenMasks]] = iter([(torch.arange(len(tokens)), masks)])
        if options.steps > 1:
            images = range(options.first_image, options.first_image + len(tokens))
            rngs = [make_rng(Stream.ORDER, options.seed, image) for image in images]
            grid_size = self.config.grid_size
            parts = split_targets(masks, grid_size, options.steps, options.order, rngs)
        results = tokens[:, None].repeat(1, options.variations, 1, 1)  # (N, K, L, P)
        for step, (images_of_step, part) in enumerate(parts):
            for row, variation in chunks(part.union.sum(dim=1), options.variations):
                image = images_of_step[row]
                results[image, variation] = self._generate_chunk(
                    results[image, variation],
                    part.rows(row),
                    labels[image, variation],
                    [
                        sample_rng(options.seed, options.first_image + i, k, step)
                        for i, k in zip(image.tolist(), variation.tolist(), strict=True)
                    ],
                )
        return results

    @torch.inference_mode()
    def critic_logits(
        self, tokens: Float[Tensor, "N L P"], masks: TokenMasks, labels: Labels | None = None
    ) -> Float[Tensor, " N"]:
        """The discriminator's logits f(x; S, T), on the CPU.

        Args:
            tokens: the images' tokens; absent ones are ignored.
            masks: source and target tokens; their numbers of present tokens may differ.
            labels: the class of each image, for a model with labels; None if it is unknown.

        Raises:
            LabelError: the model has no labels, or not this one.
            ValueError: the weights have several dtypes.
        """
        self._check_dtype()
        known_labels = check_labels(labels, len(tokens), 1, self.config.data)[:, 0]
        logits = torch.empty(len(tokens))
        for rows, _ in chunks(masks.union.sum(dim=1)):
            sequence = self._with_labels(masks.rows(rows).sequence(), known_labels[rows])
            inputs = self._padded_inputs(tokens[rows], sequence)
            logits[rows] = self.discriminator(*inputs)[: len(rows)].to(logits)
        return logits

    @torch.inference_mode()
    def label_probabilities(
        self,
        tokens: Float[Tensor, "N L P"],
        source: Bool[Tensor, "N L"],
        target: Bool[Tensor, "N L"],
        known_values: Bool[Tensor, "N L P"] | None = None,
    ) -> Float[Tensor, "N classes"]:
        """p(y | x_S) from tokens, on the CPU.

        Args:
            tokens: the images' tokens; unknown values of targets are ignored.
            source: tokens that are given.
            target: tokens that are masked, as in training; a row may have none.
            known_values: values of target tokens that are given.

        Raises:
            LabelError: the model has no labels.
            ValueError: the weights have several dtypes.
        """
        num_classes = require_labels(self.config.data)
        self._check_dtype()
        has_source = source.any(dim=1)
        if known_values is not None:
            has_source = has_source | known_values.flatten(1).any(dim=1)
        distinct, inverse = _distinct_rows(has_source, target)
        if len(distinct) < len(tokens):
            known = None if known_values is None else known_values[distinct]
            some = (tokens[distinct], source[distinct], target[distinct], known)
            return self.label_probabilities(*some)[inverse]
        probabilities = torch.empty(len(tokens), num_classes)
        for rows, _ in chunks((source | target).sum(dim=1)):
            known = None if known_values is None else known_values[rows]
            sequence = present_tokens(source[rows], target[rows], known)
            inputs = self._padded_inputs(tokens[rows], sequence)
            logits = self.generator.label_logits(*inputs)[: len(rows)]
            probabilities[rows] = logits.float().softmax(dim=1).to(probabilities)
        return probabilities

    @torch.inference_mode()
    def mean_features(
        self,
        tokens: Float[Tensor, "N L P"],
        source: Bool[Tensor, "N L"],
        network: NetworkName,
        layer: int | None = None,
    ) -> Float[Tensor, "N D"]:
        """The mean of a block's output over the source tokens, on the CPU; all others are absent.

        Args:
            tokens: the images' tokens.
            source: tokens that are given, at least one in each row.
            network: whose transformer.
            layer: number of the block, 1 to the network's depth; None for the last one.

        Raises:
            ValueError: a row has no source token, there is no such network or block, or the weights
                have several dtypes.
        """
        self._check_dtype()
        check_layer(network, layer, self.config.model)
        empty = (~source.any(dim=1)).nonzero()[:, 0].tolist()
        if empty:
            raise ValueError(f"image {empty[0]} has no patch that is observed completely")
        features = torch.empty(len(tokens), getattr(self.config.model, network).width)
        for rows, _ in chunks(source.sum(dim=1)):
            sequence = present_tokens(source[rows], torch.zeros_like(source[rows]), None)
            inputs = self._padded_inputs(tokens[rows], sequence)
            states = getattr(self, network).hidden_states(*inputs, layer)  # (R, M, D)
            features[rows] = states.mean(dim=1)[: len(rows)].to(features)
        return features

    def draw_unknown_labels(
        self, options: SamplingOptions, tokens: Float[Tensor, "N L P"], masks: TokenMasks
    ) -> Int64[Tensor, "N K"]:
        """The label of each sample; unknown ones are drawn from p(y | x_S) in a model with labels.

        The drawn label of a sample depends on (seed, image, variation) only.

        Raises:
            LabelError: see :meth:`generate`.
            ValueError: ``variations``, ``seed`` or ``first_image`` is out of range.
        """
        check_integer("variations", options.variations, least=1)
        check_integer("seed", options.seed, least=0)
        check_integer("first_image", options.first_image, least=0)
        data = self.config.data
        labels = check_labels(options.labels, len(tokens), options.variations, data)
        rows = (labels == UNKNOWN_LABEL).any(dim=1).nonzero()[:, 0]
        if data.num_classes is None or len(rows) == 0:
            return labels
        unknown = masks.rows(rows)
        probabilities = self.label_probabilities(
            tokens[rows], unknown.source, unknown.target, unknown.known_values
        )
        cumulative = probabilities.double().cumsum(dim=1)
        row, variation = (labels[rows] == UNKNOWN_LABEL).nonzero().T
        cdf, image = cumulative[row], rows[row]
        rngs = [
            make_rng(Stream.LABELS, options.seed, options.first_image + i, k)
            for i, k in zip(image.tolist(), variation.tolist(), strict=True)
        ]
        uniform = [torch.rand(1, generator=rng, dtype=torch.float64) for rng in rngs]
        level = torch.stack(uniform) * cdf[:, -1:]
        result = labels.clone()
        result[image, variation] = torch.searchsorted(cdf, level, right=True)[:, 0]
        return result

    def _generate_chunk(
        self,
        tokens: Tensor,
        masks: TokenMasks,
        labels: Tensor,
        rngs: Sequence[torch.Generator],
    ) -> Float[Tensor, "R L P"]:
        """Draw up to ``CHUNK_ROWS`` rows of equal counts, each with noise of its own ``rng``."""
        sequence = self._with_labels(masks.sequence(), labels)
        length = sequence.positions.shape[1]
        draws = [self.generator.draw_noise(1, length, rng) for rng in rngs]
        noise = Noise(
            torch.cat([draw.z for draw in draws]), torch.cat([draw.token_noise for draw in draws])
        )
        noise = noise.rows(_padding(len(tokens))).to(self.device, self.dtype)
        generated = self.generator(*self._padded_inputs(tokens, sequence), noise)[: len(tokens)]
        generated = self.standardization.restore(generated.to(tokens.dtype)).to(tokens.device)
        present = gather_tokens(tokens, sequence.positions)
        generated = torch.where(sequence.generated_values, generated, present)
        return scatter_tokens(tokens, generated, sequence.positions)

    def _padded_inputs(
        self, tokens: Float[Tensor, "R L P"], sequence: TokenSequence
    ) -> tuple[Float[Tensor, "CHUNK_ROWS M P"], TokenSequence]:
        """The networks' tokens and their sequence, padded to a whole chunk, as they compute."""
        rows = _padding(len(tokens))
        present = gather_tokens(tokens, sequence.positions)[rows].to(self.device)
        standardized = self.standardization(present).to(self.dtype)
        return standardized, sequence.rows(rows).to(self.device)

    def _with_labels(self, sequence: TokenSequence, labels: Tensor) -> TokenSequence:
        """The sequence with labels, in a model with labels."""
        if self.config.data.num_classes is None:
            return sequence
        return replace(sequence, labels=labels)

    def _check_dtype(self) -> None:
        dtypes = {str(parameter.dtype) for parameter in self.parameters()}
        if len(dtypes) > 1:
            raise ValueError(
                f"the model's weights must have one dtype, not {' and '.join(sorted(dtypes))}: "
                "model.float() converts them"
            )


def sample_rng(seed: int, image: int, variation: int, step: int = 0) -> torch.Generator:
    """The random numbers of one sample, in one step of progressive sampling."""
    if step == 0:
        return make_rng(Stream.SAMPLE, seed, image, variation)
    return make_rng(Stream.LATER_STEPS, seed, image, variation, step)


def chunks(
    counts: Int64[Tensor, " N"], variations: int = 1
) -> Iterator[tuple[Int64[Tensor, " R"], Int64[Tensor, " R"]]]:
    """Row and variation numbers in chunks of up to ``CHUNK_ROWS`` rows with equal counts."""
    for count in counts.unique().tolist():
        rows = (counts == count).nonzero()[:, 0]
        pairs = torch.cartesian_prod(rows, torch.arange(variations)).view(-1, 2)
        for chunk in pairs.split(CHUNK_ROWS):
            yield chunk[:, 0], chunk[:, 1]


def _distinct_rows(
    has_source: Bool[Tensor, " N"], target: Bool[Tensor, "N L"]
) -> tuple[Int64[Tensor, " D"], Int64[Tensor, " N"]]:
    """Rows with distinct inputs, and for each row the one that it equals.

    Only rows without a source can be equal: those with the same targets.
    """
    numbers = torch.arange(len(has_source))
    source_number = torch.where(has_source, 1 + numbers, 0)
    keys = torch.cat([source_number[:, None], target], dim=1)
    distinct, inverse = keys.unique(dim=0, return_inverse=True)
    first = numbers.new_full((len(distinct),), len(has_source))
    return first.scatter_reduce(0, inverse, numbers, "amin"), inverse


def _padding(count: int) -> Int64[Tensor, "CHUNK_ROWS"]:
    """Row numbers that repeat the last of ``count`` rows up to a whole chunk."""
    return torch.arange(CHUNK_ROWS).clamp_max(count - 1)
