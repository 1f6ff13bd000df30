"""The scaling study: an all-reduce's closed form, its fit, and what a GPU's step costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scaling
from scaling import Link, StepCost
from step_profile import Machine

from biglearn_gan.config import load_config

CONFIG = Path(__file__).parents[2] / "experiments/digits.yaml"


@pytest.mark.parametrize(("processes", "seconds"), [(1, 0.0), (2, 2 + 100), (4, 6 + 150)])
def test_a_ring_sends_each_byte_twice_but_for_its_own_share(processes: int, seconds: float) -> None:
    link = Link(latency=1.0, bandwidth=10.0)
    assert link.all_reduce_seconds(1000, processes) == pytest.approx(seconds)
    both = link.step_seconds([400, 600], processes)
    assert both == pytest.approx(seconds + 2 * (processes - 1))  # the latency twice


def test_the_fitted_link_explains_its_measurements() -> None:
    link = Link(latency=2e-4, bandwidth=5e8)
    sizes = (4, 2**20, 2**24)
    fitted = scaling.fit_link({size: link.all_reduce_seconds(size, 2) for size in sizes})
    assert fitted.latency == pytest.approx(link.latency)
    assert fitted.bandwidth == pytest.approx(link.bandwidth)


def test_a_small_step_takes_as_long_as_launching_its_kernels() -> None:
    machine = Machine(peak=1e12, bandwidth=1e12)
    cost = StepCost(1000, operations=1e9, size=1e8, fixed_size=1e9, gradients=(1, 1))
    enough = cost.smallest_batch(machine)
    assert cost.seconds(enough / 2, machine) == cost.launch_seconds()
    assert cost.seconds(enough, machine) == pytest.approx(cost.launch_seconds())
    assert cost.seconds(2 * enough, machine) > cost.launch_seconds()


def test_two_counted_batches_tell_the_cost_of_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "COUNTED_STEPS", 3)
    config = load_config(CONFIG, [])
    two, four, six = (np.array(scaling.count_steps(config, size)) for size in (2, 4, 6))
    np.testing.assert_allclose(six - four, four - two, rtol=1e-3)
    np.testing.assert_array_equal(two[:, 0], six[:, 0])  # kernels
    assert np.ptp(two[:, 0]) <= 2  # no step makes the optimizers' state
    cost = scaling.count_step(config)
    assert cost.kernels == round(two[:, 0].mean())
    # at least: gradients, weights and two moments of the optimizer, read or written once
    assert cost.fixed_size > 4 * sum(cost.gradients)


def test_two_processes_are_compared_with_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(processes: int, arguments: list[str]) -> dict[str, Any]:
        halved = arguments[-1] == "train.batch_size=8"
        seconds = 0.03 if processes == 2 else 0.025 if halved else 0.045
        reduce = {str(size): 1e-3 + size / 1e9 for size in (4, 10**6)}
        return {"seconds": seconds, "reduce": reduce, "gradients": [500_000, 500_000]}

    monkeypatch.setattr(scaling, "launch", launch)
    scaling.measure(CONFIG, ["train.batch_size=16"], steps=4, rounds=3)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.strip("| ").split(" | ")[1] for row in rows] == [
        *("45.0 ms", "25.0 ms", "500 us, 1.00 GB/s", "3.0 ms", "28.0 ms", "30.0 ms", "1.50")
    ]
