"""``BigLearnGAN``: a trained generator with its critic and configuration, loaded and used.

    model = BigLearnGAN.from_pretrained("checkpoints/mnist")
    images = model.sample(num=16, seed=0)
    completions = model.complete(images, hole, variations=4, seed=0)

Sample *i*, variation *k* depends on (seed, i, k) and nothing else: its noise has a generator of its
own, and the networks always run on chunks of one fixed size, so neither the number of images asked
for nor the order of the work changes it (to the bit, but for some layer widths below 16, where the
last bit of a matrix product may depend on a row's place).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from jaxtyping import Bool, Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from biglearn_gan.card import card_text
from biglearn_gan.config import Config, ConfigError, parse_config
from biglearn_gan.files import replacing
from biglearn_gan.hub import CONFIG_NAME, WEIGHTS_NAME, weights_file
from biglearn_gan.masks import UNKNOWN_LABEL, TokenMasks
from biglearn_gan.networks import Discriminator, Generator
from biglearn_gan.patches import (
    gather_tokens,
    patchify,
    scatter_tokens,
    tokens_covered,
    tokens_touched,
    unpatchify,
)
from biglearn_gan.progressive import OrderName, checked_order, parts_in_order
from biglearn_gan.randomness import Stream, generator_for

CHUNK_ROWS = 64
"""Rows of every inference pass; fewer are padded."""

WITHOUT_LABELS = "this model was trained without labels; data.labels: true teaches them"


class CheckpointError(Exception):
    """A checkpoint that cannot be found, read or used, in one sentence."""


class ScoreError(ValueError):
    """More is asked of a critic than it was trained for, in one sentence."""


class LabelError(ValueError):
    """A label that the model does not know, in one sentence."""


class BigLearnGAN(nn.Module, ModelHubMixin):
    """The averaged generator p(x_T | x_S) and the critic f(x; S, T) that was trained with it.

    Args:
        config: the configuration it was (or will be) trained with.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        shape, classes = (config.token_count, config.token_dim), config.data.num_classes
        self.generator = Generator(*shape, config.model.generator, classes)
        self.discriminator = Discriminator(*shape, config.model.discriminator, classes)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> BigLearnGAN:
        """Load a folder written by ``save_pretrained``, or a model of that name from the hub.

        Args:
            pretrained_model_name_or_path: folder, or ``owner/name`` on the Hugging Face hub.
            options: those of huggingface_hub's ``from_pretrained`` (``revision``, ``token``, ...).

        Raises:
            CheckpointError: nothing is there, or the weights do not fit the configuration.
        """
        name = str(pretrained_model_name_or_path)
        try:
            if Path(name).is_dir():
                _check_config_file(Path(name))
            return super().from_pretrained(name, **options)
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            if Path(name).is_dir():
                raise CheckpointError(f"{name}: cannot be read ({error})") from None
            raise CheckpointError(
                f"{name!r} is neither a folder here nor a model that can be reached on the "
                "Hugging Face hub"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{name}/{CONFIG_NAME}: is not valid JSON ({error})") from None

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> BigLearnGAN:
        weights = weights_file(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            token=token,
            local_files_only=local_files_only,
        )
        try:
            model = cls(parse_config(model_kwargs.get("config", {})))
        except ConfigError as error:
            problems = "; ".join(error.problems)
            raise CheckpointError(f"{model_id}/{CONFIG_NAME}: {problems}") from None
        try:
            model.load_state_dict(load_file(weights), strict=True)
        except SafetensorError as error:
            raise CheckpointError(f"{weights}: is not a safetensors file ({error})") from None
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise CheckpointError(
                f"{weights}: the weights do not fit {CONFIG_NAME}: {first}"
            ) from None
        return model.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        with replacing(save_directory / WEIGHTS_NAME) as path:
            save_file(state, path)
        text = json.dumps(self.config.portable().to_dict(), indent=2)
        with replacing(save_directory / CONFIG_NAME) as path:
            path.write_text(text + "\n", encoding="utf-8")

    def generate_model_card(self, **details: Any) -> ModelCard:
        """The card of this model; ``details`` are those of :func:`biglearn_gan.card.card_text`."""
        return ModelCard(card_text(self.config.portable(), **details))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def sample(
        self,
        num: int,
        *,
        labels: Int64[Tensor, " N"] | None = None,
        seed: int = 0,
        steps: int = 1,
        order: OrderName = "random",
    ) -> Float[Tensor, "N C H W"]:
        """Draw whole images from nothing, or of given classes, in [-1, 1].

        Args:
            num: how many, at least 1.
            labels: see :meth:`complete`.
            seed: at least 0; image i depends on (seed, i) alone.
            steps: see :meth:`complete`, as ``order``.

        Raises:
            ValueError: ``num`` is below 1.
            LabelError: see :meth:`complete`.
        """
        if num < 1:
            raise ValueError(f"num must be at least 1, not {num}")
        height, width = self.config.data.image_size
        empty = torch.zeros(num, self.config.data.channels, height, width)
        hole = torch.ones(num, height, width, dtype=torch.bool)
        options: dict[str, Any] = {"seed": seed, "steps": steps, "order": order}
        return self.complete(empty, hole, labels=labels, **options)[:, 0]

    def complete(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        *,
        absent: Bool[Tensor, "N H W"] | None = None,
        labels: Int64[Tensor, " N"] | Int64[Tensor, "N K"] | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
        steps: int = 1,
        order: OrderName = "random",
    ) -> Float[Tensor, "N K C H W"]:
        """Fill the hole of each image, given everything outside of it; the result is on the CPU.

        Args:
            images: in [-1, 1]; what they hold inside the hole is ignored.
            hole: True = generate. A patch touched by it is generated whole, and its kept pixels
                are pasted back, so pixels outside of the hole come back bit for bit.
            absent: True = neither given nor generated. A patch touched by it and not by the hole
                is not shown to the model; its pixels come back as they were.
            labels: the class of each image (N,) or of each completion (N, K), for a model with
                labels; where it is -1 (or None, for all) it is drawn by :meth:`draw_labels` first.
            variations: K, completions of each image, at least 1.
            seed: at least 0; completion k of image i depends on (seed, i, k) alone.
            first_image: the number i of the first image, so that a long job can be cut in parts.
            steps: 1 for one pass; more draw the hole's patches in so many parts, one after another,
                each given what is drawn already.
            order: in which the patches are drawn, ``random``, ``raster`` or ``center-out``.

        Raises:
            ValueError: sizes differ from the model's, or an image has no hole.
            LabelError: the model has no labels, or not that one.
            OrderError: an unknown order, or steps that are not 1 to the tokens of an image.
        """
        tokens, masks = self._asked(images, hole, absent)
        tokens = self.generate(
            tokens,
            masks,
            labels=labels,
            variations=variations,
            seed=seed,
            first_image=first_image,
            steps=steps,
            order=order,
        )
        patch_size = self.config.model.patch_size
        drawn = unpatchify(tokens.flatten(0, 1), self.config.grid_size, patch_size)
        drawn = drawn.view(len(images), variations, *images.shape[1:])
        return torch.where(hole.cpu()[:, None, None], drawn, images.cpu()[:, None])

    def draw_labels(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        *,
        absent: Bool[Tensor, "N H W"] | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Int64[Tensor, "N K"]:
        """The labels that :meth:`complete` draws from p(y | x_S) when it is given none.

        Raises:
            ValueError: see :meth:`complete`.
            LabelError: the model has no labels.
        """
        tokens, masks = self._asked(images, hole, absent)
        if self.config.data.num_classes is None:
            raise LabelError(WITHOUT_LABELS)
        unknown = torch.full((len(images), variations), UNKNOWN_LABEL)
        return self._known_labels(unknown, tokens, masks, seed, first_image)

    def classify(
        self, images: Float[Tensor, "N C H W"], observed: Bool[Tensor, "N H W"] | None = None
    ) -> Float[Tensor, "N Y"]:
        """p(y | x_S): each image's class probabilities given the patches that are observed whole.

        Args:
            images: in [-1, 1].
            observed: True = given; None for whole images.

        Raises:
            ValueError: sizes differ from the model's.
            LabelError: the model has no labels.
        """
        if self.config.data.num_classes is None:
            raise LabelError(WITHOUT_LABELS)
        if observed is None:
            observed = torch.ones_like(images[:, 0], dtype=torch.bool)
        self._check_shapes(images, observed)
        patch_size = self.config.model.patch_size
        source = tokens_covered(observed.cpu(), patch_size)
        return self.label_probabilities(patchify(images.cpu(), patch_size), source, ~source)

    @torch.inference_mode()
    def label_probabilities(
        self,
        tokens: Float[Tensor, "N L P"],
        source: Bool[Tensor, "N L"],
        target: Bool[Tensor, "N L"],
    ) -> Float[Tensor, "N Y"]:
        """p(y | x_S) from tokens; targets are hidden, as in training, and may be none."""
        assert self.config.data.num_classes is not None
        probabilities = torch.empty(len(tokens), self.config.data.num_classes)
        union = source | target
        counts = union.sum(dim=1)
        for count in counts.unique().tolist():
            for rows in (counts == count).nonzero()[:, 0].split(CHUNK_ROWS):
                positions = union[rows].nonzero()[:, 1].view(len(rows), count)
                present = gather_tokens(tokens[rows], positions)
                hidden = target[rows].gather(1, positions)
                inputs = _filled([present, positions, hidden], self.device)
                logits = self.generator.label_logits(*inputs)[: len(rows)]
                probabilities[rows] = logits.float().softmax(dim=1).cpu()
        return probabilities

    def score(
        self,
        images: Float[Tensor, "N C H W"],
        source: Bool[Tensor, "N H W"],
        target: Bool[Tensor, "N H W"],
        labels: Int64[Tensor, " N"] | None = None,
    ) -> Float[Tensor, " N"]:
        """The critic's log q(x_T | x_S) - log p(x_T | x_S) in nats: real against generated.

        It was trained against the live generator, and the one that ships is its average. Without a
        label, a model with labels is judged as it draws without one, while :meth:`complete` draws
        one first: give the label to judge what it draws.

        Args:
            images: in [-1, 1].
            source: True = given; a patch counts if all of it is given and none of it is target.
            target: True = judged; a patch counts if any of it is. All else is marginalised out.
            labels: see :meth:`complete`.

        Raises:
            ScoreError: the model was trained without a logistic term, so that its logits rank
                candidates of one source and say no more (see :meth:`critic_logits`).
            ValueError: an image has no target, or sizes differ from the model's.
            LabelError: see :meth:`complete`.
        """
        if not self.config.absolute_scores:
            raise ScoreError(
                "this model's critic only ranks candidates of one source: it was trained with "
                "loss.logistic of 0, and an absolute score needs it above 0"
            )
        self._check_shapes(images, source, target)
        patch_size = self.config.model.patch_size
        judged = tokens_touched(target.cpu(), patch_size)
        masks = TokenMasks(tokens_covered(source.cpu(), patch_size) & ~judged, judged)
        return self.critic_logits(patchify(images.cpu(), patch_size), masks, labels)

    @torch.inference_mode()
    def critic_logits(
        self,
        tokens: Float[Tensor, "N L P"],
        masks: TokenMasks,
        labels: Int64[Tensor, " N"] | None = None,
    ) -> Float[Tensor, " N"]:
        """The critic's logits f(x; S, T); the higher of two candidates of one source is the better.

        Args:
            tokens: the images' tokens; absent ones are ignored.
            masks: source and target tokens of each image; rows may differ in their counts.
            labels: see :meth:`complete`.
        """
        labels = self._checked_labels(labels, len(tokens), 1)[:, 0]
        logits = torch.empty(len(tokens))
        counts = masks.union.sum(dim=1)
        for count in counts.unique().tolist():
            for rows in (counts == count).nonzero()[:, 0].split(CHUNK_ROWS):
                sequence = TokenMasks(masks.source[rows], masks.target[rows]).sequence()
                present = gather_tokens(tokens[rows], sequence.positions)
                inputs = _filled(
                    [present, sequence.positions, sequence.is_target, labels[rows]], self.device
                )
                scored = self.discriminator(*inputs[:3], labels=self._if_known(inputs[3]))
                logits[rows] = scored[: len(rows)].cpu()
        return logits

    @torch.inference_mode()
    def generate(
        self,
        tokens: Float[Tensor, "N L P"],
        masks: TokenMasks,
        *,
        labels: Int64[Tensor, " N"] | Int64[Tensor, "N K"] | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
        steps: int = 1,
        order: OrderName = "random",
    ) -> Float[Tensor, "N K L P"]:
        """Draw the target tokens given the source tokens; all others come back as they were.

        Args:
            tokens: the images' tokens; values at targets are ignored.
            masks: source and target tokens of each image; rows may differ in their counts.
            labels: see :meth:`complete`.
            variations: K, draws for each image.
            seed: at least 0; draw k of image i depends on (seed, i, k) alone.
            first_image: the number i of the first image.
            steps: parts that the targets are drawn in, one after another.
            order: of the targets.

        Raises:
            OrderError: see :meth:`complete`.
            LabelError: see :meth:`complete`.
        """
        checked_order(order, steps, self.config.token_count)
        if variations < 1:
            raise ValueError(f"variations must be at least 1, not {variations}")
        given = self._checked_labels(labels, len(tokens), variations)
        known = self._known_labels(given, tokens, masks, seed, first_image)
        numbers = range(first_image, first_image + len(tokens))
        orders = [generator_for(Stream.ORDER, seed, number) for number in numbers]
        parts = parts_in_order(masks, self.config.grid_size, steps, order, orders)
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
                        TokenMasks(part.source[row], part.target[row]),
                        known[image, variation],
                        [
                            _noise_of(step, seed, first_image + i, k)
                            for i, k in zip(image.tolist(), variation.tolist(), strict=True)
                        ],
                    )
        return results

    def _asked(
        self, images: Tensor, hole: Tensor, absent: Tensor | None
    ) -> tuple[Float[Tensor, "N L P"], TokenMasks]:
        """Tokens and task of images with holes, on the CPU."""
        self._check_shapes(images, hole, *([] if absent is None else [absent]))
        patch_size = self.config.model.patch_size
        target = tokens_touched(hole.cpu(), patch_size)
        source = ~target
        if absent is not None:
            source &= ~tokens_touched(absent.cpu(), patch_size)
        return patchify(images.cpu(), patch_size), TokenMasks(source, target)

    def _check_shapes(self, images: Tensor, *masks: Tensor) -> None:
        """Refuse images that are not the model's, or pixel masks that are not theirs."""
        data = self.config.data
        expected = (len(images), data.channels, *data.image_size)
        if tuple(images.shape) != expected or any(m.shape != images[:, 0].shape for m in masks):
            raise ValueError(
                f"images of shape (N, C, H, W) = (N, {', '.join(map(str, expected[1:]))}) and "
                "masks of (N, H, W) are expected, not "
                f"{' and '.join(str(tuple(given.shape)) for given in [images, *masks])}"
            )
        if not images.is_floating_point():
            raise ValueError(f"images must be floats in [-1, 1], not {images.dtype}")

    def _known_labels(
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
        probabilities = self.label_probabilities(
            tokens[rows], masks.source[rows], masks.target[rows]
        )
        result, cumulative = labels.clone(), probabilities.double().cumsum(dim=1)
        for row, upper in zip(rows.tolist(), cumulative, strict=True):
            for k in (labels[row] == UNKNOWN_LABEL).nonzero()[:, 0].tolist():
                generator = generator_for(Stream.LABELS, seed, first_image + row, k)
                uniform = torch.rand(1, generator=generator, dtype=torch.float64)
                result[row, k] = torch.searchsorted(upper, uniform * upper[-1], right=True)
        return result

    def _generate_chunk(
        self,
        tokens: Tensor,
        masks: TokenMasks,
        labels: Tensor,
        noises: Sequence[torch.Generator],
    ) -> Float[Tensor, "R L P"]:
        """Draw up to ``CHUNK_ROWS`` rows of equal counts, each with noise of its own."""
        sequence = masks.sequence()
        present = gather_tokens(tokens, sequence.positions)
        draws = [self.generator.draw_noise(1, present.shape[1], noise) for noise in noises]
        z, token_noise = (torch.cat(parts) for parts in zip(*draws, strict=True))
        inputs = _filled(
            [present, sequence.positions, sequence.is_target, z, token_noise, labels], self.device
        )
        drawn = self.generator(*inputs[:5], labels=self._if_known(inputs[5]))[: len(tokens)]
        return scatter_tokens(tokens, drawn.to(tokens.device), sequence.positions)

    def _checked_labels(
        self, labels: Tensor | None, count: int, variations: int
    ) -> Int64[Tensor, "N K"]:
        """One label for each draw, ``UNKNOWN_LABEL`` where there is none."""
        if labels is None:
            return torch.full((count, variations), UNKNOWN_LABEL)
        classes = self.config.data.num_classes
        if classes is None:
            raise LabelError(WITHOUT_LABELS)
        shapes = ((count,), (count, variations))
        if tuple(labels.shape) not in shapes or labels.dtype != torch.int64:
            raise LabelError(
                f"labels must be {count} integers (int64), or {variations} for each of {count}, "
                f"not {labels.dtype} of shape {tuple(labels.shape)}"
            )
        for label in labels.unique().tolist():
            if label != UNKNOWN_LABEL and not 0 <= label < classes:
                raise LabelError(
                    f"label {label} is none of this model's {classes} classes, 0 to {classes - 1}"
                )
        return labels.cpu().view(count, -1).expand(count, variations)

    def _if_known(self, labels: Tensor) -> Tensor | None:
        """What the networks take: labels for a model that has some."""
        return None if self.config.data.num_classes is None else labels


def _filled(inputs: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The same on the device, with the last row repeated up to ``CHUNK_ROWS``."""
    missing = CHUNK_ROWS - len(inputs[0])
    return [torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]).to(device) for x in inputs]


def _noise_of(step: int, seed: int, image: int, variation: int) -> torch.Generator:
    if step == 0:
        return generator_for(Stream.SAMPLE, seed, image, variation)
    return generator_for(Stream.LATER_STEPS, seed, image, variation, step)


def _check_config_file(folder: Path) -> None:
    """Refuse what the hub's mixin would fail on without a word of its own."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(f"{folder}: this folder holds no {CONFIG_NAME}, so no checkpoint")
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: holds a JSON {type(values).__name__}, not an object")
    if "num_classes" in values:
        raise CheckpointError(f"{folder}: holds a classifier, which measures, and not a model")
