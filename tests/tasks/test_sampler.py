"""The task sampler: every batch is sound, and draws follow the configured probabilities."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from task_tools import (
    GRID,
    L,
    all_observed,
    assert_follows,
    component,
    preset,
    seeded_rng,
    select,
    uniform_law,
)
from torch import Tensor

from biglearn_gan.config import (
    PatternName,
    PresetName,
    Selection,
    SelectionSize,
    TaskComponent,
)
from biglearn_gan.config.task_presets import PRESETS
from biglearn_gan.tasks.sampler import TaskBatch, TaskSampler, random_orthogonal, size_cdf

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)

PATTERNS = [name for name in get_args(PatternName) if name != "everything"]


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
    def test_is_sound_inside_the_observed_tokens(
        self, mixture: list[TaskComponent], seed: int
    ) -> None:
        shares = torch.rand(7, 1, generator=seeded_rng(seed))
        observed = torch.rand(7, L, generator=seeded_rng(seed + 1)) < shares
        observed[:, seed % L] = True
        sampler = TaskSampler(mixture, GRID)
        draws = seeded_rng(seed)
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
    def test_follows_its_component_on_complete_images(
        self, mixture: list[TaskComponent], seed: int
    ) -> None:
        tasks = TaskSampler(mixture, GRID).sample(all_observed(7), seeded_rng(seed))
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
            sampler, draws, result = preset(name), seeded_rng(seed), []
            for _ in range(3):
                tasks = sampler.sample(all_observed(11), draws)
                result += [tasks.masks.source.tolist(), tasks.masks.target.tolist()]
                result += [tasks.components.tolist()]
            return result

        assert draw(0) == draw(0)
        assert (draw(0) != draw(1)) == (name != "joint")

    def test_global_random_numbers_are_not_used(self) -> None:
        sampler = preset("big")
        first = sampler.sample(all_observed(11), seeded_rng(5))
        torch.manual_seed(1)
        before = torch.get_rng_state()
        second = sampler.sample(all_observed(11), seeded_rng(5))
        assert torch.equal(first.masks.target, second.masks.target)
        assert torch.equal(before, torch.get_rng_state())

    def test_a_row_without_an_observed_token_is_refused(self) -> None:
        observed = all_observed(3)
        observed[1] = False
        with pytest.raises(ValueError, match="at least one observed token, but row"):
            preset("big").sample(observed, seeded_rng())

    def test_no_component_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one component"):
            TaskSampler([], GRID)

    def test_one_batch_mixes_kinds_of_tasks(self) -> None:
        sampler = preset("big")
        kinds = Counter()
        for seed in range(20):
            tasks = sampler.sample(all_observed(61), seeded_rng(seed))
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

    def test_sizes_are_shares_of_the_smallest_observed_count(self) -> None:
        half = component("half", union=select("iid", fixed=0.5), target=select("iid", count=1))
        tasks = TaskSampler([half], GRID).sample(self.OBSERVED, seeded_rng())
        assert tasks.masks.union.sum(dim=1).tolist() == [3, 3, 3]  # 2.5, rounded

    @pytest.mark.parametrize("name", ["joint", "bert", "big"])
    def test_everything_drops_the_surplus_of_a_row_at_random(self, name: str) -> None:
        sampler, draws, times = preset(name), seeded_rng(), 400
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
            masks = causal.sample(self.OBSERVED, seeded_rng(seed)).masks
            count = int(masks.union[0].sum())
            for row in range(3):
                expected = self.OBSERVED[row].nonzero()[:count, 0].tolist()
                assert masks.union[row].nonzero()[:, 0].tolist() == expected
                assert masks.target[row].nonzero()[:, 0].tolist() == expected[-1:]


class TestSizeCdf:
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
    def test_a_share_is_rounded_to_the_nearest_size(self, law: dict[str, Any], most: int) -> None:
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
        assert size_cdf(Selection(ratio=SelectionSize(fixed=0.2)), 5).tolist() == [0, 0, 0, 0, 1]


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
    sampler, rng, result = TaskSampler(MIXTURE, GRID_OF_6), seeded_rng(1), []
    for _ in range(3000):
        tasks = sampler.sample(all_observed(5, 6), rng)
        present = int(tasks.masks.union[0].sum())
        targets = tasks.masks.target.sum(dim=1).tolist()
        result.append((present, tasks.components.tolist(), targets))
    return result


Draws = list[tuple[int, list[int], list[int]]]


def components_given(present: int) -> list[float]:
    weights = [w * law[present - 1] for w, law in zip(WEIGHTS, UNION_LAWS, strict=True)]
    return [weight / sum(weights) for weight in weights]


class TestProbabilities:
    @pytest.mark.parametrize("row", [0, 4])
    def test_the_component_of_a_row_follows_the_weights(self, draws: Draws, row: int) -> None:
        counts = Counter(components[row] for _, components, _ in draws)
        assert_follows([counts[index] for index in range(5)], WEIGHTS)

    def test_the_count_has_its_distribution_under_the_mixture(self, draws: Draws) -> None:
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

    def test_rows_of_a_batch_are_independent_given_the_count(self, draws: Draws) -> None:
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
        sampler, rng = preset("big", (3, 3)), seeded_rng(2)
        counts: Counter[int] = Counter()
        for _ in range(2500):
            tasks = sampler.sample(all_observed(2, 9), rng)
            counts[int(tasks.components[0])] += 1
        weights = [c.weight for c in PRESETS["big"]]
        assert_follows([counts[index] for index in range(len(weights))], weights)

    def test_targets_fall_anywhere_in_the_union(self) -> None:
        one = component("one", target=select("iid", count=1))
        tasks = TaskSampler([one], GRID).sample(all_observed(3000), seeded_rng())
        counts = tasks.masks.target.sum(dim=0).tolist()
        assert_follows(counts, [1 / L] * L)


class TestInverted:
    def test_the_last_tokens_in_raster_order(self) -> None:
        last = component("last", target=select("raster_prefix", inverted=True, fixed=0.4))
        masks = TaskSampler([last], GRID).sample(all_observed(7), seeded_rng()).masks
        assert masks.target.tolist() == [[False] * 9 + [True] * 6] * 7

    def test_inverted_and_not_inverted_in_one_batch(self) -> None:
        first = component("first", target=select("raster_prefix", fixed=0.4))
        last = component("last", target=select("raster_prefix", inverted=True, fixed=0.4))
        tasks = TaskSampler([first, last], GRID).sample(all_observed(31), seeded_rng())
        assert set(tasks.components.tolist()) == {0, 1}
        for index, target in zip(tasks.components, tasks.masks.target.tolist(), strict=True):
            expected = [True] * 6 + [False] * 9 if index == 0 else [False] * 9 + [True] * 6
            assert target == expected

    def test_an_inverted_union_leaves_the_pattern_out(self) -> None:
        late = component("late", union=select("raster_prefix", inverted=True, fixed=0.4))
        masks = TaskSampler([late], GRID).sample(all_observed(7), seeded_rng()).masks
        assert masks.union.tolist() == [[False] * 9 + [True] * 6] * 7

    def test_outside_a_box_the_source_is_the_box(self) -> None:
        names = [c.name for c in PRESETS["big"]]
        outside = PRESETS["big"][names.index("outside_box")]
        masks = TaskSampler([outside], (7, 5)).sample(all_observed(101, 35), seeded_rng()).masks
        boxes = 0
        for source in masks.source:
            at = np.argwhere(source.view(7, 5).numpy())
            if len(at) > 0:
                height, width = at.max(axis=0) - at.min(axis=0) + 1
                assert height * width - len(at) < max(height, width)
                boxes += 1
        assert boxes > 50


class TestConditional:
    def test_it_drops_joint_and_marginal_components_only(self) -> None:
        conditional = preset("big").conditional()
        expected = [c for c in PRESETS["big"] if c.name not in {"joint", "marginal"}]
        assert list(conditional.components) == expected
        assert len(expected) == len(PRESETS["big"]) - 2
        assert conditional.grid_size == GRID

    def test_its_components_keep_their_proportions(self) -> None:
        conditional = TaskSampler(MIXTURE[:2] + MIXTURE[3:4], GRID_OF_6).conditional()
        rng, counts = seeded_rng(), Counter()
        for _ in range(800):
            tasks = conditional.sample(all_observed(1, 6), rng)
            counts[int(tasks.components[0])] += 1
        assert_follows([counts[0], counts[1]], [0.2, 0.8])

    def test_a_mixture_without_sources_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one component"):
            preset("joint").conditional()


class TestResplit:
    def test_it_draws_new_components_and_targets_given_the_count(self) -> None:
        sampler = TaskSampler(MIXTURE, GRID_OF_6)
        observed, rng = all_observed(400, 6), seeded_rng()
        seen: Counter[int] = Counter()
        for _ in range(40):
            first = sampler.sample(observed, rng)
            present = int(first.masks.union[0].sum())
            if seen[present] == 1:
                continue
            seen[present] += 1
            second = sampler.resplit(first, observed, rng)
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
        draws = seeded_rng(3)
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

    def test_each_row_has_its_own_domain(self) -> None:
        tasks = TaskSampler([self.own, self.elsewhere], GRID).sample(all_observed(40), seeded_rng())
        assert tasks.transforms is not None
        still = (tasks.transforms == torch.eye(L)).flatten(1).all(dim=1)
        assert torch.equal(still, tasks.components == 0)
        assert 0 < int(still.sum()) < 40
        products = tasks.transforms @ tasks.transforms.mT
        torch.testing.assert_close(products, torch.eye(L).expand(40, L, L), rtol=0, atol=1e-5)

    def test_without_a_transformed_component_no_random_number_is_used(self) -> None:
        draws, same = seeded_rng(), seeded_rng()
        tasks = TaskSampler([self.own], GRID).sample(all_observed(4), draws)
        assert tasks.transforms is None
        TaskSampler([self.elsewhere], GRID).sample(all_observed(4), same)
        assert not torch.equal(draws.get_state(), same.get_state())

    def test_an_incomplete_row_stays_in_the_domain_of_the_data(self) -> None:
        observed = all_observed(6)
        observed[:3, 2] = False
        tasks = TaskSampler([self.elsewhere], GRID).sample(observed, seeded_rng())
        assert tasks.transforms is not None
        still = (tasks.transforms == torch.eye(L)).flatten(1).all(dim=1)
        assert still.tolist() == [True] * 3 + [False] * 3

    def test_a_resplit_stays_in_the_same_domain(self) -> None:
        sampler, draws = TaskSampler([self.own, self.elsewhere], GRID), seeded_rng()
        first = sampler.sample(all_observed(20), draws)
        second = sampler.resplit(first, all_observed(20), draws)
        assert first.transforms is not None
        assert second.transforms is first.transforms

    def test_the_first_row_of_a_random_rotation_is_uniform_on_the_circle(self) -> None:
        matrices = random_orthogonal(20_000, 2, seeded_rng())
        angles = torch.atan2(matrices[:, 0, 1], matrices[:, 0, 0])
        counts = torch.histc(angles, 8, -math.pi, math.pi).tolist()
        assert_follows([int(count) for count in counts], [1 / 8] * 8)
        determinants = torch.linalg.det(matrices).sign()
        assert abs(float(determinants.mean())) < 4 / 20_000**0.5


class TestLabels:
    def test_a_share_of_the_tasks_gets_the_label_and_a_resplit_keeps_it(self) -> None:
        observed = all_observed(4000, 16)
        sampler = TaskSampler(PRESETS["big"], (4, 4), 0.3)
        draws = seeded_rng()
        tasks = sampler.sample(observed, draws)
        assert tasks.label_is_source is not None
        share = tasks.label_is_source.double().mean().item()
        assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
        assert sampler.resplit(tasks, observed, draws).label_is_source is tasks.label_is_source
        conditional = sampler.conditional().sample(observed, draws)
        assert conditional.label_is_source is not None

    def test_labels_change_no_other_draw_of_a_task(self) -> None:
        observed = all_observed(40, 16)
        with_labels, without = (
            TaskSampler(PRESETS["big"], (4, 4), share).sample(observed, seeded_rng(5))
            for share in (0.5, None)
        )
        assert without.label_is_source is None
        assert torch.equal(with_labels.masks.target, without.masks.target)
        assert torch.equal(with_labels.components, without.components)
