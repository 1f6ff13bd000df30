"""The sections ``loss``, ``train`` and ``logging``."""

from __future__ import annotations

from typing import Literal

from biglearn_gan.config.values import (
    Layers,
    NonNegative,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Section,
    Share,
    ShareBelowOne,
)


class PenaltyConfig(Section):
    """Zero-centered gradient penalties γ/2 ‖∇f‖² over the target's pixels."""

    kind: Literal["exact", "finite_difference"] = "exact"
    """``exact``: double backward. ``finite_difference``: one more forward pass, which allows fused
    attention kernels."""

    r1: NonNegativeFloat = 0.05
    """γ on real images; 0 turns it off."""

    r2: NonNegativeFloat = 0.05
    """γ on generated images; 0 turns it off."""

    interval: Positive = 4
    """Steps from one penalty to the next; each penalty is multiplied by this number."""

    sigma: PositiveFloat = 0.05
    """Step of the finite difference, in units of the values that the networks read."""

    final_factor: NonNegativeFloat = 1.0
    """γ falls to this multiple by the end of training, linearly with the learning rate."""


class FeatureDiscriminatorConfig(Section):
    """A second discriminator, which reads the frozen network's feature maps instead of pixels.

    It has the width and the heads of ``model.discriminator``, and is no part of a checkpoint. It
    does not see ``loss.augmentation``.
    """

    weight: PositiveFloat = 1.0
    """Weight of the term in the generator's loss."""

    depth: Positive = 2
    """Number of blocks."""

    penalty: NonNegativeFloat = 1.6
    """γ of its exact gradient penalties on the features of real and of generated images, with the
    ``interval`` and the ``final_factor`` of ``loss.penalty``."""


class PerceptualConfig(Section):
    """Losses in the features of a frozen network; for color images."""

    network: str = "efficientnet"
    """``efficientnet``: EfficientNet-lite0, which needs the extra of this name; or the name of a
    network of torchvision with ``features``, such as ``vgg16``, whose weights are downloaded."""

    weight: PositiveFloat = 4.0
    """Weight of the energy score in the generator's loss."""

    layers: Layers = (2, 4, 10)
    """The layers whose outputs are compared: blocks of EfficientNet-lite0, 0 to 15, or places in
    ``features``."""

    size: Positive = 32
    """Pixels of the shorter side to which pictures are scaled for the network."""

    adversarial: FeatureDiscriminatorConfig | None = None
    """A second discriminator, of these features."""


class PseudoLabelsConfig(Section):
    """Labels that the averaged generator predicts for unlabeled images from all present tokens.

    The generator must predict them from the source, and they are given where a task gives a label.
    """

    weight: PositiveFloat = 1.0
    """Weight of the cross-entropy for the images of the batch, labeled or not."""

    threshold: Share = 0.95
    """The lowest probability, 0 to 1, at which a prediction counts; 0.95 as in FixMatch (Sohn et
    al. 2020, arXiv 2001.07685)."""

    shift: NonNegative = 0
    """Pixels by which images are moved at most, at random, where the generator learns labels; 0
    moves none. Labels are predicted for images as they are."""


class AugmentationConfig(Section):
    """Random changes of what the discriminator sees, alike for a real image and its fakes.

    Each key is a probability, 0 to 1, for each image. Near 1, the generator would learn the changed
    images; up to 0.8 is safe (Karras et al. 2020, arXiv 2006.06676).
    """

    flip_rotate: Share = 0.4
    """Mirror the image, and rotate it by a multiple of 90 degrees (by 180 if it is not square)."""

    translation: Share = 0.4
    """Shift the image by whole patches; what leaves it on one side enters on the other."""

    color: Share = 0.4
    """Change brightness and contrast; of a color image also hue and saturation."""


