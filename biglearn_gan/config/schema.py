"""The whole configuration, and its sections ``data`` and ``model``.

``schema_tasks`` has the section ``tasks``, ``schema_training`` those of ``loss``, ``train`` and
``logging``. Nothing here needs torch, data or the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from biglearn_gan.config.schema_tasks import TasksConfig
from biglearn_gan.config.schema_training import LoggingConfig, LossConfig, TrainConfig
from biglearn_gan.config.values import (
    ConfigError,
    ImageSize,
    Names,
    NonNegative,
    NonNegativeFloat,
    Positive,
    Section,
    ShareBelowOne,
)

FieldName = Literal["smooth", "rough", "mixture", "grid"]
GRID_FIELD_SIZE = (1, 2)
"""Height and width of ``gaussian_field_grid``: two coordinates."""

DataSetName = Literal[
    "digits",
    "mnist",
    "fashion_mnist",
    "colored_mnist",
    "cifar10",
    "celeba",
    "folder",
    "huggingface",
    "gaussian_field_smooth",
    "gaussian_field_rough",
    "gaussian_field_mixture",
    "gaussian_field_grid",
]
_DIGITS = tuple(map(str, range(10)))
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "colored_mnist": _DIGITS,
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}
"""The classes of the data sets with labels, in their order; those of your own images are read."""

HOLE_NAMES = (
    "joint",
    "left-half",
    "right-half",
    "top-half",
    "bottom-half",
    "center",
    "border",
    "checkerboard",
    "strokes",
    "random:R[:BLOCK]",
    "inside:SIZE",
    "outside:SIZE",
)
"""The holes that a user can name; ``tasks/holes.py`` says what they are."""

HoleColor = Literal["white", "black"]
"""The color of a mask file's pixels that are generated."""

FitMode = Literal["crop", "pad", "stretch"]
"""How a photo of another aspect ratio becomes an image of the model's size."""


class MissingConfig(Section):
    """Pixels that were never observed of the training images. Set one of the first three keys."""

    hole: str | None = None
    """A hole's name as for ``--mask`` (``random:0.5:4``, ``outside:12``), with blocks of one pixel
    unless it says otherwise. The same pixels of an image are missing in every epoch."""

    alpha: bool = False
    """For a folder: pixels that are not opaque are missing."""

    masks: bool = False
    """For a folder: pixels that are not black in NAME.mask.png, next to NAME.png, are missing."""

    seed: NonNegative = 0
    """Seed of random holes; the hole of image i depends on (seed, i) alone."""


class DataConfig(Section):
    """The images to learn from."""

    name: DataSetName
    """The data set; ``folder`` and ``huggingface`` read your own images from ``root``."""

    root: str = "data"
    """Folder of the data. Relative paths start in the current folder. For ``huggingface``, also
    ``owner/name`` on the hub."""

    download: bool = True
    """Whether a data set that is not in ``root`` may be downloaded into it."""

    image_size: ImageSize
    """Height and width in pixels: ``28`` or ``[28, 32]``; multiples of ``model.patch_size``."""

    channels: Literal[1, 3]
    """1 for gray, 3 for RGB."""

    standardize: bool = False
    """Whether both networks work on values with mean 0 and variance 1 in each channel. The
    statistics are those of the training images and are part of the checkpoint."""

    horizontal_flip: bool = False
    """Mirror half of the training images, at random."""

    validation_share: ShareBelowOne = 0.0
    """Share of the training images that is held out for validation."""

    max_broken_images: NonNegative = 10
    """Broken image files up to this number are skipped with a warning; more are an error."""

    memory_limit_mb: NonNegative = 4096
    """Splits that take more than this many MiB when decoded are read from files, batch by batch;
    0 reads all of them so."""

    missing: MissingConfig | None = None
    """Pixels that were never observed, for training on incomplete images."""

    labels: bool = False
    """Whether the model also learns each image's class, as one more token. In a folder, each class
    is a folder."""

    labeled_images: Positive | None = None
    """With ``labels``: the number of training images whose labels are known, equally many of each
    class. None: all that the data have."""

    labeled_seed: NonNegative = 0
    """Seed of the choice of ``labeled_images``."""

    unlabeled: str | None = None
    """For a folder with ``labels``: the name of the folder whose images have no label, next to the
    class folders. Images outside of folders then have none either; ``.`` if these are all. None:
    every image is in a class folder."""

    classes: Positive | None = None
    """Number of classes; only for a folder or ``huggingface`` with ``labels``. None: they are
    counted when training starts."""

    class_names: Names | None = None
    """Names of the classes, in their order; only with ``classes``. None: they are read when the
    classes are counted. They have no effect on training."""

    subset: str | None = None
    """For ``huggingface``: the name of a configuration of the data set, if it has several."""

    image_column: str | None = None
    """For ``huggingface``: the column of images. None: the only one of the type ``Image``."""

    label_column: str | None = None
    """For ``huggingface``: the column of classes. None: the only one of the type ``ClassLabel``."""

    workers: NonNegative = 2
    """Processes that decode images ahead of training if they are not in memory, and threads that
    decode them otherwise; 0 decodes in the main thread."""

    @property
    def gaussian_field(self) -> FieldName | None:
        """The Gaussian field that the data are drawn from; None for other data sets."""
        return next((n for n in get_args(FieldName) if self.name == f"gaussian_field_{n}"), None)

    @property
    def partly_labeled(self) -> bool:
        """Whether some training images may have no label, in a model that learns labels."""
        return self.labeled_images is not None or self.unlabeled is not None

    @property
    def is_folder(self) -> bool:
        """Whether ``root`` is a folder or an archive of your own images."""
        return self.name == "folder" or (self.name == "huggingface" and not self.on_hub)

    @property
    def on_hub(self) -> bool:
        """Whether ``root`` is ``owner/name`` on the Hugging Face hub, and no folder here."""
        path = Path(self.root)
        is_name = len(path.parts) <= 2 and not path.is_absolute() and self.root[:1] not in ".~"
        return self.name == "huggingface" and is_name and not path.exists()

    @property
    def num_classes(self) -> int | None:
        """The number of classes that the model knows; None for a model without labels.

        Raises:
            ConfigError: the classes have not been counted.
        """
        if not self.labels:
            return None
        classes = self.classes or len(CLASS_NAMES.get(self.name, ()))
        if not classes:
            raise ConfigError(
                ["data.classes: the classes are not counted yet; set it to their number"]
            )
        return classes

    @property
    def label_names(self) -> tuple[str, ...]:
        """The name of each class, which is its number if it has none; empty without labels.

        Raises:
            ConfigError: the classes have not been counted.
        """
        names = self.class_names or CLASS_NAMES.get(self.name)
        return names if self.labels and names else tuple(map(str, range(self.num_classes or 0)))


