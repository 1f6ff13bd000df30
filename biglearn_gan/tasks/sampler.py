"""The task distribution q(S, T): a weighted mixture of components, and the sampler that draws it.

A task splits the tokens of an image into source (given), target (generated) and absent tokens. A
component draws it in two selections, each with a pattern and a distribution of its size:

1. the *union* S ∪ T out of the observed tokens; all other tokens are absent,
2. the *target* T out of the union; the rest of the union is source.

Networks read dense batches, so all rows of a batch have the same number of present tokens
``n = |S ∪ T|``. The sampler draws ``n`` first, from its distribution under the mixture. Each row
then draws its own component given ``n``, its patterns and its target size. So the distribution of
one row's task is exactly the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from biglearn_gan.config import PatternName, Selection, SelectionSize, TaskComponent
from biglearn_gan.tasks.partial_patches import PartialPatchSampler
from biglearn_gan.tasks.patterns import pattern_scores, select_lowest
from biglearn_gan.tasks.token_masks import TokenMasks


@dataclass(frozen=True)
class TaskBatch:
    """The tasks of one batch.

    Attributes:
        masks: source and target tokens of each row.
        components: the number of the component that each row was drawn from.
        transforms: the orthogonal matrix A of each row's domain y = A x, which mixes the tokens of
            an image; None if every row is in the data's own domain.
        label_is_source: True = the image is drawn given its label; None without labels.
    """

    masks: TokenMasks
    components: Int64[Tensor, " B"]
    transforms: Float[Tensor, "B L L"] | None = None
    label_is_source: Bool[Tensor, " B"] | None = None


class TaskSampler:
    """Draws batches of tasks from a mixture of components.

    Args:
        components: the mixture.
        grid_size: tokens per column and per row of an image.
        label_conditioning: share of the tasks in which the label is given; None without labels.
        partial_patches: draws holes that cut through patches; None for whole patches only.

    Raises:
        ValueError: there is no component.
    """

    def __init__(
        self,
        components: Sequence[TaskComponent],
        grid_size: tuple[int, int],
        label_conditioning: float | None = None,
        partial_patches: PartialPatchSampler | None = None,
    ):
        if not components:
            raise ValueError("a task distribution needs at least one component")
        self.components = tuple(components)
        self.grid_size = grid_size
        self.label_conditioning = label_conditioning
        self.partial_patches = partial_patches
        self._weights = torch.tensor([c.weight for c in components], dtype=torch.float64)
        self._patterns = {
            "union": [(c.union.pattern, c.union.inverted) for c in components],
            "target": [(c.target.pattern, c.target.inverted) for c in components],
        }
        self._is_transformed = torch.tensor([c.domain == "orthogonal" for c in components])
        self._union_probabilities = cache(self._compute_union_probabilities)
        self._target_cdfs = cache(self._compute_target_cdfs)

    def sample(self, observed: Bool[Tensor, "B L"], rng: torch.Generator) -> TaskBatch:
        """Draw one task for each row, inside the row's observed tokens.

        Sizes are shares of the smallest number of observed tokens in the batch. If a component
        selects everything, rows with more observed tokens drop the surplus at random. A row that is
        not observed completely stays in the data's own domain, because A x needs all of x.

        Raises:
            ValueError: a row has no observed token.
        """
        largest = int(observed.sum(dim=1).min())
        if largest == 0:
            row = int(observed.sum(dim=1).argmin())
            raise ValueError(f"every row needs at least one observed token, but row {row} has none")
        sizes, components_given_size = self._union_probabilities(largest)
        count = 1 + int(torch.multinomial(sizes, 1, generator=rng))
        components = _draw_components(components_given_size[count - 1], len(observed), rng)
        counts = torch.full((len(observed),), count)
        union = self._select("union", components, observed, counts, rng)
        tasks = self._split(union, components, count, rng)
        transforms = self._draw_transforms(components, observed, rng)
        label_is_source = None
        if self.label_conditioning is not None:
            label_is_source = torch.rand(len(observed), generator=rng) < self.label_conditioning
        masks = tasks.masks
        if self.partial_patches is not None:
            masks = self.partial_patches.draw(masks, rng)
        return replace(tasks, masks=masks, transforms=transforms, label_is_source=label_is_source)

    def resplit(
        self, tasks: TaskBatch, observed: Bool[Tensor, "B L"], rng: torch.Generator
    ) -> TaskBatch:
        """Draw another split of the same unions into source and target.

        Components are drawn again, so a joint task may be paired with a conditional one. Domains
        and given labels stay the same; no target has known values.
        """
        union = tasks.masks.union
        count, largest = int(union[0].sum()), int(observed.sum(dim=1).min())
        components_given_size = self._union_probabilities(largest)[1]
        components = _draw_components(components_given_size[count - 1], len(union), rng)
        return replace(
            self._split(union, components, count, rng),
            transforms=tasks.transforms,
            label_is_source=tasks.label_is_source,
        )

    def conditional(self) -> TaskSampler:
        """The same mixture without the components that have no source (joint and marginal)."""
        conditional = [c for c in self.components if c.target.pattern != "everything"]
        return TaskSampler(
            conditional, self.grid_size, self.label_conditioning, self.partial_patches
        )

    def _split(
        self, union: Tensor, components: Tensor, count: int, rng: torch.Generator
    ) -> TaskBatch:
        uniform = torch.rand(len(union), 1, generator=rng, dtype=torch.float64)
        counts = 1 + (uniform > self._target_cdfs(count)[components]).sum(dim=1)
        target = self._select("target", components, union, counts, rng)
        return TaskBatch(TokenMasks(union & ~target, target), components)

    def _draw_transforms(
        self,
        components: Int64[Tensor, " B"],
        observed: Bool[Tensor, "B L"],
        rng: torch.Generator,
    ) -> Float[Tensor, "B L L"] | None:
        """A random orthogonal matrix for each row of an orthogonal domain, else the identity."""
        if not self._is_transformed.any():
            return None
        rows, length = observed.shape
        is_transformed = self._is_transformed[components] & observed.all(dim=1)
        matrices = random_orthogonal(rows, length, rng)
        return torch.where(is_transformed[:, None, None], matrices, torch.eye(length))

    def _select(
        self,
        role: str,
        components: Int64[Tensor, " B"],
        eligible: Bool[Tensor, "B L"],
        counts: Int64[Tensor, " B"],
        rng: torch.Generator,
    ) -> Bool[Tensor, "B L"]:
        """In each row, the first ``counts`` eligible tokens of its component's pattern."""
        rows_of: dict[tuple[PatternName, bool], list[int]] = {}
        has_surplus = (eligible.sum(dim=1) > counts).tolist()
        for row, component in enumerate(components.tolist()):
            pattern, inverted = self._patterns[role][component]
            if pattern == "everything" and has_surplus[row]:
                pattern = "iid"
            if pattern != "everything":
                rows_of.setdefault((pattern, inverted), []).append(row)
        if not rows_of:
            return eligible
        order, parts = [], []
        for (pattern, inverted), rows in rows_of.items():
            drawn = pattern_scores(pattern, self.grid_size, len(rows), rng)
            parts.append(-drawn if inverted else drawn)
            order += rows
        scores = torch.zeros(eligible.shape)
        scores.index_copy_(0, torch.tensor(order), torch.cat(parts))
        return select_lowest(scores, eligible, counts)

    def _compute_union_probabilities(
        self, largest: int
    ) -> tuple[Float64[Tensor, " N"], Float64[Tensor, "N K"]]:
        """P(n) for n = 1 to ``largest``, and P(n and component), both times the sum of weights."""
        cdfs = torch.stack([size_cdf(c.union, largest) for c in self.components], dim=1)
        joint = cdfs.diff(dim=0, prepend=torch.zeros(1, cdfs.shape[1])) * self._weights
        return joint.sum(dim=1), joint

    def _compute_target_cdfs(self, count: int) -> Float64[Tensor, "K N"]:
        return torch.stack([size_cdf(c.target, count)[:-1] for c in self.components])


