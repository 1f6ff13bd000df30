"""Every mistake of a user is one sentence with the right exit code."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from toys import Run

SAMPLE = ("sample", "--checkpoint", "{checkpoint}", "--output", "{tmp}/out")
SCORE = ("score", "--checkpoint", "{checkpoint}", "--output", "{tmp}/out")
TRAIN = ("train", "--config", "{config}", "--output", "{tmp}/run", "--device", "cpu")

MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown key": ((*TRAIN, "train.sped=3"), 2, "train.sped: unknown key"),
    "wrong type": ((*TRAIN, "train.seed=abc"), 2, "train.seed: 'abc'"),
    "missing config": (("train", "--config", "{tmp}/no.yaml"), 2, "no.yaml: there is no such file"),
    "missing data": (
        (*TRAIN, "data.name=mnist", f"data.root={'{tmp}'}/nowhere", "data.download=false"),
        2,
        "nowhere",
    ),
    "unknown device": ((*TRAIN[:-1], "abacus"), 2, "no device 'abacus': choose one of auto, cpu"),
    "unwritable run": (
        ("train", "--config", "{config}", "--output", "{tmp}/file/run", "--device", "cpu"),
        2,
        "file is a file: choose another output folder",
    ),
    "a file for a run": (
        (*TRAIN[:4], "{tmp}/file"),
        2,
        "is a file",
    ),
    "a file for samples": ((*SAMPLE[:-1], "{tmp}/file"), 2, "is a file"),
    "other files than a run's": (
        (*TRAIN[:4], "{tmp}"),
        2,
        "which `train` did not write: choose another output folder",
    ),
    "no rows": (
        (*SAMPLE, "--num", "0"),
        2,
        "'--num': Input should be greater than or equal to 1, ",
    ),
    "no variations": ((*SAMPLE, "--variations", "0"), 2, "equal to 1, not '0'"),
    "negative seed": ((*SAMPLE, "--seed", "-1"), 2, "equal to 0, not '-1'"),
    "another color": (
        (*SAMPLE, "--mask", "{tmp}/gray.png", "--mask-color", "red"),
        2,
        "'red' is not one of 'white', 'black'",
    ),
    "a folder without masks": (
        (*SAMPLE, "--mask", "{tmp}/bare"),
        2,
        "bare has no image files",
    ),
    "folder without the mask of an image": (
        (*SAMPLE, "--mask", "{tmp}/broken", "--images", "{tmp}/gray.png"),
        2,
        "broken must have one image file named gray (.png, .mask.png, ...), not none",
    ),
    "neither a pattern nor a folder": (
        (*SAMPLE, "--mask", "maskz"),
        2,
        "or name an image file or a folder of masks",
    ),
    "a missing folder of masks": ((*SAMPLE, "--mask", "maskz/"), 2, "mask maskz/ does not exist"),
    "two values of an option": (
        (*SAMPLE, "--images", "a.png", "b.png"),
        2,
        "(b.png); each option takes one value, such as a folder for several files",
    ),
    "a data set without a split": (
        (*SAMPLE, "--images", "mnist", "--mask", "center"),
        2,
        "mnist is a data set: name a split of it too, such as mnist:test",
    ),
    "the address of a model": (
        ("export", "--checkpoint", "https://huggingface.co/a/b", "--output", "{tmp}/m.onnx"),
        2,
        "https://huggingface.co/a/b is a web address: name OWNER/NAME for a model",
    ),
    "no simulation": (("simulate",), 2, "Choose from: two-gmm, grid-gmm"),
    "samples among the masks": (
        (*SAMPLE[:-1], "{tmp}/broken", "--mask", "{tmp}/broken"),
        2,
        "would mix with the input",
    ),
    "a run among its images": (
        (*TRAIN[:4], "{tmp}/broken/run", "data.name=folder", "data.root={tmp}/broken"),
        2,
        "would mix with the input",
    ),
    "samples among the images": (
        (*SAMPLE[:-1], "{tmp}", "--mask", "center", "--images", "{tmp}"),
        2,
        "would mix with the input",
    ),
    "square that is no whole number": (
        (*SAMPLE, "--mask", "outside:1.5"),
        2,
        "mask 'outside:1.5' must be outside:SIZE, with a SIZE of 1 to 7 pixels",
    ),
    "square outside of which nothing is": (
        (*SAMPLE, "--mask", "outside:8"),
        2,
        "mask 'outside:8' must be outside:SIZE, with a SIZE of 1 to 7 pixels",
    ),
    "empty value": ((*SAMPLE, "--mask", ""), 2, "--mask is empty (unset shell variable?)"),
    "no value": ((*SAMPLE, "--mask="), 2, "--mask is empty (unset shell variable?)"),
    "output below a file": (
        ("classify", "--checkpoint", "{checkpoint}", "--output", "{tmp}/wide.png/labels.csv"),
        2,
        "wide.png is a file",
    ),
    "unknown mask": (
        (*SAMPLE, "--mask", "middle"),
        2,
        "outside:SIZE, or name an image file",
    ),
    "missing mask file": ((*SAMPLE, "--mask", "{tmp}/no.png"), 2, "no.png does not exist"),
    "mask of another size": ((*SAMPLE, "--mask", "{tmp}/wide.png"), 2, "8 x 9"),
    "black mask": ((*SAMPLE, "--mask", "{tmp}/black.png"), 2, "has no hole"),
    "gray mask": ((*SAMPLE, "--mask", "{tmp}/gray.png"), 2, "not black and white"),
    "share above 1": ((*SAMPLE, "--mask", "random:1.5"), 2, "random:1.5"),
    "images without mask": ((*SAMPLE, "--images", "{tmp}/gray.png"), 2, "as the mask"),
    "truncated image": (
        (*SAMPLE, "--mask", "center", "--images", "{tmp}/broken"),
        2,
        "half.png",
    ),
    "missing images": (
        (*SAMPLE, "--mask", "center", "--images", "{tmp}/nothing"),
        2,
        "nothing does not exist",
    ),
    "unwritable output": (
        (*SAMPLE[:-1], "{tmp}/file/out"),
        2,
        "file/out",
    ),
    "no such checkpoint": (
        ("sample", "--checkpoint", "{tmp}/none", "--output", "{tmp}/out"),
        2,
        " are checkpoint, labeled",
    ),
    "no such model": (
        ("sample", "--checkpoint", "nobody/nothing", "--output", "{tmp}/out"),
        1,
        "'nobody/nothing' is neither a folder here nor a shipped model, and cannot be looked up",
    ),
    "a misspelled model": (
        ("sample", "--checkpoint", "digts", "--output", "{tmp}/out"),
        2,
        "'digts' is neither a folder here nor a shipped model: choose digits, ",
    ),
    "a misspelled configuration": (
        ("train", "--config", "digts"),
        2,
        "digts: there is no such file, nor a shipped one; choose digits",
    ),
    "weights for a checkpoint": (
        ("sample", "--checkpoint", "{checkpoint}/config.json", "--output", "{tmp}/out"),
        2,
        "config.json is a file: name the folder that holds it",
    ),
    "order of one step": ((*SAMPLE, "--order", "raster"), 2, "--order requires --steps > 1"),
    "old name of an option": (
        (*SAMPLE, "--mask", "{tmp}/black.png", "--mask-hole", "black"),
        2,
        "--mask-hole is now called --mask-color",
    ),
    "old name with a value": (
        (*SAMPLE, "--mask-hole=black"),
        2,
        "--mask-hole is now called --mask-color",
    ),
    "empty argument": (("train", "--config", "{config}", ""), 2, "an argument is empty"),
    "color of a name": (
        (*SAMPLE, "--mask", "center", "--mask-color", "black"),
        2,
        "--mask-color requires a --mask that is an image file or a folder",
    ),
    "color of a missing file": (
        (*SAMPLE, "--mask", "{tmp}/no.png", "--mask-color", "black"),
        2,
        "no.png does not exist",
    ),
    "a folder for a table": (
        ("classify", "--checkpoint", "{labeled}", "--output", "{tmp}"),
        2,
        "is a directory",
    ),
    "another file for a table": (
        ("classify", "--checkpoint", "{labeled}", "--output", "{tmp}/file"),
        2,
        "must name a file that ends in .csv, not",
    ),
    "no data root": (
        (*SAMPLE, "--mask", "center", "--data-root", "{tmp}/nothing"),
        2,
        "nothing is not a folder; create it",
    ),
    "no steps": ((*SAMPLE, "--steps", "0"), 2, "steps must be 1 to 16, the tokens of an image"),
    "too many steps": ((*SAMPLE, "--steps", "17"), 2, "not 17"),
    "unknown order": (
        (*SAMPLE, "--order", "spiral", "--steps", "2"),
        2,
        "random, raster, center-out, not 'spiral'",
    ),
    "no candidates": ((*SAMPLE, "--best-of", "0"), 2, "Invalid value for '--best-of'"),
    "no such label": (
        ("sample", "--checkpoint", "{labeled}", "--output", "{tmp}/out", "--label", "10"),
        2,
        "label must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, not '10'; all takes each class in turn",
    ),
    "no label at all": (
        ("sample", "--checkpoint", "{labeled}", "--output", "{tmp}/out", "--label", "-1"),
        2,
        "label must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, not '-1'",
    ),
    "a label in other digits": (
        ("sample", "--checkpoint", "{labeled}", "--output", "{tmp}/out", "--label", "٣"),
        2,
        "label must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, not '٣'",
    ),
    "color of no mask": (
        (
            "classify",
            "--checkpoint",
            "{labeled}",
            "--output",
            "{tmp}/x.csv",
            "--mask-color",
            "black",
        ),
        2,
        "--mask-color requires a --mask that is an image file or a folder",
    ),
    "label without labels": ((*SAMPLE, "--label", "3"), 2, "data.labels: true"),
    "classes without labels": (
        ("classify", "--checkpoint", "{checkpoint}", "--output", "{tmp}/out.csv"),
        2,
        "data.labels: true",
    ),
    "a window larger than the image": (
        (*SCORE, "--window", "9"),
        2,
        "window must be at most 8 pixels, not 9",
    ),
    "a window that cuts through patches": (
        (*SCORE, "--window", "3"),
        2,
        "window must be a multiple of 2 pixels, because this model only reads whole patches",
    ),
    "a single completion": ((*SCORE, "--variations", "1"), 2, "equal to 2, not '1'"),
    "scores among the images": (
        (*SCORE[:-1], "{tmp}/bare", "--images", "{tmp}/bare"),
        2,
        "would mix with the input",
    ),
    "scores in a file": ((*SCORE[:-1], "{tmp}/file"), 2, "is a file"),
    "scores of no images": ((*SCORE, "--images", "{tmp}/bare"), 2, "bare has no image files"),
    "scores of images that do not exist": (
        (*SCORE, "--images", "{tmp}/none"),
        2,
        "none does not exist; name an image file",
    ),
    "a fit without photos": (
        (*SCORE, "--fit", "pad"),
        2,
        "--fit requires --images with an image file or a folder",
    ),
    "not a device": (
        (*SAMPLE, "--device", "abacus"),
        2,
        "no device 'abacus': choose one of auto, cpu",
    ),
    "a classifier for nothing": (
        (
            "train",
            "--config",
            "experiments/digits.yaml",
            "--classifier",
            "x",
            "--output",
            "{tmp}/m",
            "logging.evaluation_time_share=0",
        ),
        2,
        "--classifier requires logging.evaluation_time_share above 0",
    ),
    "data for nothing": (
        ("sample", "--checkpoint", "{checkpoint}", "--output", "{tmp}/m", "--data-root", "{tmp}"),
        2,
        "--data-root requires a --mask other than joint",
    ),
    "a grid of another size": (
        (
            "sample",
            "--checkpoint",
            "{checkpoint}",
            "--output",
            "{tmp}/m",
            "--mask",
            "left-half",
            "--images",
            "gaussian_field_grid:test",
        ),
        2,
        "the grid of Gaussians has",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, check_mistake: Callable[..., None]) -> None:
    check_mistake(*MISTAKES[mistake])


def corrupt(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"not weights at all")


def shrink(checkpoint: Path) -> None:
    text = (checkpoint / "config.json").read_text()
    (checkpoint / "config.json").write_text(text.replace('"width": 20', '"width": 24'))


@pytest.mark.parametrize(
    ("damage", "words"), [(corrupt, "is not a safetensors file"), (shrink, "do not fit")]
)
def test_a_damaged_checkpoint_is_one_sentence(
    damage: Callable[[Path], None],
    words: str,
    run: Run,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    damage(checkpoint)
    code, _, err = run("sample", "--checkpoint", checkpoint, "--output", tmp_path / "out")
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_search_on_the_hub_is_announced(run: Run, tmp_path: Path) -> None:
    names = {"nobody/nothing": True, "nothing": False, "runs/cats": False, tmp_path / "none": False}
    for name, announced in names.items():
        _, out, _ = run("sample", "--checkpoint", name, "--output", tmp_path / "out")
        assert ("looking on the Hugging Face hub" in out) == announced


def test_the_hub_adds_nothing_to_the_one_sentence() -> None:
    asked = "from huggingface_hub.utils import logging; print(logging.get_verbosity())"
    command = f"import sys; sys.argv = ['x', '--version']\ntry: main()\nexcept SystemExit: {asked}"
    ended = subprocess.run(
        [sys.executable, "-c", f"from biglearn_gan.cli.app import main\n{command}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == [version("biglearn_gan"), str(logging.ERROR)]


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"{version('biglearn_gan')}\n", "")


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "biglearn_gan", "sample", "--num", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    (script,) = entry_points(group="console_scripts", name="biglearn-gan")
    assert script.value == "biglearn_gan.cli:main"
