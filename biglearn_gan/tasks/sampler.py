"""The task distribution q(S, T): a weighted mixture of components, and the sampler that draws it.

A task says which tokens are source (given), target (generated) and absent. A component draws it in
two selections, each a pattern and a law of its size: the *union* S ∪ T out of the observed tokens
O (the rest is absent), then the *target* T out of the union (the rest is source).

Networks read dense batches, so all rows of a batch share one number of present tokens
``n = |S ∪ T|`` and nothing else. It is drawn first, by the law that the mixture induces; then each
row draws its component given ``n``, and its own patterns and target size. The distribution of a
row's task is exactly the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Bool, Float, Float64, Int64
from scipy import stats
from torch import Tensor

from biglearn_gan.config import PatternName, RatioLaw, Selection, TaskComponent
from biglearn_gan.tasks.partial_patches import PartialPatchSampler
from biglearn_gan.tasks.patterns import pattern_scores, select_lowest
from biglearn_gan.tasks.token_masks import TokenMasks


@dataclass(frozen=True)
class Tasks:
    """A batch of tasks.

    Attributes:
        masks: source and target of each row, in the row's domain.
        components: the component of the mixture that each row was drawn from.
        transforms: the orthogonal A of each row's domain y = A x, which mixes the tokens of an
            image; None where every row is in the data's own domain.
        label_given: True where the image is drawn given its label; None without labels.
    """

    masks: TokenMasks
    components: Int64[Tensor, " B"]
    transforms: Float[Tensor, "B L L"] | None = None
    label_given: Bool[Tensor, " B"] | None = None


class TaskSampler:
    """Draws batches of tasks from a mixture on a grid of tokens.

    Args:
        components: of the mixture.
        grid_size: tokens per column and per row.
        label_share: of the tasks that are given the label; None without labels.
        kept: the law of what targets keep; None where they keep nothing.
    """

    def __init__(
        self,
        components: Sequence[TaskComponent],
        grid_size: tuple[int, int],
        label_share: float | None = None,
        kept: PartialPatchSampler | None = None,
    ):
        if not components:
            raise ValueError("a task distribution needs at least one component")
        self.components = tuple(components)
        self.grid_size = grid_size
        self.label_share = label_share
        self.kept = kept
        self._weights = torch.tensor([c.weight for c in components], dtype=torch.float64)
        self._patterns = {
            "union": [(c.union.pattern, c.union.inverted) for c in components],
            "target": [(c.target.pattern, c.target.inverted) for c in components],
        }
        self._transformed = torch.tensor([c.domain == "orthogonal" for c in components])
        self._union_law = cache(self._tabulate_union)
        self._target_law = cache(self._tabulate_target)

    def sample(self, observed: Bool[Tensor, "B L"], rng: torch.Generator) -> Tasks:
        """Draw one task per row, inside the row's observed tokens.

        A row that is not observed whole stays in its own domain, since A x needs all of x.

        Sizes are shares of the smallest number of observed tokens in the batch. Where everything
        is asked of a row that has more, the ones too many are absent, at random.

        Raises:
            ValueError: a row has no observed token.
        """
        most = int(observed.sum(dim=1).min())
        if most == 0:
            raise ValueError("every row needs at least one observed token")
        sizes, components_given_size = self._union_law(most)
        count = 1 + int(torch.multinomial(sizes, 1, generator=rng))
        components = _draw(components_given_size[count - 1], len(observed), rng)
        counts = torch.full((len(observed),), count)
        union = self._choose("union", components, observed, counts, rng)
        tasks = self._split(union, components, count, rng)
        transforms = self._transforms(components, observed, rng)
        label_given = None
        if self.label_share is not None:
            label_given = torch.rand(len(observed), generator=rng) < self.label_share
        masks = tasks.masks
        if self.kept is not None:
            masks = self.kept.draw(masks, rng)
        return replace(tasks, masks=masks, transforms=transforms, label_given=label_given)

    def resplit(self, tasks: Tasks, observed: Bool[Tensor, "B L"], rng: torch.Generator) -> Tasks:
        """Draw another split into source and target of the same unions, in the same domains,
        with the same labels given, and with targets that keep nothing.

        Components are drawn anew given the count, so a joint task may meet a conditional one.
        """
        union = tasks.masks.union
        count, most = int(union[0].sum()), int(observed.sum(dim=1).min())
        components = _draw(self._union_law(most)[1][count - 1], len(union), rng)
        return replace(
            self._split(union, components, count, rng),
            transforms=tasks.transforms,
            label_given=tasks.label_given,
        )

    def conditional(self) -> TaskSampler:
        """The same mixture without the components that have no source (joint and marginals)."""
        conditional = [c for c in self.components if c.target.pattern != "everything"]
        return TaskSampler(conditional, self.grid_size, self.label_share, self.kept)

    def _split(self, union: Tensor, components: Tensor, count: int, rng: torch.Generator) -> Tasks:
        uniform = torch.rand(len(union), 1, generator=rng, dtype=torch.float64)
        counts = 1 + (uniform > self._target_law(count)[components]).sum(dim=1)
        target = self._choose("target", components, union, counts, rng)
        return Tasks(TokenMasks(union & ~target, target), components)

    def _transforms(
        self,
        components: Int64[Tensor, " B"],
        observed: Bool[Tensor, "B L"],
        rng: torch.Generator,
    ) -> Float[Tensor, "B L L"] | None:
        """A random A for each row of an orthogonal domain, the identity for the others."""
        if not self._transformed.any():
            return None
        rows, length = observed.shape
        moved = self._transformed[components] & observed.all(dim=1)
        drawn = random_orthogonal(rows, length, rng)
        return torch.where(moved[:, None, None], drawn, torch.eye(length))

    def _choose(
        self,
        role: str,
        components: Int64[Tensor, " B"],
        eligible: Bool[Tensor, "B L"],
        counts: Int64[Tensor, " B"],
        rng: torch.Generator,
    ) -> Bool[Tensor, "B L"]:
        """In each row, the first ``counts`` eligible tokens of its component's pattern."""
        rows_of: dict[tuple[PatternName, bool], list[int]] = {}
        too_many = (eligible.sum(dim=1) > counts).tolist()
        patterns = self._patterns[role]
        for row, component in enumerate(components.tolist()):
            pattern, inverted = patterns[component]
            if pattern == "everything" and too_many[row]:  # more is observed than in other rows
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

    def _tabulate_union(self, most: int) -> tuple[Float64[Tensor, " N"], Float64[Tensor, "N K"]]:
        """P(n) for n = 1 to ``most``, and P(component given n)."""
        laws = torch.stack([size_cdf(c.union, most) for c in self.components], dim=1)
        joint = laws.diff(dim=0, prepend=torch.zeros(1, laws.shape[1])) * self._weights
        return joint.sum(dim=1), joint

    def _tabulate_target(self, count: int) -> Float64[Tensor, "K N"]:
        return torch.stack([size_cdf(c.target, count)[:-1] for c in self.components])


