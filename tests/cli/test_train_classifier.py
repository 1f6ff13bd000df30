"""``biglearn-gan train-classifier``: its classifiers measure models."""

from __future__ import annotations

import json
from pathlib import Path

from toys import Run


def test_classifiers_are_trained_and_measure(
    run: Run, config_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    ruler, masked = tmp_path / "ruler", tmp_path / "masked"
    training = ("train-classifier", "--config", config_file, "--images", 1280, "--output")
    code, out, _ = run(*training, ruler)
    assert code == 0 and "accuracy on the test split" in out
    code, out, _ = run(*training, masked, "--masked")
    assert code == 0 and "random:0.75" in out
    code, out, _ = run(
        *("evaluate", "--checkpoint", checkpoint, "--num", 100, "--variations", 2),
        *("--classifier", ruler, "--masked-classifier", masked, "--tasks", "joint,random:0.5"),
        *("--output", tmp_path / "metrics"),
    )
    assert code == 0
    assert "fd100_classifier_test_random50" in out and "images/s" in out
    records = json.loads((tmp_path / "metrics" / "metrics.json").read_text())
    assert {record["task"] for record in records} == {"originals", "joint", "random:0.5"}
    assert all(
        record["ceiling"] < 1
        for record in records
        if record["metric"].startswith("agreement100_classifier_test_random50")
    )
