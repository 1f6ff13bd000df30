"""The objectives of adversarial training: weighted sums of terms, and what is logged of them.

B is the number of real images and K is ``loss.fakes_per_real``. Each fake logit is paired with the
real logit of the same image, so real logits are repeated K times.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from biglearn_gan.config.schema_training import LossConfig, PenaltyConfig
from biglearn_gan.training import losses


class Objective:
    """A weighted sum of terms that one network minimizes.

    Args:
        name: of the first term, in the log.
        values: (K B,), the first term, for each pair of a real and a fake.
        rows: B.
        weight: of the first term.

    Attributes:
        total: the objective, a scalar.
        per_sample: (B,), detached; finite for the images of which all terms are finite.
        metrics: means of the terms by name, without their weights.
    """

    def __init__(self, name: str, values: Float[Tensor, " KB"], rows: int, weight: float = 1.0):
        self.total: Float[Tensor, ""] = weight * values.mean()
        self.per_sample: Float[Tensor, " B"] = values.detach().view(-1, rows).mean(dim=0)
        self.metrics: dict[str, Tensor] = {name: values.mean()}

    def add(self, values: Float[Tensor, " B"], weight: float, name: str | None = None) -> None:
        """Add a term, and log it if it has a name."""
        mean = values.mean()
        self.total = self.total + weight * mean
        self.per_sample = self.per_sample + values.detach()
        if name is not None:
            self.metrics[name] = mean

    def add_penalties(
        self, values: Float[Tensor, " R"], config: PenaltyConfig, factor: float
    ) -> None:
        """Add the gradient penalties of the B real images and their K B fakes, in this order."""
        rows = len(self.per_sample)
        r1, r2 = values[:rows].mean(), values[rows:].mean()
        strength = config.interval * factor
        self.total = self.total + strength * (config.r1 * r1 + config.r2 * r2)
        self.per_sample = self.per_sample + values.detach().view(-1, rows).sum(dim=0)
        self.metrics |= {"penalty/real": r1, "penalty/fake": r2}


def discriminator_loss(
    loss: LossConfig, real: Float[Tensor, " KB"], fake: Float[Tensor, " KB"]
) -> Float[Tensor, " KB"]:
    """The discriminator's loss for each pair of a real and a fake logit."""
    values = loss.logistic * losses.logistic_discriminator(real, fake)
    values = values + loss.relativistic * losses.relativistic_discriminator(real, fake)
    if loss.logit_centering > 0:
        values = values + loss.logit_centering * losses.logit_centering(real, fake)
    return values


def generator_loss(
    loss: LossConfig, real: Float[Tensor, " KB"], fake: Float[Tensor, " KB"]
) -> Float[Tensor, " KB"]:
    """The generator's loss for each pair of a real and a fake logit."""
    logistic = loss.logistic * losses.logistic_generator(fake)
    return logistic + loss.relativistic * losses.relativistic_generator(real, fake)
