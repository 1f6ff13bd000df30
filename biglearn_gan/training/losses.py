"""The terms of the game, as pure functions: logits or samples in, one loss per sample out.

``f`` is the discriminator's logit. Losses are unreduced, (B,) in and (B,) out, and refuse logits
of unequal shape, because (B, 1) - (B,) would broadcast in silence.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor


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
    """-log σ(f(real) - f(fake)) on pairs of one source and task (Huang et al. 2024, eq. 2)."""
    _same_shape(real, fake)
    return F.softplus(fake - real)


def relativistic_generator(
    real: Float[Tensor, " B"], fake: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """-log σ(f(fake) - f(real)), the mirror of :func:`relativistic_discriminator`."""
    _same_shape(real, fake)
    return F.softplus(real - fake)


def generator_gradients(
    discriminator_gradients: Float[Tensor, "B M P"],
    of_discriminator: Callable[[Tensor], Tensor],
    of_generator: Callable[[Tensor], Tensor],
    fake: Float[Tensor, " B"],
) -> Float[Tensor, "B M P"]:
    """The gradients of the generator's loss with respect to the fakes, from the discriminator's.

    Both are ∇ f(x) times the derivative of a loss with respect to f(x), image by image, because
    the discriminator mixes no images: one is the other times a ratio, without a pass of its own.

    Args:
        discriminator_gradients: of its loss with respect to the fakes, or of its mean.
        of_discriminator: its loss (B,) of the logits (B,), which rises with them.
        of_generator: the generator's loss of the same.
        fake: f(x), the logits of the fakes.
    """
    fake = fake.detach().requires_grad_()
    (theirs,) = torch.autograd.grad(of_discriminator(fake).sum(), fake)
    (ours,) = torch.autograd.grad(of_generator(fake).sum(), fake)
    ratio = ours / theirs.clamp(min=torch.finfo(fake.dtype).tiny)
    return discriminator_gradients * ratio[:, None, None]


def communication(
    first_given_first: Float[Tensor, " B"],
    second_given_first: Float[Tensor, " B"],
    first_given_second: Float[Tensor, " B"],
    second_given_second: Float[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """The communication game between two tasks with the same union (arXiv 2207.03899, section 3.3).

    ``first_given_second`` is f(x; S1, T1) on a sample x of the second task's model, and so on.
    The discriminator maximizes the value, the generator minimizes it. Where both models agree and
    the discriminator is optimal it is -2 ln 2.
    """
    _same_shape(first_given_first, second_given_first, first_given_second, second_given_second)
    return F.logsigmoid(second_given_first - first_given_first) + F.logsigmoid(
        first_given_second - second_given_second
    )


def exact_penalty(
    logits: Float[Tensor, " B"], tokens: Float[Tensor, "B M P"], generated: Bool[Tensor, "B M #P"]
) -> Float[Tensor, " B"]:
    """½ ‖∇ f‖² over the generated pixels, by double backward (Mescheder et al. 2018, eq. 9).

    ``logits`` were computed from ``tokens``, which require a gradient, inside
    ``transformer.twice_differentiable_attention``.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), tokens, create_graph=True)
    return 0.5 * (gradient * generated).square().sum(dim=(1, 2))


def perturb_targets(
    tokens: Float[Tensor, "B M P"],
    generated: Bool[Tensor, "B M #P"],
    noise: Float[Tensor, "B M P"],
    sigma: float,
) -> Float[Tensor, "B M P"]:
    """x + σ ε on the generated pixels, x elsewhere; ε is the standard normal ``noise``."""
    return tokens + sigma * noise * generated


def finite_difference_penalty(
    logits: Float[Tensor, " B"], perturbed_logits: Float[Tensor, " B"], sigma: float
) -> Float[Tensor, " B"]:
    """½ ((f(x + σ ε) - f(x)) / σ)², whose mean over ε approaches ½ ‖∇ f‖² for small σ.

    After APT (Lin et al. 2025, arXiv 2501.08316, eq. 3), scaled so that γ means the same as for
    :func:`exact_penalty`; ``perturbed_logits`` are those of :func:`perturb_targets`.
    """
    _same_shape(logits, perturbed_logits)
    return 0.5 * ((perturbed_logits - logits) / sigma).square()


def energy_score(
    real: Float[Tensor, "B M P"],
    first: Float[Tensor, "B M P"],
    second: Float[Tensor, "B M P"],
    is_target: Bool[Tensor, "B M"],
) -> Float[Tensor, " B"]:
    """½ (‖x1 - x‖ + ‖x2 - x‖) - ½ ‖x1 - x2‖ for two samples x1, x2 of the real x's source.

    A strictly proper scoring rule (Gneiting & Raftery 2007, eq. 22) with the norm of
    :func:`target_norm`: its minimum over distributions is the true conditional.
    """
    to_real = target_norm(first - real, is_target) + target_norm(second - real, is_target)
    return 0.5 * to_real - 0.5 * target_norm(first - second, is_target)


def squared_error(
    real: Float[Tensor, "B M P"], predicted: Float[Tensor, "B M P"], is_target: Bool[Tensor, "B M"]
) -> Float[Tensor, " B"]:
    """Mean squared error over the target's pixels, the masked autoencoder's loss."""
    error = (predicted - real).square().mean(dim=-1) * is_target
    return error.sum(dim=1) / is_target.sum(dim=1)


def label_cross_entropy(
    logits: Float[Tensor, "B C"], labels: Int64[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """-log p(y | x_S) in nats, the label's own loss: its likelihood is exact, without a critic."""
    return F.cross_entropy(logits, labels, reduction="none")


def target_norm(
    difference: Float[Tensor, "B M P"], is_target: Bool[Tensor, "B M"], eps: float = 1e-6
) -> Float[Tensor, " B"]:
    """½ ‖u_T‖ / √(|T| P) + ½ mean over target tokens of ‖u_t‖ / √P, with ε under the roots."""
    squares = difference.square().mean(dim=-1) * is_target  # (B, M)
    count = is_target.sum(dim=1)
    whole = (squares.sum(dim=1) / count + eps).sqrt()
    tokens = ((squares + eps).sqrt() * is_target).sum(dim=1) / count
    return 0.5 * whole + 0.5 * tokens


def _same_shape(*logits: Tensor) -> None:
    shapes = {tuple(logit.shape) for logit in logits}
    if len(shapes) > 1 or len(logits[0].shape) != 1:
        listed = " and ".join(str(tuple(logit.shape)) for logit in logits)
        raise ValueError(f"logits must all have one shape (B,), but they have {listed}")