def add_random_targets(tasks: TaskBatch, rng: torch.Generator) -> TaskBatch:
    """The same tasks with more targets: equally many in each row, from none to all absent tokens.

    Training on incomplete images needs this. A generator that only ever drew the observed tokens
    of one image could not draw a complete one. The discriminator does not see the added targets.
    """
    masks = tasks.masks
    absent = ~masks.union
    largest = int(absent.sum(dim=1).min())
    count = int(torch.randint(largest + 1, (), generator=rng))
    scores = torch.rand(absent.shape, generator=rng)
    added = select_lowest(scores, absent, torch.full((len(absent),), count))
    return replace(tasks, masks=replace(masks, target=masks.target | added))


def random_orthogonal(
    rows: int, size: int, rng: torch.Generator
) -> Float[Tensor, "rows size size"]:
    """Uniformly distributed (Haar) orthogonal matrices: QR of a normal matrix (Mezzadri 2007)."""
    normal = torch.randn(rows, size, size, generator=rng)
    orthogonal, triangular = torch.linalg.qr(normal)
    return orthogonal * triangular.diagonal(dim1=1, dim2=2).sign()[:, None]


def size_cdf(selection: Selection, largest: int) -> Float64[Tensor, " largest"]:
    """The distribution of a selection's size: P(size <= k) for k = 1 to ``largest``.

    A share r of ``largest`` tokens is rounded to the nearest count, and to at least one. With a
    uniform share on [0, 1], size 1 is therefore 1.5 times as likely as a middle size, and size
    ``largest`` half as likely.
    """
    ratio = selection.ratio
    if selection.pattern == "everything" or ratio is None:
        ratio = SelectionSize(fixed=1.0)
    sizes = torch.arange(1, largest + 1, dtype=torch.float64)
    if ratio.count is not None:
        return (sizes >= min(ratio.count, largest)).double()
    upper = (sizes + 0.5) / largest
    low, high = ratio.uniform or (ratio.fixed or 0.0,) * 2
    cdf = ((upper - low) / (high - low)).clamp(0, 1) if high > low else (upper > low).double()
    cdf[-1] = 1.0
    return cdf


def _draw_components(weights: Tensor, rows: int, rng: torch.Generator) -> Tensor:
    return torch.multinomial(weights, rows, replacement=True, generator=rng)
