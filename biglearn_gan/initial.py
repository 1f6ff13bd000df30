"""The trained networks that a run starts from, instead of random ones."""

from __future__ import annotations

from collections.abc import Iterator

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.model import BigLearnGAN


def load_initial(config: Config) -> BigLearnGAN | None:
    """The model that ``train.initial_model`` names, None where it names none.

    Raises:
        CheckpointError: it cannot be found or read.
        ConfigError: its networks are others than those of the run.
    """
    name = config.train.initial_model
    if name is None:
        return None
    model = BigLearnGAN.from_pretrained(name)
    problems = [f"train.initial_model: {name} has {told}" for told in _told(model.config, config)]
    if problems:
        raise ConfigError(problems)
    return model


def _told(there: Config, here: Config) -> Iterator[str]:
    """What differs in the settings of the networks."""
    theirs, ours = _settings(there), _settings(here)
    for key in theirs:
        if theirs[key] != ours[key]:
            yield f"{key} = {theirs[key]}, not {ours[key]}"
    if there.reads_kept_pixels and not here.reads_kept_pixels:
        yield "tasks.kept_pixels above 0: a run from it needs them, too"


def _settings(config: Config) -> dict[str, object]:
    data = config.data
    sizes = {"data.image_size": list(data.image_size), "data.channels": data.channels}
    return config.flat("model") | sizes
