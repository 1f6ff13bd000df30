"""The study of the critic's density ratio: its opponent, the exact ratios, and its table."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import critic_density_ratio
import pytest
import torch

from biglearn_gan.data.gaussian_fields import gaussian_field

FIELD = gaussian_field("mixture", (8, 8))


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with few test images."""
    monkeypatch.setattr(critic_density_ratio, "TEST_MASKS", 2)
    monkeypatch.setattr(critic_density_ratio, "TEST_IMAGES", 16)
    return critic_density_ratio


def test_the_opponent_has_the_same_mean_and_closer_components(study: Any) -> None:
    opponent = study.contract_means(FIELD, 0.75)
    torch.testing.assert_close(opponent.mean, FIELD.mean)
    torch.testing.assert_close(opponent.means - FIELD.mean, (FIELD.means - FIELD.mean) / 4)
    assert torch.equal(opponent.covariances, FIELD.covariances)


def test_fakes_have_the_real_source_and_ratios_are_normalized(study: Any) -> None:
    """E exp(-log ratio) over real and E exp(log ratio) over fake images are 1."""
    opponent = study.contract_means(FIELD, 0.1)
    target = torch.zeros(16, dtype=torch.bool)
    target[[5, 6]] = True
    source = ~target
    source[0] = False
    rng = torch.Generator().manual_seed(0)
    found = study.sample_images(FIELD, opponent, source, target, 20_000, rng)
    real, fake = found.tokens.chunk(2)
    assert found.tokens.shape == (40_000, 15, 4)
    assert torch.equal(
        real[~found.sequence.is_target[:20_000]], fake[~found.sequence.is_target[20_000:]]
    )
    assert not (real == fake)[found.sequence.is_target[:20_000]].any()
    assert found.sequence.positions[0].tolist() == list(range(1, 16))
    ratio = found.log_ratio.view(2, -1)
    assert float((-ratio[0]).exp().mean()) == pytest.approx(1, abs=0.05)
    assert float(ratio[1].exp().mean()) == pytest.approx(1, abs=0.05)


def test_a_perfect_logit_has_no_error(study: Any) -> None:
    ratios = torch.randn(2, 6, dtype=torch.float64)
    perfect = study.compare("side", ratios, ratios)
    assert (perfect.correlation, perfect.slope) == (pytest.approx(1), pytest.approx(1))
    assert (perfect.error, perfect.images) == (0, 12)
    assert perfect.loss == perfect.floor
    scaled = study.compare("side", 1 + 0.5 * ratios, ratios)
    assert (scaled.correlation, scaled.slope) == (pytest.approx(1), pytest.approx(0.5))
    expected = float((0.5 * ratios - 1).square().mean().sqrt())
    assert scaled.error == pytest.approx(expected)


def test_the_loss_has_a_real_and_a_fake_half(study: Any) -> None:
    logits = torch.tensor([[3.0, -2.0]], dtype=torch.float64)  # one real, one fake image
    expected = math.log1p(math.exp(-3)) + math.log1p(math.exp(-2))
    assert study.compare("box", logits, logits).loss == pytest.approx(expected)


def test_the_same_seed_gives_the_same_results(
    study: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        study.main(tmp_path / name, steps=2, seed=3)
    first, second = (
        (tmp_path / name / "critic_density_ratio.json").read_text() for name in ("first", "second")
    )
    assert first == second
    document = json.loads(first)
    assert (document["steps"], document["seed"]) == (2, 3)
    kinds = [row["kind"] for row in document["rows"]]
    assert kinds[0] == "joint"
    assert kinds[-1] == "all"
    assert len(kinds) == 9
    assert document["rows"][-1]["floor"] < 2 * math.log(2)
    table = capsys.readouterr().out
    assert all(f"| {kind} |" in table for kind in kinds)
