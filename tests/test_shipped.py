"""Where classifiers are looked for that nobody names, and what is said where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from biglearn_gan.config import Config, DataConfig
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.during_training import make_training_evaluation
from biglearn_gan.metrics import metric_models as shipped
from biglearn_gan.metrics.classifier import ImageClassifier, save_classifier
from biglearn_gan.metrics.masked_classifier import MaskedClassifier
from biglearn_gan.metrics.metric_models import MetricModelError, MetricModels, load_metric_models


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where a command is run, beside a checkpoint, and a clone, with nothing in them."""
    here, beside, clone = tmp_path / "here", tmp_path / "run", tmp_path / "clone"
    for folder in (here / "checkpoints", beside / "model", clone / "checkpoints"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(shipped, "CLONE", clone / "checkpoints")
    return [here / "checkpoints", beside, clone / "checkpoints"]


def shipped_metric_models(checkpoint: Path | None) -> tuple[MetricModels, tuple[str, ...]]:
    name = None if checkpoint is None else str(checkpoint)
    device = torch.device("cpu")
    return load_metric_models("toys", "classifier", None, None, None, device, checkpoint=name)


def save_pair(folder: Path, classes: int) -> None:
    save_classifier(ImageClassifier((8, 8), 1, classes), folder / "classifier_toys", "a card")
    masked = MaskedClassifier((8, 8), 1, classes)
    save_classifier(masked, folder / "masked_classifier_toys", "a card")


def test_the_nearest_place_that_holds_one_is_taken(places: list[Path]) -> None:
    checkpoint = places[1] / "model"
    for classes, folder in ((5, places[2]), (3, places[1]), (2, places[0])):
        save_pair(folder, classes)
        metric_models, notes = shipped_metric_models(checkpoint)
        assert metric_models.classifier is not None and metric_models.masked_classifier is not None
        assert (
            metric_models.classifier.num_classes
            == metric_models.masked_classifier.num_classes
            == classes
        )
        assert notes == ()


@pytest.mark.parametrize("checkpoint", [None, "nobody/nothing"])
def test_what_is_no_folder_has_nothing_beside_it(
    checkpoint: str | None, places: list[Path]
) -> None:
    save_pair(places[1], 3)
    save_pair(places[2], 5)
    metric_models, _ = shipped_metric_models(None if checkpoint is None else Path(checkpoint))
    assert metric_models.classifier is not None and metric_models.classifier.num_classes == 5


def test_the_places_are_named_where_there_is_none(places: list[Path]) -> None:
    name = "classifier_toys"
    looked = f"no checkpoints/{name} nor {places[1].resolve() / name} nor {places[2] / name}"
    with pytest.raises(MetricModelError) as caught:
        shipped_metric_models(places[1] / "model")
    assert str(caught.value) == (
        f"there is no classifier for toys ({looked}): give --classifier (train-classifier makes "
        "one), or --features inception"
    )
    save_classifier(ImageClassifier((8, 8), 1, 3), places[2] / name, "a card")
    _, (note,) = shipped_metric_models(places[1] / "model")
    masked = looked.replace(name, f"masked_{name}")
    assert note == (
        f"no ceiling of agreement: no --masked-classifier was given and there is {masked}"
    )


def test_a_place_that_is_two_of_them_is_named_once(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "CLONE", places[0])
    model = places[0] / "model"
    model.mkdir()
    with pytest.raises(MetricModelError, match=r"\(no checkpoints/classifier_toys\)"):
        shipped_metric_models(model)


def test_training_looks_in_the_clone_as_well(
    places: list[Path], tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config()
    train = load_dataset(DataConfig(name="digits", image_size=(8, 8), channels=1), "train")
    evaluation, (note,) = make_training_evaluation(config, train, None)
    name = "classifier_digits"
    assert evaluation is None and f"there is no checkpoints/{name} nor {places[2] / name}" in note
    save_classifier(ImageClassifier((8, 8), 1, 10), places[2] / name, "a card")
    evaluation, _ = make_training_evaluation(config, train, None)
    assert evaluation is not None


def test_the_best_state_is_chosen_on_the_data_sets_own_validation_split(
    places: list[Path], tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for split, count in (("train", 80), ("validation", 70), ("test", 1)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            gray = Image.new("L", (8, 8), number)
            gray.save(folder / split / f"{number}.png")
    save_classifier(ImageClassifier((8, 8), 1, 3), places[0] / "classifier_folder", "a card")
    config = tiny_config({"data.name": "folder", "data.root": str(folder)})
    evaluation, (note,) = make_training_evaluation(config, load_dataset(config.data, "train"), None)
    assert evaluation is not None and "70 images of folder:validation" in note
    measured = dict.fromkeys(evaluation.names, 1.0)
    assert evaluation.score(measured) == 2.0
    shutil.rmtree(folder / "validation")
    evaluation, (_, note) = make_training_evaluation(
        config, load_dataset(config.data, "train"), None
    )
    assert evaluation is not None and evaluation.score(measured) is None
    assert "folder has no validation split, so no state is kept as the best" in note
