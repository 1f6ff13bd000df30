"""Schedules draw the right tasks, and fits are reproducible and better than their start."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from biglearn_gan.simulations import grid_gmm as module
from biglearn_gan.simulations.grid_gmm import (
    OURS,
    PUBLISHED,
    FitSchedule,
    Measurement,
    Optimizer,
    TaskChoice,
    draw_task,
    fit_grid,
)
from biglearn_gan.simulations.objectives import EqualMixture, TaskKind

SHORT = replace(OURS, tasks=60)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def kinds(schedule: FitSchedule, choice: TaskChoice, share: float) -> list[TaskKind]:
    draw = generator()
    return [draw_task(schedule, choice, share, draw).kind for _ in range(1000)]


@pytest.mark.parametrize("choice", ["joint", "marginal", "conditional"])
def test_a_choice_of_one_kind_draws_only_that_kind(choice: str) -> None:
    for schedule in (OURS, PUBLISHED):
        assert set(kinds(schedule, TaskChoice(choice), 0.95)) == {TaskKind(choice)}


def test_the_published_schedule_draws_a_tenth_of_joint_tasks_in_its_second_half() -> None:
    assert set(kinds(PUBLISHED, TaskChoice.big, 0.49)) == {TaskKind.marginal}
    late = kinds(PUBLISHED, TaskChoice.big, 0.5)
    assert set(late) == {TaskKind.marginal, TaskKind.joint}
    assert late.count(TaskKind.joint) == pytest.approx(100, abs=40)


def test_ours_ends_with_joint_tasks() -> None:
    assert set(kinds(OURS, TaskChoice.big, 0.89)) == {TaskKind.marginal}
    assert set(kinds(OURS, TaskChoice.big, 0.9)) == {TaskKind.joint}


def test_conditional_tasks_have_their_share() -> None:
    mixed = kinds(replace(OURS, conditional_share=0.3), TaskChoice.big, 0.1)
    assert mixed.count(TaskKind.conditional) == pytest.approx(300, abs=70)
    assert mixed.count(TaskKind.marginal) == 1000 - mixed.count(TaskKind.conditional)


def test_the_blur_decreases_as_a_square() -> None:
    schedule = replace(OURS, noise=2.0, noise_until=0.5)
    noise = [
        draw_task(schedule, TaskChoice.big, share, generator()).noise
        for share in (0.0, 0.25, 0.5, 0.9)
    ]
    assert noise == pytest.approx([2.0, 0.5, 0.0, 0.0])
    assert draw_task(PUBLISHED, TaskChoice.big, 0.0, generator()).noise == 0


def test_rotations_cover_the_half_circle() -> None:
    angles = draw_task(replace(OURS, rotations=2000), TaskChoice.big, 0.0, generator()).angles
    assert 0 <= float(angles.min()) < 0.01
    assert math.pi - 0.01 < float(angles.max()) < math.pi
    assert float(angles.mean()) == pytest.approx(math.pi / 2, abs=0.1)


def test_a_fit_depends_on_its_seed() -> None:
    short = replace(SHORT, tasks=10)
    one, same, other = (
        fit_grid(short, TaskChoice.big, seed, measurements=1)[-1] for seed in (3, 3, 4)
    )
    assert torch.equal(one.means, same.means)
    assert torch.equal(one.covariances, same.covariances)
    assert not torch.equal(one.means, other.means)


@pytest.mark.parametrize("choice", list(TaskChoice))
@pytest.mark.parametrize("exact", [True, False])
def test_every_choice_improves_the_fit(choice: TaskChoice, exact: bool) -> None:
    start, end = fit_grid(replace(SHORT, exact=exact), choice, 0, measurements=1)
    assert (start.tasks, end.tasks, start.seconds) == (0, 60, 0)
    assert 0 < end.reverse_kl < 0.7 * start.reverse_kl
    assert end.seconds > 0


def test_published_steps_on_conditionals_do_not_diverge() -> None:
    last = fit_grid(replace(PUBLISHED, tasks=10), TaskChoice.conditional, 0, measurements=1)[-1]
    assert last.means.isfinite().all()
    assert float(last.means.abs().max()) < 20


def test_measurements_are_spread_and_progress_is_reported() -> None:
    calls: list[int] = []
    history = fit_grid(SHORT, TaskChoice.big, 0, measurements=4, on_tasks=calls.append)
    assert [row.tasks for row in history] == [0, 15, 30, 45, 60]
    assert calls == [15, 15, 15, 15]
    assert [row.seconds for row in history] == sorted(row.seconds for row in history)


def test_measuring_does_not_change_the_fit() -> None:
    often, once = (fit_grid(SHORT, TaskChoice.big, 0, measurements=n)[-1] for n in (6, 1))
    assert torch.equal(often.means, once.means)


def test_shapes_stay_equal_while_they_are_shared() -> None:
    shared = fit_grid(
        replace(SHORT, shared_shape_until=1.0), TaskChoice.marginal, 0, measurements=1
    )[-1]
    torch.testing.assert_close(shared.covariances, shared.covariances[:1].expand(25, 2, 2))
    free = fit_grid(replace(SHORT, shared_shape_until=0.0), TaskChoice.marginal, 0, measurements=1)[
        -1
    ]
    assert float((free.covariances - free.covariances[0]).abs().max()) > 0.01


def test_learning_rates_decay_geometrically_and_tasks_last_their_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    original = module._optimizer

    def watched(schedule: FitSchedule, model: EqualMixture) -> torch.optim.Optimizer:
        optimizer = original(schedule, model)
        optimizer.register_step_pre_hook(
            lambda owner, *_: seen.append(owner.param_groups[0]["lr"])  # type: ignore[arg-type]
        )
        return optimizer

    monkeypatch.setattr(module, "_optimizer", watched)
    schedule = replace(
        PUBLISHED, tasks=4, steps_per_task=3, learning_rate=0.16, last_learning_rate=0.01
    )
    fit_grid(schedule, TaskChoice.big, 0, measurements=1)
    assert seen == pytest.approx([0.16] * 3 + [0.08] * 3 + [0.04] * 3 + [0.02] * 3)


def test_sgd_takes_a_plain_step() -> None:
    model = EqualMixture(2, generator())
    before = model.means.detach().clone()
    optimizer = module._optimizer(replace(PUBLISHED, optimizer=Optimizer.sgd), model)
    optimizer.zero_grad()
    model.means.sum().backward()
    optimizer.step()
    torch.testing.assert_close(model.means.detach(), before - 0.1)


def test_ours_finds_all_modes() -> None:
    last: Measurement = fit_grid(OURS, TaskChoice.big, 0, measurements=1)[-1]
    assert last.modes_covered == 25
    assert last.reverse_kl < 0.02
    assert last.forward_kl < 0.02
