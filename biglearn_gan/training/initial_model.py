"""The trained networks that a run starts from, instead of random ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from biglearn_gan.config import Config, ConfigError, DataConfig
from biglearn_gan.models.biglearn_gan import BigLearnGAN


def load_initial(config: Config) -> BigLearnGAN | None:
    """The model that ``train.initial_model`` names, None where it names none.

    Warns where it knows other labels than the run, or has learned them of other data.

    Raises:
        CheckpointError: it cannot be found or read.
        ConfigError: its networks are others than those of the run (labels may differ), or it reads
            kept pixels and the run has no tasks with them.
    """
    name = config.train.initial_model
    if name is None:
        return None
    model = BigLearnGAN.from_pretrained(name)
    problems = [f"train.initial_model: {name} has {told}" for told in _told(model.config, config)]
    if problems:
        raise ConfigError(problems)
    told = _of_labels(model.config.data, config.data)
    if told is not None:
        warnings.warn(f"train.initial_model: {name} {told}", stacklevel=2)
    return model


def _of_labels(there: DataConfig, here: DataConfig) -> str | None:
    """What becomes of its labels, where they do not stay what they are."""
    theirs, ours = there.num_classes, here.num_classes
    if theirs == ours:
        if ours is None or there.name == here.name:
            return None
        return f"knows the labels of {there.name}: they now stand for those of {here.name}"
    if theirs is None:
        return f"knows no labels: these {ours} are learned anew"
    if ours is None:
        return f"knows {theirs} labels, and this run none: they are left behind"
    return f"knows {theirs} labels, and this run {ours}: they are learned anew"


def _told(there: Config, here: Config) -> Iterator[str]:
    """What differs in the settings of the networks."""
    theirs, ours = _settings(there), _settings(here)
    for key in theirs:
        if theirs[key] != ours[key]:
            yield f"{key} = {theirs[key]}, not {ours[key]}"
    if there.reads_partial_patches and not here.reads_partial_patches:
        yield "tasks.partial_patches above 0: a run from it needs them, too"


def _settings(config: Config) -> dict[str, object]:
    data = config.data
    sizes = {"data.image_size": list(data.image_size), "data.channels": data.channels}
    return config.flat("model") | sizes
