"""The accuracy of predicted labels, and of images generated for labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import label_accuracy
import pytest
from toy_models import always_predict

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import Config

ROOT = Path(__file__).parents[2]


def test_a_model_that_always_predicts_three_is_right_for_threes(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    model = BigLearnGAN(tiny_config({"data.labels": True}))
    always_predict(model, 3)
    model.save_pretrained(tmp_path / "model")
    label_accuracy.main(str(tmp_path / "model"), tmp_path / "results.json", num=50)
    results = json.loads((tmp_path / "results.json").read_text())
    threes = results["prediction"]["nothing"]["accuracy"]
    assert 0.07 < threes < 0.13
    for found in results["prediction"].values():
        assert found["accuracy"] == threes
        assert found["calibration_error"] == pytest.approx(1 - threes, abs=1e-5)
    assert results["prediction"]["nothing"]["classifier_accuracy"] > 0.98
    assert results["generation"]["test_agreement"] > 0.98
    assert all(
        results["generation"][f"best_of_{count}"] < 0.4 for count in label_accuracy.CANDIDATES
    )
    alone = {hole: {"accuracy": 0.5, "calibration_error": 0.1} for hole in results["prediction"]}
    assert "| nothing | 0.500 | 0.100 |" in label_accuracy.table(results | {"prediction": alone})
    header = "| generated for a label | best of 2 | best of 4 | real test images |"
    assert header in label_accuracy.table(results)


def test_a_model_without_labels_is_rejected(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config()).save_pretrained(tmp_path / "model")
    with pytest.raises(CommandError, match="must be a model with labels"):
        label_accuracy.main(str(tmp_path / "model"), tmp_path / "results.json")
