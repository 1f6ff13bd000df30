"""What is wrong is told by the scripts of experiments/ as by the commands."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

DIGITS = ("--checkpoint", "checkpoints/digits", "--output", "x")
MISTAKES = {
    "benchmark": (
        ["--config", "experiments/digits.yaml", "data.foo=1"],
        2,
        "data.foo: unknown key",
    ),
    "picture": (
        ["--checkpoint", "nowhere", "--output", "x.png"],
        1,
        "'nowhere' is neither a folder",
    ),
    "missing": (["--output", "x", "--holes", "none,random:7"], 2, "data.missing.hole: "),
    "cost": (["experiments/digits.yaml"], 2, "experiments/digits.yaml: "),
    "page": (["--checkpoint", "x", "--variations", "1,,2"], 2, "--variations must be whole num"),
    "progressive": ([*DIGITS, "--steps", "2,x"], 2, "--steps must be whole numbers from 1, "),
    "progressive, order": ([*DIGITS, "--steps", "1", "--orders", "up"], 2, "not 'up'"),
    "progressive, tokens": ([*DIGITS, "--steps", "1,17"], 2, "steps must be 1 to 16, "),
    "progressive, few": (
        [*DIGITS, "--steps", "1", "--num", "5"],
        2,
        "--num must be at least 64, as many as features have dimensions, not 5",
    ),
    "best_of": ([*DIGITS, "--candidates", "0"], 2, "--candidates must be whole numbers from 1, "),
    "best_of, data": (
        [*DIGITS, "--other", "moons"],
        2,
        "--other: 'moons' is none of digits, mnist",
    ),
    "best_of, bounds": ([*DIGITS, "--other", "gaussian_field_grid"], 2, "have no bounds, as those"),
    "best_of, no data": (
        [*DIGITS, "--other", "mnist", "--data-root", "nowhere"],
        2,
        "--data-root nowhere is no folder",
    ),
    "missing, no data": (
        ["--output", "x", "--data-root", "nowhere"],
        2,
        "--data-root nowhere is no folder",
    ),
    "flow_matching": (
        [
            "--config",
            "experiments/digits.yaml",
            "--output",
            "x",
            *("--images", "1", "--steps", ","),
        ],
        2,
        "--steps must be whole numbers from 1, such as 1,2,4, not ','",
    ),
    "flow_matching, kept pixels": (
        ["--config", "experiments/mnist.yaml", "--output", "x", "--images", "1"],
        2,
        "tasks.partial_patches has no meaning for flow matching: override it",
    ),
    "flow_matching, missing": (
        ["--config", "experiments/incomplete_mnist.yaml", "--output", "x", "--images", "1"],
        2,
        "data.missing has no meaning for flow matching: override it",
    ),
    "flow_matching, domain": (
        ["--config", "experiments/gaussian_grid.yaml", "--output", "x", "--images", "1"],
        2,
        "an orthogonal domain in tasks.components has no meaning for flow matching",
    ),
    "flow_matching, linear": (
        ["--config", "experiments/gaussian_field.yaml", "--output", "x", "--images", "1"],
        2,
        "model.generator.output=linear has no meaning for flow matching: override it",
    ),
    "flow_matching, beside": (
        [
            *("--config", "experiments/digits.yaml", "--output", "x", "--images", "1"),
            *("--beside", "checkpoints/digits"),
        ],
        2,
        "checkpoints/digits is no evaluation: it has no metrics.json",
    ),
    "flow_matching, few": (
        [
            *("--config", "experiments/digits.yaml", "--output", "x", "--images", "1"),
            *("--num", "5"),
        ],
        2,
        "--num must be at least 64, as many as features have dimensions, not 5",
    ),
    "missing, few": (["--output", "x", "--num", "5"], 2, "--num must be at least 64, "),
    "tables": (["nowhere.json"], 2, "'nowhere.json' does not exist"),
    "tables, no JSON": (["README.md"], 2, "README.md holds no records, as the metrics.json"),
    "tables, settings": (["checkpoints/digits/config.json"], 2, "config.json holds no records, "),
    "tables, labels": (["checkpoints/digits/evaluation/labels.json"], 2, "labels.json holds no re"),
    "hues": (DIGITS, 2, "checkpoints/digits is a model of digits: only colored_mnist has known"),
    "hues, folder": ([*DIGITS[:3], "experiments"], 2, "'experiments' is a directory"),
    "labels, folder": ([*DIGITS[:3], "experiments"], 2, "'experiments' is a directory"),
    "labels, below a file": ([*DIGITS[:3], "README.md/x"], 1, "README.md: File exists"),
    "picture, folder": ([*DIGITS[:3], "experiments"], 2, "'experiments' is a directory"),
    "picture, suffix": (DIGITS, 2, "--output must name a file with the suffix .png, not x"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_script_is_one_sentence(
    mistake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = mistake.partition(",")[0]
    words, code, told = MISTAKES[mistake]
    monkeypatch.chdir(EXPERIMENTS.parent)
    monkeypatch.setattr(sys, "argv", [script, *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXPERIMENTS / f"{script}.py"), run_name="__main__")
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert err.startswith(f"{script}: ") and err.count("\n") == 1 and told in err
    assert not (EXPERIMENTS.parent / "x").exists()


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_script_is_shown_to_read_is_there(path: Path) -> None:
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    named = re.findall(r"\b(?:experiments|checkpoints)/[\w./]+", words)
    assert f"experiments/{path.name}" in named or path.stem == "measuring"
    for name in named:
        assert (EXPERIMENTS.parent / name.rstrip(".")).exists(), name
