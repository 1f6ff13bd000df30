"""The masked classifier: hidden pixels are ignored, and its probabilities are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biglearn_gan.config import DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.metrics.classifier import ClassifierError, ImageClassifier
from biglearn_gan.metrics.classifier_training import (
    draw_known_pixels,
    train_and_save_classifier,
    train_masked_classifier,
)
from biglearn_gan.metrics.masked_classifier import MaskedClassifier, calibration, calibration_on
from biglearn_gan.tasks.holes import named_hole

DIGITS = DataConfig(name="digits", image_size=(8, 8), channels=1)
SHIPPED = Path(__file__).parents[2] / "checkpoints"


def test_hidden_pixels_are_ignored() -> None:
    classifier = MaskedClassifier((5, 11), 3, 7).eval()
    images, other = torch.rand(2, 13, 3, 5, 11)
    known = torch.rand(13, 5, 11) < 0.5
    mixed = torch.where(known[:, None], images, other)
    mixed[~known[:, None].expand_as(mixed)] *= float("nan")
    expected = classifier.probabilities(images, known)
    assert torch.equal(classifier.probabilities(mixed, known), expected)
    assert expected.shape == (13, 7) and expected.dtype == torch.float64
    torch.testing.assert_close(expected.sum(dim=1), torch.ones(13, dtype=torch.float64))
    assert not torch.equal(classifier.probabilities(images, ~known), expected)


def test_a_known_black_pixel_differs_from_a_hidden_one() -> None:
    classifier = MaskedClassifier((5, 11), 1, 7).eval()
    black = torch.zeros(1, 1, 5, 11)
    seen = torch.ones(1, 5, 11, dtype=torch.bool)
    assert not torch.allclose(classifier(black, seen), classifier(black, ~seen))


def test_calibration_by_hand() -> None:
    p = torch.tensor(
        [[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.5, 0.5]], dtype=torch.float64
    )  # the last predicts class 0 at confidence 0.5
    found = calibration(p, torch.tensor([0, 1, 1, 1]))
    assert found.ceiling == pytest.approx((0.9 + 0.1 + 0.7 + 0.5) / 4)
    assert found.expected == pytest.approx((0.82 + 0.82 + 0.58 + 0.5) / 4)
    assert found.accuracy == 0.5
    # Bins: 0.9 twice with one right (off by 0.4), 0.7 right (0.3), 0.5 wrong (0.5).
    assert found.error == pytest.approx((2 * 0.4 + 0.3 + 0.5) / 4)


def test_certain_and_correct_predictions_are_calibrated() -> None:
    labels = torch.arange(10)
    found = calibration(torch.eye(10, dtype=torch.float64), labels)
    assert (found.ceiling, found.expected, found.accuracy, found.error) == (1, 1, 1, 0)


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(1, 70),
    size=st.sampled_from([(8, 8), (6, 10), (28, 28), (5, 11)]),
    seed=st.integers(0, 2**31),
)
def test_known_pixels_have_the_shape_of_the_images(
    count: int, size: tuple[int, int], seed: int
) -> None:
    known = draw_known_pixels(count, size, torch.Generator().manual_seed(seed))
    assert known.shape == (count, *size) and known.dtype == torch.bool
    again = draw_known_pixels(count, size, torch.Generator().manual_seed(seed))
    assert torch.equal(known, again)


def test_every_share_of_pixels_may_be_known() -> None:
    known = draw_known_pixels(4000, (8, 8), torch.Generator().manual_seed(0))
    share = known.float().mean(dim=(1, 2))
    assert share.min() == 0 and share.max() == 1
    # Uniform, except that blocks are whole; the coarsest are four blocks of 4 x 4 pixels.
    assert float(share.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(share.std()) == pytest.approx(12**-0.5, abs=0.06)


def test_the_half_without_the_label_gives_no_confidence() -> None:
    """Class 1 is bright in its left half. The right half is noise."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(512) % 2
    pixels = torch.randint(0, 100, (512, 1, 4, 8), generator=rng)
    pixels[:, :, :, :4] += 150 * labels[:, None, None, None]
    data = ImageDataset("toy:train", pixels.to(torch.uint8), labels, 2)
    classifier = train_masked_classifier(data, seed=0, images=12_800)
    left = torch.zeros(512, 4, 8, dtype=torch.bool)
    left[:, :, :4] = True
    images = data.batch(torch.arange(512)).images
    true = torch.stack([1 - labels, labels], dim=1).double()
    torch.testing.assert_close(classifier.probabilities(images, left), true, atol=0.05, rtol=0)
    none = classifier.probabilities(images, ~left)
    torch.testing.assert_close(none.mean(dim=0), torch.full((2,), 0.5).double(), atol=0.1, rtol=0)
    assert float(none.max(dim=1).values.mean()) < 0.75  # a coin would be confident
    assert calibration_on(classifier, data, left).ceiling == pytest.approx(0.5, abs=0.15)
    hidden = data.with_labels(torch.where(torch.arange(512) < 100, labels, -1))
    part = calibration_on(classifier, hidden, left)
    first = calibration_on(classifier, data.subset(torch.arange(100)), left[:100])
    assert part.ceiling == pytest.approx(first.ceiling, rel=1e-6)
    with pytest.raises(ClassifierError, match="no labels"):
        calibration_on(classifier, ImageDataset("toy:x", pixels.to(torch.uint8)), left)


def test_the_same_seed_gives_the_same_weights_without_global_state(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    folders = [tmp_path / "first", tmp_path / "again"]
    for folder in folders:
        sentence = train_and_save_classifier(
            DIGITS, "experiments/digits.yaml", folder, masked=True, images=640
        )
    assert torch.equal(torch.rand(3), expected)
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    card = (folders[1] / "README.md").read_text()
    assert sentence.partition("\n")[2] in card
    assert "--masked --images 640" in card
    loaded = MaskedClassifier.from_pretrained(folders[0])
    assert not loaded.training
    with pytest.raises(ClassifierError, match="no classifier can be loaded"):
        ImageClassifier.from_pretrained(folders[0])


def test_the_shipped_classifier_is_calibrated_as_its_card_says() -> None:
    classifier = MaskedClassifier.from_pretrained(SHIPPED / "masked_classifier_digits")
    test = load_dataset(DIGITS, "test")
    card = (SHIPPED / "masked_classifier_digits" / "README.md").read_text()
    for share, lowest in (("0.25", 0.97), ("0.5", 0.91), ("0.75", 0.70)):
        found = calibration_on(
            classifier, test, named_hole(f"random:{share}", (8, 8), 2, len(test), 0)
        )
        assert f"| random:{share} (blocks of 2) | {found.ceiling:.4f} |" in card
        assert found.ceiling > lowest
        assert found.ceiling == pytest.approx(found.expected, abs=0.01)


def test_the_shipped_classifier_of_photographs_is_calibrated_as_its_card_says() -> None:
    """The test images of CIFAR-10 are not here; the card has the numbers."""
    classifier = MaskedClassifier.from_pretrained("masked_classifier_cifar10")
    assert (classifier.image_size, classifier.channels, classifier.num_classes) == ((32, 32), 3, 10)
    card = (SHIPPED / "masked_classifier_cifar10" / "README.md").read_text()
    rows = re.findall(r"\| ([a-z]+\S*).* \| (0\.\d+) \| (0\.\d+) \| (0\.\d+) \| (0\.\d+) \|", card)
    assert len(rows) == 7
    for _, ceiling, expected, accuracy, _ in rows:
        assert float(ceiling) == pytest.approx(float(expected), abs=0.03)
        assert float(accuracy) > 0.65
