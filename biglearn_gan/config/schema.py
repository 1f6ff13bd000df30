"""The sections of a configuration and their types; what each key means and may be.

Nothing here needs torch, data or the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from biglearn_gan.errors import UsageError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

FieldName = Literal["smooth", "rough", "mixture", "grid"]
GRID_SIZE = (1, 2)
"""(height, width) of ``gaussian_field_grid``: two coordinates."""
DataSetName = Literal[
    "digits",
    "mnist",
    "fashion_mnist",
    "colored_mnist",
    "cifar10",
    "celeba",
    "folder",
    "gaussian_field_smooth",
    "gaussian_field_rough",
    "gaussian_field_mixture",
    "gaussian_field_grid",
]
CLASSES_OF: dict[str, int] = {
    "digits": 10,
    "mnist": 10,
    "fashion_mnist": 10,
    "colored_mnist": 10,
    "cifar10": 10,
}
"""How many classes the data sets with labels have; a folder says it itself."""
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
HoleColor = Literal["white", "black"]
"""Which color of a mask file is generated."""
DomainName = Literal["own", "orthogonal"]
PresetName = Literal["joint", "bert", "mae", "causal", "permutation", "inpainting", "big"]


class ConfigError(UsageError):
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


class MissingConfig(Section):
    """What was never observed of the training images: one of the three.

    ``hole`` names a hole as ``--mask`` does (``random:0.5:4``, ``outside:12``), with blocks of one
    pixel unless it says otherwise; image *i* always lacks the same pixels, drawn from (seed, i).
    ``alpha`` leaves out the pixels of a folder's images that are not opaque, ``masks`` those that
    are not black in the file NAME.mask.png beside each NAME.png (or .jpg, ...).
    """

    hole: str | None = None
    alpha: bool = False
    masks: bool = False
    seed: NonNegative = 0


class DataConfig(Section):
    """Which images. Sizes are in pixels, (height, width).

    With ``labels`` the model learns each image's class too, as one more token; ``classes`` is how
    many a folder has.
    """

    name: DataSetName
    root: str = "data"
    download: bool = True
    image_size: ImageSize
    channels: Literal[1, 3]
    horizontal_flip: bool = False
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_broken_images: NonNegative = 10
    memory_limit_mb: Positive = 4096
    missing: MissingConfig | None = None
    labels: bool = False
    classes: Positive | None = None
    workers: NonNegative = 2

    @property
    def gaussian_field(self) -> FieldName | None:
        """The Gaussian field that the data are drawn from, None for images of other kinds."""
        return next((n for n in get_args(FieldName) if self.name == f"gaussian_field_{n}"), None)

    @property
    def num_classes(self) -> int | None:
        """The classes that the model knows, None for a model without labels."""
        return (self.classes or CLASSES_OF.get(self.name)) if self.labels else None


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
    ``domain`` is the data's own, or ``orthogonal``: the tokens y = A x of a random orthogonal A.
    """

    name: str
    weight: NonNegativeFloat
    union: Selection = Selection()
    target: Selection = Selection()
    domain: DomainName = "own"


class TasksConfig(Section):
    """The task distribution q(S, T): a named preset, or components of one's own.

    ``weights`` replace those of a preset's components, by name; they need not sum to one. A model
    with labels draws an image given its label in a share ``label_conditioning`` of its tasks, and without
    it in the others; it learns to predict the label in all of them. In a share ``partial_patches`` of
    the tasks with a source, the hole does not follow the borders of patches, and what it leaves of
    them is given; at 0 the model cannot read that.
    """

    preset: PresetName | None = None
    components: list[TaskComponent] | None = None
    weights: dict[str, NonNegativeFloat] = {}
    label_conditioning: Share = 0.8
    partial_patches: Share = 0.0


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
    """Zero-centered gradient penalties, gamma/2 times the squared gradient norm: R1 real, R2 fake.

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
    """Weights of the terms of the game (0 leaves a term out).

    ``label`` weighs the label's cross-entropy, in the warm start too, in a model with labels.
    ``communication`` enters after ``communication_from``, a share of the game. With
    ``reuse_fake_pass`` both players learn from one pass of the discriminator on the fakes, from before
    its update (but in steps with a penalty).
    """

    logistic: NonNegativeFloat = 0.0
    relativistic: NonNegativeFloat = 1.0
    energy_score: NonNegativeFloat = 1.0
    communication: NonNegativeFloat = 0.0
    communication_from: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label: NonNegativeFloat = 1.0
    fakes_per_real: Positive = 2
    reuse_fake_pass: bool = False
    penalty: PenaltyConfig = PenaltyConfig()


class WarmStartConfig(Section):
    """Masked autoencoding before the game, for ``share`` of the budget (0 turns it off)."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    learning_rate: PositiveFloat = 2e-3
    tasks: Literal["conditional", "all"] = "conditional"
    transfer: Literal["nothing", "embedding", "trunk"] = "trunk"


class LearningRateConfig(Section):
    """Adam's step size: linear rise, flat for ``hold_share`` of the game, then a linear fall."""

    generator: PositiveFloat = 2e-3
    discriminator: PositiveFloat = 2e-3
    warmup_images: NonNegative = 3200
    hold_share: Share = 0.3
    final_factor: NonNegativeFloat = 0.1


class TrainConfig(Section):
    """The budget (images, or minutes that are turned into images once) and the optimization.

    A new run starts from the networks of ``initial_model``, a folder or a name on the hub, where
    there is one, but for what they know of labels where the number of classes is another.
    """

    seed: NonNegative = 0
    batch_size: Positive = 32
    max_images: Positive | None = None
    max_minutes: PositiveFloat | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    learning_rate: LearningRateConfig = LearningRateConfig()
    ema_half_life_images: PositiveFloat = 11_000
    warm_start: WarmStartConfig = WarmStartConfig()
    initial_model: str | None = None


class LoggingConfig(Section):
    """How often a line, a sample grid and a checkpoint are written, in images seen.

    ``evaluation_time_share`` bounds the time of evaluation, but for a first look, as a share of the time
    of training; 0 turns it off.
    """

    log_images: Positive = 3200
    grid_images: Positive = 64_000
    checkpoint_images: Positive = 64_000
    evaluation_time_share: Share = 0.1
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
    def reads_partial_patches(self) -> bool:
        """Whether a patch may be given in part."""
        return self.tasks.partial_patches > 0

    @property
    def absolute_scores(self) -> bool:
        """Whether the critic's logit is a log density ratio (it had a logistic term)."""
        return self.loss.logistic > 0

    def portable(self) -> Config:
        """The same without what belongs to one machine: where its data and its first model are.

        Of an absolute path to that model the last two parts stay.
        """
        defaults = {"root": "data", "download": True}
        train, initial = self.train, self.train.initial_model
        if initial is not None and Path(initial).is_absolute():
            last = "/".join(Path(initial).parts[-2:])
            train = train.model_copy(update={"initial_model": last})
        data = self.data.model_copy(update=defaults)
        return self.model_copy(update={"data": data, "train": train})

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, as YAML and JSON hold them."""
        return self.model_dump(mode="json", exclude_none=True)

    def flat(self, section: str) -> dict[str, Any]:
        """One section as ``{"train.learning_rate.generator": 0.002, ...}``."""
        values: dict[str, Any] = {}

        def visit(key: str, value: Any) -> None:
            if isinstance(value, dict):
                for name, inner in value.items():
                    visit(f"{key}.{name}", inner)
            else:
                values[key] = value

        visit(section, self.to_dict()[section])
        return values

    def to_yaml(self) -> str:
        """The resolved configuration as a YAML document that :func:`load_config` reads back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)
