"""The task distribution: what every batch keeps, and that the draws follow the laws asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from biglearn_gan.config import (
    PatternName,
    PresetName,
    RatioLaw,
    Selection,
    TaskComponent,
    TasksConfig,
)
from biglearn_gan.config.task_presets import PRESETS, task_components
from biglearn_gan.tasks.sampler import TaskBatch, TaskSampler, random_orthogonal, size_cdf
from biglearn_gan.tasks.token_masks import TokenMasks

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)

GRID = (3, 5)
L = 15
PATTERNS = [name for name in get_args(PatternName) if name != "everything"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_observed(rows: int, length: int = L) -> Tensor:
    return torch.ones(rows, length, dtype=torch.bool)


def select(pattern: str, inverted: bool = False, **law: Any) -> Selection:
    return Selection.model_validate({"pattern": pattern, "ratio": law, "inverted": inverted})


def component(
    name: str, weight: float = 1.0, union: Selection | None = None, target: Selection | None = None
) -> TaskComponent:
    return TaskComponent(
        name=name, weight=weight, union=union or Selection(), target=target or Selection()
    )


def preset(name: str, grid_size: tuple[int, int] = GRID) -> TaskSampler:
    return TaskSampler(PRESETS[name], grid_size)


def uniform_law(low: float, high: float, most: int) -> list[float]:
    """P(n) for n = 1 to ``most``: the share of [low, high] that rounds to n (0 counts as 1)."""
    law = []
    for n in range(1, most + 1):
        start = (n - 0.5) / most if n > 1 else -math.inf
        overlap = min(high, (n + 0.5) / most) - max(low, start)
        law.append(max(0.0, overlap) / (high - low))
    return law


def assert_follows(counts: Sequence[int], probabilities: Sequence[float]) -> None:
    """Chi-square at a fixed seed; what has probability 0 must not occur, rare cells are pooled."""
    assert sum(probabilities) == pytest.approx(1)
    total = sum(counts)
    observed, expected = [], []
    pooled_observed, pooled_expected = 0.0, 0.0
    for count, probability in zip(counts, probabilities, strict=True):
        if probability == 0:
            assert count == 0
        elif probability * total < 5:
            pooled_observed += count
            pooled_expected += probability * total
        else:
            observed.append(float(count))
            expected.append(probability * total)
    if pooled_expected > 5:
        observed.append(pooled_observed)
        expected.append(pooled_expected)
    else:
        assert pooled_observed <= pooled_expected + 5 * math.sqrt(pooled_expected) + 1e-9
        expected = [e * sum(observed) / sum(expected) for e in expected]
    if len(observed) > 1:
        assert stats.chisquare(observed, expected).pvalue > 1e-4


def assert_sound(tasks: TaskBatch, observed: Tensor, components: int) -> None:
    masks = tasks.masks
    assert masks.source.shape == masks.target.shape == observed.shape
    assert not (masks.source & masks.target).any()
    assert masks.target.any(dim=1).all()
    assert not (masks.union & ~observed).any()
    assert masks.union.sum(dim=1).unique().numel() == 1
    assert tasks.components.shape == (len(observed),)
    assert 0 <= int(tasks.components.min()) <= int(tasks.components.max()) < components


LAWS = st.one_of(
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda r: {"uniform": sorted(r)}),
    st.floats(0, 1).map(lambda r: {"fixed": r}),
    st.integers(1, 30).map(lambda n: {"count": n}),
)
SELECTIONS = st.one_of(
    st.just(Selection()),
    st.builds(
        lambda pattern, inverted, law: select(pattern, inverted, **law),
        st.sampled_from(PATTERNS),
        st.booleans(),
        LAWS,
    ),
)
MIXTURES = st.lists(
    st.builds(
        lambda weight, union, target: component("x", weight, union, target),
        st.floats(0.1, 10),
        SELECTIONS,
        SELECTIONS,
    ),
    min_size=1,
    max_size=5,
)


class TestEveryBatch:
    @given(MIXTURES, st.integers(0, 10_000))
    @PROPERTY
    def test_is_sound_inside_whatever_was_observed(
        self, mixture: list[TaskComponent], seed: int
    ) -> None:
        shares = torch.rand(7, 1, generator=generator(seed))
        observed = torch.rand(7, L, generator=generator(seed + 1)) < shares
        observed[:, seed % L] = True
        sampler = TaskSampler(mixture, GRID)
        draws = generator(seed)
        tasks = sampler.sample(observed, draws)
        assert_sound(tasks, observed, len(mixture))
        again = sampler.resplit(tasks, observed, draws)
        assert_sound(again, observed, len(mixture))
        assert torch.equal(again.masks.union, tasks.masks.union)
        for row, index in enumerate(tasks.components.tolist()):
            if mixture[index].target == Selection():
                assert not tasks.masks.source[row].any()

    @given(MIXTURES, st.integers(0, 10_000))
    @PROPERTY
    def test_selects_what_its_component_says_from_complete_images(
        self, mixture: list[TaskComponent], seed: int
    ) -> None:
        tasks = TaskSampler(mixture, GRID).sample(all_observed(7), generator(seed))
        assert_sound(tasks, all_observed(7), len(mixture))
        for row, index in enumerate(tasks.components.tolist()):
            present = int(tasks.masks.union[row].sum())
            targets = int(tasks.masks.target[row].sum())
            for selection, size, most in (
                (mixture[index].union, present, L),
                (mixture[index].target, targets, present),
            ):
                law = [0.0, *size_cdf(selection, most).tolist()]
                assert law[size] > law[size - 1]  # this size is possible

    @pytest.mark.parametrize("name", get_args(PresetName))
    def test_the_same_seed_gives_the_same_tasks_and_another_seed_others(self, name: str) -> None:
        def draw(seed: int) -> list[Any]:
            sampler, draws, result = preset(name), generator(seed), []
            for _ in range(3):
                tasks = sampler.sample(all_observed(11), draws)
                result += [tasks.masks.source.tolist(), tasks.masks.target.tolist()]
                result += [tasks.components.tolist()]
            return result

        assert draw(0) == draw(0)
        assert (draw(0) != draw(1)) == (name != "joint")

    def test_nothing_but_the_generator_is_read(self) -> None:
        sampler = preset("big")
        first = sampler.sample(all_observed(11), generator(5))
        torch.manual_seed(1)
        before = torch.get_rng_state()
        second = sampler.sample(all_observed(11), generator(5))
        assert torch.equal(first.masks.target, second.masks.target)
        assert torch.equal(before, torch.get_rng_state())

    def test_a_row_without_an_observed_token_is_refused(self) -> None:
        observed = all_observed(3)
        observed[1] = False
        with pytest.raises(ValueError, match="at least one observed token"):
            preset("big").sample(observed, generator())

    def test_no_component_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one component"):
            TaskSampler([], GRID)

    def test_rows_of_one_batch_are_of_different_kinds(self) -> None:
        sampler = preset("big")
        kinds = Counter()
        for seed in range(20):
            tasks = sampler.sample(all_observed(61), generator(seed))
            if tasks.masks.union[0].all():
                joint = ~tasks.masks.source.any(dim=1)
                kinds["full batches"] += 1
                kinds["mixed"] += bool(joint.any() and not joint.all())
                shares = tasks.masks.target[~joint].sum(dim=1).unique().numel()
                kinds["many shares"] += shares > 5
        assert kinds["full batches"] > 10
        assert kinds["mixed"] == kinds["many shares"] == kinds["full batches"]


class TestIncompleteImages:
    OBSERVED = torch.tensor(
        [
            [1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0],  # 5
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1],  # 7
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1],  # 13
        ],
        dtype=torch.bool,
    )

    def test_shares_are_of_the_smallest_number_observed(self) -> None:
        half = component("half", union=select("iid", fixed=0.5), target=select("iid", count=1))
        tasks = TaskSampler([half], GRID).sample(self.OBSERVED, generator())
        assert tasks.masks.union.sum(dim=1).tolist() == [3, 3, 3]  # 2.5, rounded

    @pytest.mark.parametrize("name", ["joint", "bert", "big"])
    def test_everything_is_as_many_of_each_row_at_random(self, name: str) -> None:
        sampler, draws, times = preset(name), generator(), 400
        present, batches = torch.zeros(3, L), 0
        for _ in range(times):
            union = sampler.sample(self.OBSERVED, draws).masks.union
            if int(union[0].sum()) == 5:
                present += union
                batches += 1
        assert batches > times / 2
        for row, count in enumerate((5, 7, 13)):
            assert (present[row][~self.OBSERVED[row]] == 0).all()
            share = 5 / count
            error = math.sqrt(batches * share * (1 - share))
            off = (present[row][self.OBSERVED[row]] - batches * share).abs()
            assert off.max() <= 5 * error

    def test_a_raster_prefix_is_one_of_the_observed_tokens(self) -> None:
        causal = preset("causal")
        for seed in range(20):
            masks = causal.sample(self.OBSERVED, generator(seed)).masks
            count = int(masks.union[0].sum())
            for row in range(3):
                expected = self.OBSERVED[row].nonzero()[:count, 0].tolist()
                assert masks.union[row].nonzero()[:, 0].tolist() == expected
                assert masks.target[row].nonzero()[:, 0].tolist() == expected[-1:]


class TestCountLaw:
    @given(SELECTIONS, st.integers(1, 60))
    @PROPERTY
    def test_is_a_distribution_of_sizes(self, selection: Selection, most: int) -> None:
        law = size_cdf(selection, most)
        assert law.shape == (most,)
        assert law.dtype == torch.float64
        assert float(law[0]) >= 0
        assert (law.diff() >= 0).all()
        assert float(law[-1]) == 1

    @given(LAWS, st.integers(1, 40))
    @PROPERTY
    def test_is_that_of_a_share_rounded_to_the_nearest_size(
        self, law: dict[str, Any], most: int
    ) -> None:
        quantiles = (np.arange(2000) + 0.5) / 2000
        if "uniform" in law:
            low, high = law["uniform"]
            sizes = (low + (high - low) * quantiles) * most
        elif "fixed" in law:
            sizes = np.full(2000, law["fixed"] * most)
        else:
            sizes = np.full(2000, law["count"])
        sizes = np.clip(np.floor(sizes + 0.5), 1, most)
        expected = [(sizes <= n).mean() for n in range(1, most + 1)]
        assert size_cdf(select("iid", **law), most).tolist() == pytest.approx(expected, abs=2e-3)

    @pytest.mark.parametrize(
        ("law", "most", "size"),
        [
            ({"fixed": 0.15}, 35, 5),  # 5.25
            ({"fixed": 0.15}, 37, 6),  # 5.55
            ({"fixed": 0.5}, 7, 4),  # 3.5
            ({"fixed": 0.0}, 7, 1),
            ({"fixed": 1.0}, 7, 7),
            ({"fixed": 0.01}, 7, 1),
            ({"uniform": [0.5, 0.5]}, 8, 4),
            ({"count": 3}, 7, 3),
            ({"count": 9}, 7, 7),
        ],
    )
    def test_certain_sizes(self, law: dict[str, Any], most: int, size: int) -> None:
        expected = [0.0] * (size - 1) + [1.0] * (most - size + 1)
        assert size_cdf(select("iid", **law), most).tolist() == expected

    def test_a_uniform_share_by_hand(self) -> None:
        law = size_cdf(select("iid", uniform=[0.0, 1.0]), 5)
        assert law.tolist() == pytest.approx([0.3, 0.5, 0.7, 0.9, 1.0])
        law = size_cdf(select("iid", uniform=[0.5, 0.9]), 5)  # 2.5 to 4.5 tokens
        assert law.tolist() == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])

    def test_everything_is_everything(self) -> None:
        assert size_cdf(Selection(), 5).tolist() == [0, 0, 0, 0, 1]
        assert size_cdf(Selection(ratio=RatioLaw(fixed=0.2)), 5).tolist() == [0, 0, 0, 0, 1]


# A mixture whose law is known: sizes of the union and of the target, by component.
GRID_OF_6 = (2, 3)
MIXTURE = (
    component("joint", 2.0),
    component("scattered", 1.0, target=select("iid", uniform=[0.1, 1.0])),
    component("marginal", 3.0, union=select("iid", uniform=[0.25, 1.0])),
    component(
        "part", 4.0, union=select("rectangle", uniform=[0.0, 0.7]), target=select("iid", fixed=0.4)
    ),
    component("next", 1.5, union=select("raster_prefix", count=4), target=select("iid", count=2)),
)
WEIGHTS = [2 / 11.5, 1 / 11.5, 3 / 11.5, 4 / 11.5, 1.5 / 11.5]
CERTAIN_6 = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
UNION_LAWS = [
    CERTAIN_6,
    CERTAIN_6,
    uniform_law(0.25, 1.0, 6),
    uniform_law(0.0, 0.7, 6),
    [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
]


def target_law(index: int, present: int) -> list[float]:
    certain = {
        0: present,
        2: present,
        3: max(1, math.floor(0.4 * present + 0.5)),
        4: min(2, present),
    }
    if index == 1:
        return uniform_law(0.1, 1.0, present)
    return [float(n == certain[index]) for n in range(1, present + 1)]


@pytest.fixture(scope="module")
def draws() -> list[tuple[int, list[int], list[int]]]:
    """|S ∪ T|, and for every row its component and |T|, of many batches of 5."""
    torch.set_num_threads(1)
    sampler, source_of_chance, result = TaskSampler(MIXTURE, GRID_OF_6), generator(1), []
    for _ in range(3000):
        tasks = sampler.sample(all_observed(5, 6), source_of_chance)
        present = int(tasks.masks.union[0].sum())
        targets = tasks.masks.target.sum(dim=1).tolist()
        result.append((present, tasks.components.tolist(), targets))
    return result


Draws = list[tuple[int, list[int], list[int]]]


def components_given(present: int) -> list[float]:
    weights = [w * law[present - 1] for w, law in zip(WEIGHTS, UNION_LAWS, strict=True)]
    return [weight / sum(weights) for weight in weights]


class TestLaws:
    @pytest.mark.parametrize("row", [0, 4])
    def test_the_component_of_a_row_follows_the_weights(self, draws: Draws, row: int) -> None:
        counts = Counter(components[row] for _, components, _ in draws)
        assert_follows([counts[index] for index in range(5)], WEIGHTS)

    def test_the_count_follows_the_law_that_the_mixture_induces(self, draws: Draws) -> None:
        counts = Counter(present for present, _, _ in draws)
        law = [
            sum(w * law[n] for w, law in zip(WEIGHTS, UNION_LAWS, strict=True)) for n in range(6)
        ]
        assert_follows([counts[n] for n in range(1, 7)], law)

    @pytest.mark.parametrize("present", range(1, 7))
    def test_components_given_the_count(self, draws: Draws, present: int) -> None:
        counts = Counter(c for n, components, _ in draws if n == present for c in components)
        assert sum(counts.values()) > 300
        assert_follows([counts[index] for index in range(5)], components_given(present))

    def test_rows_of_a_batch_are_drawn_one_by_one(self, draws: Draws) -> None:
        """Given the count, the components of two rows are independent."""
        pairs = Counter((c[1], c[3]) for present, c, _ in draws if present == 6)
        law = components_given(6)
        cells = [(a, b) for a in range(5) for b in range(5)]
        assert_follows([pairs[cell] for cell in cells], [law[a] * law[b] for a, b in cells])

    @pytest.mark.parametrize("present", range(1, 7))
    @pytest.mark.parametrize("index", range(5))
    def test_target_size_given_component_and_count(
        self, draws: Draws, index: int, present: int
    ) -> None:
        counts = Counter(
            size
            for n, components, sizes in draws
            for c, size in zip(components, sizes, strict=True)
            if n == present and c == index
        )
        possible = UNION_LAWS[index][present - 1] > 0
        assert possible == (sum(counts.values()) > 0)
        if possible:
            assert max(counts) <= present
            law = target_law(index, present)
            assert_follows([counts[n] for n in range(1, present + 1)], law)

    def test_the_components_of_the_big_mixture_keep_their_weights(self) -> None:
        sampler, source_of_chance = preset("big", (3, 3)), generator(2)
        counts: Counter[int] = Counter()
        for _ in range(2500):
            tasks = sampler.sample(all_observed(2, 9), source_of_chance)
            counts[int(tasks.components[0])] += 1
        weights = [c.weight for c in PRESETS["big"]]
        assert_follows([counts[index] for index in range(len(weights))], weights)

    def test_targets_fall_anywhere_in_the_union(self) -> None:
        one = component("one", target=select("iid", count=1))
        tasks = TaskSampler([one], GRID).sample(all_observed(3000), generator())
        counts = tasks.masks.target.sum(dim=0).tolist()
        assert_follows(counts, [1 / L] * L)


class TestInverted:
    def test_the_last_tokens_in_raster_order(self) -> None:
        last = component("last", target=select("raster_prefix", inverted=True, fixed=0.4))
        masks = TaskSampler([last], GRID).sample(all_observed(7), generator()).masks
        assert masks.target.tolist() == [[False] * 9 + [True] * 6] * 7

    def test_inverted_and_not_inverted_in_one_batch(self) -> None:
        first = component("first", target=select("raster_prefix", fixed=0.4))
        last = component("last", target=select("raster_prefix", inverted=True, fixed=0.4))
        tasks = TaskSampler([first, last], GRID).sample(all_observed(31), generator())
        assert set(tasks.components.tolist()) == {0, 1}
        for index, target in zip(tasks.components, tasks.masks.target.tolist(), strict=True):
            expected = [True] * 6 + [False] * 9 if index == 0 else [False] * 9 + [True] * 6
            assert target == expected

    def test_an_inverted_union_leaves_the_pattern_out(self) -> None:
        late = component("late", union=select("raster_prefix", inverted=True, fixed=0.4))
        masks = TaskSampler([late], GRID).sample(all_observed(7), generator()).masks
        assert masks.union.tolist() == [[False] * 9 + [True] * 6] * 7

    def test_outside_a_box_the_source_is_the_box(self) -> None:
        names = [c.name for c in PRESETS["big"]]
        outside = PRESETS["big"][names.index("outside_box")]
        masks = TaskSampler([outside], (7, 5)).sample(all_observed(101, 35), generator()).masks
        boxes = 0
        for source in masks.source:
            at = np.argwhere(source.view(7, 5).numpy())
            if len(at) > 0:
                height, width = at.max(axis=0) - at.min(axis=0) + 1
                assert height * width - len(at) < max(height, width)
                boxes += 1
        assert boxes > 50


class TestPresets:
    @staticmethod
    def masks(name: str, seed: int = 0, rows: int = 23) -> TokenMasks:
        return preset(name, (7, 5)).sample(all_observed(rows, 35), generator(seed)).masks

    def test_every_name_of_the_configuration_has_one(self) -> None:
        assert set(PRESETS) == set(get_args(PresetName))

    @pytest.mark.parametrize("name", get_args(PresetName))
    def test_components_have_names_of_their_own_and_weights_that_sum_to_one(
        self, name: str
    ) -> None:
        components = PRESETS[name]
        assert len({c.name for c in components}) == len(components)
        assert sum(c.weight for c in components) == pytest.approx(1)

    def test_joint_is_everything_from_nothing(self) -> None:
        masks = self.masks("joint")
        assert masks.target.all()
        assert not masks.source.any()

    @pytest.mark.parametrize(("name", "targets"), [("bert", 5), ("mae", 26)])  # 5.25, 26.25
    def test_bert_and_mae_give_all_that_they_do_not_ask(self, name: str, targets: int) -> None:
        masks = self.masks(name)
        assert masks.union.all()
        assert masks.target.sum(dim=1).tolist() == [targets] * 23
        assert len({tuple(row) for row in masks.target.tolist()}) == 23

    def test_causal_gives_the_whole_past_and_nothing_of_the_future(self) -> None:
        places = set()
        for seed in range(300):
            masks = self.masks("causal", seed, rows=2)
            for source, target in zip(masks.source.tolist(), masks.target.tolist(), strict=True):
                assert sum(target) == 1
                place = target.index(True)
                assert source == [token < place for token in range(35)]
                places.add(place)
        assert places == set(range(35))

    def test_permutation_asks_for_one_token_given_any_others(self) -> None:
        asked, given_counts = torch.zeros(35), set()
        for seed in range(300):
            masks = self.masks("permutation", seed)
            assert (masks.target.sum(dim=1) == 1).all()
            asked += masks.target.sum(dim=0)
            given_counts.add(int(masks.source[0].sum()))
            if 5 < int(masks.source[0].sum()) < 30:
                assert len({tuple(row) for row in masks.source.tolist()}) == 23
        assert given_counts == set(range(35))
        assert_follows(asked.tolist(), [1 / 35] * 35)

    def test_inpainting_leaves_at_least_half(self) -> None:
        masks = self.masks("inpainting", rows=600)
        assert masks.union.all()
        targets = masks.target.sum(dim=1)
        assert int(targets.min()) == 4  # 3.5, rounded
        assert int(targets.max()) == 17  # at most 17.5
        tasks = preset("inpainting", (7, 5)).sample(all_observed(600, 35), generator())
        assert_follows(torch.bincount(tasks.components).tolist(), [0.5, 0.5])

    def test_big_has_every_kind_of_task(self) -> None:
        kinds = Counter()
        for seed in range(60):
            masks = self.masks("big", seed)
            whole = bool(masks.union[0].all())
            for from_nothing in (~masks.source.any(dim=1)).tolist():
                kinds[whole, from_nothing] += 1
        joint, marginal = kinds[True, True], kinds[False, True]
        conditional, marginal_conditional = kinds[True, False], kinds[False, False]
        assert min(joint, marginal, conditional, marginal_conditional) > 0
        assert conditional > joint > marginal


class TestComponentsOf:
    def test_a_preset_by_name(self) -> None:
        assert task_components(TasksConfig(preset="inpainting")) == PRESETS["inpainting"]

    def test_weights_replace_those_of_a_preset(self) -> None:
        tasks = TasksConfig(preset="big", weights={"joint": 0.7, "marginal": 0.0})
        weights = {c.name: c.weight for c in task_components(tasks)}
        expected = {c.name: c.weight for c in PRESETS["big"]} | {"joint": 0.7}
        del expected["marginal"]
        assert weights == expected

    def test_components_of_ones_own_without_those_of_weight_zero(self) -> None:
        a, b, c = component("a", 1.0), component("b", 0.0), component("c", 2.0)
        assert task_components(TasksConfig(components=[a, b, c])) == (a, c)

    def test_weights_need_not_sum_to_one(self) -> None:
        mixture = [component("a", 30.0), component("b", 10.0, target=select("iid", count=1))]
        tasks = TaskSampler(mixture, GRID).sample(all_observed(2000), generator())
        assert_follows(torch.bincount(tasks.components).tolist(), [0.75, 0.25])


class TestConditional:
    def test_it_drops_joint_and_marginals_and_keeps_the_others_as_they_are(self) -> None:
        conditional = preset("big").conditional()
        kept = [c for c in PRESETS["big"] if c.name not in {"joint", "marginal"}]
        assert list(conditional.components) == kept
        assert len(kept) == len(PRESETS["big"]) - 2
        assert conditional.grid_size == GRID

    def test_its_components_keep_their_proportions(self) -> None:
        conditional = TaskSampler(MIXTURE[:2] + MIXTURE[3:4], GRID_OF_6).conditional()
        source_of_chance, counts = generator(), Counter()
        for _ in range(800):
            tasks = conditional.sample(all_observed(1, 6), source_of_chance)
            counts[int(tasks.components[0])] += 1
        assert_follows([counts[0], counts[1]], [0.2, 0.8])

    def test_a_mixture_of_joints_has_nothing_conditional(self) -> None:
        with pytest.raises(ValueError, match="at least one component"):
            preset("joint").conditional()


class TestResplit:
    def test_it_draws_components_and_targets_anew_given_the_count(self) -> None:
        sampler = TaskSampler(MIXTURE, GRID_OF_6)
        observed, source_of_chance = all_observed(400, 6), generator()
        seen: Counter[int] = Counter()
        for _ in range(40):
            first = sampler.sample(observed, source_of_chance)
            present = int(first.masks.union[0].sum())
            if seen[present] == 1:
                continue
            seen[present] += 1
            second = sampler.resplit(first, observed, source_of_chance)
            assert torch.equal(second.masks.union, first.masks.union)
            law = components_given(present)
            pairs = Counter(zip(first.components.tolist(), second.components.tolist(), strict=True))
            cells = [(a, b) for a in range(5) for b in range(5)]
            assert_follows([pairs[cell] for cell in cells], [law[a] * law[b] for a, b in cells])
            for index in range(5):
                sizes = second.masks.target.sum(dim=1)[second.components == index].tolist()
                if sizes:
                    counts = [sizes.count(n) for n in range(1, present + 1)]
                    assert_follows(counts, target_law(index, present))
        assert set(seen) == set(range(1, 7))

    def test_a_joint_task_meets_conditional_ones(self) -> None:
        sampler, observed = preset("big"), all_observed(200)
        draws = generator(3)
        first = sampler.sample(observed, draws)
        assert first.masks.union.all()
        second = sampler.resplit(first, observed, draws)
        joint = [~tasks.masks.source.any(dim=1) for tasks in (first, second)]
        assert (joint[0] & ~joint[1]).any()
        assert (~joint[0] & joint[1]).any()
        assert not torch.equal(first.masks.target, second.masks.target)


class TestDomains:
    own, elsewhere = (
        TaskComponent(name="x", weight=1, domain=domain) for domain in ("own", "orthogonal")
    )

    def test_rows_of_one_batch_are_in_domains_of_their_own(self) -> None:
        tasks = TaskSampler([self.own, self.elsewhere], GRID).sample(all_observed(40), generator())
        assert tasks.transforms is not None
        still = (tasks.transforms == torch.eye(L)).flatten(1).all(dim=1)
        assert torch.equal(still, tasks.components == 0)
        assert 0 < int(still.sum()) < 40
        products = tasks.transforms @ tasks.transforms.mT
        torch.testing.assert_close(products, torch.eye(L).expand(40, L, L), rtol=0, atol=1e-5)

    def test_without_such_a_component_nothing_is_drawn_for_them(self) -> None:
        draws, same = generator(), generator()
        tasks = TaskSampler([self.own], GRID).sample(all_observed(4), draws)
        assert tasks.transforms is None
        TaskSampler([self.elsewhere], GRID).sample(all_observed(4), same)
        assert not torch.equal(draws.get_state(), same.get_state())

    def test_a_row_that_is_not_observed_whole_stays_in_its_own(self) -> None:
        observed = all_observed(6)
        observed[:3, 2] = False
        tasks = TaskSampler([self.elsewhere], GRID).sample(observed, generator())
        assert tasks.transforms is not None
        still = (tasks.transforms == torch.eye(L)).flatten(1).all(dim=1)
        assert still.tolist() == [True] * 3 + [False] * 3

    def test_another_split_stays_in_the_same_domain(self) -> None:
        sampler, draws = TaskSampler([self.own, self.elsewhere], GRID), generator()
        first = sampler.sample(all_observed(20), draws)
        second = sampler.resplit(first, all_observed(20), draws)
        assert first.transforms is not None
        assert second.transforms is first.transforms

    def test_the_first_row_of_a_random_rotation_is_uniform_on_the_circle(self) -> None:
        matrices = random_orthogonal(20_000, 2, generator())
        angles = torch.atan2(matrices[:, 0, 1], matrices[:, 0, 0])
        counts = torch.histc(angles, 8, -math.pi, math.pi).tolist()
        assert_follows([int(count) for count in counts], [1 / 8] * 8)
        determinants = torch.linalg.det(matrices).sign()
        assert abs(float(determinants.mean())) < 4 / 20_000**0.5
