"""Folders and archives of images as people have them, given to the commands."""

from __future__ import annotations

import csv
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from toys import Run, save_gray


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images at two depths, a float TIFF and a text file of image ending, and no more."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for level, name in enumerate(("b.png", "below/a.PNG", "below/c.png")):
        save_gray(folder / name, np.full((8, 8), 40 * level))
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(folder / "depth.tif")
    (folder / "below" / "page.jpg").write_text("<html>404</html>")
    (folder / ".DS_Store").touch()
    return folder


NAMES = ["b.png", "below/a.PNG", "below/c.png"]

SKIPPED = (
    "skipped 2 broken image files: ",
    "page.jpg is not a readable image (it has no known image format)",
    "depth.tif is not a readable image (pixels of mode F have no known range: save 8 or 16 bits",
)


@pytest.mark.filterwarnings("ignore:.*reading all 5 image files, 3 of them in folders below")
def test_sample_reads_the_tree_and_names_what_it_skips(
    run: Run, checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="skipped 2") as caught:
        code, *_ = run(
            *("sample", "--checkpoint", checkpoint, "--images", photos),
            *("--mask", "center", "--output", tmp_path / "out"),
        )
    assert code == 0
    arrays = np.load(tmp_path / "out" / "samples.npz")
    assert arrays["names"].tolist() == NAMES
    assert arrays["sources"][:, 0, 0, 0].tolist() == [0, 40, 80]
    (message,) = [str(each.message) for each in caught if "skipped" in str(each.message)]
    assert all(part in message for part in SKIPPED)


@pytest.mark.filterwarnings("ignore:.*reading all 5 image files, 3 of them in folders below")
def test_classify_reads_the_same(run: Run, labeled: Path, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    with pytest.warns(UserWarning, match="skipped 2"):
        code, *_ = run("classify", "--checkpoint", labeled, "--images", photos, "--output", table)
    assert code == 0
    assert [line.split(",")[0] for line in table.read_text().splitlines()[1:]] == NAMES


def test_a_folder_without_a_readable_file_is_one_sentence(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    code, _, err = run(
        *("sample", "--checkpoint", checkpoint, "--images", tmp_path / "photos"),
        *("--mask", "center", "--output", tmp_path / "out"),
    )
    assert code == 2
    assert err.startswith(f"biglearn-gan: {tmp_path / 'photos'} has no readable image file: ")
    assert len(err.splitlines()) == 1


def test_warnings_of_pillow_do_not_reach_the_user(
    run: Run,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # Pillow warns of files with more
    file = save_gray(tmp_path / "large.png", np.zeros((8, 8)))
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(file)
    recwarn.clear()
    code, *_ = run(
        *("sample", "--checkpoint", checkpoint, "--images", file),
        *("--mask", "center", "--output", tmp_path / "out"),
    )
    assert code == 0
    assert not [each for each in recwarn if "PIL" in each.filename]


def test_masks_for_a_tree_lie_in_an_equal_tree_maybe_below_it(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    holes = {"cat/1": np.eye(8) * 255, "dog/1": np.tri(8) * 255}
    for name, hole in holes.items():
        for folder, array in (("", np.full((8, 8), 90)), ("masks", hole)):
            path = tmp_path / "photos" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_gray(path, array)
    below = tmp_path / "photos" / "masks"
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        for name in holes:
            archive.write(below / f"{name}.png", f"masks/{name}.png")
    for masks in (below, tmp_path / "masks.zip"):
        code, *_ = run(
            *("sample", "--checkpoint", checkpoint, "--images", tmp_path / "photos"),
            *("--mask", masks, "--output", tmp_path / "out"),
        )
        assert code == 0
        arrays = np.load(tmp_path / "out" / "samples.npz")
        assert arrays["names"].tolist() == ["cat/1.png", "dog/1.png"]
        assert (arrays["masks"] == np.stack([hole > 0 for hole in holes.values()])).all()
        shutil.rmtree(below, ignore_errors=True)


def test_an_archive_of_images_is_completed(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for level, name in enumerate(("b.png", "a.png")):
            file = save_gray(tmp_path / name, np.full((8, 8), 40 * level))
            archive.write(file, f"photos/{name}")
    code, *_ = run(
        *("sample", "--checkpoint", checkpoint, "--images", tmp_path / "photos.zip"),
        *("--mask", "center", "--output", tmp_path / "out"),
    )
    assert code == 0
    arrays = np.load(tmp_path / "out" / "samples.npz")
    assert arrays["names"].tolist() == ["a.png", "b.png"]
    assert arrays["sources"][:, 0, 0, 0].tolist() == [40, 0]


def test_samples_below_the_images_would_be_images_of_the_next_call(
    run: Run, checkpoint: Path, photos: Path
) -> None:
    code, _, err = run(
        *("sample", "--checkpoint", checkpoint, "--images", photos),
        *("--mask", "center", "--output", photos / "out" / "new"),
    )
    assert code == 2
    assert f"would mix with the input {photos}: choose another output folder" in err


def test_train_counts_the_class_folders(run: Run, config_file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("bee", "cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            save_gray(tmp_path / "photos" / name / f"{number}.png", rng.integers(0, 255, (8, 8)))
    command = ("train", "--config", config_file, "data.name=folder", "data.labels=true")
    command += (f"data.root={tmp_path / 'photos'}",)
    code, *_ = run(*command, "--output", tmp_path / "run")
    assert code == 0
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert stored["data"]["classes"] == 3
    assert stored["data"]["class_names"] == ["bee", "cat", "dog"]
    checkpoint = ("--checkpoint", tmp_path / "run" / "checkpoint")
    drawn = ("--num", 2, "--label", "cat", "--output", tmp_path / "cats")
    assert run("sample", *checkpoint, *drawn)[0] == 0
    assert np.load(tmp_path / "cats" / "samples.npz")["labels"].tolist() == [[1], [1]]
    read = tmp_path / "read.csv"
    code, out, _ = run(
        *("classify", *checkpoint, "--images", tmp_path / "photos" / "bee"),
        *("--num", 2, "--output", read),
    )
    assert code == 0
    header, *rows = csv.reader(read.read_text().splitlines())
    assert header == ["image", "predicted", "bee", "cat", "dog"]
    for row, line in zip(rows, out.splitlines(), strict=False):
        likely = header[2 + int(np.argmax([float(p) for p in row[2:]]))]
        assert row[1] == likely
        assert f"{row[0]}: {likely} (" in line
    assert run(*command, "--output", tmp_path / "run")[0] == 0
    code, _, err = run(*command, "--output", tmp_path / "other", "data.classes=2")
    assert code == 2
    assert "has 3 class folders, but data.classes is 2" in err
    unlabeled = (*command, "--output", tmp_path / "unlabeled", "data.unlabeled=bee")
    assert run(*unlabeled, "loss.pseudo_labels={}")[0] == 0
    stored = yaml.safe_load((tmp_path / "unlabeled" / "config.yaml").read_text())
    assert stored["data"]["classes"] == 2
    code, _, err = run(*command, "--output", tmp_path / "other", "data.unlabeled=bees")
    assert code == 2 and err.count("\n") == 1
    assert "data.unlabeled is bees, but " in err and "it has bee, cat, dog" in err
    code, _, err = run(*command, "data.root=nowhere", "--dry-run")
    assert code == 2
    assert "nowhere is not a folder" in err
    assert "(--dry-run needs no data if data.classes is set)" in err
