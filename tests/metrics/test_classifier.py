"""The classifier of whole images: training, accuracy, saving and loading."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from biglearn_gan.config import DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import OutputError
from biglearn_gan.metrics import classifier_training
from biglearn_gan.metrics.classifier import (
    ClassifierError,
    ImageClassifier,
    accuracy,
    save_classifier,
)
from biglearn_gan.metrics.classifier_training import train_and_save_classifier, train_classifier
from biglearn_gan.metrics.masked_classifier import MaskedClassifier
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

DIGITS = DataConfig(name="digits", image_size=(8, 8), channels=1)
SHIPPED = Path(__file__).parents[2] / "checkpoints"


def striped(count: int = 128, channels: int = 1, labels: bool = True) -> ImageDataset:
    """Toy images of 5 x 11 pixels: every second row (class 0) or column (class 1) is bright."""
    classes = torch.arange(count) % 2
    row, column = torch.arange(5)[:, None] % 2, torch.arange(11)[None, :] % 2
    stripes = torch.stack([row.expand(5, 11), column.expand(5, 11)])[classes]
    noise = torch.randint(100, (count, channels, 5, 11), generator=torch.Generator().manual_seed(0))
    pixels = (stripes[:, None] * 155 + noise).to(torch.uint8)
    return ImageDataset("toy:train", pixels, classes if labels else None, 2 if labels else None)


def test_shapes_for_every_supported_size() -> None:
    for size, channels in (((8, 8), 1), ((28, 28), 1), ((32, 32), 3), ((5, 11), 3)):
        classifier = ImageClassifier(size, channels, num_classes=7).eval()
        images = torch.zeros(2, channels, *size)
        assert classifier.features(images).shape == (2, 64)
        assert classifier(images).shape == (2, 7)


@pytest.mark.parametrize("kind", [ImageClassifier, MaskedClassifier])
def test_a_deep_network_has_two_convolutions_per_size(kind: type[nn.Module]) -> None:
    inputs = 3 + (kind is MaskedClassifier)
    for size, blocks in (((8, 8), 1), ((28, 28), 2), ((32, 40), 3), ((5, 11), 1)):
        network = kind(size, 3, num_classes=7, width=4, network="deep").eval()
        shapes = [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Conv2d)]
        widths = [4, 8, 8, 16, 16, 16, 16][: 1 + 2 * blocks]
        assert [shape[0] for shape in shapes] == widths
        assert [shape[1] for shape in shapes] == [inputs, *widths[:-1]]
        known = (torch.ones(2, *size, dtype=torch.bool),) if kind is MaskedClassifier else ()
        assert network(torch.zeros(2, 3, *size), *known).shape == (2, 7)


def test_a_deep_classifier_learns_stripes_and_is_loaded_as_one(tmp_path: Path) -> None:
    dataset = striped(channels=3)
    classifier = train_classifier(dataset, seed=0, images=1920, network="deep")
    assert accuracy(classifier, dataset) == 1.0
    save_classifier(classifier, tmp_path / "deep", "card")
    config = json.loads((tmp_path / "deep/config.json").read_text())
    assert (config["network"], config["width"]) == ("deep", 24)
    loaded = ImageClassifier.from_pretrained(tmp_path / "deep")
    images = dataset.batch(torch.arange(7)).images
    assert torch.equal(loaded(images), classifier(images))
    del config["network"]  # as in folders of classifiers that are older than this choice
    (tmp_path / "deep/config.json").write_text(json.dumps(config))
    assert_not_loadable(tmp_path / "deep", "another kind or size")
    (tmp_path / "deep/config.json").write_text(json.dumps(config | {"network": "wide"}))
    assert_not_loadable(tmp_path / "deep", "is not a classifier's")


def test_the_same_seed_gives_the_same_weights_without_global_state() -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    first, again, other = (
        train_classifier(striped(), seed=seed, images=640).state_dict() for seed in (3, 3, 4)
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_a_classifier_learns_stripes_and_reports_progress() -> None:
    seen: list[tuple[int, int]] = []
    dataset = striped(channels=3)
    classifier = train_classifier(
        dataset, seed=0, images=3900, progress=lambda done, total: seen.append((done, total))
    )
    assert not classifier.training
    assert accuracy(classifier, dataset) == 1.0
    assert seen[0] == (64, 3840) and seen[-1] == (3840, 3840)
    swapped = ImageDataset(
        "toy:test", dataset.images_uint8(torch.arange(128)), 1 - dataset.labels, 2
    )
    assert accuracy(classifier, swapped) == 0.0


def test_labels_are_predicted_in_several_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier, dataset = ImageClassifier((5, 11), 1, 7).eval(), striped()
    images = dataset.images_uint8(torch.arange(11))
    in_range = dataset.batch(torch.arange(11)).images
    with torch.no_grad():
        classifier.head.bias -= classifier(in_range).mean(dim=0)  # so that labels differ
    expected = classifier(in_range).argmax(dim=1)
    assert len(expected.unique()) > 1
    monkeypatch.setattr("biglearn_gan.metrics.classifier.INFERENCE_ROWS", 3)
    assert torch.equal(classifier.predict(images), expected)


def test_a_loaded_classifier_equals_the_saved_one(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    classifier = train_classifier(striped(), seed=0, images=640)
    folder = tmp_path / "new" / "folder"
    save_classifier(classifier, folder, "an old card")
    save_classifier(classifier, folder, "the card")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert (folder / "README.md").read_text() == "the card"
    loaded = ImageClassifier.from_pretrained(folder)
    assert not loaded.training and loaded.image_size == (5, 11)
    images = striped().batch(torch.arange(7)).images
    assert torch.equal(loaded(images), classifier(images))
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_broken_folder_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    save_classifier(ImageClassifier((5, 11), 1, 2), folder, "card")
    whole = (folder / "model.safetensors").read_bytes()
    config = json.loads((folder / "config.json").read_text())

    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert_not_loadable(folder, "incomplete|header|buffer")
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "config.json").write_text(json.dumps(config | {"width": 16}))
    assert_not_loadable(folder, "size mismatch")
    (folder / "config.json").write_text(json.dumps(config | {"channels": -1}))
    assert_not_loadable(folder, "another kind or size of classifier")
    (folder / "config.json").write_text("[]")
    assert_not_loadable(folder, r"config\.json: holds a JSON list, not an object")
    (folder / "config.json").write_text("{")
    assert_not_loadable(folder, "Expecting property name")
    (folder / "config.json").unlink()
    assert_not_loadable(folder, r"no config\.json")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    assert_not_loadable(folder, r"no model\.safetensors")
    with pytest.raises(TypeError, match="unexpected keyword argument 'device'"):
        ImageClassifier.from_pretrained(folder, device="cpu")  # type: ignore[call-arg]


def assert_not_loadable(folder: Path, reason: str = "") -> None:
    with pytest.raises(ClassifierError, match=f"no classifier can be loaded.*{reason}") as caught:
        ImageClassifier.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_images_without_a_label_are_left_out() -> None:
    """Neither the weights nor the accuracy are other than without these images."""
    whole = striped(256)
    assert whole.labels is not None
    is_hidden = torch.arange(256) % 4 > 1
    part = whole.with_labels(whole.labels.masked_fill(is_hidden, UNKNOWN_LABEL))
    labeled = part.subset(part.labeled)
    assert labeled.labels is not None
    assert torch.equal(labeled.labels, whole.labels[~is_hidden])
    one, other = (train_classifier(data, seed=0, images=640) for data in (part, labeled))
    for mine, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert accuracy(one, part) == accuracy(one, labeled)
    few = whole.with_labels(whole.labels.masked_fill(torch.arange(256) > 62, UNKNOWN_LABEL))
    with pytest.raises(ClassifierError, match="at least 64 labeled images and a budget of 64, not"):
        train_classifier(few, seed=0)
    none = whole.with_labels(torch.full_like(whole.labels, UNKNOWN_LABEL))
    with pytest.raises(ClassifierError, match="toy:train has no labels to compare with"):
        accuracy(one, none)


def test_a_card_counts_the_images_with_a_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = striped(256)
    assert whole.labels is not None
    part = whole.with_labels(whole.labels.masked_fill(torch.arange(256) > 99, UNKNOWN_LABEL))
    none = whole.with_labels(torch.full_like(whole.labels, UNKNOWN_LABEL))
    splits = {"train": part, "test": part}
    monkeypatch.setattr(classifier_training, "load_dataset", lambda _, split: splits[split])
    for masked in (False, True):
        folder = tmp_path / str(masked)
        train_and_save_classifier(DIGITS, "x.yaml", folder, images=64, masked=masked)
        assert "all 100 images of toy:train with a label" in (folder / "README.md").read_text()
    too_late = lambda *_, **__: pytest.fail("trained")  # noqa: E731
    monkeypatch.setattr(classifier_training, "train_classifier", too_late)
    unlabeled = ImageDataset("toy:train", whole.images_uint8(torch.arange(256)))
    for test in (none, unlabeled):
        splits["test"] = test
        with pytest.raises(ClassifierError, match="toy:train has no labels to compare with"):
            train_and_save_classifier(DIGITS, "x.yaml", tmp_path / "none", images=64)


@pytest.mark.parametrize(
    ("size", "block"),
    [((8, 8), 2), ((28, 28), 7), ((10, 10), 5), ((15, 15), 5), ((6, 9), 3), ((5, 11), 1)],
)
def test_the_holes_of_a_card_have_at_most_four_blocks_per_side(
    size: tuple[int, int], block: int
) -> None:
    assert classifier_training._card_block(size) == block


def test_unsuitable_data_are_named() -> None:
    with pytest.raises(ClassifierError, match="toy:train has no labels"):
        train_classifier(striped(labels=False), seed=0)
    with pytest.raises(ClassifierError, match="not 63"):
        train_classifier(striped(63), seed=0)
    with pytest.raises(ClassifierError, match="and 63"):
        train_classifier(striped(), seed=0, images=63)
    classifier = ImageClassifier((5, 11), 3, 2).eval()
    with pytest.raises(ClassifierError, match=r"\(3, 5, 11\), but those of toy:train are \(1, 5"):
        accuracy(classifier, striped())
    with pytest.raises(ClassifierError, match="has 7 classes, but toy:train has 2"):
        accuracy(ImageClassifier((5, 11), 1, 7).eval(), striped())
    with pytest.raises(ClassifierError, match="no labels"):
        accuracy(classifier, striped(channels=3, labels=False))


def test_a_trained_classifier_has_a_card(tmp_path: Path) -> None:
    config = DIGITS.model_copy(update={"validation_share": 0.5})
    folder = tmp_path / "classifier"
    sentence = train_and_save_classifier(config, "experiments/digits.yaml", folder, images=6500)
    loaded = ImageClassifier.from_pretrained(folder)
    measured = accuracy(loaded, load_dataset(DIGITS, "test"))
    assert 0.5 < measured < 1
    assert sentence == f"accuracy on the test split {measured:.4f}"
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: biglearn_gan\n")
    assert "license" not in card  # of weights that a user trained
    assert f"{measured:.4f} on the 397 images of digits:test" in card
    assert "all 1,400 images of digits:train, 6,464 images seen, seed 0" in card
    command = "train-classifier --config experiments/digits.yaml --images 6500 --output "
    assert command + folder.as_posix() in card


def test_a_classifier_replaces_only_a_classifier(tmp_path: Path) -> None:
    for name in ("model", "notes", "broken"):
        (tmp_path / name).mkdir()
    shutil.copy(SHIPPED / "digits/config.json", tmp_path / "model")
    (tmp_path / "notes/README.md").write_text("mine")
    (tmp_path / "broken/config.json").write_text("{")
    shutil.copytree(SHIPPED / "classifier_digits", tmp_path / "annotated")
    (tmp_path / "annotated/mine.txt").write_text("mine")
    foreign = {"model": "config.json", "notes": "README.md", "broken": "config.json"}
    for each, name in (foreign | {"annotated": "mine.txt"}).items():
        folder = tmp_path / each
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        message = f"{folder} holds {name}, which `train-classifier` did not write"
        with pytest.raises(OutputError, match=re.escape(message)):
            train_and_save_classifier(DIGITS, "digits.yaml", folder, images=64)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    for kind in ("classifier_digits", "masked_classifier_digits"):
        shutil.copytree(SHIPPED / kind, tmp_path / kind)
        train_and_save_classifier(DIGITS, "digits.yaml", tmp_path / kind, images=64)
        assert "64 images seen" in (tmp_path / kind / "README.md").read_text()


def test_the_shipped_digits_classifier_is_as_accurate_as_its_card_says() -> None:
    classifier = ImageClassifier.from_pretrained(SHIPPED / "classifier_digits")
    measured = accuracy(classifier, load_dataset(DIGITS, "test"))
    assert measured >= 0.97
    card = (SHIPPED / "classifier_digits" / "README.md").read_text()
    assert f"{measured:.4f} on the 397 images" in card


def test_the_shipped_classifier_of_photographs_is_deep_and_its_features_are_standard() -> None:
    classifier = ImageClassifier.from_pretrained("classifier_cifar10")
    assert (classifier.image_size, classifier.channels, classifier.num_classes) == ((32, 32), 3, 10)
    card = (SHIPPED / "classifier_cifar10" / "README.md").read_text()
    assert f"{sum(weights.numel() for weights in classifier.parameters()):,}" in card
    measured = re.search(r"accuracy \| (0\.\d{4}) on the 10,000 images of cifar10:test", card)
    assert measured is not None and float(measured[1]) >= 0.88
    gray = torch.full((1, 3, 32, 32), 0.0)
    assert bool((classifier.features(gray).abs() < 10).all())
