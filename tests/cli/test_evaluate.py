"""``biglearn-gan evaluate`` and its siblings: their reports, and their mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import Run, save_gray

from biglearn_gan.config import Config
from biglearn_gan.evaluation.records import Record, write_records
from biglearn_gan.metrics import metric_models as shipped
from biglearn_gan.metrics.classifier import ImageClassifier, save_classifier
from biglearn_gan.metrics.features import InceptionFeatures
from biglearn_gan.models.biglearn_gan import BigLearnGAN

EVALUATE = ("evaluate", "--checkpoint", "{checkpoint}", "--output", "{tmp}/m")

MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no classifier": (
        (*EVALUATE, "--classifier", "{tmp}/nothing"),
        1,
        "neither a folder here nor on the Hugging Face hub",
    ),
    "a model for a classifier": (
        (*EVALUATE, "--classifier", "{checkpoint}"),
        1,
        "its config.json is not a classifier's",
    ),
    "a classifier of another kind": (
        (*EVALUATE, "--classifier", str(shipped.CLONE / "masked_classifier_digits")),
        1,
        "its weights are those of another kind or size of classifier: size mismatch",
    ),
    "figures among the images": (
        ("evaluate", "--samples", "{tmp}", "--data", "digits", "--output", "{tmp}"),
        1,
        "would be mixed up with what is read from",
    ),
    "neither checkpoint nor samples": (("evaluate",), 2, "--checkpoint or --samples"),
    "both": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--samples", "{tmp}/broken"),
        2,
        "--checkpoint or --samples",
    ),
    "samples of unnamed data": (("evaluate", "--samples", "{tmp}/broken"), 2, "needs --data"),
    "samples of unknown data": (
        ("evaluate", "--samples", "{tmp}/broken", "--data", "moons", "--output", "{tmp}/m"),
        2,
        "'moons' is none of digits, mnist",
    ),
    "missing samples": (
        ("evaluate", "--samples", "{tmp}/no.npz", "--data", "digits", "--output", "{tmp}/m"),
        1,
        "no.npz: cannot be read",
    ),
    "unknown task": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--tasks", "half", "--output", "{tmp}/m"),
        2,
        "unknown mask 'half'",
    ),
    "a task twice": (
        (
            "evaluate",
            "--checkpoint",
            "{checkpoint}",
            "--tasks",
            "joint,joint",
            "--output",
            "{tmp}/m",
        ),
        2,
        "the task joint is asked twice; name each task once",
    ),
    "fewer images than features": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--num", "63", "--output", "{tmp}/m"),
        2,
        "63 images are too few",
    ),
    "no weights for inception": (
        (
            *("evaluate", "--checkpoint", "{checkpoint}", "--features", "inception"),
            *("--inception-weights", "{tmp}/none.pth", "--output", "{tmp}/m"),
        ),
        1,
        "none.pth",
    ),
    "oracle with tasks": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--oracle", "--tasks", "joint"),
        2,
        "--tasks cannot be used with --oracle",
    ),
    "oracle with one draw": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--oracle", "--variations", "1"),
        2,
        "--variations must be at least 2 beside --oracle, not 1",
    ),
    "joint model without oracle": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--joint-checkpoint", "x"),
        2,
        "--joint-checkpoint cannot be used with --checkpoint",
    ),
    "variations of given samples": (
        ("evaluate", "--samples", "{tmp}/broken", "--data", "digits", "--variations", "5"),
        2,
        "--variations cannot be used with --samples",
    ),
    "data that are nowhere": (
        (
            "evaluate",
            "--checkpoint",
            "{checkpoint}",
            "--data-root",
            "{tmp}/x",
            "--output",
            "{tmp}/m",
        ),
        2,
        "is not a folder",
    ),
    "oracle of digits": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--oracle", "--output", "{tmp}/m"),
        2,
        "gaussian_field",
    ),
    "not a classifier": (
        (
            "evaluate",
            "--checkpoint",
            "{checkpoint}",
            "--classifier",
            "{tmp}",
            "--output",
            "{tmp}/m",
        ),
        1,
        "no classifier can be loaded",
    ),
}


def test_samples_of_another_system_are_measured_alike(
    run: Run,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the shipped classifiers are those of the clone
    drawn = ("sample", "--checkpoint", checkpoint, "--num", 80)
    for name, mask in (("joint", "joint"), ("half", "right-half")):
        code, _, _ = run(*drawn, "--mask", mask, "--variations", 2, "--output", tmp_path / name)
        assert code == 0
    measured = ("evaluate", "--data", "digits", "--output", tmp_path / "metrics")
    for samples, metric in (
        (tmp_path / "joint" / "samples.npz", "fd160_classifier_joint"),
        (tmp_path / "joint" / "samples", "fd160_classifier_joint"),
        (tmp_path / "half" / "samples.npz", "agreement80_classifier_test_samples"),
        (tmp_path / "half", "agreement80_classifier_test_samples"),  # as sample wrote it
    ):
        code, out, _ = run(*measured, "--samples", samples)
        assert code == 0 and f"| {metric} |" in out
    code, out, _ = run(
        *measured, "--samples", tmp_path / "half" / "samples.npz", "--tasks", "right-half"
    )
    assert code == 0 and "label-total-variation80_classifier_test_right-half_2-draws" in out
    whole = ("evaluate", "--samples", tmp_path / "half", "--output", tmp_path / "metrics")
    code, out, _ = run(*whole, "--num", 70)  # of the data that the file names
    assert code == 0 and "| agreement70_classifier_test_samples |" in out
    code, out, _ = run(*whole, "--num", 81)
    assert code == 0 and "only 80 are there of the 81 asked for" in out


@pytest.mark.parametrize(
    ("said", "told"),
    [(None, "says none of digits, mnist"), ("folder", "says 'folder' and none of digits, mnist")],
)
def test_samples_of_data_that_nobody_names(
    said: str | None, told: str, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "x.npz"
    arrays = {"images": np.zeros((80, 8, 8, 1), np.uint8)}
    np.savez(file, **arrays if said is None else arrays | {"data": np.array(said)})
    code, _, err = run("evaluate", "--samples", file, "--output", tmp_path / "metrics")
    assert code == 2 and err.count("\n") == 1
    assert "--samples needs --data" in err and f"{file} {told}" in err
    assert not (tmp_path / "metrics").exists()


def test_images_without_labels_are_measured_in_inception_features_alone(
    run: Run,
    tiny_config: Callable[..., Config],
    inception_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In 64 dimensions of them here, which are the fastest."""
    monkeypatch.setattr(
        shipped, "InceptionFeatures", lambda file, device: InceptionFeatures(file, 64, device)
    )
    folder, model = tmp_path / "photos", tmp_path / "model"
    folder.mkdir()
    for number in range(110):  # of which a tenth are the test split
        save_gray(folder / f"{number}.png", np.full((8, 8), 2 * number))
    config = tiny_config({"data.name": "folder", "data.root": str(folder)})
    BigLearnGAN(config).save_pretrained(model)
    command = ("evaluate", "--checkpoint", model, "--data-root", folder, "--tasks", "center")
    command += ("--output", tmp_path / "metrics", "--num", 11, "--variations", 2, "--force")
    code, _, err = run(*command)
    assert code == 2
    assert err.startswith("biglearn-gan: no classifier is there for folder (no checkpoints/")
    assert err.endswith(
        ", whose images have no labels to train one on: give --features inception\n"
    )
    ruler = ("--features", "inception", "--inception-weights", inception_weights)
    code, out, _ = run(*command, *ruler)
    assert code == 0
    measured = {line.split("_")[0] for line in out.splitlines() if line.startswith("| ")}
    assert {"| fd11few", "| diversity11"} < measured and "| agreement11" not in measured


