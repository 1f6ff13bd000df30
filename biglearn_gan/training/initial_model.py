"""The trained model that a run starts from (``train.initial_model``)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from biglearn_gan.config import Config, ConfigError, DataConfig, GeneratorConfig
from biglearn_gan.models.biglearn_gan import BigLearnGAN


def load_initial_model(config: Config) -> BigLearnGAN | None:
    """The model of ``train.initial_model``, or None if the key is not set.

    Warns if the labels or the convolutions of the model and the run differ.

    Raises:
        CheckpointError: the model cannot be found or read.
        ConfigError: its networks differ from those of the run (labels and the generator's
            convolutions may differ), or it was trained with partial patches and the run has none.
    """
    name = config.train.initial_model
    if name is None:
        return None
    model = BigLearnGAN.from_pretrained(name)
    problems = [
        f"train.initial_model: {name} has {problem}" for problem in _problems(model.config, config)
    ]
    if problems:
        raise ConfigError(problems)
    notes = (
        _label_note(model.config.data, config.data),
        _canvas_note(model.config.model.generator, config.model.generator),
    )
    for note in notes:
        if note is not None:
            warnings.warn(f"train.initial_model: {name} {note}", stacklevel=2)
    return model


def replaces_convolutions(trained: GeneratorConfig, run: GeneratorConfig) -> bool:
    """Whether convolutions start from scratch because only the run detaches what they read.

    Those of the trained model were trained to cancel a texture in it.
    """
    return run.canvas_detached and not trained.canvas_detached


def _label_note(trained: DataConfig, run: DataConfig) -> str | None:
    """What happens to the labels of the trained model, or None if they stay the same."""
    trained_classes, run_classes = trained.num_classes, run.num_classes
    if trained_classes == run_classes:
        if run_classes is None or trained.name == run.name:
            return None
        return f"knows the labels of {trained.name}; they now stand for those of {run.name}"
    if trained_classes is None:
        return f"knows no labels; the run learns {run_classes} from scratch"
    if run_classes is None:
        return f"knows {trained_classes} labels and the run has none; they are dropped"
    return (
        f"knows {trained_classes} labels and the run has {run_classes}; the run learns its labels "
        "from scratch"
    )


def _canvas_note(trained: GeneratorConfig, run: GeneratorConfig) -> str | None:
    """What happens to the convolutions of the trained model, or None if they stay the same."""
    if trained.canvas_channels == run.canvas_channels == 0:
        return None
    if trained.canvas_channels == 0:
        return "has no convolutions; the run learns them from scratch"
    if replaces_convolutions(trained, run):
        return (
            "was trained with canvas_detached=false and the run is with true; the run learns the "
            "convolutions from scratch"
        )
    if _canvas_sizes(trained) == _canvas_sizes(run):
        return None
    note = "the run learns the generator's output layer from scratch"
    if run.canvas_channels == 0:
        return f"has convolutions and the run has none; they are dropped, and {note}"
    return (
        f"has convolutions with {_canvas_sizes(trained)} and the run with {_canvas_sizes(run)}; "
        f"{note}, and the convolutions too"
    )


def _canvas_sizes(config: GeneratorConfig) -> str:
    return f"canvas_channels={config.canvas_channels}, canvas_features={config.canvas_features}"


def _is_of_canvas(key: str) -> bool:
    return key.startswith("model.generator.canvas_")


def _problems(trained: Config, run: Config) -> Iterator[str]:
    """What the run cannot take over from the trained model."""
    run_settings = _network_settings(run)
    for key, value in _network_settings(trained).items():
        if value != run_settings[key] and not _is_of_canvas(key):
            yield f"{key} = {value}, but the run has {run_settings[key]}"
    if trained.reads_partial_patches and not run.reads_partial_patches:
        yield "tasks.partial_patches above 0, so the run needs tasks.partial_patches above 0 too"


def _network_settings(config: Config) -> dict[str, object]:
    data = config.data
    values = {
        "data.image_size": list(data.image_size),
        "data.channels": data.channels,
        "data.standardize": data.standardize,
    }
    return config.flat("model") | values
