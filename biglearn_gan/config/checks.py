"""Checks of values that are allowed one by one but not together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from biglearn_gan.config.schema import (
    CLASS_NAMES,
    GRID_FIELD_SIZE,
    DataConfig,
    GeneratorConfig,
    ModelConfig,
)
from biglearn_gan.config.schema_tasks import PresetName, Selection, TasksConfig
from biglearn_gan.config.schema_training import LossConfig, TrainConfig, WarmStartConfig
from biglearn_gan.config.task_presets import PRESETS, task_components


def cross_check(sections: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each impossible combination.

    Args:
        sections: the sections that are valid by themselves, by name.
    """
    task_problems = list(_check_tasks(sections["tasks"])) if "tasks" in sections else []
    yield from task_problems
    if "model" in sections:
        yield from _check_heads(sections["model"])
        yield from _check_convolutions(sections["model"].generator)
    if "data" in sections:
        yield from _check_data_set(sections["data"], sections.get("model"))
        yield from _check_missing(sections["data"])
        yield from _check_labels(sections["data"])
        yield from _check_unlabeled(sections["data"])
    if "tasks" in sections and "model" in sections:
        yield from _check_tokens(sections["tasks"], sections["model"])
    if "data" in sections and "model" in sections:
        yield from _check_patches(sections["data"], sections["model"])
    if "loss" in sections:
        yield from _check_loss(sections["loss"])
        yield from _check_pseudo_labels(sections["loss"], sections.get("data"))
        yield from _check_perceptual(sections)
        yield from _check_augmentation(sections)
    if "train" in sections:
        yield from _check_train(sections["train"])
        warm_start = sections["train"].warm_start
        if "model" in sections:
            yield from _check_transfer(warm_start, sections["model"])
        if "tasks" in sections and not task_problems:
            yield from _check_warm_start_tasks(warm_start, sections["tasks"])


def _check_heads(model: ModelConfig) -> Iterator[str]:
    for role in ("generator", "discriminator"):
        network = getattr(model, role)
        if network.width % network.heads:
            yield (
                f"model.{role}.heads: {network.heads} heads do not divide the width "
                f"{network.width}; choose a divisor of {network.width}"
            )


def _check_convolutions(generator: GeneratorConfig) -> Iterator[str]:
    for key in ("canvas_features", "canvas_detached"):
        if getattr(generator, key) and generator.canvas_channels == 0:
            yield (
                f"model.generator.{key}: the generator has no convolutions; leave it out, or set "
                "model.generator.canvas_channels above 0"
            )


def _check_train(train: TrainConfig) -> Iterator[str]:
    budgets = {"max_images": train.max_images, "max_minutes": train.max_minutes}
    yield from _one_of("train", budgets)
    warm_start = train.warm_start
    if train.initial_model is not None and warm_start.share > 0 and warm_start.transfer == "trunk":
        yield (
            "train.warm_start.share: a warm start would overwrite the discriminator of "
            f"train.initial_model; set it to 0, not {warm_start.share}, or set "
            "train.warm_start.transfer to nothing"
        )


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
        yield f"data.missing.alpha: {data.name} has no transparent pixels; this is for a folder"
    if missing.masks and data.name != "folder":
        yield f"data.missing.masks: {data.name} has no mask files; this is for a folder"


def _check_labels(data: DataConfig) -> Iterator[str]:
    own_images = data.name in ("folder", "huggingface")
    if data.classes is not None and not (data.labels and own_images):
        yield (
            "data.classes: this key is only for a folder or huggingface with data.labels: true; "
            "remove it"
        )
    if data.class_names is not None and len(data.class_names) != data.classes:
        yield (
            f"data.class_names: there are {len(data.class_names)} names, but data.classes is "
            f"{data.classes}; give one name for each class"
        )
    if data.labels and not own_images and data.name not in CLASS_NAMES:
        yield f"data.labels: {data.name} has no labels; set it to false"
    if data.labeled_images is not None and not data.labels:
        yield "data.labeled_images: this key is only for data.labels: true; set that or remove this"
    if data.labeled_images is not None and data.missing is not None:
        yield "data.labeled_images: incomplete images need all labels; remove it or data.missing"
    if data.labeled_images is None and data.labeled_seed != 0:
        yield "data.labeled_seed: this key is only for data.labeled_images; remove it"
    classes = len(CLASS_NAMES.get(data.name, ())) or data.classes
    if data.labeled_images is not None and classes is not None and data.labeled_images % classes:
        yield (
            f"data.labeled_images: {data.labeled_images} cannot be shared equally by {classes} "
            f"classes; choose a multiple of {classes}"
        )


