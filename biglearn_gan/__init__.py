"""BigLearn-GAN: one adversarially trained transformer for every joint, marginal and conditional.

``BigLearnGAN`` is imported when it is first asked for, so that the command line answers without
loading torch.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["BigLearnGAN", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "BigLearnGAN":
        from biglearn_gan.model import BigLearnGAN

        return BigLearnGAN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
