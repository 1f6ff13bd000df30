"""Named mixtures of tasks, and the mixture of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from biglearn_gan.config.schema_tasks import Selection, TaskComponent, TasksConfig


def _select(pattern: str, *, inverted: bool = False, **size: object) -> Selection:
    return Selection.model_validate({"pattern": pattern, "ratio": size, "inverted": inverted})


PRESETS: dict[str, tuple[TaskComponent, ...]] = {
    # A plain GAN: all tokens, without a source.
    "joint": (TaskComponent(name="joint", weight=1.0),),
    # Masked language modeling: few scattered targets, all other tokens given.
    "bert": (TaskComponent(name="bert", weight=1.0, target=_select("iid", fixed=0.15)),),
    # Masked autoencoding: many scattered targets, a quarter of the tokens given.
    "mae": (TaskComponent(name="mae", weight=1.0, target=_select("iid", fixed=0.75)),),
    # Autoregression in raster order: the next token given all earlier ones, later ones absent.
    "causal": (
        TaskComponent(
            name="causal",
            weight=1.0,
            union=_select("raster_prefix", uniform=[0.0, 1.0]),
            target=_select("raster_prefix", inverted=True, count=1),
        ),
    ),
    # Autoregression in any order: one token given any others, the rest absent.
    "permutation": (
        TaskComponent(
            name="permutation",
            weight=1.0,
            union=_select("iid", uniform=[0.0, 1.0]),
            target=_select("iid", count=1),
        ),
    ),
    # Free-form holes of up to half of the image (sizes as in LaMa), everything else given.
    "inpainting": (
        TaskComponent(name="strokes", weight=0.5, target=_select("strokes", uniform=[0.1, 0.5])),
        TaskComponent(name="boxes", weight=0.5, target=_select("rectangle", uniform=[0.1, 0.5])),
    ),
    # Big learning: joint, marginals, conditionals and marginal conditionals in one mixture.
    "big": (
        TaskComponent(name="joint", weight=0.3),
        TaskComponent(name="scattered", weight=0.24, target=_select("iid", uniform=[0.1, 1.0])),
        TaskComponent(name="box", weight=0.12, target=_select("rectangle", uniform=[0.1, 1.0])),
        TaskComponent(
            name="outside_box",
            weight=0.08,
            target=_select("rectangle", inverted=True, uniform=[0.1, 1.0]),
        ),
        TaskComponent(name="side", weight=0.1, target=_select("half_plane", uniform=[0.1, 1.0])),
        TaskComponent(name="marginal", weight=0.04, union=_select("iid", uniform=[0.25, 1.0])),
        TaskComponent(
            name="scattered_of_part",
            weight=0.06,
            union=_select("iid", uniform=[0.25, 1.0]),
            target=_select("iid", uniform=[0.1, 1.0]),
        ),
        TaskComponent(
            name="side_of_part",
            weight=0.06,
            union=_select("rectangle", uniform=[0.25, 1.0]),
            target=_select("half_plane", uniform=[0.1, 1.0]),
        ),
    ),
}


def task_components(tasks: TasksConfig) -> tuple[TaskComponent, ...]:
    """The mixture of a configuration, without components of weight 0."""
    mixture: Iterable[TaskComponent] = tasks.components or ()
    if tasks.preset is not None:
        mixture = [_with_weight(component, tasks.weights) for component in PRESETS[tasks.preset]]
    return tuple(component for component in mixture if component.weight > 0)


def _with_weight(component: TaskComponent, weights: Mapping[str, float]) -> TaskComponent:
    weight = weights.get(component.name, component.weight)
    return component.model_copy(update={"weight": weight})