def test_a_classifier_that_gives_no_numbers_is_one_sentence(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    classifier = ImageClassifier((8, 8), 1, 10)
    with torch.no_grad():
        classifier.project.weight[0] = torch.nan
    save_classifier(classifier, tmp_path / "ruler", "a card")
    code, out, err = run(
        *("evaluate", "--checkpoint", checkpoint, "--classifier", tmp_path / "ruler"),
        *("--num", 100, "--tasks", "joint", "--output", tmp_path / "metrics"),
    )
    assert (code, out) == (1, "") and not list((tmp_path / "metrics").glob("metrics*"))
    told = "biglearn-gan: the weights of the classifier give features that are not finite\n"
    assert err.endswith(told) and "Traceback" not in err


@pytest.mark.parametrize("name", ["metrics.json", "speed.csv", "completions_mine.png"])
def test_a_report_never_replaces_what_evaluate_did_not_write(
    name: str, run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / name).write_text("[]")
    code, _, err = run("evaluate", "--checkpoint", checkpoint, "--output", output)
    assert code == 1
    assert f"{output} holds {name}, which is not of `evaluate`: name another output folder" in err
    assert (output / name).read_text() == "[]"


def test_a_report_beside_anothers_figures_keeps_them(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    write_records([Record("fd4_classifier_joint", "joint", 1.0, None, None, None, 4, 0)], tmp_path)
    (tmp_path / "completions_mine.png").write_text("somebody else's")
    code, _, err = run("evaluate", "--checkpoint", checkpoint, "--output", tmp_path)
    assert code == 1
    assert "holds completions_mine.png, which is not of `evaluate`" in err


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, check_mistake: Callable[..., None]) -> None:
    check_mistake(*MISTAKES[mistake])