def add_random_targets(tasks: Tasks, rng: torch.Generator) -> Tasks:
    """The same tasks with more targets, equally many in each row, from none to all that are absent.

    For incomplete images: a model that only ever drew what is observed of one image could not
    draw a whole one. What is drawn beyond the targets is marginalized out where it is judged.
    """
    masks = tasks.masks
    absent = ~masks.union
    most = int(absent.sum(dim=1).min())
    count = int(torch.randint(most + 1, (), generator=rng))
    scores = torch.rand(absent.shape, generator=rng)
    further = select_lowest(scores, absent, torch.full((len(absent),), count))
    return replace(tasks, masks=replace(masks, target=masks.target | further))


def random_orthogonal(
    rows: int, size: int, rng: torch.Generator
) -> Float[Tensor, "rows size size"]:
    """Orthogonal matrices drawn uniformly (Haar), by QR of a normal matrix (Mezzadri 2007)."""
    normal = torch.randn(rows, size, size, generator=rng)
    orthogonal, triangular = torch.linalg.qr(normal)
    return orthogonal * triangular.diagonal(dim1=1, dim2=2).sign()[:, None]


def _draw(weights: Tensor, rows: int, rng: torch.Generator) -> Tensor:
    return torch.multinomial(weights, rows, replacement=True, generator=rng)


def size_cdf(selection: Selection, most: int) -> Float64[Tensor, " most"]:
    """Cumulative distribution of a selection's size: P(size <= k) for k = 1 to ``most``.

    A share r of ``most`` tokens is rounded to the nearest count, and to at least one. So a share
    that is uniform on [0, 1] gives size 1 one and a half times the weight of a middle one, and
    size ``most`` half of it.
    """
    ratio = selection.ratio
    if selection.pattern == "everything" or ratio is None:
        ratio = RatioLaw(fixed=1.0)
    sizes = torch.arange(1, most + 1, dtype=torch.float64)
    if ratio.count is not None:
        return (sizes >= min(ratio.count, most)).double()
    upper = (sizes + 0.5) / most
    if ratio.beta is not None:
        law = torch.from_numpy(stats.beta(*ratio.beta).cdf(upper.numpy()))
    else:
        low, high = ratio.uniform or (ratio.fixed or 0.0,) * 2
        law = ((upper - low) / (high - low)).clamp(0, 1) if high > low else (upper > low).double()
    law[-1] = 1.0
    return law
