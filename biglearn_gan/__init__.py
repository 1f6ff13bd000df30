"""BigLearn-GAN: one adversarially trained transformer for every joint, marginal and conditional.

Public names are imported when they are first used, so that the command line answers without loading
torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biglearn_gan.config import Config, load_config
    from biglearn_gan.data.loading import load_dataset
    from biglearn_gan.evaluation.protocol import evaluate
    from biglearn_gan.inference.complete_photo import complete_photo
    from biglearn_gan.inference.surprise import critic_quantile, surprise_map
    from biglearn_gan.metrics.classifier import ImageClassifier
    from biglearn_gan.metrics.frechet import frechet_distance
    from biglearn_gan.models.biglearn_gan import BigLearnGAN
    from biglearn_gan.tasks.holes import named_hole
    from biglearn_gan.training.fit import fit

__version__ = "0.1.0"
__all__ = [
    "BigLearnGAN",
    "Config",
    "ImageClassifier",
    "__version__",
    "complete_photo",
    "critic_quantile",
    "evaluate",
    "fit",
    "frechet_distance",
    "load_config",
    "load_dataset",
    "named_hole",
    "surprise_map",
]

_HOMES = {
    "BigLearnGAN": "models.biglearn_gan",
    "Config": "config",
    "ImageClassifier": "metrics.classifier",
    "complete_photo": "inference.complete_photo",
    "critic_quantile": "inference.surprise",
    "evaluate": "evaluation.protocol",
    "fit": "training.fit",
    "frechet_distance": "metrics.frechet",
    "load_config": "config",
    "load_dataset": "data.loading",
    "named_hole": "tasks.holes",
    "surprise_map": "inference.surprise",
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"biglearn_gan.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
