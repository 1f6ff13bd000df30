"""The typed configuration of a run: sections, YAML files, overrides, and every error message.

A configuration is read with :func:`load_config`, which reports *all* problems at once as one
:class:`ConfigError`, each line naming the key, the value that was given and what is allowed.
Nothing here needs torch, data or the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

FieldName = Literal["smooth", "rough", "mixture"]
DataSetName = Literal[
    "digits",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "celeba",
    "folder",
    "gaussian_field_smooth",
    "gaussian_field_rough",
    "gaussian_field_mixture",
]
PatternName = Literal[
    "everything",
    "iid",
    "rectangle",
    "half_plane",
    "center",
    "border",
    "strokes",
    "raster_prefix",
    "grid",
]
PresetName = Literal["joint", "bert", "mae", "causal", "permutation", "inpainting", "big"]


class ConfigError(ValueError):
    """A configuration that cannot be used; ``problems`` holds one sentence per problem."""

    def __init__(self, problems: Iterable[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Section(BaseModel):
    """Base of every section: no unknown key, no silent conversion, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _as_height_and_width(value: Any) -> Any:
    """Accept ``28`` for ``[28, 28]``; lists become tuples, everything else is left to pydantic."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


ImageSize = Annotated[tuple[Positive, Positive], BeforeValidator(_as_height_and_width)]
Pair = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], BeforeValidator(_as_tuple)]


class DataConfig(Section):
    """Which images. Sizes are in pixels, (height, width)."""

    name: DataSetName
    root: str = "data"
    download: bool = True
    image_size: ImageSize
    channels: Literal[1, 3]
    horizontal_flip: bool = False
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_broken_images: NonNegative = 10
    memory_limit_mb: Positive = 4096
    workers: NonNegative = 2

    @property
    def gaussian_field(self) -> FieldName | None:
        """The Gaussian field that the data are drawn from, None for images of other kinds."""
        return next((n for n in get_args(FieldName) if self.name == f"gaussian_field_{n}"), None)


class RatioLaw(Section):
    """The law of a share in [0, 1], or a fixed count of tokens; exactly one key is given."""

    uniform: Pair | None = None
    beta: Pair | None = None
    fixed: Share | None = None
    count: Positive | None = None


class Selection(Section):
    """A pattern and how much of it: the first tokens in its order (the last if inverted)."""

    pattern: PatternName = "everything"
    ratio: RatioLaw | None = None
    inverted: bool = False


class TaskComponent(Section):
    """One part of the task mixture: which tokens are in the task, and which of those are targets.

    What ``union`` does not select is absent; what ``target`` does not select inside it is source.
    """

    name: str
    weight: NonNegativeFloat
    union: Selection = Selection()
    target: Selection = Selection()


class TasksConfig(Section):
    """The task distribution q(S, T): a named preset, or components of one's own."""

    preset: PresetName | None = None
    components: list[TaskComponent] | None = None


class NetworkConfig(Section):
    """Size of one transformer; ``width`` is in channels and divisible by ``heads``."""

    width: Positive = 64
    depth: Positive = 2
    heads: Positive = 4


class GeneratorConfig(NetworkConfig):
    """The generator's transformer and its two noises.

    ``output`` is ``tanh`` for images in [-1, 1] and ``linear`` for data without bounds.
    """

    latent_dim: Positive = 64
    token_noise_dim: Positive = 16
    token_noise_scale: NonNegativeFloat = 0.25
    output: Literal["tanh", "linear"] = "tanh"


class ModelConfig(Section):
    """Both networks read the same tokens: square patches of ``patch_size`` pixels."""

    patch_size: Positive
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: NetworkConfig = NetworkConfig()


class PenaltyConfig(Section):
    """Zero-centred gradient penalties, gamma/2 times the squared gradient norm: R1 real, R2 fake.

    Taken every ``interval`` steps and multiplied by it; gamma falls linearly to ``final_factor``
    times its value together with the learning rate.
    """

    kind: Literal["exact", "finite_difference"] = "exact"
    r1: NonNegativeFloat = 0.05
    r2: NonNegativeFloat = 0.05
    interval: Positive = 4
    sigma: PositiveFloat = 0.05
    final_factor: NonNegativeFloat = 1.0


class LossConfig(Section):
    """Weights of the terms of the game (0 leaves a term out)."""

    logistic: NonNegativeFloat = 0.0
    relativistic: NonNegativeFloat = 1.0
    energy_score: NonNegativeFloat = 1.0
    communication: NonNegativeFloat = 0.0
    fakes_per_real: Positive = 2
    penalty: PenaltyConfig = PenaltyConfig()


class WarmStartConfig(Section):
    """Masked autoencoding before the game, for ``share`` of the budget (0 turns it off)."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    learning_rate: PositiveFloat = 2e-3
    tasks: Literal["conditional", "all"] = "conditional"
    hand_over: Literal["nothing", "embedding", "trunk"] = "trunk"


class LearningRateConfig(Section):
    """Adam's step size: linear rise, flat for ``hold_share`` of the game, then a linear fall."""

    generator: PositiveFloat = 2e-3
    discriminator: PositiveFloat = 2e-3
    warmup_images: NonNegative = 3200
    hold_share: Share = 0.3
    final_factor: NonNegativeFloat = 0.1


