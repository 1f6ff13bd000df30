"""Statistics of whole data sets: streaming, the cache, and damaged files."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.metrics.classifier import INFERENCE_ROWS
from biglearn_gan.metrics.frechet import GaussianStatistics
from biglearn_gan.metrics.reference_statistics import default_cache, reference_statistics


class Projection:
    """Five fixed sums of the pixels; counts the images."""

    name = "projection"
    dimensions = 5

    def __init__(self, fingerprint: str = "first") -> None:
        self.fingerprint = fingerprint
        self.count = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.count += len(images)
        rng = torch.Generator().manual_seed(0)
        weights = torch.randn(images[0].numel(), 5, generator=rng)
        return images.flatten(1).float() @ weights / 255


def dataset(seed: int = 0, count: int = 2 * INFERENCE_ROWS + 3) -> ImageDataset:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 1, 2, 3), generator=rng, dtype=torch.uint8)
    return ImageDataset("random:train", pixels)


def same(a: GaussianStatistics, b: GaussianStatistics) -> bool:
    return a.count == b.count and torch.equal(a.mean, b.mean) and torch.equal(a.scatter, b.scatter)


def only_file(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def test_streaming_gives_the_moments_of_one_batch() -> None:
    images, features = dataset(), Projection()
    at_once = GaussianStatistics(5)
    at_once.update(features(images.images_uint8(torch.arange(len(images)))))
    streamed = reference_statistics(Projection(), images)
    assert streamed.count == at_once.count == len(images)
    torch.testing.assert_close(streamed.mean, at_once.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(streamed.covariance, at_once.covariance, rtol=1e-5, atol=1e-6)


def test_a_cache_hit_gives_exactly_the_same_moments(tmp_path: Path) -> None:
    cache, images = tmp_path / "a" / "cache", dataset()
    first, second = Projection(), Projection()
    computed = reference_statistics(first, images, cache=cache)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reference_statistics(second, images, cache=cache)
    assert (first.count, second.count) == (len(images), 0)
    assert same(computed, found)
    assert same(computed, reference_statistics(Projection(), images))
    assert only_file(cache).suffix == ".safetensors"  # no temporary file


def test_every_dependency_is_part_of_the_key(tmp_path: Path) -> None:
    def count(images: ImageDataset, features: Projection, **options: object) -> int:
        reference_statistics(features, images, cache=tmp_path, **options)
        return features.count

    images = dataset(count=7)
    assert count(images, Projection()) == 7
    assert count(images, Projection()) == 0
    one_pixel = images.images_uint8(torch.arange(7)).clone()
    one_pixel[3, 0, 1, 2] ^= 1
    assert count(ImageDataset(images.name, one_pixel), Projection()) == 7
    assert count(images, Projection("other weights")) == 7
    renamed = Projection()
    renamed.name = "another"
    assert count(images, renamed) == 7
    assert count(images, Projection(), transform=lambda x, _: 255 - x, transform_key="a") == 7
    assert count(images, Projection(), transform=lambda x, _: x // 2, transform_key="b") == 7
    assert count(images, Projection(), transform=lambda x, _: x // 2, transform_key="b") == 0
    assert len(list(tmp_path.iterdir())) == 6


def test_the_transform_gets_the_index_of_its_first_image() -> None:
    images, firsts = dataset(), []

    def negative(part: torch.Tensor, first: int) -> torch.Tensor:
        firsts.append(first)
        assert torch.equal(part, images.images_uint8(torch.arange(first, first + len(part))))
        return 255 - part

    found = reference_statistics(Projection(), images, transform=negative)
    assert firsts == [0, INFERENCE_ROWS, 2 * INFERENCE_ROWS]
    turned = ImageDataset("negative", 255 - images.images_uint8(torch.arange(len(images))))
    assert same(found, reference_statistics(Projection(), turned))


def with_hash(tensors: dict[str, torch.Tensor], file: Path) -> bytes:
    """The bytes of a file of these tensors, with their hash."""
    whole = b"".join(tensors[name].numpy().tobytes() for name in ("count", "mean", "scatter"))
    save_file(tensors, file, {"sha256": hashlib.sha256(whole).hexdigest()})
    return file.read_bytes()


def damaged_contents(file: Path) -> list[tuple[bytes, str]]:
    """Invalid files, and the reason in the warning."""
    whole = file.read_bytes()
    cut = [(content, "") for content in (whole[:-8], whole[:20], b"", b"not a file of tensors")]
    flipped = whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:]  # the last bit of one number
    tensors = load_file(file)
    assert with_hash(tensors, file) == whole
    lopsided = tensors["scatter"].clone()
    lopsided[1, 3] += 1e-6 * lopsided.max()
    changes = (
        ({"mean": torch.zeros(4, dtype=torch.float64)}, r"moments of \(4,\) and \(5, 5\)"),
        ({"scatter": torch.full((5, 5), torch.nan, dtype=torch.float64)}, "are not finite"),
        ({"mean": torch.full((5,), torch.inf, dtype=torch.float64)}, "are not finite"),
        ({"mean": tensors["mean"].float()}, r"torch\.float32 and torch\.float64"),
        ({"scatter": tensors["scatter"].float()}, r"torch\.float64 and torch\.float32"),
        ({"scatter": lopsided}, "not symmetric"),
        ({"count": torch.tensor(0)}, "a count of 0, not 7"),
        ({"count": torch.tensor(-7)}, "a count of -7, not 7"),
        ({"count": torch.tensor([7, 7])}, r"a count of \[7, 7\], not 7"),
    )
    changed = [(with_hash(tensors | change, file), words) for change, words in changes]
    save_file(tensors, file)
    unsigned = file.read_bytes()
    del tensors["count"]
    save_file(tensors, file)
    keyless = file.read_bytes()
    arrays = "its arrays do not match its sha256"
    return [*cut, (flipped, arrays), *changed, (unsigned, arrays), (keyless, "count")]


def test_a_damaged_file_is_named_and_computed_again(tmp_path: Path) -> None:
    images = dataset(count=7)
    computed = reference_statistics(Projection(), images, cache=tmp_path)
    file = only_file(tmp_path)
    contents = damaged_contents(file)
    assert len({content for content, _ in contents}) == 16
    for content, words in contents:
        file.write_bytes(content)
        features = Projection()
        with pytest.warns(UserWarning, match="damaged statistics are computed again") as caught:
            rebuilt = reference_statistics(features, images, cache=tmp_path)
        assert str(file) in str(caught[0].message)
        assert re.search(words, str(caught[0].message))
        assert features.count == 7 and same(rebuilt, computed)
        again = Projection()
        assert same(reference_statistics(again, images, cache=tmp_path), computed)
        assert again.count == 0


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    images = dataset(count=7)
    expected = reference_statistics(Projection(), images)
    (tmp_path / "file").write_text("no folder")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.warns(UserWarning, match="statistics cannot be cached here") as caught:
            assert same(reference_statistics(Projection(), images, cache=cache), expected)
        assert str(cache) in str(caught[0].message)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder closed even to root")
def test_a_folder_that_is_not_writable_is_a_warning() -> None:
    images, closed = dataset(count=7), Path("/proc/self")
    expected = reference_statistics(Projection(), images)
    with pytest.warns(UserWarning, match="/proc/self: statistics cannot be cached here"):
        assert same(reference_statistics(Projection(), images, cache=closed), expected)


def test_the_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIGLEARN_GAN_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    for empty in (True, False):
        monkeypatch.setenv("HOME", str(tmp_path))
        if empty:
            monkeypatch.setenv("BIGLEARN_GAN_CACHE", "")
        else:
            monkeypatch.delenv("BIGLEARN_GAN_CACHE")
        assert default_cache() == tmp_path / ".cache" / "biglearn_gan"
