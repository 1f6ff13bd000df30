"""The list of models shows what a user chooses by, and leaves out what is no model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from toys import Run

from biglearn_gan.config import Config
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.shipped import CHECKPOINTS


def test_models_of_the_package_and_of_this_folder_are_listed(
    run: Run,
    tmp_path: Path,
    tiny_config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = BigLearnGAN(tiny_config())
    model.save_pretrained("checkpoints/mine")
    model.save_pretrained("runs/first/checkpoint")
    records = (CHECKPOINTS / "digits/evaluation/metrics.json").read_text()
    for folder, text in {"checkpoints/mine": records, "runs/first/checkpoint": "[3]"}.items():
        Path(folder, "evaluation").mkdir()
        Path(folder, "evaluation/metrics.json").write_text(text)
    for folder, values in {"checkpoints/odd": {"data": 3}, "checkpoints/classifier_x": {}}.items():
        Path(folder).mkdir()
        Path(folder, "config.json").write_text(json.dumps(values))
    shutil.copytree(CHECKPOINTS / "digits", "checkpoints/digits")  # as a clone has it
    shutil.copytree("checkpoints/mine", "checkpoints/mnist")  # another model of this name
    code, out, err = run("models")
    assert (code, err) == (0, "")
    table, configurations = out.split("\n\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    parameters = f"{sum(p.numel() for p in model.parameters()) / 1000:,.0f}K"
    assert ["digits", "digits", "8 x 8 x 1", "10", "289K", "1.611 (1.364)"] in rows
    assert rows[-3:] == [
        ["checkpoints/mine", "digits", "8 x 8 x 1", "none", parameters, "1.611 (1.364)"],
        ["checkpoints/mnist", "digits", "8 x 8 x 1", "none", parameters, "1.611 (1.364)"],
        ["runs/first/checkpoint", "digits", "8 x 8 x 1", "none", parameters, "not measured"],
    ]
    assert [row[0] for row in rows[:-3]] == ["cifar10", "colored_mnist", "digits", "emoji", "mnist"]
    assert "digits, digits_score" in configurations