def _check_unlabeled(data: DataConfig) -> Iterator[str]:
    name = data.unlabeled
    if name is None:
        return
    if not (data.labels and data.name == "folder"):
        yield (
            "data.unlabeled: this key is only for a folder with data.labels: true; set that or "
            "remove this"
        )
    if data.missing is not None:
        yield "data.unlabeled: incomplete images need all labels; remove it or data.missing"
    if name != "." and (name in ("", "..") or PurePath(name).name != name):
        yield (
            f"data.unlabeled: {name!r} is not the name of a folder next to the class folders; give "
            "its name alone, or . for images outside of folders"
        )


def _check_pseudo_labels(loss: LossConfig, data: DataConfig | None) -> Iterator[str]:
    if loss.pseudo_labels is None or data is None:
        return
    if not data.partly_labeled:
        yield (
            "loss.pseudo_labels: this key is only for data.labeled_images or data.unlabeled; set "
            "one of them or remove this"
        )
    elif loss.pseudo_labels.shift >= min(data.image_size):
        yield (
            f"loss.pseudo_labels.shift: {loss.pseudo_labels.shift} pixels are not below the "
            f"image's side of {min(data.image_size)}"
        )


def _check_data_set(data: DataConfig, model: ModelConfig | None) -> Iterator[str]:
    for key in ("subset", "image_column", "label_column"):
        if getattr(data, key) is not None and data.name != "huggingface":
            yield f"data.{key}: this key is only for huggingface; remove it"
    if data.name == "colored_mnist" and data.channels != 3:
        yield "data.channels: colored_mnist has 3 channels, not 1"
    if data.gaussian_field is None:
        return
    if data.gaussian_field == "grid" and data.image_size != GRID_FIELD_SIZE:
        expected = list(GRID_FIELD_SIZE)
        yield f"data.image_size: {data.name} has {expected}, not {list(data.image_size)}"
    if data.channels != 1:
        yield f"data.channels: {data.name} has 1 channel, not {data.channels}"
    if data.horizontal_flip:
        yield (
            f"data.horizontal_flip: a mirrored {data.name} has another distribution; set it to "
            "false"
        )
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
        yield "tasks.weights: this key is for a preset; give each component its own weight"
    if sum(component.weight for component in tasks.components) <= 0:
        yield "tasks.components: all weights are 0; at least one must be above 0"
    for number, component in enumerate(tasks.components):
        for role in ("union", "target"):
            selection = getattr(component, role)
            yield from _check_selection(f"tasks.components.{number}.{role}", selection)


def _check_weights(tasks: TasksConfig, preset: PresetName) -> Iterator[str]:
    names = [component.name for component in PRESETS[preset]]
    for name in tasks.weights:
        if name not in names:
            yield f"tasks.weights.{name}: the components of {preset!r} are {', '.join(names)}"
    if not task_components(tasks):
        yield "tasks.weights: all weights are 0; at least one must be above 0"


def _check_tokens(tasks: TasksConfig, model: ModelConfig) -> Iterator[str]:
    if tasks.partial_patches > 0 and model.patch_size == 1:
        yield "tasks.partial_patches: no hole cuts through a patch of one pixel; set it to 0"
    reaches_across = model.generator.canvas_channels + model.discriminator.overlap > 0
    for number, component in enumerate(tasks.components or ()):
        if component.domain == "orthogonal" and reaches_across:
            yield (
                f"tasks.components.{number}.domain: a token of an 'orthogonal' domain holds no "
                "pixels; set model.generator.canvas_channels and model.discriminator.overlap to 0"
            )
        if component.domain == "orthogonal" and tasks.partial_patches > 0:
            yield (
                f"tasks.components.{number}.domain: a token of an 'orthogonal' domain holds no "
                "pixels; set tasks.partial_patches to 0"
            )
        if component.domain == "orthogonal" and model.generator.output == "tanh":
            yield (
                f"tasks.components.{number}.domain: 'tanh' cannot draw the values of an "
                "'orthogonal' domain, which have no bounds; set model.generator.output: linear"
            )


def _check_selection(key: str, selection: Selection) -> Iterator[str]:
    if selection.pattern == "everything":
        if selection.ratio is not None:
            yield f"{key}.ratio: the pattern 'everything' takes no ratio"
        return
    if selection.ratio is None:
        yield (f"{key}.ratio: the pattern {selection.pattern!r} needs one of uniform, fixed, count")
        return
    yield from _one_of(f"{key}.ratio", dict(selection.ratio))
    uniform = selection.ratio.uniform
    if uniform is not None and not uniform[0] <= uniform[1] <= 1:
        yield f"{key}.ratio.uniform: [{uniform[0]}, {uniform[1]}] is not a range inside [0, 1]"


