"""Impossible combinations of values that are allowed each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from biglearn_gan.config.schema import (
    CLASSES_OF,
    GRID_SIZE,
    DataConfig,
    LossConfig,
    ModelConfig,
    PresetName,
    Selection,
    TasksConfig,
    WarmStartConfig,
)
from biglearn_gan.config.task_presets import PRESETS, components_of


def cross_check(sections: Mapping[str, Any]) -> Iterator[str]:
    """Impossible combinations, wherever the sections involved are valid by themselves."""
    task_problems = list(_check_tasks(sections["tasks"])) if "tasks" in sections else []
    yield from task_problems
    if "model" in sections:
        for role in ("generator", "discriminator"):
            network = getattr(sections["model"], role)
            if network.width % network.heads:
                yield (
                    f"model.{role}.heads: {network.heads} heads do not divide the width "
                    f"{network.width}; choose a divisor of {network.width}"
                )
    if "data" in sections:
        yield from _check_field(sections["data"], sections.get("model"))
        yield from _check_missing(sections["data"])
        yield from _check_labels(sections["data"])
        if sections["data"].name == "colored_mnist" and sections["data"].channels != 3:
            yield "data.channels: colored_mnist has 3 channels, not 1"
    if "tasks" in sections and "model" in sections:
        yield from _check_tokens(sections["tasks"], sections["model"])
    if "data" in sections and "model" in sections:
        yield from _check_patches(sections["data"], sections["model"])
    if "loss" in sections:
        yield from _check_loss(sections["loss"])
    if "train" in sections:
        train = sections["train"]
        budgets = {"max_images": train.max_images, "max_minutes": train.max_minutes}
        yield from _one_of("train", budgets)
        if train.initial_model is not None and train.warm_start.share > 0:
            yield (
                "train.warm_start.share: a run from train.initial_model plays from the start; set "
                f"it to 0, not {train.warm_start.share}"
            )
        if "model" in sections:
            yield from _check_hand_over(train.warm_start, sections["model"])
        if "tasks" in sections and not task_problems:
            yield from _check_warm_tasks(train.warm_start, sections["tasks"])


def _check_patches(data: DataConfig, model: ModelConfig) -> Iterator[str]:
    for axis, size in zip(("height", "width"), data.image_size, strict=True):
        if size % model.patch_size:
            yield (
                f"data.image_size: the {axis} {size} is not a multiple of "
                f"model.patch_size {model.patch_size}"
            )


def _check_missing(data: DataConfig) -> Iterator[str]:
    if data.missing is None:
        return
    missing = data.missing
    sources = {"hole": missing.hole, "alpha": missing.alpha, "masks": missing.masks}
    yield from _one_of("data.missing", {name: value or None for name, value in sources.items()})
    if missing.alpha and data.name != "folder":
        yield f"data.missing.alpha: {data.name} has no transparent pixels; only a folder's can"
    if missing.masks and data.name != "folder":
        yield f"data.missing.masks: {data.name} has no mask files; only a folder's images can"


def _check_labels(data: DataConfig) -> Iterator[str]:
    if data.classes is not None and not (data.labels and data.name == "folder"):
        yield "data.classes: only a folder with data.labels: true says how many classes it has"
    if data.labels and data.name == "folder" and data.classes is None:
        yield "data.classes: with data.labels: true, say how many class folders there are"
    if data.labels and data.name != "folder" and data.name not in CLASSES_OF:
        yield f"data.labels: {data.name} has no labels"


def _check_field(data: DataConfig, model: ModelConfig | None) -> Iterator[str]:
    """Gaussian fields are gray, not symmetric and without bounds."""
    if data.gaussian_field is None:
        return
    if data.gaussian_field == "grid" and data.image_size != GRID_SIZE:
        yield f"data.image_size: {data.name} has {list(GRID_SIZE)}, not {list(data.image_size)}"
    if data.channels != 1:
        yield f"data.channels: {data.name} has 1 channel, not {data.channels}"
    if data.horizontal_flip:
        yield f"data.horizontal_flip: a mirrored {data.name} is another distribution; set it false"
    if model is not None and model.generator.output == "tanh":
        yield (
            f"model.generator.output: 'tanh' cannot draw {data.name}, whose values have no bounds; "
            "set model.generator.output: linear"
        )


def _check_tasks(tasks: TasksConfig) -> Iterator[str]:
    yield from _one_of("tasks", {"preset": tasks.preset, "components": tasks.components})
    if tasks.preset is not None and tasks.components is None:
        yield from _check_weights(tasks, tasks.preset)
    if tasks.components is None:
        return
    if tasks.weights:
        yield "tasks.weights: they are for a preset; a list of components has its own"
    if sum(component.weight for component in tasks.components) <= 0:
        yield "tasks.components: the weights sum to nothing; at least one must be above 0"
    for number, component in enumerate(tasks.components):
        for role in ("union", "target"):
            selection = getattr(component, role)
            yield from _check_selection(f"tasks.components.{number}.{role}", selection)


def _check_weights(tasks: TasksConfig, preset: PresetName) -> Iterator[str]:
    names = [component.name for component in PRESETS[preset]]
    for name in tasks.weights:
        if name not in names:
            yield f"tasks.weights.{name}: the components of {preset!r} are {', '.join(names)}"
    if not components_of(tasks):
        yield "tasks.weights: they sum to nothing; at least one must be above 0"


def _check_tokens(tasks: TasksConfig, model: ModelConfig) -> Iterator[str]:
    if tasks.partial_patches > 0 and model.patch_size == 1:
        yield "tasks.partial_patches: a patch of one pixel (model.patch_size 1) cannot keep a part"
    for number, component in enumerate(tasks.components or ()):
        if component.domain == "orthogonal" and tasks.partial_patches > 0:
            yield (
                f"tasks.components.{number}.domain: in an 'orthogonal' domain a token holds no "
                "pixels that tasks.partial_patches could keep"
            )
        if component.domain == "orthogonal" and model.generator.output == "tanh":
            yield (
                f"tasks.components.{number}.domain: 'orthogonal' mixes tokens into values without "
                "bounds, which 'tanh' cannot draw; set model.generator.output: linear"
            )


def _check_selection(key: str, selection: Selection) -> Iterator[str]:
    if selection.pattern == "everything":
        if selection.ratio is not None:
            yield f"{key}.ratio: the pattern 'everything' takes no ratio"
        return
    if selection.ratio is None:
        yield (
            f"{key}.ratio: the pattern {selection.pattern!r} needs one of uniform, beta, fixed, "
            "count"
        )
        return
    yield from _one_of(f"{key}.ratio", dict(selection.ratio))
    uniform, beta = selection.ratio.uniform, selection.ratio.beta
    if uniform is not None and not uniform[0] <= uniform[1] <= 1:
        yield f"{key}.ratio.uniform: [{uniform[0]}, {uniform[1]}] is not a range inside [0, 1]"
    if beta is not None and min(beta) <= 0:
        yield f"{key}.ratio.beta: [{beta[0]}, {beta[1]}] must both be above 0"


def _one_of(key: str, values: Mapping[str, Any]) -> Iterator[str]:
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        yield f"{key}: give exactly one of {', '.join(values)}, not {' and '.join(given) or 'none'}"


def _check_loss(loss: LossConfig) -> Iterator[str]:
    if loss.logistic == 0 and loss.relativistic == 0:
        yield "loss: logistic and relativistic are both 0; the game needs at least one of them"
    if loss.communication > 0 and loss.logistic == 0:
        yield (
            "loss.communication: needs loss.logistic above 0, because relativistic logits are "
            "defined only up to a constant per source"
        )
    if loss.communication_from > 0 and loss.communication == 0:
        yield "loss.communication_from: loss.communication is 0, so no term can enter"
    penalty = loss.penalty
    if loss.reuse_fake_pass and penalty.interval == 1 and max(penalty.r1, penalty.r2) > 0:
        yield (
            "loss.reuse_fake_pass: steps with a penalty share no pass, and with "
            "loss.penalty.interval 1 every step has one"
        )
    if loss.energy_score > 0 and loss.fakes_per_real < 2:
        yield (
            f"loss.energy_score: needs loss.fakes_per_real of at least 2, not {loss.fakes_per_real}"
        )


def _check_hand_over(warm_start: WarmStartConfig, model: ModelConfig) -> Iterator[str]:
    if warm_start.share == 0 or warm_start.transfer == "nothing":
        return
    generator, discriminator = model.generator, model.discriminator
    compared = ("width",) if warm_start.transfer == "embedding" else ("width", "heads")
    for name in compared:
        ours, theirs = getattr(generator, name), getattr(discriminator, name)
        if ours != theirs:
            yield (
                f"train.warm_start.transfer: {warm_start.transfer!r} needs networks of equal "
                f"{name}, but the generator has {ours} and the discriminator {theirs}"
            )


def _check_warm_tasks(warm_start: WarmStartConfig, tasks: TasksConfig) -> Iterator[str]:
    conditional = any(c.target.pattern != "everything" for c in components_of(tasks))
    if warm_start.share > 0 and warm_start.tasks == "conditional" and not conditional:
        yield (
            "train.warm_start.tasks: 'conditional' leaves nothing of these tasks, which all "
            "generate from nothing; set train.warm_start.share to 0"
        )
