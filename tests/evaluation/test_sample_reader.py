"""Samples from files: what a file may hold, what is rejected, and the task that they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from toys import holes, random_images, toy_dataset

from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import DataError
from biglearn_gan.evaluation.sample_reader import find_labels, load_saved_samples, read_data_name
from biglearn_gan.inference.batched import Samples
from biglearn_gan.inference.sample_writer import write_samples
from biglearn_gan.tasks.holes import HoleError, named_hole


@pytest.fixture
def dataset() -> ImageDataset:
    return toy_dataset()


def test_completions_that_sample_wrote_come_back(dataset: ImageDataset, tmp_path: Path) -> None:
    sources, hole = dataset.images_uint8(torch.tensor([7, 2, 5])), holes(3)
    images = torch.where(hole[:, None, None], random_images(3, 2, 3, 4, 6), sources[:, None])
    write_samples(Samples(images, sources, hole, 7, torch.zeros(images.shape[:2]).long()), tmp_path)
    task, saved = load_saved_samples(tmp_path / "samples.npz", dataset, "mine")
    assert task.name == "mine"
    assert torch.equal(saved.images, images)
    assert torch.equal(task.images, sources)
    assert torch.equal(task.hole, hole)
    assert not task.absent.any()
    assert task.labels is not None
    assert torch.equal(task.labels, dataset.labels[[7, 2, 5]])
    assert load_saved_samples(tmp_path / "samples.npz", dataset, None)[0].name == "samples"


def test_joint_samples_that_sample_wrote_come_back(dataset: ImageDataset, tmp_path: Path) -> None:
    images, black = random_images(3, 2, 3, 4, 6), torch.zeros(3, 3, 4, 6, dtype=torch.uint8)
    everything = torch.ones(3, 4, 6, dtype=torch.bool)
    write_samples(
        Samples(images, black, everything, 7, torch.zeros(images.shape[:2]).long()), tmp_path
    )
    task, saved = load_saved_samples(tmp_path / "samples.npz", dataset, None)
    assert task.name == "joint" and len(task) == 6 and task.hole.all()
    assert torch.equal(saved.images, images.flatten(0, 1)[:, None])


def test_a_folder_holds_joint_samples(dataset: ImageDataset, tmp_path: Path) -> None:
    images = random_images(3, 3, 4, 6)
    for number, image in enumerate(images):
        Image.fromarray(image.movedim(0, -1).numpy()).save(tmp_path / f"{number}.png")
    task, saved = load_saved_samples(tmp_path, dataset, None)
    assert task.name == "joint" and len(task) == 3
    assert sorted(saved.images.flatten(1).tolist()) == sorted(images.flatten(1).tolist())
    Image.new("RGB", (4, 4)).save(tmp_path / "3.png")
    with pytest.raises(DataError, match=r"1 of 4 images have another size than toy:test's 4 x 6"):
        load_saved_samples(tmp_path, dataset, None)


def test_images_of_a_folder_do_not_come_sorted_by_class(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    """Measures compare parts of the images with parts of the data, and the order stays the same."""
    for number in range(40):
        folder = tmp_path / ("dark" if number < 20 else "light")
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), (number * 5,) * 3).save(folder / f"{number}.png")
    _, saved = load_saved_samples(tmp_path, dataset, None)
    is_dark = saved.images.flatten(1)[:, 0] < 100
    assert is_dark.sum() == 20
    assert 3 < is_dark[:20].sum() < 17
    assert torch.equal(load_saved_samples(tmp_path, dataset, None)[1].images, saved.images)


def last(images: Tensor) -> np.ndarray:
    return images.movedim(-3, -1).numpy()


def test_images_without_variations_have_one(dataset: ImageDataset, tmp_path: Path) -> None:
    images, path = random_images(3, 3, 4, 6), tmp_path / "x.npz"
    np.savez(path, images=last(images))
    task, saved = load_saved_samples(path, dataset, None)
    assert task.name == "joint"
    assert torch.equal(saved.images, images[:, None])
    np.savez(path, images=last(images), sources=last(images), masks=holes(3).numpy())
    task, saved = load_saved_samples(path, dataset, None)
    assert torch.equal(saved.images, images[:, None])
    assert torch.equal(task.hole, holes(3))


def test_joint_samples_are_not_completions(dataset: ImageDataset, tmp_path: Path) -> None:
    path, images = tmp_path / "x.npz", last(random_images(3, 3, 4, 6))
    for masks in ({}, {"masks": np.ones((3, 4, 6), bool)}):
        np.savez(path, images=images, **masks)
        with pytest.raises(DataError, match=r"samples are joint, not completions \(right-half\)"):
            load_saved_samples(path, dataset, "right-half")
        assert load_saved_samples(path, dataset, "joint")[0].name == "joint"


GOOD = {
    "images": last(random_images(3, 2, 3, 4, 6)),
    "sources": last(random_images(3, 3, 4, 6)),
    "masks": holes(3).numpy(),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "has no array named images"),
        ({"images": GOOD["images"].astype(float)}, r"images must be uint8 .* not float64"),
        ({"images": GOOD["images"][0, 0]}, r"not uint8 of shape \(4, 6, 3\)"),
        ({"images": np.moveaxis(GOOD["images"], -1, 2)}, r"\(N, K, 4, 6, 3\) .* \(3, 2, 3, 4, 6\)"),
        ({"images": np.array("text")}, r"of shape \(\)"),
        ({"images": np.array([{}], dtype=object)}, "cannot be read as an .npz file"),
        ({"sources": None}, r"need the key sources, and it holds \['images', 'masks'\]"),
        ({"sources": GOOD["sources"][:2]}, "3 rows of images and 2 of sources"),
        ({"sources": GOOD["sources"][:, :3]}, "sources must be uint8"),
        ({"masks": GOOD["masks"].astype(np.uint8)}, r"masks must be bool .* not uint8"),
        ({"masks": GOOD["masks"][:2]}, r"\(3, 4, 6\), not bool of shape \(2, 4, 6\)"),
        ({"masks": GOOD["masks"][0]}, r"not bool of shape \(4, 6\)"),
        ({"masks": GOOD["masks"] & (np.arange(3) != 1)[:, None, None]}, "row 1 of masks has no"),
        ({"masks": np.ones((3, 4, 6), np.uint8)}, r"masks must be bool .* not uint8"),
        ({"masks": np.ones((2, 4, 6), bool)}, r"not bool of shape \(2, 4, 6\)"),
        ({name: array[:0] for name, array in GOOD.items()}, "images is empty"),
        ({"sources": GOOD["sources"][:, None][:, :0]}, "sources is empty"),
    ],
)
def test_a_malformed_file_is_one_sentence(
    changes: dict[str, np.ndarray | None], message: str, dataset: ImageDataset, tmp_path: Path
) -> None:
    path = tmp_path / "x.npz"
    changed = {name: array for name, array in (GOOD | changes).items() if array is not None}
    np.savez(path, **changed)
    with pytest.raises(DataError, match=message) as caught:
        load_saved_samples(path, dataset, None)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_an_archive_is_one_sentence(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    for content in (None, b"", b"text", whole[: len(whole) // 2], whole[:-1]):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read as an \.npz file") as caught:
            load_saved_samples(path, dataset, None)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_task_that_does_not_fit_the_file_is_rejected(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", **GOOD)
    with pytest.raises(DataError, match="its masks are not the hole center"):
        load_saved_samples(tmp_path / "x.npz", dataset, "center")
    with pytest.raises(DataError, match="not completions"):
        load_saved_samples(tmp_path, dataset, "center")


def first_rows(dataset: ImageDataset, path: Path, num: int) -> list[int]:
    task, saved = load_saved_samples(path, dataset, None, num)
    assert len(task.images) == len(task.hole) == len(saved.images) == len(task)
    return [len(task), saved.variations]


def test_only_the_first_rows_are_loaded(dataset: ImageDataset, tmp_path: Path) -> None:
    """Rows of completions with all variations, and joint samples whatever their row."""
    images, path = random_images(3, 2, 3, 4, 6), tmp_path / "x.npz"
    np.savez(path, images=last(images))
    assert first_rows(dataset, path, 5) == [5, 1]
    assert first_rows(dataset, path, 7) == [6, 1]
    _, saved = load_saved_samples(path, dataset, None, 3)
    assert torch.equal(saved.images[:, 0], torch.stack([images[0, 0], images[0, 1], images[1, 0]]))
    sources = dataset.images_uint8(torch.tensor([7, 2, 5]))
    sources[2] ^= 1  # no image of the data set, and not among the first two
    np.savez(path, images=last(images), sources=last(sources), masks=holes(3).numpy())
    assert first_rows(dataset, path, 2) == [2, 2]
    assert first_rows(dataset, path, 4) == [3, 2]
    task, saved = load_saved_samples(path, dataset, None, 2)
    assert torch.equal(saved.images, images[:2]) and torch.equal(task.hole, holes(3)[:2])
    assert task.labels is not None
    assert torch.equal(task.labels, dataset.labels[[7, 2]])
    for number, image in enumerate(images[:, 0]):
        Image.fromarray(last(image)).save(tmp_path / f"{number}.png")
    assert first_rows(dataset, tmp_path, 2) == [2, 1]


def test_a_file_may_name_its_data_set(tmp_path: Path) -> None:
    images, black = random_images(3, 1, 3, 4, 6), torch.zeros(3, 3, 4, 6, dtype=torch.uint8)
    everything, numbers = torch.ones(3, 4, 6, dtype=torch.bool), torch.zeros(3, 1).long()
    for name in ("toy", None):
        samples = Samples(images, black, everything, 7, numbers, data=name)
        write_samples(samples, tmp_path)
        assert read_data_name(tmp_path) == read_data_name(tmp_path / "samples.npz") == name
    assert read_data_name(tmp_path / "samples") is None
    for wrong, message in ((np.array(["toy"]), r"of shape \(1,\)"), (np.array(3), "not int64")):
        np.savez(tmp_path / "x.npz", images=last(images), data=wrong)
        with pytest.raises(DataError, match=message) as caught:
            read_data_name(tmp_path / "x.npz")
        assert str(caught.value).startswith(f"{tmp_path / 'x.npz'}: data must be a string")
    with pytest.raises(DataError, match="cannot be read"):
        read_data_name(tmp_path / "none.npz")


def with_masks(masks: Tensor, path: Path) -> Path:
    """Completions of black images of 12 x 12 pixels with these masks."""
    pixels = np.zeros((len(masks), 12, 12, 1), np.uint8)
    np.savez(path / "x.npz", images=pixels, sources=pixels, masks=masks.numpy())
    return path / "x.npz"


@pytest.mark.parametrize(
    ("task", "drawn"),
    [
        ("random:0.5", "random:0.5:1"),
        ("random:0.5", "random:0.5:4"),
        ("random:0.3", "random:0.3:4"),  # 3 of 9 blocks
        ("random:0.5:3", "random:0.5:3"),
        ("random:0.5:3", "random:0.5:6"),  # consists of blocks of 3, too
        ("strokes", "strokes"),
        ("checkerboard", "checkerboard"),
        ("right-half", "right-half"),
        ("outside:4", "outside:4"),
        ("outside:6", "border"),
        ("inside:4", "inside:4"),
        ("inside:6", "center"),
        ("mine", "random:0.1"),
    ],
)
def test_holes_that_fit_their_name(task: str, drawn: str, tmp_path: Path) -> None:
    black = ImageDataset("black:test", torch.zeros(1, 1, 12, 12, dtype=torch.uint8))
    masks = named_hole(drawn, (12, 12), 3, 5, seed=2)
    loaded, _ = load_saved_samples(with_masks(masks, tmp_path), black, task)
    assert loaded.name == task and torch.equal(loaded.hole, masks)


@pytest.mark.parametrize(
    ("task", "drawn", "message"),
    [
        (
            "random:0.5",
            "random:0.25",
            "its masks hide 25% to 25% of an image, and random:0.5 hides 50%",
        ),
        (
            "random:0.4",
            "random:0.3:4",
            "its masks hide 33% to 33% of an image, and random:0.4 hides 40%",
        ),
        (
            "random:0.5:3",
            "random:0.5:4",
            "not made of whole blocks of 3 x 3 pixels, as random:0.5:3",
        ),
        ("random:0.5:3", "random:0.75:3", "its masks hide 75% to 75% of an image"),
        ("strokes", "random:0.5", "its masks hide 50% to 50% of an image, and strokes hides 30%"),
        ("checkerboard", "random:0.5", "are not the hole checkerboard"),
        ("center", "border", "are not the hole center"),
        ("outside:4", "outside:3", "do not leave one square of 4 x 4 pixels in each row, as outs"),
        ("outside:6", "left-half", "one square of 6 x 6 pixels"),
        ("outside:4", "strokes", "one square of 4 x 4 pixels"),
        ("inside:4", "inside:3", "do not hide one square of 4 x 4 pixels in each row, as inside"),
        ("inside:4", "outside:4", "do not hide one square of 4 x 4 pixels"),
    ],
)
def test_holes_that_do_not_fit_their_name(
    task: str, drawn: str, message: str, tmp_path: Path
) -> None:
    black = ImageDataset("black:test", torch.zeros(1, 1, 12, 12, dtype=torch.uint8))
    path = with_masks(named_hole(drawn, (12, 12), 3, 5, seed=2), tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        load_saved_samples(path, black, task)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_every_row_must_have_the_share(tmp_path: Path) -> None:
    black = ImageDataset("black:test", torch.zeros(1, 1, 12, 12, dtype=torch.uint8))
    masks = named_hole("random:0.5", (12, 12), 1, 5, seed=2)
    masks[3, :6] = True
    with pytest.raises(DataError, match=r"its masks hide 50% to \d+% of an image"):
        load_saved_samples(with_masks(masks, tmp_path), black, "random:0.5")
    for task in ("random:1.5", "random:0.5:5", "random:half"):
        with pytest.raises(HoleError, match=task):
            load_saved_samples(with_masks(masks, tmp_path), black, task)


@pytest.mark.parametrize(
    "square",
    [
        [(0, 0), (0, 2), (2, 0), (2, 2)],  # two rows and two columns, but not a square
        [(3, 3), (3, 4), (4, 3)],
        [(3, 3), (3, 4), (4, 3), (4, 4), (7, 7)],
        [(0, 0), (0, 1), (1, 0), (5, 5)],
    ],
)
def test_every_row_must_have_the_square(square: list[tuple[int, int]], tmp_path: Path) -> None:
    black = ImageDataset("black:test", torch.zeros(1, 1, 12, 12, dtype=torch.uint8))
    masks = named_hole("outside:2", (12, 12), 1, 5, seed=2)
    masks[3] = True
    for pixel in square:
        masks[3][pixel] = False
    with pytest.raises(DataError, match="do not leave one square of 2 x 2 pixels in each row"):
        load_saved_samples(with_masks(masks, tmp_path), black, "outside:2")
    with pytest.raises(HoleError, match="a SIZE of 1 to 11 pixels"):
        load_saved_samples(with_masks(masks, tmp_path), black, "outside:13")


def test_labels_are_those_of_exactly_the_same_images(dataset: ImageDataset) -> None:
    chosen = torch.tensor([12, 0, 0, 6])
    images = dataset.images_uint8(chosen)
    found = find_labels(images, dataset)
    assert found is not None and torch.equal(found, dataset.labels[chosen])
    one_off = images.clone()
    one_off[3, 2, 3, 5] ^= 1
    assert find_labels(one_off, dataset) is None
    unlabeled = ImageDataset("toy:test", dataset.images_uint8(torch.arange(13)))
    assert find_labels(images, unlabeled) is None