class NetworkConfig(Section):
    """The size of one transformer."""

    width: Positive = 64
    """Channels of a token; a multiple of ``heads``."""

    depth: Positive = 2
    """Number of blocks."""

    heads: Positive = 4
    """Attention heads."""


class GeneratorConfig(NetworkConfig):
    """The generator's transformer, noise and output."""

    latent_dim: Positive = 64
    """Size of the latent z of an image."""

    token_noise_dim: Positive = 16
    """Size of the noise of a token."""

    token_noise_scale: NonNegativeFloat = 0.25
    """Factor of the token noise; 0 leaves only the latent."""

    canvas_channels: NonNegative = 0
    """Hidden channels of two 3 x 3 convolutions over the completed picture, which remove seams
    between patches; 0 leaves them out."""

    canvas_features: NonNegative = 0
    """Channels, besides the picture, that the transformer passes to these convolutions for each
    pixel. Without them, the picture that it passes on gets a fine texture, which the
    convolutions do not remove completely. With them, scattered holes were completed worse."""

    canvas_detached: bool = False
    """Whether no gradient flows through the picture that these convolutions read, so that the
    transformer does not learn to pass them a pattern in it; a fine texture can still remain."""

    output: Literal["tanh", "linear"] = "tanh"
    """``tanh`` for images in [-1, 1], ``linear`` for data without bounds. With
    ``data.standardize``, images are clamped to [-1, 1] in place of the tanh."""


class DiscriminatorConfig(NetworkConfig):
    """The discriminator's transformer and how far its patches reach."""

    overlap: NonNegative = 0
    """Pixels beyond each border of a patch that its embedding also reads; 0 reads the patch."""


class ModelConfig(Section):
    """Both networks, which read the same tokens."""

    patch_size: Positive
    """Height and width of a token in pixels."""

    generator: GeneratorConfig = GeneratorConfig()
    """The generator."""

    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    """The discriminator."""


class Config(Section):
    """A whole run, as :func:`load_config` and :func:`parse_config` return it."""

    data: DataConfig
    tasks: TasksConfig
    model: ModelConfig
    loss: LossConfig = LossConfig()
    train: TrainConfig
    logging: LoggingConfig = LoggingConfig()

    @property
    def grid_size(self) -> tuple[int, int]:
        """Tokens per column and per row of an image."""
        height, width = self.data.image_size
        return height // self.model.patch_size, width // self.model.patch_size

    @property
    def token_count(self) -> int:
        """L, the tokens of an image."""
        rows, columns = self.grid_size
        return rows * columns

    @property
    def token_dim(self) -> int:
        """P, the values of a token."""
        return self.data.channels * self.model.patch_size**2

    @property
    def reads_partial_patches(self) -> bool:
        """Whether the model reads the known pixels of patches that a hole cuts through."""
        return self.tasks.partial_patches > 0

    @property
    def absolute_scores(self) -> bool:
        """Whether the discriminator's logit is a log density ratio (it had a logistic term)."""
        return self.loss.logistic > 0

    def portable(self) -> Config:
        """The same configuration without this machine's paths, for a checkpoint.

        ``data.root`` and ``data.download`` get their defaults, except for a name on the Hugging
        Face hub. An absolute ``train.initial_model`` keeps its last two parts.
        """
        defaults = {"root": "data", "download": True}
        if self.data.on_hub:
            defaults = {"root": self.data.root, "download": True}
        train, initial = self.train, self.train.initial_model
        if initial is not None and Path(initial).is_absolute():
            last = "/".join(Path(initial).parts[-2:])
            train = train.model_copy(update={"initial_model": last})
        data = self.data.model_copy(update=defaults)
        return self.model_copy(update={"data": data, "train": train})

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, for YAML and JSON, without keys that are None."""
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
        """A YAML document that :func:`load_config` reads back as an equal configuration."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)