def _one_of(key: str, values: Mapping[str, Any]) -> Iterator[str]:
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        yield f"{key}: set exactly one of {', '.join(values)}, not {' and '.join(given) or 'none'}"


def _check_loss(loss: LossConfig) -> Iterator[str]:
    if loss.logistic == 0 and loss.relativistic == 0:
        yield "loss: logistic and relativistic are both 0; set at least one of them above 0"
    if loss.mismatched_label > 0 and loss.logistic > 0:
        yield (
            "loss.mismatched_label: with it, the logits are not the absolute scores of "
            "loss.logistic; set it or loss.logistic to 0"
        )
    if loss.logit_centering > 0 and loss.logistic > 0:
        yield (
            "loss.logit_centering: with it, the logits are not the absolute scores of "
            "loss.logistic; set it or loss.logistic to 0"
        )
    if loss.communication > 0 and loss.logistic == 0:
        yield (
            "loss.communication: it needs loss.logistic above 0, because relativistic logits are "
            "defined only up to a constant for each source"
        )
    if loss.logit_centering > 0 and loss.reuse_fake_pass:
        yield (
            "loss.reuse_fake_pass: with loss.logit_centering, the discriminator's loss does not "
            "increase with every fake logit, so the pass cannot be reused; set this to false or "
            "loss.logit_centering to 0"
        )
    penalty = loss.penalty
    if loss.reuse_fake_pass and penalty.interval == 1 and max(penalty.r1, penalty.r2) > 0:
        yield (
            "loss.reuse_fake_pass: steps with a penalty cannot reuse the pass, and with "
            "loss.penalty.interval 1 every step has one; set the interval above 1"
        )
    if loss.energy_score > 0 and loss.fakes_per_real < 2:
        yield (
            "loss.energy_score: it needs loss.fakes_per_real of at least 2, not "
            f"{loss.fakes_per_real}"
        )


def _check_perceptual(sections: Mapping[str, Any]) -> Iterator[str]:
    loss = sections["loss"]
    if loss.perceptual is None:
        return
    if loss.fakes_per_real < 2:
        yield (
            "loss.perceptual: it needs loss.fakes_per_real of at least 2, not "
            f"{loss.fakes_per_real}"
        )
    if "data" in sections and sections["data"].channels != 3:
        yield (
            "loss.perceptual: its network reads color images, but data.channels is "
            f"{sections['data'].channels}; remove it"
        )
    if loss.perceptual.network == "efficientnet" and max(loss.perceptual.layers) > 15:
        yield (
            "loss.perceptual.layers: efficientnet has the layers 0 to 15, not "
            f"{max(loss.perceptual.layers)}"
        )
    adversarial, penalty = loss.perceptual.adversarial, loss.penalty
    if adversarial is not None and adversarial.penalty > 0 and max(penalty.r1, penalty.r2) == 0:
        yield (
            "loss.perceptual.adversarial.penalty: steps with penalties need loss.penalty.r1 or r2 "
            "above 0; raise one of them or set this to 0"
        )
    yield from _needs_pixels("loss.perceptual", sections)


def _check_augmentation(sections: Mapping[str, Any]) -> Iterator[str]:
    augmentation = sections["loss"].augmentation
    if augmentation is None:
        return
    if max(augmentation.flip_rotate, augmentation.translation, augmentation.color) == 0:
        yield "loss.augmentation: all probabilities are 0; set one of them above 0 or remove it"
    yield from _needs_pixels("loss.augmentation", sections)


def _needs_pixels(key: str, sections: Mapping[str, Any]) -> Iterator[str]:
    components = sections["tasks"].components if "tasks" in sections else None
    if any(component.domain == "orthogonal" for component in components or ()):
        yield (
            f"{key}: a token of an 'orthogonal' domain holds no pixels; remove the "
            "component or this key"
        )


def _check_transfer(warm_start: WarmStartConfig, model: ModelConfig) -> Iterator[str]:
    if warm_start.share == 0 or warm_start.transfer == "nothing":
        return
    for name in ("width", "heads"):
        generator, discriminator = (
            getattr(network, name) for network in (model.generator, model.discriminator)
        )
        if generator != discriminator:
            yield (
                f"train.warm_start.transfer: {warm_start.transfer!r} needs networks of equal "
                f"{name}, but the generator has {generator} and the discriminator {discriminator}"
            )


def _check_warm_start_tasks(warm_start: WarmStartConfig, tasks: TasksConfig) -> Iterator[str]:
    has_conditional = any(c.target.pattern != "everything" for c in task_components(tasks))
    if warm_start.share > 0 and not has_conditional:
        yield (
            "train.warm_start.share: the warm start needs tasks with a source, and none of these "
            "has one; set it to 0"
        )
