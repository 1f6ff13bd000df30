"""How a run finds its classifier and its held-out images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from biglearn_gan import shipped
from biglearn_gan.config import Config, DataConfig
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.during_training import make_training_evaluation
from biglearn_gan.metrics.classifier import ImageClassifier, save_classifier


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty ``checkpoints/`` of a clone; the working directory is another empty folder."""
    for name in ("here", "clone"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(shipped, "CHECKPOINTS", tmp_path / "clone" / "checkpoints")
    return tmp_path / "clone" / "checkpoints"


def test_the_classifier_may_be_in_the_clone(
    clone: Path, tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config()
    train = load_dataset(DataConfig(name="digits", image_size=(8, 8), channels=1), "train")
    evaluation, (note,) = make_training_evaluation(config, train, None)
    name = "classifier_digits"
    assert evaluation is None and f"there is no checkpoints/{name} nor {clone / name}" in note
    assert "holds out" not in note
    holding_out = tiny_config({"data.validation_share": 0.1})
    _, (note,) = make_training_evaluation(holding_out, train, None)
    assert note.endswith("no use is made of the images that data.validation_share holds out")
    save_classifier(ImageClassifier((8, 8), 1, 10), clone / name, "a card")
    evaluation, _ = make_training_evaluation(config, train, None)
    assert evaluation is not None


def test_the_best_state_needs_a_validation_split(
    clone: Path, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for split, count in (("train", 80), ("validation", 70), ("test", 1)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            gray = Image.new("L", (8, 8), number)
            gray.save(folder / split / f"{number}.png")
    save_classifier(ImageClassifier((8, 8), 1, 3), clone / "classifier_folder", "a card")
    config = tiny_config({"data.name": "folder", "data.root": str(folder)})
    train = load_dataset(config.data, "train")
    evaluation, (note,) = make_training_evaluation(config, train, None)
    assert evaluation is not None and "70 images of folder:validation" in note
    numbers = dict.fromkeys(evaluation.names, 1.0)
    assert evaluation.score(numbers) == 2.0
    shutil.rmtree(folder / "validation")
    train = load_dataset(config.data, "train")
    evaluation, (_, note) = make_training_evaluation(config, train, None)
    assert evaluation is not None and evaluation.score(numbers) is None
    assert "folder has no validation split, so no state is kept as the best" in note
