"""Tasks of a Gaussian field: pairs (S, T) with the exact conditional, and a model's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from biglearn_gan.config import Config, TaskComponent
from biglearn_gan.gaussian_mixture import ConditionalMixture, GaussianMixture
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.tasks.patches import patchify, pixels_of_tokens, unpatchify
from biglearn_gan.tasks.sampler import TaskSampler
from biglearn_gan.tasks.token_masks import TokenMasks


@runtime_checkable
class FieldModel(Protocol):
    """A model of a Gaussian field; ``BigLearnGAN`` is one."""

    @property
    def config(self) -> Config: ...

    def generate(
        self, tokens: Float[Tensor, "N L P"], masks: TokenMasks, options: SamplingOptions
    ) -> Float[Tensor, "N K L P"]: ...

    def critic_logits(
        self, tokens: Float[Tensor, "N L P"], masks: TokenMasks
    ) -> Float[Tensor, " N"]: ...


@dataclass(frozen=True)
class FieldTask:
    """One pair (S, T).

    Attributes:
        source_tokens: True = source.
        target_tokens: True = target.
        source: pixels of the source, as coordinates of the field.
        target: pixels of the target, as coordinates of the field.
        exact: the distribution of the target given the source.
    """

    source_tokens: Bool[Tensor, "1 L"]
    target_tokens: Bool[Tensor, "1 L"]
    source: Int64[Tensor, " s"]
    target: Int64[Tensor, " t"]
    exact: ConditionalMixture

    def masks(self, rows: int) -> TokenMasks:
        """The same task in every row."""
        return TokenMasks(self.source_tokens.expand(rows, -1), self.target_tokens.expand(rows, -1))


def draw_field_task(
    config: Config, field: GaussianMixture, kind: TaskComponent, rng: torch.Generator
) -> FieldTask:
    """Draw one task of a kind."""
    all_tokens = torch.ones(1, config.token_count, dtype=torch.bool)
    masks = TaskSampler([kind], config.grid_size).sample(all_tokens, rng).masks
    source, target = (
        pixels_of_tokens(tokens, config.grid_size, config.model.patch_size)
        .flatten()
        .nonzero()[:, 0]
        for tokens in (masks.source, masks.target)
    )
    return FieldTask(masks.source, masks.target, source, target, field.conditional(target, source))


def make_joint_field_task(config: Config, field: GaussianMixture) -> FieldTask:
    """The task whose target is the whole field."""
    all_tokens = torch.ones(1, config.token_count, dtype=torch.bool)
    pixels, no_pixels = torch.arange(field.dimension), torch.empty(0, dtype=torch.int64)
    exact = field.conditional(pixels, no_pixels)
    return FieldTask(~all_tokens, all_tokens, no_pixels, pixels, exact)


def draw_fields(field: GaussianMixture, count: int, rng: torch.Generator) -> Float64[Tensor, "N D"]:
    """Draw fields that float32 holds exactly, so that model and oracle see the same numbers."""
    return field.sample(count, rng).float().double()


def complete_fields(
    model: FieldModel,
    fields: Float64[Tensor, "N D"],
    task: FieldTask,
    draws: int,
    seed: int,
    first_image: int,
) -> Float64[Tensor, "N K t"]:
    """The target pixels that the model draws, given the source pixels of each field."""
    config = model.config
    options = SamplingOptions(variations=draws, seed=seed, first_image=first_image)
    tokens = field_tokens(config, fields)
    drawn = model.generate(tokens, task.masks(len(fields)), options)  # (N, K, L, P)
    images = unpatchify(drawn.flatten(0, 1), config.grid_size, config.model.patch_size)
    return images.double().view(len(fields), draws, -1)[..., task.target]


def field_tokens(config: Config, fields: Float64[Tensor, "N D"]) -> Float[Tensor, "N L P"]:
    """Fields as the tokens of a model."""
    images = fields.float().view(len(fields), 1, *config.data.image_size)
    return patchify(images, config.model.patch_size)
