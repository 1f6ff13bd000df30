"""``biglearn-gan train-classifier``: its classifiers can evaluate models."""

from __future__ import annotations

import json
from pathlib import Path

from toys import Run


def test_trained_classifiers_can_evaluate_a_model(
    run: Run, config_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    whole, masked = tmp_path / "whole", tmp_path / "masked"
    training = ("train-classifier", "--config", config_file, "--images", 1280, "--output")
    code, out, _ = run(*training, whole)
    assert code == 0 and "accuracy on the test split" in out
    deep = (tmp_path / "deep", "--network", "deep", "data.horizontal_flip=true")
    code, _, _ = run(*training, *deep)
    words = f"--config {config_file} data.horizontal_flip=true --network deep --images 1280"
    assert code == 0 and words in (tmp_path / "deep/README.md").read_text()
    code, out, _ = run(*training, masked, "--masked")
    assert code == 0 and "random:0.75" in out
    code, out, _ = run(
        *("evaluate", "--checkpoint", checkpoint, "--num", 100, "--variations", 2),
        *("--classifier", whole, "--masked-classifier", masked, "--tasks", "joint,random:0.5"),
        *("--output", tmp_path / "metrics"),
    )
    assert code == 0
    assert "fd100_classifier_test_random50" in out and "images/s" in out
    records = json.loads((tmp_path / "metrics" / "metrics.json").read_text())
    assert {record["task"] for record in records} == {"real", "joint", "random:0.5"}
    assert all(
        record["ceiling"] < 1
        for record in records
        if (record["measure"], record["task"]) == ("agreement", "random:0.5")
    )
