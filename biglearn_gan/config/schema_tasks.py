"""The section ``tasks``: which prediction tasks a model is trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from biglearn_gan.config.values import NonNegativeFloat, Pair, Positive, Section, Share

PatternName = Literal[
    "everything", "iid", "rectangle", "half_plane", "center", "strokes", "raster_prefix", "grid"
]
DomainName = Literal["own", "orthogonal"]
PresetName = Literal["joint", "bert", "mae", "causal", "permutation", "inpainting", "big"]


class SelectionSize(Section):
    """How many tokens a selection takes. Set exactly one key."""

    uniform: Pair | None = None
    """``[low, high]`` inside [0, 1]: a share of the tokens, uniformly distributed."""

    fixed: Share | None = None
    """A share of the tokens, 0 to 1."""

    count: Positive | None = None
    """A number of tokens, at least 1."""


class Selection(Section):
    """Which tokens are selected: a pattern and its size."""

    pattern: PatternName = "everything"
    """The pattern. ``everything`` takes all tokens, without a ratio."""

    ratio: SelectionSize | None = None
    """The size; needed by every pattern but ``everything``."""

    inverted: bool = False
    """Take the last tokens in the pattern's order in place of the first: outside, not inside."""


class TaskComponent(Section):
    """One kind of task in the mixture."""

    name: str
    """The component's name in messages and in ``tasks.weights``."""

    weight: NonNegativeFloat
    """Relative frequency, at least 0. Weights need not sum to one."""

    union: Selection = Selection()
    """Source and target tokens together; all other tokens are absent."""

    target: Selection = Selection()
    """Target tokens out of the union; the rest of the union is source."""

    domain: DomainName = "own"
    """``own``: the data as they are. ``orthogonal``: y = A x with a random orthogonal matrix A that
    mixes the tokens; it needs ``model.generator.output: linear``."""


class TasksConfig(Section):
    """The task distribution q(S, T). Set exactly one of ``preset`` and ``components``."""

    preset: PresetName | None = None
    """A named mixture, see ``config/task_presets.py``."""

    components: list[TaskComponent] | None = None
    """A mixture of your own."""

    weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights that replace those of a preset's components, by name; 0 leaves a component out."""

    label_conditioning: Share = 0.8
    """In a model with labels: share of the tasks, 0 to 1, in which the label is given. The model
    learns to predict the label in all tasks."""

    partial_patches: Share = 0.0
    """Share of the tasks with a source, 0 to 1, whose holes cut through patches. The known pixels
    of such a patch are given. With 0 the model cannot read them and generates the patch whole."""
