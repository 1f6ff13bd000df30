"""Where shipped classifiers are looked up, and the messages if there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from biglearn_gan import shipped
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.metrics import metric_models as module
from biglearn_gan.metrics.classifier import ImageClassifier, save_classifier
from biglearn_gan.metrics.masked_classifier import MaskedClassifier
from biglearn_gan.metrics.metric_models import MetricModelError, MetricModels, load_metric_models


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Empty folders: of the working directory, next to a checkpoint, and of a clone."""
    here, run, clone = (tmp_path / name for name in ("here", "run", "clone"))
    for folder in (here / "checkpoints", run / "model", clone / "checkpoints"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(shipped, "CHECKPOINTS", clone / "checkpoints")
    return [here / "checkpoints", run, clone / "checkpoints"]


def load_shipped(checkpoint: Path | None) -> tuple[MetricModels, tuple[str, ...]]:
    name = None if checkpoint is None else str(checkpoint)
    device = torch.device("cpu")
    return load_metric_models("toys", "classifier", None, None, None, device, checkpoint=name)


def save_pair(folder: Path, classes: int) -> None:
    save_classifier(ImageClassifier((8, 8), 1, classes), folder / "classifier_toys", "a card")
    masked = MaskedClassifier((8, 8), 1, classes)
    save_classifier(masked, folder / "masked_classifier_toys", "a card")


def test_the_first_place_with_a_classifier_counts(places: list[Path]) -> None:
    checkpoint = places[1] / "model"
    for classes, folder in ((5, places[2]), (3, places[1]), (2, places[0])):
        save_pair(folder, classes)
        metric_models, notes = load_shipped(checkpoint)
        assert metric_models.classifier is not None and metric_models.masked_classifier is not None
        assert (
            metric_models.classifier.num_classes
            == metric_models.masked_classifier.num_classes
            == classes
        )
        assert notes == ()


@pytest.mark.parametrize("checkpoint", [None, "nobody/nothing"])
def test_a_checkpoint_that_is_not_a_folder_has_no_neighbors(
    checkpoint: str | None, places: list[Path]
) -> None:
    save_pair(places[1], 3)
    save_pair(places[2], 5)
    metric_models, _ = load_shipped(None if checkpoint is None else Path(checkpoint))
    assert metric_models.classifier is not None and metric_models.classifier.num_classes == 5


def test_a_message_names_all_places(places: list[Path]) -> None:
    name = "classifier_toys"
    searched = f"no checkpoints/{name} nor {places[1].resolve() / name} nor {places[2] / name}"
    with pytest.raises(MetricModelError) as caught:
        load_shipped(places[1] / "model")
    assert str(caught.value) == (
        f"there is no classifier for toys ({searched}): train one with train-classifier, or "
        "choose the features efficientnet or inception"
    )
    save_classifier(ImageClassifier((8, 8), 1, 3), places[2] / name, "a card")
    _, (note,) = load_shipped(places[1] / "model")
    masked = searched.replace(name, f"masked_{name}")
    assert note == (
        f"no ceiling of agreement: no masked classifier was given and there is {masked}"
    )


def test_a_place_is_named_once(places: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "CHECKPOINTS", places[0])
    model = places[0] / "model"
    model.mkdir()
    with pytest.raises(MetricModelError, match=r"\(no checkpoints/classifier_toys\)"):
        load_shipped(model)


def test_a_classifier_of_other_images_is_left_out_unless_it_is_named_or_needed(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EfficientNetFeatures", lambda device: NoFeatures())
    save_pair(places[0], 3)
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    data = ImageDataset("toys:train", images, torch.zeros(2, dtype=torch.int64), 3)

    def load(features: str, name: str | None = None) -> tuple[MetricModels, tuple[str, ...]]:
        masked = None if name is None else name.replace("classifier", "masked_classifier")
        cpu = torch.device("cpu")
        return load_metric_models("toys", features, name, masked, None, cpu, dataset=data)

    metric_models, notes = load("efficientnet")
    assert metric_models.classifier is metric_models.masked_classifier is None
    reason = (
        "the classifier is for images of (channels, height, width) (1, 8, 8), but those of "
        "toys:train are (3, 16, 16)"
    )
    assert notes == (
        f"no ceiling of agreement: checkpoints/masked_classifier_toys: {reason}",
        f"no labels are measured: checkpoints/classifier_toys: {reason}",
    )
    named, notes = load("efficientnet", "checkpoints/classifier_toys")
    assert named.classifier is not None and named.masked_classifier is not None and not notes
    needed, (note,) = load("classifier")
    assert needed.classifier is not None and "no ceiling of agreement" in note


class NoFeatures:
    name, dimensions, fingerprint = "none", 1, "0"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError
