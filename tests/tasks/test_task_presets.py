"""The named mixtures of tasks: which tokens each gives and asks for."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
import torch
from task_tools import (
    GRID,
    all_observed,
    assert_follows,
    component,
    preset,
    seeded_rng,
    select,
)

from biglearn_gan.config import (
    PresetName,
    TasksConfig,
)
from biglearn_gan.config.task_presets import PRESETS, task_components
from biglearn_gan.tasks.sampler import TaskSampler
from biglearn_gan.tasks.token_masks import TokenMasks


class TestPresets:
    @staticmethod
    def masks(name: str, seed: int = 0, rows: int = 23) -> TokenMasks:
        return preset(name, (7, 5)).sample(all_observed(rows, 35), seeded_rng(seed)).masks

    def test_every_preset_name_has_a_mixture(self) -> None:
        assert set(PRESETS) == set(get_args(PresetName))

    @pytest.mark.parametrize("name", get_args(PresetName))
    def test_names_are_distinct_and_weights_sum_to_one(self, name: str) -> None:
        components = PRESETS[name]
        assert len({c.name for c in components}) == len(components)
        assert sum(c.weight for c in components) == pytest.approx(1)

    def test_joint_generates_everything_without_a_source(self) -> None:
        masks = self.masks("joint")
        assert masks.target.all()
        assert not masks.source.any()

    @pytest.mark.parametrize(("name", "targets"), [("bert", 5), ("mae", 26)])  # 5.25, 26.25
    def test_bert_and_mae_give_all_tokens_but_the_targets(self, name: str, targets: int) -> None:
        masks = self.masks(name)
        assert masks.union.all()
        assert masks.target.sum(dim=1).tolist() == [targets] * 23
        assert len({tuple(row) for row in masks.target.tolist()}) == 23

    def test_causal_gives_all_earlier_tokens_and_no_later_one(self) -> None:
        places = set()
        for seed in range(300):
            masks = self.masks("causal", seed, rows=2)
            for source, target in zip(masks.source.tolist(), masks.target.tolist(), strict=True):
                assert sum(target) == 1
                place = target.index(True)
                assert source == [token < place for token in range(35)]
                places.add(place)
        assert places == set(range(35))

    def test_permutation_generates_one_token_given_any_others(self) -> None:
        target_counts, given_counts = torch.zeros(35), set()
        for seed in range(300):
            masks = self.masks("permutation", seed)
            assert (masks.target.sum(dim=1) == 1).all()
            target_counts += masks.target.sum(dim=0)
            given_counts.add(int(masks.source[0].sum()))
            if 5 < int(masks.source[0].sum()) < 30:
                assert len({tuple(row) for row in masks.source.tolist()}) == 23
        assert given_counts == set(range(35))
        assert_follows(target_counts.tolist(), [1 / 35] * 35)

    def test_inpainting_gives_at_least_half(self) -> None:
        masks = self.masks("inpainting", rows=600)
        assert masks.union.all()
        targets = masks.target.sum(dim=1)
        assert int(targets.min()) == 4  # 3.5, rounded
        assert int(targets.max()) == 17  # at most 17.5
        tasks = preset("inpainting", (7, 5)).sample(all_observed(600, 35), seeded_rng())
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


class TestTaskComponents:
    def test_a_preset_by_name(self) -> None:
        assert task_components(TasksConfig(preset="inpainting")) == PRESETS["inpainting"]

    def test_weights_replace_those_of_a_preset(self) -> None:
        tasks = TasksConfig(preset="big", weights={"joint": 0.7, "marginal": 0.0})
        weights = {c.name: c.weight for c in task_components(tasks)}
        expected = {c.name: c.weight for c in PRESETS["big"]} | {"joint": 0.7}
        del expected["marginal"]
        assert weights == expected

    def test_custom_components_without_those_of_weight_zero(self) -> None:
        a, b, c = component("a", 1.0), component("b", 0.0), component("c", 2.0)
        assert task_components(TasksConfig(components=[a, b, c])) == (a, c)

    def test_weights_need_not_sum_to_one(self) -> None:
        mixture = [component("a", 30.0), component("b", 10.0, target=select("iid", count=1))]
        tasks = TaskSampler(mixture, GRID).sample(all_observed(2000), seeded_rng())
        assert_follows(torch.bincount(tasks.components).tolist(), [0.75, 0.25])
