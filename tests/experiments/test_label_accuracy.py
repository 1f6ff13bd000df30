"""What is said of a model's labels: read from parts, and drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import label_accuracy as labels
import pytest
import torch

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import Config

ROOT = Path(__file__).parents[2]


def test_a_model_that_says_three_is_right_as_often_as_threes_are(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    model = BigLearnGAN(tiny_config({"data.labels": True}))
    head = model.generator.label_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-100.0)
        head.bias[3] = 0.0
    model.save_pretrained(tmp_path / "model")
    labels.main(tmp_path / "model", tmp_path / "labels.json", num=50)
    results = labels.json.loads((tmp_path / "labels.json").read_text())
    threes = results["read"]["nothing"]["accuracy"]
    assert 0.07 < threes < 0.13
    for found in results["read"].values():
        assert found["accuracy"] == threes
        assert found["calibration_error"] == pytest.approx(1 - threes, abs=1e-5)
    assert results["read"]["nothing"]["classifier_accuracy"] > 0.98
    assert results["drawn"]["test_agreement"] > 0.98
    assert all(results["drawn"][f"best_of_{count}"] < 0.4 for count in labels.CANDIDATES)
    assert "of 50 images drawn for a label" in labels.table(results)


def test_a_model_without_labels_is_refused(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config()).save_pretrained(tmp_path / "model")
    with pytest.raises(CommandError, match="trained without labels"):
        labels.main(tmp_path / "model", tmp_path / "labels.json")
