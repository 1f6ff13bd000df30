"""The losses, as pure functions: logits or samples in, one value per sample out.

``f`` is the discriminator's logit. Losses are not reduced: (B,) in, (B,) out. They raise ValueError
for logits of different shapes, because (B, 1) - (B,) would broadcast silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.models.feature_networks import normalize_channels
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


def logistic_discriminator(
    real: Float[Tensor, " B"], fake: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """-log σ(f(real)) - log σ(-f(fake)) (Goodfellow et al. 2014, eq. 1)."""
    _same_shape(real, fake)
    return F.softplus(-real) + F.softplus(fake)


def logistic_generator(fake: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """-log σ(f(fake)), the non-saturating form (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake)


def relativistic_discriminator(
    real: Float[Tensor, " B"], fake: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """-log σ(f(real) - f(fake)) for pairs of one source and task (Huang et al. 2024, eq. 2)."""
    _same_shape(real, fake)
    return F.softplus(fake - real)


def relativistic_generator(
    real: Float[Tensor, " B"], fake: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """-log σ(f(fake) - f(real)), the mirror of :func:`relativistic_discriminator`."""
    _same_shape(real, fake)
    return F.softplus(real - fake)


def logit_centering(real: Float[Tensor, " B"], fake: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """(f(real) + f(fake))², a term of the discriminator (Lin et al. 2025, arXiv 2511.22475).

    Relativistic losses leave the level of the logits free, so it can drift; this keeps it at 0.
    """
    _same_shape(real, fake)
    return (real + fake).square()


def generator_gradients(
    discriminator_gradients: Float[Tensor, "B M P"],
    discriminator_loss: Callable[[Tensor], Tensor],
    generator_loss: Callable[[Tensor], Tensor],
    fake: Float[Tensor, " B"],
) -> Float[Tensor, "B M P"]:
    """The generator's loss: its gradients at the fakes, without a pass of the discriminator.

    The discriminator scores each image on its own. So the gradient of either loss is ∇ f(x) times
    the derivative of that loss in f(x), and one gradient is the other times a ratio.

    Args:
        discriminator_gradients: gradients of the discriminator's loss, or of its mean, by the
            fakes.
        discriminator_loss: maps logits (B,) to losses (B,); must increase with the logits.
        generator_loss: maps the same logits to the generator's losses.
        fake: f(x), the logits of the fakes.
    """
    fake = fake.detach().requires_grad_()
    (discriminator_slope,) = torch.autograd.grad(discriminator_loss(fake).sum(), fake)
    (generator_slope,) = torch.autograd.grad(generator_loss(fake).sum(), fake)
    ratio = generator_slope / discriminator_slope.clamp(min=torch.finfo(fake.dtype).tiny)
    return discriminator_gradients * ratio[:, None, None]


def communication(
    first_on_first: Float[Tensor, " B"],
    second_on_first: Float[Tensor, " B"],
    first_on_second: Float[Tensor, " B"],
    second_on_second: Float[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """Value of the communication game of two tasks with one union (arXiv 2207.03899, sec. 3.3).

    The discriminator maximizes the value, the generator minimizes it. It is -2 ln 2 if both models
    agree and the discriminator is optimal.

    Args:
        first_on_first: f(x; S1, T1) for a sample x of the first task.
        second_on_first: f(x; S2, T2) for the same sample.
        first_on_second: f(x; S1, T1) for a sample x of the second task.
        second_on_second: f(x; S2, T2) for the same sample.
    """
    _same_shape(first_on_first, second_on_first, first_on_second, second_on_second)
    return F.logsigmoid(second_on_first - first_on_first) + F.logsigmoid(
        first_on_second - second_on_second
    )


def exact_penalty(
    logits: Float[Tensor, " B"],
    tokens: Float[Tensor, "B M P"],
    generated: Bool[Tensor, "B M #P"] | None = None,
) -> Float[Tensor, " B"]:
    """½ ‖∇ f‖² over the generated or all values, by double backward (Mescheder et al. 2018, eq. 9).

    Args:
        logits: computed from ``tokens`` inside ``transformer.twice_differentiable_attention``.
        tokens: require a gradient.
        generated: True = the value is generated; None if all values count.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), tokens, create_graph=True)
    if generated is not None:
        gradient = gradient * generated
    return 0.5 * gradient.square().sum(dim=(1, 2))


def perturb_targets(
    tokens: Float[Tensor, "B M P"],
    generated: Bool[Tensor, "B M #P"],
    noise: Float[Tensor, "B M P"],
    sigma: float,
) -> Float[Tensor, "B M P"]:
    """x + σ ε for generated values, x for all others; ε is the standard normal ``noise``."""
    return tokens + sigma * noise * generated


def finite_difference_penalty(
    logits: Float[Tensor, " B"], perturbed_logits: Float[Tensor, " B"], sigma: float
) -> Float[Tensor, " B"]:
    """½ ((f(x + σ ε) - f(x)) / σ)², whose mean over ε approaches ½ ‖∇ f‖² for small σ.

    As in APT (Lin et al. 2025, arXiv 2501.08316, eq. 3), but scaled so that γ means the same as for
    :func:`exact_penalty`. ``perturbed_logits`` are the logits of :func:`perturb_targets`.
    """
    _same_shape(logits, perturbed_logits)
    return 0.5 * ((perturbed_logits - logits) / sigma).square()


def energy_score(
    real: Float[Tensor, "B M P"],
    first: Float[Tensor, "B M P"],
    second: Float[Tensor, "B M P"],
    is_target: Bool[Tensor, "B M"],
) -> Float[Tensor, " B"]:
    """½ (‖x1 - x‖ + ‖x2 - x‖) - ½ ‖x1 - x2‖ for two samples x1, x2 with the source of x.

    A strictly proper scoring rule (Gneiting & Raftery 2007, eq. 22): its expectation is lowest for
    the true conditional distribution. The norm is :func:`target_norm`.
    """
    differences = torch.cat([first - real, second - real, first - second])  # (3 B, M, P)
    first_to_real, second_to_real, to_each_other = target_norm(
        differences, is_target.repeat(3, 1)
    ).chunk(3)
    return 0.5 * (first_to_real + second_to_real) - 0.5 * to_each_other


def feature_energy_score(
    real: Sequence[Float[Tensor, "B _ _ _"]],
    first: Sequence[Float[Tensor, "B _ _ _"]],
    second: Sequence[Float[Tensor, "B _ _ _"]],
) -> Float[Tensor, " B"]:
    """The energy score in feature maps of several depths, whose mean distance is the norm.

    Each map is divided by its root mean square over channels, as in LPIPS (Zhang et al. 2018,
    arXiv 1801.03924, eq. 1). The distance of two maps is the root mean square over channels,
    averaged over places.
    """
    scores = []
    for maps in zip(real, first, second, strict=True):
        x, x1, x2 = (normalize_channels(features) for features in maps)
        to_real = _map_distance(x1, x) + _map_distance(x2, x)
        scores.append(0.5 * to_real - 0.5 * _map_distance(x1, x2))
    return torch.stack(scores).mean(dim=0)


def squared_error(
    real: Float[Tensor, "B M P"], predicted: Float[Tensor, "B M P"], is_target: Bool[Tensor, "B M"]
) -> Float[Tensor, " B"]:
    """Mean squared error over the target tokens, the loss of a masked autoencoder."""
    error = (predicted - real).square().mean(dim=-1) * is_target
    return error.sum(dim=1) / is_target.sum(dim=1)


def label_cross_entropy(
    logits: Float[Tensor, "B classes"], labels: Int64[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """-log p(y | x_S) in nats; 0 where the label is ``UNKNOWN_LABEL``."""
    return F.cross_entropy(logits, labels, reduction="none", ignore_index=UNKNOWN_LABEL)


def target_norm(
    difference: Float[Tensor, "B M P"], is_target: Bool[Tensor, "B M"], eps: float = 1e-6
) -> Float[Tensor, " B"]:
    """½ ‖u_T‖ / √(|T| P) + ½ mean over target tokens of ‖u_t‖ / √P, with ε under both roots."""
    squares = difference.square().mean(dim=-1) * is_target  # (B, M)
    count = is_target.sum(dim=1)
    whole = (squares.sum(dim=1) / count + eps).sqrt()
    tokens = ((squares + eps).sqrt() * is_target).sum(dim=1) / count
    return 0.5 * whole + 0.5 * tokens


def _map_distance(
    one: Float[Tensor, "B C H W"], other: Float[Tensor, "B C H W"], eps: float = 1e-6
) -> Float[Tensor, " B"]:
    return ((one - other).square().mean(dim=1) + eps).sqrt().mean(dim=(1, 2))


def _same_shape(*logits: Tensor) -> None:
    shapes = {tuple(logit.shape) for logit in logits}
    if len(shapes) > 1 or len(logits[0].shape) != 1:
        listed = " and ".join(str(tuple(logit.shape)) for logit in logits)
        raise ValueError(f"logits must all have one shape (B,), but they have {listed}")
