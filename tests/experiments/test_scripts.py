"""The scripts of experiments/: mistakes end in one sentence, and docstrings show their commands."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.models import OptionInfo

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
SCRIPTS = sorted(
    path
    for pattern in ("*.py", "*/*.py")
    for path in EXPERIMENTS.glob(pattern)
    if "__main__" in path.read_text(encoding="utf-8")  # others are modules of scripts
)

CHECKPOINT = ("--checkpoint", "digits")
DIGITS = (*CHECKPOINT, "--output", "x")
NOWHERE = ("--checkpoint", "nowhere")
UNKNOWN = "'nowhere' is neither a folder here nor a shipped model: choose "
FLOW = ("--output", "x", "--images", "1")
FLOW_DIGITS = ("--config", "experiments/digits.yaml", *FLOW)
FINE_TUNE = (
    *("--config", "experiments/digits.yaml", "--checkpoint", "checkpoints/digits"),
    *("--data-root", "tests", "--classifier", "checkpoints/classifier_digits", "--output", "x"),
)
FEW = "--num must be at least 64, as many as features have dimensions, not 5"

MISTAKES = {
    "average_models": (
        [(*NOWHERE, *NOWHERE, "--output", "x"), 2, UNKNOWN],
        [DIGITS, 2, "--checkpoint must be given at least twice"],
        [(*DIGITS, "--checkpoint", "mnist"), 2, "digits and mnist have generators of different"],
    ),
    "make_animation": (
        [(*NOWHERE, "--output", "x.gif"), 2, UNKNOWN],
        [DIGITS, 2, "--output must name a .gif file, not x"],
        [
            (*CHECKPOINT, "--output", "x.gif", "--data-root", "nowhere"),
            2,
            "--data-root nowhere is not a folder",
        ],
        [
            (*CHECKPOINT, "--output", "x.gif", "--images", "1,2", "--images", "3"),
            2,
            "give --images and --data-root once for every --checkpoint",
        ],
        [
            (*CHECKPOINT, "--output", "x.gif", "--images", "5,900"),
            2,
            "--images must be below 397, ",
        ],
    ),
    "make_grid": (
        [
            ("--checkpoint", "experiments/nowhere", "--output", "x.png"),
            2,
            "experiments/nowhere does not exist",
        ],
        [(*CHECKPOINT, "--output", "experiments"), 2, "'experiments' is a directory"],
        [DIGITS, 2, "--output must name a .png file, not x"],
    ),
    "prepare_emoji": (
        [("--archive", "README.md", "--output", "x"), 2, "README.md cannot be read as a ZIP file"],
        [("--archive", "nowhere.zip", "--output", "x"), 2, "'nowhere.zip' does not exist"],
    ),
    "prepare_digits": (
        [
            ("--output", "x", "--size", "4"),
            2,
            "'--size': Input should be greater than or equal to 8, not '4'",
        ],
        [("--output", "README.md"), 2, "'README.md' is a file"],
    ),
    "studies/fine_tune": (
        [(*FINE_TUNE, "--counts", "50,many"), 2, "--counts must be whole numbers from 1, "],
        [FINE_TUNE, 2, "tests has no class folders"],
    ),
    "benchmarks/ablation_cost": ([("experiments/digits.yaml",), 2, "experiments/digits.yaml: "],),
    "benchmarks/data_loading": (
        [
            ("--root", "x", "--config", "experiments/folder.yaml", "--storages", "files,disk"),
            2,
            "--storages must be some of memory,files,zip,parquet, not files,disk",
        ],
    ),
    "benchmarks/speed": (
        [
            ("model", "--config", "experiments/digits.yaml", "data.foo=1"),
            2,
            "data.foo: unknown key",
        ],
        [
            ("compare", "--against", "x", "--config", "experiments/digits.yaml", "data.foo=1"),
            2,
            "data.foo: unknown key",
        ],
    ),
    "benchmarks/demo_speed": (
        [
            ("--checkpoint", "x", "--variations", "1,,2"),
            2,
            "--variations must be whole numbers from 1, ",
        ],
    ),
    "studies/anomalies": (
        [(*NOWHERE, "--output", "x"), 2, UNKNOWN],
        [(*CHECKPOINT, "--output", "experiments"), 2, "'experiments' is a directory"],
        [(*DIGITS, "--picture", "experiments"), 2, "'experiments' is a directory"],
        [(*DIGITS, "--other", "nowhere"), 2, "nowhere does not exist; name an image file"],
        [(*DIGITS, "--other", "mnist"), 2, "name a split of it too, such as mnist:test"],
        [(*DIGITS, "--data-root", "nowhere"), 2, "--data-root nowhere is not a folder"],
        [(*DIGITS, "--num", "1"), 2, "equal to 2, not '1'"],
    ),
    "studies/color_consistency": (
        [(*NOWHERE, "--output", "x"), 2, UNKNOWN],
        [DIGITS, 2, "--checkpoint must be a model of colored_mnist, not of digits"],
        [(*CHECKPOINT, "--output", "experiments"), 2, "'experiments' is a directory"],
    ),
    "studies/compare_label_accuracy": (
        [("README.md",), 2, "README.md was not written by label_accuracy.py"],
        [("nowhere.json",), 2, "'nowhere.json' does not exist"],
    ),
    "studies/flow_matching": (
        [
            (*FLOW_DIGITS, "--steps", ","),
            2,
            "--steps must be whole numbers from 1, such as 1,2,4, not ','",
        ],
        [
            ("--config", "experiments/mnist.yaml", *FLOW),
            2,
            "flow matching does not support tasks.partial_patches: override it",
        ],
        [
            ("--config", "experiments/incomplete_mnist.yaml", *FLOW),
            2,
            "flow matching does not support data.missing: override it",
        ],
        [
            ("--config", "experiments/gaussian_grid.yaml", *FLOW),
            2,
            "flow matching does not support an orthogonal domain in tasks.components",
        ],
        [
            ("--config", "experiments/gaussian_field.yaml", *FLOW),
            2,
            "flow matching does not support model.generator.output=linear: override it",
        ],
        [(*FLOW_DIGITS, "--gan-evaluation", "checkpoints/digits"), 2, "it has no metrics.json"],
        [(*FLOW_DIGITS, "--num", "5"), 2, FEW],
    ),
    "studies/gmm_gan": ([("--variant", "none"), 2, "--variant must be one of 'joint only', "],),
    "studies/gmm_schedules": (
        [("--variant", "none"), 2, "--variant must be one of 'published', "],
    ),
    "studies/generated_labels": (
        [(*NOWHERE, "--output", "x"), 2, UNKNOWN],
        [("--checkpoint", "emoji", "--output", "x"), 2, "must be a model with labels; emoji has"],
    ),
    "studies/incomplete_images": (
        [("--output", "x", "--holes", "none,random:7"), 2, "data.missing.hole: "],
        [("--output", "x", "--data-root", "nowhere"), 2, "--data-root nowhere is not a folder"],
        [("--output", "x", "--num", "5"), 2, FEW],
    ),
    "studies/low_contrast": (
        [
            (*FLOW_DIGITS[:2], "--output", "x", "data.labels=false", "loss.label=0"),
            2,
            "the study needs labels: set data.labels=true",
        ],
    ),
    "studies/label_accuracy": (
        [(*NOWHERE, "--output", "x"), 2, UNKNOWN],
        [(*CHECKPOINT, "--output", "experiments"), 2, "'experiments' is a directory"],
        [(*CHECKPOINT, "--output", "README.md/x"), 1, "README.md cannot be written (File exists)"],
    ),
    "studies/memorization": (
        [
            (*DIGITS, "--num", "1"),
            2,
            "'--num': Input should be greater than or equal to 2, not '1'",
        ],
        [(*CHECKPOINT, "--output", "experiments"), 2, "'experiments' is a directory"],
    ),
    "studies/probe": (
        [(*NOWHERE, "--output", "x"), 2, UNKNOWN],
        [(*CHECKPOINT, "--output", "x", "--other", "nowhere"), 2, UNKNOWN],
        [
            ("--checkpoint", "classifier_digits", "--output", "x"),
            2,
            "holds a classifier, not a",
        ],
        [(*CHECKPOINT, "--output", "x", "--labels", "0"), 2, "--labels must be whole numbers"],
        [
            (*CHECKPOINT, "--output", "x", "--labels", "1,500"),
            2,
            "--labels must be at most 125",
        ],
        [
            (*CHECKPOINT, "--output", "x", "--other", "checkpoints/mnist"),
            2,
            "must be a model of images of (8, 8) pixels and 1 channel(s), not (28, 28) and 1",
        ],
    ),
    "studies/pseudo_labels": (
        [
            ("--config", "experiments/digits.yaml", "--output", "x"),
            2,
            "experiments/digits.yaml must set data.labeled_images, loss.pseudo_labels and ",
        ],
    ),
    "studies/scaling": (
        [
            ("measure", "--config", "experiments/digits.yaml", "train.batch_size=3"),
            2,
            "train.batch_size must be even, not 3",
        ],
        [
            ("predict", "--config", "experiments/digits.yaml", "--batches", "many"),
            2,
            "--batches must be whole numbers from 1, ",
        ],
    ),
    "studies/spectrum": ([(*NOWHERE, "--output", "x"), 2, UNKNOWN],),
    "studies/training_curve": (
        [("--states", "nowhere.csv", "--output", "x"), 2, "'nowhere.csv' does not exist"],
        [("--states", "README.md", "--output", "x"), 2, "must have the columns state, record, "],
    ),
    "studies/steps_and_ranking": (
        [(*NOWHERE, "--output", "x"), 2, UNKNOWN],
        [(*DIGITS, "--steps", "2,x"), 2, "--steps must be whole numbers from 1, "],
        [(*DIGITS, "--steps", "1", "--orders", "up"), 2, "not 'up'"],
        [(*DIGITS, "--steps", "1,17"), 2, "steps must be 1 to 16, "],
        [(*DIGITS, "--steps", "1", "--num", "5"), 2, FEW],
        [(*DIGITS, "--candidates", "0"), 2, "--candidates must be whole numbers from 1, "],
        [(*DIGITS, "--other", "mnist"), 2, "--other requires --candidates"],
        [
            (*DIGITS, "--candidates", "1", "--other", "moons"),
            2,
            "--other must be one of digits, mnist, ",
        ],
        [
            (*DIGITS, "--candidates", "1", "--other", "gaussian_field_grid"),
            2,
            "--other must be a data set of bounded pixels",
        ],
        [
            (*DIGITS, "--candidates", "1", "--other", "mnist", "--data-root", "nowhere"),
            2,
            "--data-root nowhere is not a folder",
        ],
    ),
}


def test_every_script_has_its_mistakes() -> None:
    """Except those with tests of their own, and those whose options have no wrong values."""
    elsewhere = {"ablate", "evaluate_fid", "studies/critic_density_ratio", "benchmarks/frechet"}
    names = {str(path.relative_to(EXPERIMENTS).with_suffix("")) for path in SCRIPTS}
    assert names - set(MISTAKES) == elsewhere


@pytest.mark.parametrize(
    ("script", "words", "code", "message"),
    [(script, *mistake) for script, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_a_mistake_ends_in_one_sentence(
    script: str,
    words: tuple[str, ...],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [script, *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXPERIMENTS / f"{script}.py"), run_name="__main__")
    assert ended.value.code == code
    err = capsys.readouterr().err
    name = script.rpartition("/")[2]
    assert err.startswith(f"{name}: ") and err.count("\n") == 1 and message in err
    assert not (ROOT / "x").exists()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_docstring_shows_a_command_whose_files_exist(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert f"python {path.relative_to(ROOT)} " in docstring
    for name in re.findall(r"\b(?:experiments|checkpoints)/[\w./]+", docstring):
        assert (ROOT / name.rstrip(".")).exists(), name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_is_complete(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option of a script has a help text."""
    monkeypatch.setattr(sys, "argv", [path.stem, "--help"])
    names = runpy.run_path(str(path), run_name="script")
    app = names.get("app")
    commands = [c.callback for c in app.registered_commands] if app else [names["main"]]
    for command in commands:
        for name, hint in get_type_hints(command, names, include_extras=True).items():
            for option in getattr(hint, "__metadata__", ()):
                assert not isinstance(option, OptionInfo) or option.help, (path.name, name)
