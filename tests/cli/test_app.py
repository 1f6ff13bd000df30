"""The command line: what it writes, and one sentence with the right exit code for every mistake."""

from __future__ import annotations

import csv
import itertools
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from biglearn_gan.cli.app import main
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.records import Record, write_records
from biglearn_gan.inference.batched import rank_candidates
from biglearn_gan.metrics import metric_models as shipped
from biglearn_gan.metrics.classifier import ImageClassifier, save_classifier
from biglearn_gan.metrics.features import InceptionFeatures
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.training.trainer import Trainer

DIGITS = Path(__file__).parents[2] / "experiments" / "digits.yaml"


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["biglearn-gan", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_config: Callable[..., Config]) -> Path:
    """An untrained model of 8 x 8 digits."""
    folder = tmp_path / "checkpoint"
    BigLearnGAN(tiny_config()).save_pretrained(folder)
    return folder


@pytest.fixture
def labeled(tmp_path: Path, tiny_config: Callable[..., Config]) -> Path:
    """An untrained model of 8 x 8 digits and their labels."""
    folder = tmp_path / "labeled"
    BigLearnGAN(tiny_config({"data.labels": True})).save_pretrained(folder)
    return folder


@pytest.fixture
def config_file(tmp_path: Path, tiny_values: Callable[..., dict[str, Any]]) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_values()))
    return path


def save_gray(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array.astype(np.uint8)).save(path)
    return path


