"""The critic's experiment: what it plays against, what it compares with, and what it reports."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from biglearn_gan.data.gaussian_fields import gaussian_field

FIELD = gaussian_field("mixture", (8, 8))


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, with little to do."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "experiments"))
    import critic_density_ratio as critic_oracle

    monkeypatch.setattr(critic_oracle, "TEST_MASKS", 2)
    monkeypatch.setattr(critic_oracle, "TEST_IMAGES", 16)
    yield critic_oracle
    del sys.modules["critic_oracle"]


def test_the_opponent_has_the_same_mean_and_flatter_bumps(experiment: Any) -> None:
    opponent = experiment.flattened(FIELD, 0.75)
    torch.testing.assert_close(opponent.mean, FIELD.mean)
    torch.testing.assert_close(opponent.means - FIELD.mean, (FIELD.means - FIELD.mean) / 4)
    assert torch.equal(opponent.covariances, FIELD.covariances)


def test_fakes_keep_their_source_and_ratios_are_normalized(experiment: Any) -> None:
    """E exp(-log ratio) over real and E exp(log ratio) over fake images are 1."""
    opponent = experiment.flattened(FIELD, 0.1)
    target = torch.zeros(16, dtype=torch.bool)
    target[[5, 6]] = True
    source = ~target
    source[0] = False
    rng = torch.Generator().manual_seed(0)
    found = experiment.answer(FIELD, opponent, source, target, 20_000, rng)
    real, fake = found.tokens.chunk(2)
    assert found.tokens.shape == (40_000, 15, 4)
    assert torch.equal(
        real[~found.sequence.is_target[:20_000]], fake[~found.sequence.is_target[20_000:]]
    )
    assert not (real == fake)[found.sequence.is_target[:20_000]].any()
    assert found.sequence.positions[0].tolist() == list(range(1, 16))
    ratio = found.ratio.view(2, -1)
    assert float((-ratio[0]).exp().mean()) == pytest.approx(1, abs=0.05)
    assert float(ratio[1].exp().mean()) == pytest.approx(1, abs=0.05)


def test_a_perfect_logit_has_no_error(experiment: Any) -> None:
    ratios = torch.randn(2, 6, dtype=torch.float64)
    perfect = experiment.row("side", ratios, ratios)
    assert (perfect.correlation, perfect.slope) == (pytest.approx(1), pytest.approx(1))
    assert (perfect.error, perfect.images) == (0, 12)
    assert perfect.loss == perfect.floor
    scaled = experiment.row("side", 1 + 0.5 * ratios, ratios)
    assert (scaled.correlation, scaled.slope) == (pytest.approx(1), pytest.approx(0.5))
    expected = float((0.5 * ratios - 1).square().mean().sqrt())
    assert scaled.error == pytest.approx(expected)


def test_the_loss_is_that_of_real_and_fake_halves(experiment: Any) -> None:
    logits = torch.tensor([[3.0, -2.0]], dtype=torch.float64)  # one real, one fake image
    expected = math.log1p(math.exp(-3)) + math.log1p(math.exp(-2))
    assert experiment.row("box", logits, logits).loss == pytest.approx(expected)


def test_it_runs_and_repeats_itself(experiment: Any, tmp_path: Path) -> None:
    for name in ("first", "second"):
        experiment.main(tmp_path / name, steps=2, seed=3)
    first, second = ((tmp_path / n / "critic_oracle.json").read_text() for n in ("first", "second"))
    assert first == second
    document = json.loads(first)
    assert (document["steps"], document["seed"]) == (2, 3)
    kinds = [row["kind"] for row in document["rows"]]
    assert kinds[0] == "joint"
    assert kinds[-1] == "all"
    assert len(kinds) == 9
    assert document["rows"][-1]["floor"] < 2 * math.log(2)
    table = (tmp_path / "first" / "critic_oracle.md").read_text()
    assert all(f"| {kind} |" in table for kind in kinds)
