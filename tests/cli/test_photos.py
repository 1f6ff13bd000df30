"""Photos and masks as people have them, completed by ``biglearn-gan sample``."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from toys import Run

from biglearn_gan.config import Config, FitMode
from biglearn_gan.config.schema import CLASS_NAMES
from biglearn_gan.inference.complete_photo import complete_photo
from biglearn_gan.inference.sample_writer import full_size_names
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.tasks.holes import HoleError

ROWS, COLUMNS = 40, 60
"""The photo's size; the model's images have 8 x 8 pixels, so the crop is 40 x 40."""

DISK = (np.indices((ROWS, COLUMNS)) - np.array([[[20.5]], [[31.0]]])) ** 2
HOLE = DISK.sum(axis=0) < 12**2
"""A disk in the middle of the photo."""

FITTED = HOLE[:, 10:50].reshape(8, 5, 8, 5).mean(axis=(1, 3)) >= 0.5
"""The pixels of the model's image of which half of the area or more is hole."""

ORIENTATION = 0x0112


@pytest.fixture
def color_checkpoint(tmp_path: Path, tiny_config: Callable[..., Config]) -> Path:
    """An untrained model of 8 x 8 RGB images, from a folder."""
    folder = tmp_path / "color"
    config = tiny_config({"data.name": "folder", "data.root": "photos", "data.channels": 3})
    BigLearnGAN(config).save_pretrained(folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    y, x = np.indices((ROWS, COLUMNS))
    pixels = np.stack([4 * x, 6 * y, 2 * x + 3 * y], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def sample(
    run: Run, color_checkpoint: Path, tmp_path: Path
) -> Callable[..., tuple[dict[str, np.ndarray], np.ndarray, str]]:
    """Complete with the options; the arrays, the first photo at its size, and what was printed."""

    def call(*options: object) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
        output = tmp_path / "out"
        common = ("sample", "--checkpoint", color_checkpoint, "--output", output, "--full-size")
        code, out, err = run(*common, *options)
        assert (code, err) == (0, "")
        arrays = dict(np.load(output / "samples.npz"))
        return arrays, np.asarray(Image.open(next((output / "full_size").iterdir()))), out

    return call


def white_on_black() -> np.ndarray:
    return np.where(HOLE, 255, 0).astype(np.uint8)


def antialiased() -> np.ndarray:
    """The disk, whose pixels are gray where its edge cuts through them."""
    y, x = (np.arange(4 * n) / 4 + 0.125 - 0.5 for n in (ROWS, COLUMNS))
    inside = (y[:, None] - 20.5) ** 2 + (x - 31.0) ** 2 < 12**2
    return (255 * inside.reshape(ROWS, 4, COLUMNS, 4).mean(axis=(1, 3))).round().astype(np.uint8)


def rgba(color: np.ndarray | int, alpha: np.ndarray | int) -> np.ndarray:
    pixels = np.empty((ROWS, COLUMNS, 4), dtype=np.uint8)
    pixels[..., :3] = np.broadcast_to(np.asarray(color)[..., None], (ROWS, COLUMNS, 3))
    pixels[..., 3] = alpha
    return pixels


MASKS: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "of the photo's size": (white_on_black, "read white as the hole"),
    "with an opaque alpha channel": (lambda: rgba(white_on_black(), 255), "read white as the hole"),
    "a white layer": (lambda: rgba(255, white_on_black()), "read the white paint as the hole"),
    "a black layer": (lambda: rgba(0, white_on_black()), "read the black paint as the hole"),
    "of ones": (
        lambda: HOLE.astype(np.uint8),
        "mask.png: the values 0 and 1 were read as black and white",
    ),
    "of 16 bits": (lambda: np.where(HOLE, 65_535, 0).astype(np.uint16), "read white as the hole"),
    "bilevel": (lambda: HOLE, "read white as the hole"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_is_read_as_what_it_shows(
    kind: str, sample: Callable[..., tuple], photo: Path, tmp_path: Path
) -> None:
    make, line = MASKS[kind]
    Image.fromarray(make()).save(tmp_path / "mask.png")
    arrays, completed, out = sample("--images", photo, "--mask", tmp_path / "mask.png")
    assert np.array_equal(arrays["masks"], FITTED[None])
    assert line in out
    assert f": the hole is {FITTED.mean():.1%} of the image" in out
    assert "1 of 1 images had another size and were resized and center-cropped to 8 x 8" in out
    assert "the generated parts are enlarged 5 times (bicubic)" in out
    original = np.asarray(Image.open(photo))
    assert np.array_equal(completed[~HOLE], original[~HOLE])
    assert (completed[HOLE] != original[HOLE]).any(axis=-1).mean() > 0.9
    assert np.array_equal(arrays["full_sizes"], [[ROWS, COLUMNS]])


def test_gray_edges_are_cut_at_half(
    sample: Callable[..., tuple], photo: Path, tmp_path: Path
) -> None:
    values = antialiased()
    assert ((values > 32) & (values < 223)).any()
    Image.fromarray(values).save(tmp_path / "mask.png")
    _, completed, out = sample("--images", photo, "--mask", tmp_path / "mask.png")
    assert "mask.png: gray or half transparent pixels were cut at half" in out
    changed = (completed != np.asarray(Image.open(photo))).any(axis=-1)
    assert not changed[values < 128].any()
    assert changed[values >= 128].mean() > 0.9


def test_the_color_decides_what_a_layer_says(
    sample: Callable[..., tuple], photo: Path, tmp_path: Path
) -> None:
    Image.fromarray(rgba(255, white_on_black())).save(tmp_path / "mask.png")
    options = ("--images", photo, "--mask", tmp_path / "mask.png", "--mask-color", "black")
    arrays, completed, out = sample(*options)
    assert "read what is not painted as the hole" in out
    assert (arrays["masks"][0] != FITTED).mean() > 0.9
    assert np.array_equal(completed[HOLE], np.asarray(Image.open(photo))[HOLE])


def test_a_mask_of_the_models_size(
    sample: Callable[..., tuple], photo: Path, tmp_path: Path
) -> None:
    Image.fromarray(FITTED).save(tmp_path / "mask.png")
    arrays, completed, _ = sample("--images", photo, "--mask", tmp_path / "mask.png")
    assert np.array_equal(arrays["masks"], FITTED[None])
    enlarged = np.zeros((ROWS, COLUMNS), dtype=bool)
    enlarged[:, 10:50] = FITTED.repeat(5, axis=0).repeat(5, axis=1)
    original = np.asarray(Image.open(photo))
    assert np.array_equal(completed[~enlarged], original[~enlarged])
    assert (completed[enlarged] != original[enlarged]).any(axis=-1).mean() > 0.9


def test_an_erased_photo_is_its_own_mask(
    sample: Callable[..., tuple], photo: Path, tmp_path: Path
) -> None:
    erased = np.dstack([np.asarray(Image.open(photo)), np.where(HOLE, 0, 255).astype(np.uint8)])
    erased[HOLE, :3] = 7  # a hidden color, of no meaning
    Image.fromarray(erased).save(tmp_path / "erased.png")
    arrays, completed, out = sample("--images", tmp_path / "erased.png")
    assert "read transparent as the hole" in out
    assert np.array_equal(arrays["masks"], FITTED[None])
    assert np.array_equal(completed[~HOLE], erased[~HOLE, :3])
    erased[HOLE, :3] = 200
    Image.fromarray(erased).save(tmp_path / "erased.png")
    assert np.array_equal(sample("--images", tmp_path / "erased.png")[1], completed)


def test_the_orientation_applies_to_photo_and_mask(
    sample: Callable[..., tuple], photo: Path, tmp_path: Path
) -> None:
    """A photo taken with the camera held upright is stored turned, and so may be its mask."""
    upright = np.asarray(Image.open(photo))
    Image.fromarray(white_on_black()).save(tmp_path / "upright.png")
    expected = sample("--images", photo, "--mask", tmp_path / "upright.png")[1]
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned right by 90 degrees
    turned_hole = Image.fromarray(np.rot90(white_on_black()))
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    turned_hole.save(tmp_path / "with.png", exif=exif)
    turned_hole.save(tmp_path / "without.png")
    for mask, said in (("upright", False), ("with", False), ("without", True)):
        options = ("--images", tmp_path / "turned.png", "--mask", tmp_path / f"{mask}.png")
        _, completed, out = sample(*options)
        assert np.array_equal(completed, expected)
        assert ("turned by the EXIF orientation of the photo" in out) == said


@pytest.mark.parametrize(
    ("fit", "change"),
    [("pad", "resized to 8 x 8 with repeated edges"), ("stretch", "stretched to 8 x 8")],
)
def test_the_whole_photo_is_fitted(
    fit: str, change: str, sample: Callable[..., tuple], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 32, 3), dtype=np.uint8)
    hole = np.zeros((16, 32), dtype=bool)
    hole[:, :4] = True
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(hole).save(tmp_path / "mask.png")
    options = ("--images", tmp_path / "wide.png", "--mask", tmp_path / "mask.png", "--fit", fit)
    arrays, completed, out = sample(*options)
    assert change in out
    # all rows also if it is padded, since its edges are repeated
    assert arrays["masks"][0, :, 0].all() and not arrays["masks"][0, :, 1:].any()
    assert np.array_equal(completed[~hole], pixels[~hole])
    assert (completed[hole] != pixels[hole]).any(axis=-1).mean() > 0.9


def test_photos_of_several_sizes_in_one_folder(
    run: Run, color_checkpoint: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    sizes = {"a.png": (8, 8), "b.png": (40, 60), "c.bmp": (17, 9)}
    holes = {}
    for name, (height, width) in sizes.items():
        for folder in ("photos", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(photo).save(tmp_path / "photos" / name)
        holes[name] = np.zeros((height, width), dtype=bool)
        holes[name][height // 4 : height // 2, width // 4 : width // 2 + 2] = True
        Image.fromarray(holes[name]).save(tmp_path / "masks" / f"{Path(name).stem}.png")
    output = tmp_path / "out"
    code, out, err = run(
        *("sample", "--checkpoint", color_checkpoint, "--images", tmp_path / "photos"),
        *("--mask", tmp_path / "masks", "--full-size", "--variations", 2, "--output", output),
    )
    assert (code, err) == (0, "")
    assert "2 of 3 images had another size" in out
    assert "the generated parts are enlarged 1 to 5 times" in out
    names = [["a_1.png", "a_2.png"], ["b_1.png", "b_2.png"], ["c_1.png", "c_2.png"]]
    written = sorted(file.name for file in (output / "full_size").iterdir())
    assert written == [name for row in names for name in row]
    for row, (name, hole) in enumerate(holes.items()):
        original = np.asarray(Image.open(tmp_path / "photos" / name))
        for variation in range(2):
            completed = np.asarray(Image.open(output / "full_size" / names[row][variation]))
            assert np.array_equal(completed[~hole], original[~hole])
    small = np.asarray(Image.open(output / "samples" / "00000_01.png"))
    assert np.array_equal(np.asarray(Image.open(output / "full_size" / "a_2.png")), small)


def test_photos_keep_their_folders_and_their_names(
    run: Run, color_checkpoint: Path, tmp_path: Path
) -> None:
    output, photos = tmp_path / "out", tmp_path / "photos"
    for name in ("a/cat.png", "b/cat.jpg", "b/cat.png", "dog.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(photos / name)
    options = ("sample", "--checkpoint", color_checkpoint, "--mask", "center", "--output", output)

    def written() -> list[str]:
        found = (path for path in (output / "full_size").rglob("*") if path.is_file())
        return sorted(path.relative_to(output / "full_size").as_posix() for path in found)

    assert run(*options, "--images", photos, "--full-size")[0] == 0
    assert written() == ["a/cat.png", "b/cat.jpg.png", "b/cat.png.png", "dog.png"]
    assert run(*options, "--images", photos / "dog.png", "--full-size", "--variations", 2)[0] == 0
    assert written() == ["dog_1.png", "dog_2.png"]  # those of the first call are gone
    assert not (output / "full_size" / "a").exists()
    mine = output / "full_size" / "mine.png"
    mine.write_text("somebody else's")
    code, _, err = run(*options, "--images", photos / "dog.png", "--full-size")
    assert code == 2 and "holds full_size/mine.png, which `sample` did not write" in err
    mine.unlink()
    (output / "full_size" / "00000_00.png").write_text("of an earlier version")
    assert run(*options, "--images", photos / "dog.png")[0] == 0
    assert not (output / "full_size").exists()


@pytest.mark.parametrize(
    ("names", "variations", "files"),
    [
        (["beach.jpg", "dawn.v2.png"], 1, [["beach.png"], ["dawn.v2.png"]]),
        (["beach.jpg"], 2, [["beach_1.png", "beach_2.png"]]),
        (["a/x.png", "b/x.png"], 1, [["a/x.png"], ["b/x.png"]]),
        (["x.jpg", "X.png"], 1, [["x.jpg.png"], ["X.png.png"]]),
        (["x.jpg", "x.png", "x.jpg.bmp"], 1, [["x.jpg.png"], ["x.png.png"], ["x.jpg.bmp.png"]]),
        (["x.png", "x_1.png"], 2, [["x_1.png", "x_2.png"], ["x_1_1.png", "x_1_2.png"]]),
        (["/etc/x.png"], 1, [["etc/x.png"]]),  # as a broken archive may name it
    ],
)
def test_the_files_of_photos(names: list[str], variations: int, files: list[list[str]]) -> None:
    assert full_size_names(names, variations) == files


def test_masks_lie_among_the_images_or_in_an_archive(
    sample: Callable[..., tuple], photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    photo.rename(tmp_path / "photos" / "cat.png")
    Image.fromarray(HOLE).save(tmp_path / "photos" / "cat.mask.png")
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        archive.write(tmp_path / "photos" / "cat.mask.png", "masks/cat.png")
    for mask in ("photos", "masks.zip"):
        arrays, *_ = sample("--images", tmp_path / "photos", "--mask", tmp_path / mask)
        assert arrays["names"].tolist() == ["cat.png"]
        assert np.array_equal(arrays["masks"], FITTED[None])


def test_python_gives_the_same(
    sample: Callable[..., tuple], color_checkpoint: Path, photo: Path, tmp_path: Path
) -> None:
    Image.fromarray(HOLE).save(tmp_path / "mask.png")
    mask, model = tmp_path / "mask.png", BigLearnGAN.from_pretrained(color_checkpoint)
    for fit in get_args(FitMode):
        options = ("--images", photo, "--mask", mask, "--seed", 5, "--fit", fit)
        expected = sample(*options)[1]
        first, second = complete_photo(model, photo, mask, seed=5, variations=2, fit=fit)
        assert np.array_equal(np.asarray(first), expected)
        assert not np.array_equal(np.asarray(second), expected)
    erased = Image.open(photo)
    erased.putalpha(Image.fromarray(~HOLE).convert("L"))
    erased.save(tmp_path / "erased.png")
    (completed,) = complete_photo(model, str(tmp_path / "erased.png"), seed=5)
    expected = sample("--images", tmp_path / "erased.png", "--seed", 5)[1]
    assert np.array_equal(np.asarray(completed), expected)
    with pytest.raises(HoleError, match=r"photo\.png has no transparent part to fill"):
        complete_photo(model, photo)


@pytest.mark.parametrize("mask", ["center", "strokes", "random:0.5"])
def test_python_takes_the_named_masks(
    mask: str, sample: Callable[..., tuple], color_checkpoint: Path, photo: Path
) -> None:
    model = BigLearnGAN.from_pretrained(color_checkpoint)
    for fit in ("crop", "stretch"):
        options = ("--images", photo, "--mask", mask, "--seed", 5, "--fit", fit)
        _, expected, out = sample(*options)
        assert (f"the mask {mask} lies in the center crop" in out) == (fit == "crop")
        (completed,) = complete_photo(model, photo, mask, seed=5, fit=fit)
        assert np.array_equal(np.asarray(completed), expected)
        assert (expected != np.asarray(Image.open(photo))).any()


def test_a_gray_model_says_that_it_turns_colors_gray(
    run: Run, checkpoint: Path, color_checkpoint: Path, photo: Path, tmp_path: Path
) -> None:
    line = "colors were turned gray, because the model's images are gray"
    Image.open(photo).convert("L").convert("RGB").save(tmp_path / "gray.jpg")
    hidden = np.dstack([np.zeros((ROWS, COLUMNS, 3)), np.where(HOLE, 0, 255)]).astype(np.uint8)
    hidden[HOLE, 0] = 255  # red, but transparent
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    for folder, images, said in (
        (checkpoint, photo, f"photo.png: {line}"),
        (checkpoint, tmp_path, f"photo.png: {line}"),
        (checkpoint, tmp_path / "gray.jpg", ""),
        (checkpoint, tmp_path / "hidden.png", ""),
        (color_checkpoint, photo, ""),
    ):
        options = ("--images", images, "--mask", "center", "--output", tmp_path.parent / "out")
        code, out, err = run("sample", "--checkpoint", folder, *options)
        assert (code, err) == (0, "")
        assert said in out if said else "gray" not in out
    for split, name in itertools.product(("train", "test"), CLASS_NAMES["cifar10"]):
        (tmp_path / "cifar" / split / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "cifar" / split / name / "0.png")
    code, out, err = run(
        *("sample", "--checkpoint", checkpoint, "--images", "cifar10:test", "--mask", "center"),
        *("--data-root", tmp_path / "cifar", "--output", tmp_path.parent / "out"),
    )
    assert (code, err) == (0, "")
    assert "images of cifar10 are resized and center-cropped to 8 x 8 and turned gray" in out


def test_a_bright_photo_gets_no_hint_for_python(
    run: Run, color_checkpoint: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(140, 256, (8, 8, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "bright.png")
    common = ("--checkpoint", color_checkpoint, "--images", tmp_path / "bright.png")
    for options in (("--mask", "center"), ("--mask", "center", "--best-of", 2)):
        code, _, err = run("sample", *common, *options, "--output", tmp_path / "out")
        assert (code, err) == (0, "")


MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "nothing to fill": (
        ("--images", "{tmp}/photo.png"),
        2,
        "photo.png has no transparent part to fill: name what to generate as the mask",
    ),
    "a data set has nothing to fill": (
        ("--images", "digits:test"),
        2,
        "digits:test has no transparent part to fill: name what to generate as the mask",
    ),
    "a mask of another shape": (
        ("--images", "{tmp}/photo.png", "--mask", "{tmp}/other.png"),
        2,
        "other.png has 40 x 40 pixels (height x width), but its photo has 40 x 60 and the model's "
        "images have 8 x 8",
    ),
    "a hole beside the crop": (
        ("--images", "{tmp}/photo.png", "--mask", "{tmp}/side.png"),
        2,
        "side.png has no hole inside of the center crop: choose the fit pad or stretch",
    ),
    "a thin hole": (
        ("--images", "{tmp}/photo.png", "--mask", "{tmp}/thin.png"),
        2,
        "thin.png has a hole that is too thin: it covers less than half of every pixel",
    ),
    "photos of a data set": (
        ("--mask", "center", "--full-size"),
        2,
        "--full-size requires --images with an image file or a folder of them",
    ),
    "fit of nothing": (
        ("--fit", "pad"),
        2,
        "--fit requires --images with an image file or a folder of them",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(
    mistake: str, check_mistake: Callable[..., None], photo: Path, tmp_path: Path
) -> None:
    side, thin = np.zeros((2, ROWS, COLUMNS), dtype=bool)
    side[:, :9], thin[20, 15:40] = True, True
    for name, hole in (("side", side), ("thin", thin), ("other", HOLE[:, :40])):
        Image.fromarray(hole).save(tmp_path / f"{name}.png")
    options, code, words = MISTAKES[mistake]
    command = ("sample", "--checkpoint", "{checkpoint}", "--output", "{tmp}/out", *options)
    check_mistake(command, code, words)
    assert not (tmp_path / "out").exists()