class TrainConfig(Section):
    """The budget (images, or minutes that are turned into images once) and the optimisation."""

    seed: NonNegative = 0
    batch_size: Positive = 32
    max_images: Positive | None = None
    max_minutes: PositiveFloat | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    learning_rate: LearningRateConfig = LearningRateConfig()
    ema_half_life_images: PositiveFloat = 11_000
    warm_start: WarmStartConfig = WarmStartConfig()


class LoggingConfig(Section):
    """How often a line, a sample grid and a checkpoint are written, in images seen.

    ``evaluation_share`` bounds the time of evaluation as a share of the time of training; 0 turns
    it off.
    """

    log_images: Positive = 3200
    grid_images: Positive = 64_000
    checkpoint_images: Positive = 64_000
    evaluation_share: Share = 0.1
    tensorboard: bool = True


class Config(Section):
    """A whole run, built and cross-checked by :func:`load_config` or :func:`parse_config`."""

    data: DataConfig
    tasks: TasksConfig
    model: ModelConfig
    loss: LossConfig = LossConfig()
    train: TrainConfig
    logging: LoggingConfig = LoggingConfig()

    @property
    def grid_size(self) -> tuple[int, int]:
        """Tokens per column and per row."""
        height, width = self.data.image_size
        return height // self.model.patch_size, width // self.model.patch_size

    @property
    def token_count(self) -> int:
        """L, the tokens of one image."""
        rows, columns = self.grid_size
        return rows * columns

    @property
    def token_dim(self) -> int:
        """P, the values of one token."""
        return self.data.channels * self.model.patch_size**2

    @property
    def absolute_scores(self) -> bool:
        """Whether the critic's logit is a log density ratio (it had a logistic term)."""
        return self.loss.logistic > 0

    def portable(self) -> Config:
        """The same without what belongs to one machine: where its data are."""
        defaults = {"root": "data", "download": True}
        return self.model_copy(update={"data": self.data.model_copy(update=defaults)})

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, as YAML and JSON hold them."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_yaml(self) -> str:
        """The resolved configuration as a YAML document that :func:`load_config` reads back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file, apply ``key.sub=value`` overrides and check everything.

    An override of one kind of budget (``train.max_images`` or ``train.max_minutes``) replaces the
    file's other kind.

    Raises:
        ConfigError: the file is missing, empty or no mapping, an override has no ``=``, or any
            value is not allowed; every problem found is in ``problems``.
    """
    path = Path(path)
    values = _read_yaml(path)
    problems = _apply_overrides(values, overrides)
    try:
        config = parse_config(values)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    return config


def parse_config(values: Mapping[str, Any]) -> Config:
    """Check plain values section by section, then across sections; raise all problems together."""
    problems: list[str] = []
    for key in values:
        if key not in Config.model_fields:
            problems.append(_unknown_key(str(key), Config.model_fields))
    sections: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        section = field.annotation
        assert isinstance(section, type) and issubclass(section, Section)
        given = values.get(name, {} if not field.is_required() else None)
        if given is None:
            found = "is empty" if name in values else "is missing"
            problems.append(f"{name}: this section {found}")
            continue
        try:
            sections[name] = section.model_validate(given)
        except ValidationError as error:
            problems.extend(_describe(name, item) for item in error.errors())
    problems.extend(_cross_check(sections))
    if problems:
        raise ConfigError(problems)
    return Config(**sections)


def _cross_check(sections: Mapping[str, Any]) -> Iterator[str]:
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
    if "data" in sections and "model" in sections:
        patch_size = sections["model"].patch_size
        for axis, size in zip(("height", "width"), sections["data"].image_size, strict=True):
            if size % patch_size:
                yield (
                    f"data.image_size: the {axis} {size} is not a multiple of "
                    f"model.patch_size {patch_size}"
                )
    if "loss" in sections:
        yield from _check_loss(sections["loss"])
    if "train" in sections:
        train = sections["train"]
        if (train.max_images is None) == (train.max_minutes is None):
            yield "train: give either max_images or max_minutes as the budget, and not both"
        if "model" in sections:
            yield from _check_hand_over(train.warm_start, sections["model"])
        if "tasks" in sections and not task_problems:
            yield from _check_warm_tasks(train.warm_start, sections["tasks"])


def _check_field(data: DataConfig, model: ModelConfig | None) -> Iterator[str]:
    """Gaussian fields are grey, not symmetric and without bounds."""
    if data.gaussian_field is None:
        return
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
    if (tasks.preset is None) == (tasks.components is None):
        yield "tasks: give either a preset or a list of components, and not both"
    if tasks.components is None:
        return
    if sum(component.weight for component in tasks.components) <= 0:
        yield "tasks.components: the weights sum to nothing; at least one must be above 0"
    for number, component in enumerate(tasks.components):
        for role in ("union", "target"):
            selection = getattr(component, role)
            yield from _check_selection(f"tasks.components.{number}.{role}", selection)


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
    given = [name for name, value in selection.ratio if value is not None]
    if len(given) != 1:
        yield (
            f"{key}.ratio: give exactly one of uniform, beta, fixed, count, "
            f"not {' and '.join(given) or 'none'}"
        )
    uniform, beta = selection.ratio.uniform, selection.ratio.beta
    if uniform is not None and not uniform[0] <= uniform[1] <= 1:
        yield f"{key}.ratio.uniform: [{uniform[0]}, {uniform[1]}] is not a range inside [0, 1]"
    if beta is not None and min(beta) <= 0:
        yield f"{key}.ratio.beta: [{beta[0]}, {beta[1]}] must both be above 0"