class LossConfig(Section):
    """Weights of the terms of the loss; a term of weight 0 changes nothing."""

    logistic: NonNegativeFloat = 0.0
    """Weight of the non-saturating logistic loss. Above 0, logits are absolute scores."""

    relativistic: NonNegativeFloat = 1.0
    """Weight of the relativistic loss, on pairs of a real and a generated image of one source."""

    adversarial: PositiveFloat = 1.0
    """Weight of the discriminator of pixels in the generator's loss, besides the weights of
    ``logistic`` and ``relativistic``; that of features has ``perceptual.adversarial.weight``."""

    logit_centering: NonNegativeFloat = 0.0
    """Weight of (f(real) + f(fake))² in the loss of each discriminator, which centers relativistic
    logits at 0 (Lin et al. 2025, arXiv 2511.22475)."""

    energy_score: NonNegativeFloat = 1.0
    """Weight of the energy score in the generator's loss; needs two ``fakes_per_real``."""

    perceptual: PerceptualConfig | None = None
    """An energy score in the features of a frozen network, besides the one of pixel values."""

    communication: NonNegativeFloat = 0.0
    """Weight of the communication game between two tasks with the same tokens; needs ``logistic``
    above 0."""

    label: NonNegativeFloat = 1.0
    """In a model with labels: weight of the label's cross-entropy, also in the warm start."""

    mismatched_label: NonNegativeFloat = 0.0
    """In a model with labels: weight of a loss of the discriminator, which learns to tell a real
    image with its label from the same image with another label (as Reed et al. 2016,
    arXiv 1605.05396, algorithm 1, but relativistic)."""

    pseudo_labels: PseudoLabelsConfig | None = None
    """Predicted labels for unlabeled images; only with ``data.labeled_images`` or
    ``data.unlabeled``."""

    fakes_per_real: Positive = 2
    """Generated images for each real image of a batch."""

    reuse_fake_pass: bool = False
    """Train both networks from one discriminator pass on the generated images, except in steps with
    a penalty. Faster, but the generator sees the discriminator from before its update."""

    augmentation: AugmentationConfig | None = None
    """Random changes of what the discriminator sees, against learning few images by heart."""

    penalty: PenaltyConfig = PenaltyConfig()
    """Gradient penalties of the discriminator."""


class WarmStartConfig(Section):
    """Masked autoencoding by the generator alone, before the adversarial training.

    It uses the tasks that have a source.
    """

    share: ShareBelowOne = 0.1
    """Share of the budget, 0 to below 1; 0 turns it off."""

    learning_rate: PositiveFloat = 2e-3
    """Adam's step size."""

    transfer: Literal["nothing", "trunk"] = "trunk"
    """What the discriminator then gets from the generator: ``trunk``, its embeddings and blocks, or
    ``nothing``, which leaves the discriminator as it is. The networks must have equal width and
    heads for ``trunk``."""


class LearningRateConfig(Section):
    """Adam's step sizes after the warm start: a linear rise, constant, then a linear fall."""

    generator: PositiveFloat = 2e-3
    """Step size of the generator."""

    discriminator: PositiveFloat = 2e-3
    """Step size of the discriminator."""

    warmup_images: NonNegative = 3200
    """Length of the linear rise, in images; the warm start has one of the same length."""

    hold_share: Share = 0.3
    """Share of the adversarial training, 0 to 1, after which the step sizes fall."""

    final_factor: NonNegativeFloat = 0.1
    """Step sizes at the end, as a multiple."""


class TrainConfig(Section):
    """The budget and the optimization. Set exactly one of ``max_images`` and ``max_minutes``."""

    seed: NonNegative = 0
    """Seed of all random numbers, at least 0."""

    batch_size: Positive = 32
    """Real images of one step, over all processes."""

    max_images: Positive | None = None
    """Budget in real images, warm start included."""

    max_minutes: PositiveFloat | None = None
    """Budget in minutes. It is turned into images once, by timing a few steps."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward passes; weights and penalties stay float32."""

    tf32: bool = True
    """Whether a CUDA GPU rounds the inputs of float32 matrix products to TF32, 10 bits of mantissa.
    They are then several times faster, also those of penalties."""

    learning_rate: LearningRateConfig = LearningRateConfig()
    """Step sizes after the warm start."""

    ema_half_life_images: PositiveFloat = 11_000
    """Half-life of the generator's moving average, in images."""

    warm_start: WarmStartConfig = WarmStartConfig()
    """Masked autoencoding before the adversarial training."""

    initial_model: str | None = None
    """A trained model to start from: a folder or a name on the Hugging Face hub. Its networks must
    have the same sizes; labels and the generator's convolutions may differ and are then learned
    anew. If the model had convolutions, so is the generator's output layer, unless only the run
    sets ``canvas_detached``. With a warm start, ``warm_start.transfer`` must be ``nothing``, which
    keeps the model's discriminator."""


class LoggingConfig(Section):
    """How often a run writes, in images seen."""

    log_images: Positive = 3200
    """Images between two lines of metrics."""

    grid_images: Positive = 64_000
    """Images between two grids of samples."""

    checkpoint_images: Positive = 64_000
    """Images between two checkpoints."""

    evaluation_time_share: Share = 0.1
    """Largest share of the training time, 0 to 1, for evaluation after the first one; 0 turns
    evaluation off."""

    tensorboard: bool = True
    """Whether metrics are also written for TensorBoard."""
