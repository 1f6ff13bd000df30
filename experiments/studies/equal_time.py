"""How many images of the warm start take as long as adversarial training."""

from __future__ import annotations

WARM_START_SPEED = 2.6
"""Images per second of the warm start, as a multiple of those of adversarial training (MNIST), as
``python experiments/benchmarks/speed.py model --config experiments/mnist.yaml`` measures them."""


def warm_start_images(images: int) -> int:
    """Images of the warm start that take as long as ``images`` of adversarial training."""
    return round(WARM_START_SPEED * images)