def _check_loss(loss: LossConfig) -> Iterator[str]:
    if loss.logistic == 0 and loss.relativistic == 0:
        yield "loss: logistic and relativistic are both 0; the game needs at least one of them"
    if loss.communication > 0 and loss.logistic == 0:
        yield (
            "loss.communication: needs loss.logistic above 0, because relativistic logits are "
            "defined only up to a constant per source"
        )
    if loss.energy_score > 0 and loss.fakes_per_real < 2:
        yield (
            f"loss.energy_score: needs loss.fakes_per_real of at least 2, not {loss.fakes_per_real}"
        )


def _check_hand_over(warm_start: WarmStartConfig, model: ModelConfig) -> Iterator[str]:
    if warm_start.share == 0 or warm_start.hand_over == "nothing":
        return
    generator, discriminator = model.generator, model.discriminator
    compared = ("width",) if warm_start.hand_over == "embedding" else ("width", "heads")
    for name in compared:
        ours, theirs = getattr(generator, name), getattr(discriminator, name)
        if ours != theirs:
            yield (
                f"train.warm_start.hand_over: {warm_start.hand_over!r} needs networks of equal "
                f"{name}, but the generator has {ours} and the discriminator {theirs}"
            )


def _check_warm_tasks(warm_start: WarmStartConfig, tasks: TasksConfig) -> Iterator[str]:
    if tasks.components is not None:
        conditional = any(
            c.weight > 0 and c.target.pattern != "everything" for c in tasks.components
        )
    else:
        conditional = tasks.preset != "joint"
    if warm_start.share > 0 and warm_start.tasks == "conditional" and not conditional:
        yield (
            "train.warm_start.tasks: 'conditional' leaves nothing of these tasks, which all "
            "generate from nothing; set train.warm_start.share to 0"
        )


class _Loader(yaml.SafeLoader):
    """YAML that reads ``2e-3`` as a number (as YAML 1.2 does) and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read ({error})"]) from None
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([f"{path}: is not valid YAML ({_one_line(error)})"]) from None
    if values is None:
        raise ConfigError([f"{path}: the file is empty"])
    if not isinstance(values, dict):
        raise ConfigError(
            [f"{path}: holds {values!r}, where sections such as 'data:' are expected"]
        )
    return values


def _apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> list[str]:
    problems, given = [], set()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            problems.append(f"{override!r}: an override has the form key.sub=value")
            continue
        try:
            value = yaml.load(text, _Loader)
        except (yaml.YAMLError, ValueError) as error:
            problems.append(f"{key}: {text!r} is not a valid value ({_one_line(error)})")
            continue
        problem = _set(values, key, value)
        if problem is not None:
            problems.append(problem)
        given.add(key)
    for ours, other in (("max_images", "max_minutes"), ("max_minutes", "max_images")):
        train = values.get("train")
        if f"train.{ours}" in given and f"train.{other}" not in given and isinstance(train, dict):
            train.pop(other, None)
    return problems


def _set(values: dict[str, Any], key: str, value: Any) -> str | None:
    """Set ``key.sub`` to a value; the problem if a list is in the way."""
    *parents, last = key.split(".")
    here = values
    for depth, parent in enumerate(parents):
        if isinstance(here.get(parent), list):
            return f"{key}: {'.'.join(parents[: depth + 1])} is a list; override it whole"
        if not isinstance(here.get(parent), dict):
            here[parent] = {}
        here = here[parent]
    here[last] = value
    return None


def _describe(section: str, item: Any) -> str:
    """One sentence for one pydantic error: key, value given, what is allowed."""
    location = [part for part in item["loc"] if not str(part).startswith("function-")]
    key = ".".join([section, *map(str, location)])
    if item["type"] == "extra_forbidden":
        return _unknown_key(key, _allowed_keys(section, location[:-1]))
    if item["type"] == "missing":
        return f"{key}: this key is missing"
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{key}: {item['input']!r} is not allowed; {message}"


def _unknown_key(key: str, allowed: Iterable[str]) -> str:
    return f"{key}: unknown key; allowed here: {', '.join(allowed)}"


def _allowed_keys(section: str, location: list[Any]) -> list[str]:
    here: Any = Config.model_fields[section].annotation
    for part in location:
        if isinstance(part, int):
            continue
        here = _section_type(here.model_fields[part].annotation)
    return list(here.model_fields)


def _section_type(annotation: Any) -> Any:
    """The section class inside ``X``, ``X | None`` or ``list[X] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_type(inner)
        if found is not None:
            return found
    return None


def _one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem}, at line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())
