"""``biglearn-gan evaluate``, ``evaluate-samples`` and ``evaluate-oracle``: reports and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import Run, save_gray, toy_record

from biglearn_gan import shipped
from biglearn_gan.config import Config
from biglearn_gan.evaluation.records import read_records, write_records
from biglearn_gan.metrics import metric_models
from biglearn_gan.metrics.classifier import ImageClassifier, save_classifier
from biglearn_gan.metrics.features import EfficientNetFeatures, InceptionFeatures
from biglearn_gan.models.biglearn_gan import BigLearnGAN

EVALUATE = ("evaluate", "--checkpoint", "{checkpoint}", "--output", "{tmp}/m")

MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no classifier": (
        (*EVALUATE, "--classifier", "{tmp}/nothing"),
        2,
        "nothing does not exist",
    ),
    "a misspelled classifier": (
        (*EVALUATE, "--classifier", "clasifier_digits"),
        2,
        "nor a shipped classifier: choose classifier_digits",
    ),
    "a model for a classifier": (
        (*EVALUATE, "--classifier", "{checkpoint}"),
        2,
        "config.json is not a classifier's",
    ),
    "a classifier of another kind": (
        (*EVALUATE, "--classifier", str(shipped.CHECKPOINTS / "masked_classifier_digits")),
        2,
        "are of another kind or size of classifier: size mismatch",
    ),
    "figures among the images": (
        ("evaluate-samples", "{tmp}", "--data", "digits", "--output", "{tmp}"),
        2,
        "would mix with the input",
    ),
    "no checkpoint": (("evaluate",), 2, "Missing option '--checkpoint'"),
    "no samples": (("evaluate-samples",), 2, "Missing argument 'samples'"),
    "evaluate --samples": (
        ("evaluate", "--samples", "{tmp}/broken"),
        2,
        "`evaluate --samples` is now a command: `biglearn-gan evaluate-samples SAMPLES`",
    ),
    "evaluate --oracle": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--oracle"),
        2,
        "`evaluate --oracle` is now a command: `biglearn-gan evaluate-oracle --checkpoint CHECK",
    ),
    "samples of unnamed data": (
        ("evaluate-samples", "{tmp}/broken"),
        2,
        "broken names no data set: name the data set",
    ),
    "samples of unknown data": (
        ("evaluate-samples", "{tmp}/broken", "--data", "moons", "--output", "{tmp}/m"),
        2,
        "no data set 'moons': name a YAML file as in experiments/, or one of digits, mnist",
    ),
    "missing samples": (
        ("evaluate-samples", "{tmp}/no.npz", "--data", "digits", "--output", "{tmp}/m"),
        2,
        "no.npz: cannot be read",
    ),
    "unknown task": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--tasks", "half", "--output", "{tmp}/m"),
        2,
        "unknown task 'half': choose one of joint, ",
    ),
    "a task twice": (
        (*EVALUATE, "--tasks", "joint,joint"),
        2,
        "the task joint comes twice: name each task once",
    ),
    "fewer images than features": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--num", "63", "--output", "{tmp}/m"),
        2,
        "or allow few images (--force)",
    ),
    "no weights for inception": (
        (
            *("evaluate", "--checkpoint", "{checkpoint}", "--features", "inception"),
            *("--inception-weights", "{tmp}/none.pth", "--output", "{tmp}/m"),
        ),
        2,
        "none.pth",
    ),
    "an oracle with one draw": (
        ("evaluate-oracle", "--checkpoint", "{checkpoint}", "--draws", "1"),
        2,
        "'--draws': Input should be greater than or equal to 2, not '1'",
    ),
    "a missing data root": ((*EVALUATE, "--data-root", "{tmp}/x"), 2, "is not a folder"),
    "an oracle of digits": (
        ("evaluate-oracle", "--checkpoint", "{checkpoint}", "--output", "{tmp}/m"),
        2,
        "is a model of digits: evaluate-oracle needs one of a gaussian_field data set",
    ),
    "not a classifier": (
        (*EVALUATE, "--classifier", "{tmp}"),
        2,
        "no classifier can be loaded",
    ),
}


def test_samples_of_any_system_are_measured(
    run: Run,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the shipped classifiers are those of the clone
    sample = ("sample", "--checkpoint", checkpoint, "--num", 80)
    for name, mask in (("joint", "joint"), ("half", "right-half")):
        code, _, _ = run(*sample, "--mask", mask, "--variations", 2, "--output", tmp_path / name)
        assert code == 0
    options = ("--data", "digits", "--output", tmp_path / "metrics")
    for samples, metric in (
        (tmp_path / "joint" / "samples.npz", "fd160_classifier_joint"),
        (tmp_path / "joint" / "samples", "fd160_classifier_joint"),
        (tmp_path / "half" / "samples.npz", "agreement80_classifier_test_samples"),
        (tmp_path / "half", "agreement80_classifier_test_samples"),  # as sample wrote it
    ):
        code, out, _ = run("evaluate-samples", samples, *options)
        assert code == 0 and f"| {metric} |" in out
    half = ("evaluate-samples", tmp_path / "half", "--output", tmp_path / "metrics")
    code, out, _ = run(*half, "--task", "right-half")  # of the data that the file names
    assert code == 0 and "label-total-variation80_classifier_test_right-half_2-draws" in out
    assert "seams" not in out  # the size of patches is unknown
    code, out, _ = run(*half, "--patch-size", 4)
    assert code == 0 and "| seams80_patch4_test_samples |" in out
    code, out, _ = run(*half, "--num", 70)
    assert code == 0 and "| agreement70_classifier_test_samples |" in out
    code, out, _ = run(*half, "--num", 81)
    assert code == 0 and "half has only 80 of the 81 images" in out


def test_label_draws_choose_the_completions_of_the_label_total_variation(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    evaluate = ("evaluate", "--checkpoint", checkpoint, "--num", 80, "--variations", 1)
    evaluate = (*evaluate, "--tasks", "right-half", "--output", tmp_path / "metrics")
    name = "label-total-variation80_classifier_test_right-half"
    code, out, _ = run(*evaluate, "--label-draws", 3)
    assert code == 0 and f"{name}_3-draws" in out
    code, out, _ = run(*evaluate, "--label-draws", 0)
    assert code == 0 and name not in out and "agreement80_classifier_test_right-half" in out


@pytest.mark.parametrize(
    ("name", "words"), [(None, "names no data set"), ("folder", "names 'folder'")]
)
def test_samples_need_a_data_set(name: str | None, words: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    arrays = {"images": np.zeros((80, 8, 8, 1), np.uint8)}
    np.savez(file, **arrays if name is None else arrays | {"data": np.array(name)})
    code, _, err = run("evaluate-samples", file, "--output", tmp_path / "metrics")
    assert code == 2 and err.count("\n") == 1
    assert f"{file} {words}: name the data set that the samples imitate (digits, " in err
    assert not (tmp_path / "metrics").exists()


def test_an_oracle_writes_records(
    run: Run, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    model = tmp_path / "field"
    changes = {
        "data.name": "gaussian_field_mixture",
        "data.image_size": [4, 4],
        "model.generator.output": "linear",
    }
    BigLearnGAN(tiny_config(changes)).save_pretrained(model)
    code, out, _ = run(
        *("evaluate-oracle", "--checkpoint", model, "--sources", 2, "--draws", 3),
        *("--output", tmp_path / "oracle"),
    )
    assert code == 0 and "| mean-error8_oracle_box_unconditional | box |" in out
    assert "no baseline of a joint model" in out
    assert len(read_records(tmp_path / "oracle" / "metrics.json")) > 20


def test_images_without_labels_need_features_of_another_network(
    run: Run,
    tiny_config: Callable[..., Config],
    inception_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The features have 64 dimensions here, which is the fastest."""
    monkeypatch.setattr(
        metric_models, "InceptionFeatures", lambda file, device: InceptionFeatures(file, 64, device)
    )
    folder, model = tmp_path / "photos", tmp_path / "model"
    folder.mkdir()
    for number in range(110):  # a tenth of them is the test split
        save_gray(folder / f"{number}.png", np.full((8, 8), 2 * number))
    config = tiny_config({"data.name": "folder", "data.root": str(folder)})
    BigLearnGAN(config).save_pretrained(model)
    command = ("evaluate", "--checkpoint", model, "--data-root", folder, "--tasks", "center")
    command += ("--output", tmp_path / "metrics", "--num", 11, "--variations", 2, "--force")
    code, _, err = run(*command)
    assert code == 2
    assert err.startswith("biglearn-gan: there is no classifier for folder (no checkpoints/")
    assert err.endswith(
        ", whose images have no labels to train one on: "
        "choose the features efficientnet or inception\n"
    )
    inception = ("--features", "inception", "--inception-weights", inception_weights)
    code, out, _ = run(*command, *inception)
    assert code == 0
    measured = {line.split("_")[0] for line in out.splitlines() if line.startswith("| ")}
    assert {"| fd11few", "| diversity11"} < measured and "| agreement11" not in measured
    monkeypatch.setattr(metric_models, "EfficientNetFeatures", Pixels)
    code, out, _ = run(*command, "--features", "efficientnet")
    assert code == 0 and "| fd11few_pixels20-standardized_test_center |" in out


