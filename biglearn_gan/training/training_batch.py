"""What a training step computes on: real tokens, tasks, noise, and labels."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.models.generator import Noise
from biglearn_gan.tasks.token_masks import TokenSequence
from biglearn_gan.training.augmentation import Augmentation
from biglearn_gan.training.perceptual import View


@dataclass(frozen=True)
class GeneratedSuperset:
    """For incomplete images: the W tokens to generate, of which the discriminator scores M.

    The other tokens are targets whose values are not observed; their values in ``real`` are never
    read.

    Attributes:
        real: the real tokens.
        sequence: all W tokens; the scored ones are those of ``TrainingBatch.sequence``.
        scored: index of each scored token among the W.
    """

    real: Float[Tensor, "B W P"]
    sequence: TokenSequence
    scored: Int64[Tensor, "B M"]


@dataclass(frozen=True)
class LabeledTokens:
    """Images to learn labels from, cut into the tokens of the batch's tasks.

    Attributes:
        real: present tokens of labeled images.
        labels: their classes.
        unlabeled: present tokens of the batch's own images, moved for pseudo-labels.
    """

    real: Float[Tensor, "B M P"]
    labels: Int64[Tensor, " B"]
    unlabeled: Float[Tensor, "B M P"]


@dataclass(frozen=True)
class TrainingBatch:
    """Real tokens, tasks and noise of one step. K is ``loss.fakes_per_real``.

    Attributes:
        real: the real tokens.
        sequence: the tasks, with the labels that are given.
        noise: for K fakes per image; row k B + b is for fake k of image b. W = M unless there is a
            ``superset``.
        perturbation: noise of a finite difference penalty for the real tokens, then for the fakes,
            R = (1 + K) B rows; None for an exact penalty and without one.
        second_split: other tasks on the same tokens, for the communication game.
        labels: true classes or ``UNKNOWN_LABEL``; None for a model without labels.
        superset: tokens to generate, if there are more than are scored.
        view: how pictures are shown to the network of ``loss.perceptual``; None as they are.
        labeled: images to learn labels from; None if all images are labeled.
        augmentation: changes of what the discriminator sees; None as it is.
        label_is_source: True = the label is given, if it is known; None for a model without labels.
        other_labels: the class of the image before each one in the global batch, for
            ``loss.mismatched_label``; None without it.
    """

    real: Float[Tensor, "B M P"]
    sequence: TokenSequence
    noise: Noise
    perturbation: Float[Tensor, "R M P"] | None = None
    second_split: TokenSequence | None = None
    labels: Int64[Tensor, " B"] | None = None
    superset: GeneratedSuperset | None = None
    view: View | None = None
    labeled: LabeledTokens | None = None
    augmentation: Augmentation | None = None
    label_is_source: Bool[Tensor, " B"] | None = None
    other_labels: Int64[Tensor, " B"] | None = None