def test_sample_writes_what_it_says(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    code, out, _ = run(
        *("sample", "--checkpoint", checkpoint, "--output", output),
        *("--mask", "right-half", "--num", 3, "--variations", 2, "--seed", 7),
    )
    assert code == 0
    assert "50.0%" in out
    arrays = np.load(output / "samples.npz")
    assert arrays["images"].shape == (3, 2, 8, 8, 1)
    assert arrays["images"].dtype == np.uint8
    assert arrays["sources"].shape == (3, 8, 8, 1)
    assert arrays["masks"].shape == (3, 8, 8)
    assert arrays["masks"].dtype == bool
    assert arrays["masks"][:, :, 4:].all()
    assert not arrays["masks"][:, :, :4].any()
    assert arrays["seeds"][2, 1].tolist() == [7, 2, 1]
    kept = ~arrays["masks"]
    for variation in range(2):
        assert (arrays["images"][:, variation][kept] == arrays["sources"][kept]).all()
    names = sorted(path.name for path in (output / "samples").iterdir())
    assert names == [f"{row:05d}_{variation:02d}.png" for row in range(3) for variation in range(2)]
    written = np.asarray(Image.open(output / "samples" / "00002_01.png"))
    assert (written == arrays["images"][2, 1, :, :, 0]).all()
    # 3 rows of input, masked input and 2 variations, 8 pixels enlarged 7 times, 2 pixels between
    assert Image.open(output / "grid.png").size == (4 * 58 + 2, 3 * 58 + 2)


def test_the_best_of_several_is_the_one_the_critic_likes_most(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    def arrays(name: str, *options: object) -> dict[str, np.ndarray]:
        base = ("--mask", "center", "--seed", 3, "--num", 4, "--batch-size", 3)
        code, *_ = run(
            "sample", "--checkpoint", checkpoint, "--output", tmp_path / name, *base, *options
        )
        assert code == 0
        return dict(np.load(tmp_path / name / "samples.npz"))

    every = arrays("every", "--variations", 6)
    assert "scores" not in every
    best = arrays("best", "--variations", 2, "--best-of", 3)
    model = BigLearnGAN.from_pretrained(checkpoint)
    hole = torch.from_numpy(every["masks"])
    drawn = model.complete(
        torch.from_numpy(every["sources"]).movedim(-1, 1) / 127.5 - 1, hole, variations=6, seed=3
    )
    logits = rank_candidates(model, drawn, hole).view(4, 2, 3)
    assert best["scores"] == pytest.approx(logits.amax(dim=2).numpy(), abs=1e-4)
    for row, variation in itertools.product(range(4), range(2)):
        number = 3 * variation + int(logits[row, variation].argmax())
        assert (best["images"][row, variation] == every["images"][row, number]).all()
        assert best["seeds"][row, variation].tolist() == [3, row, number]
    only = arrays("only", "--variations", 6, "--best-of", 1)
    assert (only["images"] == every["images"]).all()
    assert only["scores"] == pytest.approx(logits.flatten(1).numpy(), abs=1e-4)


def test_rows_of_a_class_and_of_each_class_in_turn(
    run: Callable[..., tuple[int, str, str]], labeled: Path, tmp_path: Path
) -> None:
    def arrays(name: str, *options: object) -> dict[str, np.ndarray]:
        place = ("--output", tmp_path / name)
        code, *_ = run("sample", "--checkpoint", labeled, *place, "--num", 12, *options)
        assert code == 0
        return dict(np.load(tmp_path / name / "samples.npz"))

    threes = arrays("threes", "--label", 3)
    assert threes["labels"].tolist() == [[3]] * 12
    every = arrays("every", "--label", "all", "--batch-size", 5)
    assert every["labels"][:, 0].tolist() == [*range(10), 0, 1]
    model = BigLearnGAN.from_pretrained(labeled)
    drawn = model.sample(12, labels=torch.from_numpy(every["labels"])[:, 0])
    assert (
        np.abs(every["images"][:, 0, :, :, 0] - (drawn[:, 0].numpy() + 1) * 127.5).max() <= 0.5001
    )
    same = (threes["images"] == every["images"]).reshape(12, -1).all(axis=1)
    assert same.tolist() == (every["labels"][:, 0] == 3).tolist()
    ranked = arrays("ranked", "--label", 3, "--best-of", 2)
    hole = torch.ones(12, 8, 8, dtype=torch.bool)
    images = torch.from_numpy(ranked["images"]).movedim(-1, 2) / 127.5 - 1
    scores = rank_candidates(model, images, hole, torch.full((12, 1), 3))
    assert ranked["scores"] == pytest.approx(scores.numpy(), abs=1e-2)
    whole = arrays("drawn", "--variations", 3, "--best-of", 2)
    part = arrays("part", "--variations", 3, "--best-of", 2, "--batch-size", 5)
    assert all((whole[name] == part[name]).all() for name in ("images", "labels", "scores"))
    drawn_labels = model.draw_labels(torch.zeros(12, 1, 8, 8), hole, variations=3)
    assert (whole["labels"] == drawn_labels.numpy()).all()


def test_classify_prints_and_writes_probabilities(
    run: Callable[..., tuple[int, str, str]], labeled: Path, tmp_path: Path
) -> None:
    path = tmp_path / "labels" / "part.csv"
    hidden = ("--mask", "right-half", "--num", 20, "--batch-size", 7)
    code, out, _ = run("classify", "--checkpoint", labeled, "--output", path, *hidden)
    assert code == 0
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "predicted", *map(str, range(10))]
    written = torch.tensor([[float(p) for p in row[2:]] for row in rows])
    images = load_dataset(load_config(DIGITS).data, "test").batch(torch.arange(20)).images
    observed = torch.zeros(20, 8, 8, dtype=torch.bool)
    observed[:, :, :4] = True
    expected = BigLearnGAN.from_pretrained(labeled).classify(images, observed=observed)
    torch.testing.assert_close(written, expected, atol=1e-6, rtol=0)
    assert [int(row[1]) for row in rows] == expected.argmax(dim=1).tolist()
    lines = [line for line in out.splitlines() if line.lstrip()[:1].isdigit()]
    assert lines[19].startswith(f"   19: {rows[19][1]} ({expected[19].max():.3f}), ")
    whole = tmp_path / "whole.csv"
    assert run("classify", "--checkpoint", labeled, "--output", whole, "--num", 20)[0] == 0
    assert whole.read_text() != path.read_text()


def test_images_of_a_folder_keep_their_names(
    run: Callable[..., tuple[int, str, str]], labeled: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("2.png", "10.png", "x.png")):
        save_gray(folder / name, np.full((8, 8), 40 * number))
    path = tmp_path / "read.csv"
    asked = ("--checkpoint", labeled, "--images", folder, "--num", 2)
    code, out, _ = run("classify", *asked, "--output", path)
    assert code == 0
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == [
        "image",
        "10.png",
        "2.png",
    ]
    assert out.splitlines()[0].startswith("10.png: ")
    code, *_ = run("sample", *asked, "--mask", "center", "--output", tmp_path / "out")
    assert code == 0
    assert np.load(tmp_path / "out" / "samples.npz")["names"].tolist() == ["10.png", "2.png"]


def test_all_files_are_read_and_some_images_of_a_data_set(
    run: Callable[..., tuple[int, str, str]],
    labeled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(19):
        save_gray(tmp_path / "photos" / f"{number:02}.png", np.full((8, 8), 10 * number))
    told = "the first 16 of the 397 images: --num asks for more"
    asked = ("--checkpoint", labeled)
    for options, rows, count_is_told in (
        (("--images", "photos"), 19, False),
        (("--images", "photos/03.png"), 1, False),
        (("--images", "digits:test"), 16, True),
        ((), 16, True),
        (("--num", 3), 3, False),
    ):
        code, out, _ = run("classify", *asked, *options)
        assert code == 0
        written = (tmp_path / "samples" / "labels.csv").read_text().splitlines()
        assert len(written) == 1 + rows
        assert (told in out) == count_is_told
        code, *_ = run("sample", *asked, *options, "--mask", "center", "--output", "out")
        assert code == 0
        assert len(np.load(tmp_path / "out" / "samples.npz")["images"]) == rows
    assert run("sample", *asked, "--output", "joint")[0] == 0
    assert len(np.load(tmp_path / "joint" / "samples.npz")["images"]) == 16


def test_samples_take_the_place_of_those_before(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    common = ("sample", "--checkpoint", checkpoint, "--output", tmp_path)
    assert run(*common, "--num", 4, "--variations", 3)[0] == 0
    (tmp_path / "samples" / "mine.png").write_bytes(b"kept")
    assert run(*common, "--num", 2)[0] == 0
    there = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert there == ["00000_00.png", "00001_00.png", "mine.png"]


def test_samples_depend_on_seed_row_and_variation_alone(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    def images(name: str, *options: object) -> np.ndarray:
        folder = tmp_path / name
        code, *_ = run("sample", "--checkpoint", checkpoint, "--output", folder, *options)
        assert code == 0
        return np.load(folder / "samples.npz")["images"]

    base = ("--mask", "random:0.5", "--seed", 3)
    many = images("many", *base, "--num", 7, "--variations", 3)
    few = images("few", *base, "--num", 5, "--variations", 2, "--batch-size", 2)
    assert (many[:5, :2] == few).all()
    assert (images("again", *base, "--num", 7, "--variations", 3) == many).all()
    other = images("other", "--mask", "random:0.5", "--seed", 4, "--num", 7, "--variations", 3)
    assert (other != many).any()
    assert (images("joint", "--num", 5)[:3] == images("joint3", "--num", 3)).all()


def test_sample_reads_masks_and_images_from_files(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    image = save_gray(tmp_path / "image.png", np.arange(64).reshape(8, 8) * 3)
    hole = np.zeros((8, 8))
    hole[2, 3] = 255
    mask = save_gray(tmp_path / "mask.png", hole)
    common = ("sample", "--checkpoint", checkpoint, "--images", image)
    code, out, _ = run(*common, "--num", 4, "--mask", mask, "--output", tmp_path / "white")
    assert code == 0
    assert "the hole is 1.6% of the image; the patches of 2 x 2 pixels that it touches, 6.2%" in out
    assert "only 1 images are there of the 4 asked for" in out
    arrays = np.load(tmp_path / "white" / "samples.npz")
    assert (arrays["masks"][0] == (hole > 0)).all()
    changed = arrays["images"][0, 0, :, :, 0] != np.asarray(Image.open(image))
    assert not changed[hole == 0].any()
    code, *_ = run(*common, "--mask", mask, "--mask-hole", "black", "--output", tmp_path / "black")
    assert code == 0
    assert (np.load(tmp_path / "black" / "samples.npz")["masks"][0] == (hole == 0)).all()


def test_images_of_another_size_are_fitted_and_it_is_said(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    image = save_gray(tmp_path / "large.png", np.zeros((20, 30)))
    code, out, _ = run(
        *("sample", "--checkpoint", checkpoint, "--images", image),
        *("--mask", "center", "--output", tmp_path / "out"),
    )
    assert code == 0
    assert "1 of 1 images had another size and were resized and center-cropped to 8 x 8" in out


def test_data_set_and_split_as_images(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    common = ("sample", "--checkpoint", checkpoint, "--mask", "center", "--num", 4)
    assert run(*common, "--output", tmp_path / "default")[0] == 0
    assert run(*common, "--images", "digits:test", "--output", tmp_path / "test")[0] == 0
    assert run(*common, "--images", "digits:train", "--output", tmp_path / "train")[0] == 0

    def sources(name: str) -> np.ndarray:
        return np.load(tmp_path / name / "samples.npz")["sources"]

    assert (sources("default") == sources("test")).all()
    assert (sources("default") != sources("train")).any()


def test_training_resumes_and_ends(
    run: Callable[..., tuple[int, str, str]], config_file: Path, tmp_path: Path
) -> None:
    command = ("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu")
    code, out, err = run(*command)
    assert code == 0
    assert "48 images seen" in out
    assert "48 / 48 images" in err
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").is_file()
    before = (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes()
    code, out, _ = run(*command)
    assert code == 0
    assert out.splitlines()[-1].startswith("nothing to do: all 48 images were seen before")
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes() == before
    code, out, err = run(*command, "model.generator.depth=2", "logging.evaluation_time_share=0.5")
    assert code == 1 and "holds a run with model.generator.depth = 1, not 2" in err
    assert out == "", "a refused run is told of nothing else"
    code, out, _ = run(*command, "train.max_images=64")
    assert code == 0
    assert "64 images seen" in out


def test_a_model_without_its_state_is_not_begun_anew(
    run: Callable[..., tuple[int, str, str]], config_file: Path, tmp_path: Path
) -> None:
    command = ("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu")
    assert run(*command)[0] == 0
    weights = tmp_path / "run" / "checkpoint" / "model.safetensors"
    before = weights.read_bytes()
    (tmp_path / "run" / "state.pt").unlink()
    code, _, err = run(*command, "train.seed=5")
    assert code == 1 and "holds a model, but no state.pt that its run could go on from" in err
    assert weights.read_bytes() == before


def test_the_hub_says_nothing_beside_the_one_sentence() -> None:
    asked = "from huggingface_hub.utils import logging; print(logging.get_verbosity())"
    command = f"import sys; sys.argv = ['x', '--version']\ntry: main()\nexcept SystemExit: {asked}"
    ended = subprocess.run(
        [sys.executable, "-c", f"from biglearn_gan.cli.app import main\n{command}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == [version("biglearn_gan"), str(logging.ERROR)]


def test_a_folder_of_a_persons_own_is_not_taken_for_a_run(
    run: Callable[..., tuple[int, str, str]], config_file: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(config_file, mine / "config.yaml")
    before = (mine / "config.yaml").read_bytes()
    command = ("train", "--config", mine / "config.yaml", "--output", mine, "--device", "cpu")
    code, _, err = run(*command)
    assert code == 1 and "holds other files than a run's" in err
    assert (mine / "config.yaml").read_bytes() == before
    (mine / "config.yaml").unlink()
    (mine / "grids").mkdir()  # a run that was stopped before it wrote anything else
    assert run("train", "--config", config_file, *command[3:])[0] == 0


def test_the_version_is_that_of_the_package(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("--version") == (0, f"{version('biglearn_gan')}\n", "")


def test_a_run_that_cannot_be_measured_leaves_no_folder(
    run: Callable[..., tuple[int, str, str]], config_file: Path, tmp_path: Path
) -> None:
    code, _, err = run(
        *("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu"),
        *("--classifier", shipped.CLONE / "digits", "logging.evaluation_time_share=0.5"),
    )
    assert code == 1 and "no classifier can be loaded" in err
    assert not (tmp_path / "run").exists()


def test_dry_run_prints_and_writes_nothing(
    run: Callable[..., tuple[int, str, str]],
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("train", "--config", config_file, "--dry-run", "data.name=mnist", "train.seed=5")
    code, out, _ = run(*command)
    assert code == 0
    resolved = yaml.safe_load(out.split("\n\n")[0])
    assert resolved["train"]["seed"] == 5
    assert resolved["data"]["name"] == "mnist"
    assert "16 tokens of 4 values" in out
    assert "parameters" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_classifiers_are_trained_and_measure(
    run: Callable[..., tuple[int, str, str]], config_file: Path, checkpoint: Path, tmp_path: Path
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


def test_a_classifier_that_gives_no_numbers_is_one_sentence(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
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


def test_samples_of_another_system_are_measured_alike(
    run: Callable[..., tuple[int, str, str]],
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
    said: str | None, told: str, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "x.npz"
    arrays = {"images": np.zeros((80, 8, 8, 1), np.uint8)}
    np.savez(file, **arrays if said is None else arrays | {"data": np.array(said)})
    code, _, err = run("evaluate", "--samples", file, "--output", tmp_path / "metrics")
    assert code == 2 and err.count("\n") == 1
    assert "--samples needs --data" in err and f"{file} {told}" in err
    assert not (tmp_path / "metrics").exists()


def test_images_without_labels_are_measured_in_inception_features_alone(
    run: Callable[..., tuple[int, str, str]],
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


def test_training_is_evaluated_alongside_and_says_so(
    run: Callable[..., tuple[int, str, str]],
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("train", "--config", config_file, "--device", "cpu", "--output")
    monkeypatch.setattr(shipped, "CLONE", tmp_path)
    monkeypatch.chdir(tmp_path)
    share = ("logging.evaluation_time_share=1.0", "data.validation_share=0.2")
    code, out, _ = run(*arguments, tmp_path / "without", *share)
    assert code == 0 and "no evaluation alongside" in out
    monkeypatch.chdir(Path(__file__).parents[2])
    code, out, err = run(*arguments, tmp_path / "with", *share)
    assert code == 0
    assert "evaluation alongside: 280 images of digits:validation" in out
    assert "100% of the time" in out
    assert "images seen, now measured: joint_distance" in err
    assert re.search(r"images seen: (next|no time for another) evaluation", err)
    assert (tmp_path / "with" / "best" / "evaluation.json").is_file()


def truncated_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    folder.mkdir()
    whole = save_gray(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (8, 8)))
    (folder / "half.png").write_bytes(whole.read_bytes()[:60])
    return folder


def corrupt(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"not weights at all")


def shrink(checkpoint: Path) -> None:
    text = (checkpoint / "config.json").read_text()
    (checkpoint / "config.json").write_text(text.replace('"width": 20', '"width": 24'))


SAMPLE = ("sample", "--checkpoint", "{checkpoint}", "--output", "{tmp}/out")
TRAIN = ("train", "--config", "{config}", "--output", "{tmp}/run", "--device", "cpu")

EVALUATE = ("evaluate", "--checkpoint", "{checkpoint}", "--output", "{tmp}/m")

MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown key": ((*TRAIN, "train.sped=3"), 2, "train.sped: unknown key"),
    "wrong type": ((*TRAIN, "train.seed=abc"), 2, "train.seed: 'abc'"),
    "missing config": (("train", "--config", "{tmp}/no.yaml"), 2, "no.yaml: there is no such file"),
    "missing data": (
        (*TRAIN, "data.name=mnist", f"data.root={'{tmp}'}/nowhere", "data.download=false"),
        1,
        "nowhere",
    ),
    "unknown device": ((*TRAIN[:-1], "abacus"), 2, "no device 'abacus': choose one of auto, cpu"),
    "unwritable run": (
        ("train", "--config", "{config}", "--output", "{tmp}/file/run", "--device", "cpu"),
        1,
        "cannot be written",
    ),
    "a file for a run": (
        (*TRAIN[:4], "{tmp}/file"),
        2,
        "is a file",
    ),
    "a file for samples": ((*SAMPLE[:-1], "{tmp}/file"), 2, "is a file"),
    "other files than a run's": (
        (*TRAIN[:4], "{tmp}"),
        1,
        "holds other files than a run's: name a new or an empty output folder",
    ),
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
    "no rows": (
        (*SAMPLE, "--num", "0"),
        2,
        "'--num': Input should be greater than or equal to 1, ",
    ),
    "no variations": ((*SAMPLE, "--variations", "0"), 2, "equal to 1, not '0'"),
    "negative seed": ((*SAMPLE, "--seed", "-1"), 2, "equal to 0, not '-1'"),
    "another color": (
        (*SAMPLE, "--mask", "{tmp}/gray.png", "--mask-hole", "red"),
        2,
        "'red' is not one of 'white', 'black'",
    ),
    "folder without masks": (
        (*SAMPLE, "--mask", "{tmp}/bare"),
        2,
        "bare holds no image files",
    ),
    "folder without the mask of an image": (
        (*SAMPLE, "--mask", "{tmp}/broken", "--images", "{tmp}/gray.png"),
        2,
        "broken must hold one image file named gray (.png, .mask.png, ...), not none",
    ),
    "neither a pattern nor a folder": (
        (*SAMPLE, "--mask", "maskz/"),
        2,
        "nor an image file or a folder of them",
    ),
    "samples among the masks": (
        (*SAMPLE[:-1], "{tmp}/broken", "--mask", "{tmp}/broken"),
        1,
        "would be mixed up with what is read from",
    ),
    "a run among its images": (
        (*TRAIN[:4], "{tmp}/broken/run", "data.name=folder", "data.root={tmp}/broken"),
        1,
        "lies in data.root (",
    ),
    "samples among the images": (
        (*SAMPLE[:-1], "{tmp}", "--mask", "center", "--images", "{tmp}"),
        1,
        "would be mixed up with what is read from",
    ),
    "figures among the images": (
        ("evaluate", "--samples", "{tmp}", "--data", "digits", "--output", "{tmp}"),
        1,
        "would be mixed up with what is read from",
    ),
    "square that is no whole number": (
        (*SAMPLE, "--mask", "outside:1.5"),
        2,
        "mask 'outside:1.5': expected outside:SIZE with a square of 1 to 7 pixels",
    ),
    "square outside of which nothing is": (
        (*SAMPLE, "--mask", "outside:8"),
        2,
        "mask 'outside:8': expected outside:SIZE with a square of 1 to 7 pixels",
    ),
    "empty value": ((*SAMPLE, "--mask", ""), 2, "after --mask stands an empty value"),
    "no value": ((*SAMPLE, "--mask="), 2, "--mask= has no value"),
    "output below a file": (
        ("classify", "--checkpoint", "{checkpoint}", "--output", "{tmp}/wide.png/labels.csv"),
        2,
        "wide.png is a file, so that nothing can lie in it",
    ),
    "unknown mask": ((*SAMPLE, "--mask", "middle"), 2, "outside:SIZE, nor an image file"),
    "missing mask file": ((*SAMPLE, "--mask", "{tmp}/no.png"), 2, "no.png does not exist"),
    "mask of another size": ((*SAMPLE, "--mask", "{tmp}/wide.png"), 2, "8 x 9"),
    "black mask": ((*SAMPLE, "--mask", "{tmp}/black.png"), 2, "has no hole"),
    "gray mask": ((*SAMPLE, "--mask", "{tmp}/gray.png"), 2, "not black and white"),
    "share above 1": ((*SAMPLE, "--mask", "random:1.5"), 2, "random:1.5"),
    "images without mask": ((*SAMPLE, "--images", "{tmp}/gray.png"), 2, "--mask"),
    "truncated image": (
        (*SAMPLE, "--mask", "center", "--images", "{tmp}/broken"),
        1,
        "half.png",
    ),
    "missing images": (
        (*SAMPLE, "--mask", "center", "--images", "{tmp}/nothing"),
        1,
        "nothing does not exist",
    ),
    "unwritable output": (
        (*SAMPLE[:-1], "{tmp}/file/out"),
        1,
        "file/out",
    ),
    "no such checkpoint": (
        ("sample", "--checkpoint", "{tmp}/none", "--output", "{tmp}/out"),
        1,
        " are checkpoint, labeled",
    ),
    "no such model": (
        ("sample", "--checkpoint", "nobody/nothing", "--output", "{tmp}/out"),
        1,
        "neither a folder here nor a model",
    ),
    "weights for a checkpoint": (
        ("sample", "--checkpoint", "{checkpoint}/config.json", "--output", "{tmp}/out"),
        1,
        "config.json is a file: name the folder that holds it",
    ),
    "order of one step": ((*SAMPLE, "--order", "raster"), 2, "--order has no meaning beside one"),
    "color of a name": (
        (*SAMPLE, "--mask", "center", "--mask-hole", "black"),
        2,
        "--mask-hole has no meaning beside a mask that is no file",
    ),
    "color of a missing file": (
        (*SAMPLE, "--mask", "{tmp}/no.png", "--mask-hole", "black"),
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
        "must name a file with the suffix .csv, not",
    ),
    "no data root": (
        (*SAMPLE, "--mask", "center", "--data-root", "{tmp}/nothing"),
        2,
        "nothing is no folder; make it",
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
        "--label must be 0 to 9, or all, not '10'",
    ),
    "no label at all": (
        ("sample", "--checkpoint", "{labeled}", "--output", "{tmp}/out", "--label", "-1"),
        2,
        "--label must be 0 to 9, or all, not '-1'",
    ),
    "a label in other digits": (
        ("sample", "--checkpoint", "{labeled}", "--output", "{tmp}/out", "--label", "٣"),
        2,
        "--label must be 0 to 9, or all, not '٣'",
    ),
    "color of no mask": (
        (
            "classify",
            "--checkpoint",
            "{labeled}",
            "--output",
            "{tmp}/x.csv",
            "--mask-hole",
            "black",
        ),
        2,
        "--mask-hole has no meaning beside a classification of whole images",
    ),
    "label without labels": ((*SAMPLE, "--label", "3"), 2, "data.labels: true"),
    "classes without labels": (
        ("classify", "--checkpoint", "{checkpoint}", "--output", "{tmp}/out.csv"),
        2,
        "data.labels: true",
    ),
    "not a device": (
        (*SAMPLE, "--device", "abacus"),
        2,
        "no device 'abacus': choose one of auto, cpu",
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
        "--tasks has no meaning beside --oracle",
    ),
    "oracle with one draw": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--oracle", "--variations", "1"),
        2,
        "--variations must be at least 2 beside --oracle, not 1",
    ),
    "joint model without oracle": (
        ("evaluate", "--checkpoint", "{checkpoint}", "--joint-checkpoint", "x"),
        2,
        "--joint-checkpoint has no meaning beside --checkpoint",
    ),
    "variations of given samples": (
        ("evaluate", "--samples", "{tmp}/broken", "--data", "digits", "--variations", "5"),
        2,
        "--variations has no meaning beside --samples",
    ),
    "a dry run with an output": (
        ("train", "--config", "experiments/digits.yaml", "--dry-run", "--output", "{tmp}/m"),
        2,
        "--output has no meaning beside --dry-run",
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
        "--classifier has no meaning beside logging.evaluation_time_share 0",
    ),
    "data for nothing": (
        ("sample", "--checkpoint", "{checkpoint}", "--output", "{tmp}/m", "--data-root", "{tmp}"),
        2,
        "--data-root has no meaning beside the mask 'joint'",
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
        "is no folder",
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
        1,
        "the grid of Gaussians has",
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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(
    mistake: str,
    run: Callable[..., tuple[int, str, str]],
    checkpoint: Path,
    labeled: Path,
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "file").write_text("a file, where a folder is asked for")
    (tmp_path / "bare").mkdir()
    save_gray(tmp_path / "wide.png", np.full((8, 9), 255))
    save_gray(tmp_path / "black.png", np.zeros((8, 8)))
    save_gray(tmp_path / "gray.png", np.full((8, 8), 128))
    truncated_folder(tmp_path)
    arguments, expected, words = MISTAKES[mistake]
    names = {
        "checkpoint": checkpoint,
        "labeled": labeled,
        "config": config_file,
        "tmp": tmp_path,
    }
    code, _, err = run(*(argument.format(**names) for argument in arguments))
    assert code == expected
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("biglearn-gan: ")


@pytest.mark.parametrize("name", ["grid.png", "samples.npz", "samples/00003_01.png"])
def test_samples_never_replace_what_sample_did_not_write(
    name: str, run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    file = output / name
    file.parent.mkdir(parents=True)
    file.write_text("somebody else's")
    code, _, err = run("sample", "--checkpoint", checkpoint, "--output", output, "--num", 2)
    assert code == 1
    assert f"{output} holds {name}, which is not of `sample`: name another output folder" in err
    assert [path for path in output.rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "somebody else's"


def test_samples_replace_those_of_another_call_and_leave_the_rest(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    common = ("sample", "--checkpoint", checkpoint, "--output", tmp_path)
    assert run(*common, "--num", 3)[0] == 0
    (tmp_path / "samples" / "mine.png").write_text("somebody else's")
    image = tmp_path / "samples" / "00002_00.png"
    code, _, err = run(*common, "--mask", "center", "--images", image)
    assert code == 1
    assert f"mixed up with what is read from {image}: name another output folder" in err
    assert run(*common, "--num", 1)[0] == 0
    assert sorted(file.name for file in (tmp_path / "samples").iterdir()) == [
        "00000_00.png",
        "mine.png",
    ]


@pytest.mark.parametrize("name", ["metrics.json", "speed.csv", "completions_mine.png"])
def test_a_report_never_replaces_what_evaluate_did_not_write(
    name: str, run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / name).write_text("[]")
    code, _, err = run("evaluate", "--checkpoint", checkpoint, "--output", output)
    assert code == 1
    assert f"{output} holds {name}, which is not of `evaluate`: name another output folder" in err
    assert (output / name).read_text() == "[]"


def test_a_report_beside_anothers_figures_keeps_them(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    write_records([Record("fd4_classifier_joint", "joint", 1.0, None, None, None, 4, 0)], tmp_path)
    (tmp_path / "completions_mine.png").write_text("somebody else's")
    code, _, err = run("evaluate", "--checkpoint", checkpoint, "--output", tmp_path)
    assert code == 1
    assert "holds completions_mine.png, which is not of `evaluate`" in err


def test_a_name_of_a_pattern_is_no_folder_of_masks(
    run: Callable[..., tuple[int, str, str]],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for mask in ("joint", "center"):
        common = ("sample", "--checkpoint", checkpoint, "--mask", mask, "--output", mask)
        assert run(*common, "--num", 1)[0] == run(*common, "--num", 2)[0] == 0
        assert (tmp_path / mask / "grid.png").is_file()


def test_a_look_on_the_hub_is_told(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, told in (("nobody/nothing", True), (tmp_path / "none", False), ("/no/where", False)):
        _, out, _ = run("sample", "--checkpoint", name, "--output", tmp_path / "out")
        assert ("looking on the Hugging Face hub" in out) == told


def test_a_stopped_run_is_told_from_a_failed_one_by_its_exit_code(
    run: Callable[..., tuple[int, str, str]],
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Trainer.step

    def stopped(self: Trainer) -> None:
        step(self)
        if self.images_seen == 8:
            signal.raise_signal(signal.SIGTERM)

    command = ("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        code, _, err = run(*command)
    assert code == 75
    assert "stopped at 8 of 48 images; the same command goes on from there" in err
    assert run(*command)[0] == 0


def test_a_folder_of_masks_has_one_for_each_image(
    run: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    holes = {"a": np.eye(8) * 255, "b": np.tri(8) * 255}
    ending = dict.fromkeys(itertools.product("ab", ("images", "masks")), ".png")
    ending |= {("a", "masks"): ".bmp", ("b", "masks"): ".mask.png"}
    for name, hole in holes.items():
        for folder, array in (("images", np.full((8, 8), 90)), ("masks", hole)):
            (tmp_path / folder).mkdir(exist_ok=True)
            save_gray(tmp_path / folder / f"{name}{ending[name, folder]}", array)
    code, *_ = run(
        *("sample", "--checkpoint", checkpoint, "--images", tmp_path / "images"),
        *("--mask", tmp_path / "masks", "--output", tmp_path / "out"),
    )
    assert code == 0
    arrays = np.load(tmp_path / "out" / "samples.npz")
    assert arrays["names"].tolist() == ["a.png", "b.png"]
    assert (arrays["masks"] == np.stack([hole > 0 for hole in holes.values()])).all()


@pytest.mark.parametrize(
    ("damage", "words"), [(corrupt, "is not a safetensors file"), (shrink, "do not fit")]
)
def test_a_damaged_checkpoint_is_one_sentence(
    damage: Callable[[Path], None],
    words: str,
    run: Callable[..., tuple[int, str, str]],
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    damage(checkpoint)
    code, _, err = run("sample", "--checkpoint", checkpoint, "--output", tmp_path / "out")
    assert code == 1
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_several_problems_are_told_at_once(
    run: Callable[..., tuple[int, str, str]], config_file: Path
) -> None:
    code, _, err = run("train", "--config", config_file, "train.seed=-1", "model.patch_size=3")
    assert code == 2
    keys = [line.split(": ")[1] for line in err.splitlines()]
    assert keys == ["train.seed", "data.image_size", "data.image_size"]  # height and width


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "biglearn_gan", "sample", "--num", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    installed = shutil.which("biglearn-gan")
    assert installed is not None