class Pixels(EfficientNetFeatures):
    """Twenty pixels of an image, in place of EfficientNet, which need not be installed."""

    name, dimensions, fingerprint = "pixels20", 20, "0"

    def __init__(self, device: torch.device) -> None:
        pass

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :20].float()


def test_a_classifier_of_infinite_features_is_one_sentence(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    classifier = ImageClassifier((8, 8), 1, 10)
    with torch.no_grad():
        classifier.project.weight[0] = torch.nan
    save_classifier(classifier, tmp_path / "classifier", "a card")
    code, out, err = run(
        *("evaluate", "--checkpoint", checkpoint, "--classifier", tmp_path / "classifier"),
        *("--num", 100, "--tasks", "joint", "--output", tmp_path / "metrics"),
    )
    assert (code, out) == (1, "") and not list((tmp_path / "metrics").glob("metrics*"))
    message = "biglearn-gan: the weights of the classifier give features that are not finite\n"
    assert err.endswith(message) and "Traceback" not in err


@pytest.mark.parametrize("name", ["metrics.json", "speed.csv", "completions_mine.png"])
def test_a_report_never_replaces_what_evaluate_did_not_write(
    name: str, run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / name).write_text("[]")
    code, _, err = run("evaluate", "--checkpoint", checkpoint, "--output", output)
    assert code == 2
    assert f"{output} holds {name}, which `evaluate` did not write" in err
    assert (output / name).read_text() == "[]"


def test_a_report_beside_anothers_figures_keeps_them(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    write_records([toy_record()], tmp_path)
    (tmp_path / "completions_mine.png").write_text("somebody else's")
    code, _, err = run("evaluate", "--checkpoint", checkpoint, "--output", tmp_path)
    assert code == 2
    assert "holds completions_mine.png, which `evaluate` did not write" in err


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, check_mistake: Callable[..., None]) -> None:
    check_mistake(*MISTAKES[mistake])
