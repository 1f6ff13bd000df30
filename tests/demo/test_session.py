"""A painted hole, its completions, and the command line that draws the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from demo_tools import run
from PIL import Image

from biglearn_gan.config import FitMode
from biglearn_gan.demo.session import DemoSession
from biglearn_gan.image_grid import GAP
from biglearn_gan.tasks.holes import HoleError

HOLE = np.zeros((24, 40), dtype=bool)
HOLE[3:12, 11:20] = True
"""Of a photo of 24 x 40 pixels, whose center crop is 24 x 24: its pixels are those of the model,
three times as large."""

FITTED = torch.zeros(8, 8, dtype=torch.bool)
FITTED[1:4, 1:4] = True


def upload(path: Path, erased: np.ndarray | None = None) -> Path:
    """A photo in colors, transparent where it is erased."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    if erased is not None:
        pixels = np.dstack([pixels, np.where(erased, 0, 255).astype(np.uint8)])
    Image.fromarray(pixels).save(path)
    return path


def test_a_pixel_is_hole_if_paint_covers_half_of_it(session: DemoSession) -> None:
    paint = np.zeros((80, 80, 4), dtype=np.uint8)
    paint[0:24, 8:16, 3] = 255  # 2.4 rows, 0.2 and 0.6 of two columns
    paint[40:44, 40:80, 3] = 255  # 0.4 of a row
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2, 1] = True
    assert torch.equal(session.hole_from_paint(Image.fromarray(paint)), expected)
    for nothing in (None, Image.new("RGBA", (80, 80))):
        with pytest.raises(HoleError, match="nothing is painted"):
            session.hole_from_paint(nothing)


def test_the_command_line_draws_the_same(
    session: DemoSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.model.save_pretrained(tmp_path / "my model")
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[2:5, 1:7] = True
    for result in (
        session.complete(session.test_image(5), hole, variations=3, seed=4, label=7),
        session.complete(session.test_image(5), hole, variations=2, seed=4),
        session.sample(9, seed=4, label=7),
        session.sample(16, seed=0),
    ):
        for name, image in result.files.items():
            image.save(tmp_path / name)
        assert run(result.command, tmp_path, monkeypatch) == 0
        arrays = np.load(tmp_path / "samples" / "demo" / "samples.npz")
        assert (arrays["labels"] == 7).all() == ("--label 7" in result.command)
        if result.files:
            written = Image.open(tmp_path / "samples" / "demo" / "grid.png")
            assert (np.asarray(written) == np.asarray(result.grid)).all()
            continue
        factor, grid = 7, np.asarray(result.grid)[..., 0]
        step = 8 * factor + GAP
        for number, image in enumerate(arrays["images"][:, 0, :, :, 0]):
            top, left = GAP + number // 8 * step, GAP + number % 8 * step
            cell = grid[top : top + step - GAP : factor, left : left + step - GAP : factor]
            assert (cell == image).all()


def test_the_command_line_names_the_device(session: DemoSession) -> None:
    on_a_gpu = DemoSession("my model", session.model, None, device="cuda")
    assert " --device cuda " in on_a_gpu.sample(1, seed=0).command
    assert "--device" not in session.sample(1, seed=0).command


class TestUploads:
    def test_it_is_fitted_to_the_model(self, session: DemoSession, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "right.png")
        fitted = session.load_photo(tmp_path / "right.png")
        assert (fitted.image.numpy() == pixels[None]).all()
        assert (fitted.notes, fitted.hole) == ((), None)
        Image.new("RGB", (30, 20), (255, 255, 255)).save(tmp_path / "wide.jpg")
        fitted = session.load_photo(tmp_path / "wide.jpg")
        assert fitted.image.shape == (1, 8, 8)
        assert (fitted.image > 250).all()
        assert fitted.notes == ("the image was resized and center-cropped to 8 x 8",)
        assert session.canvas_size == (448, 448)

    def test_an_erased_photo_brings_its_hole(self, session: DemoSession, tmp_path: Path) -> None:
        photo = upload(tmp_path / "erased.png", erased=HOLE)
        loaded = session.load_photo(photo)
        assert loaded.hole is not None and torch.equal(loaded.hole, FITTED)
        assert "read transparent as the hole" in loaded.notes

    def test_transparent_pixels_that_are_no_hole_are_white(
        self, session: DemoSession, tmp_path: Path
    ) -> None:
        photo = upload(tmp_path / "cut.png", erased=np.indices((24, 40))[1] < 2)
        loaded = session.load_photo(photo)
        assert loaded.hole is None
        assert "transparent pixels are shown on white" in loaded.notes
        assert session.load_photo(photo, fit="stretch").hole is None  # half of no pixel

    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    def test_a_mask_belongs_to_its_photo(
        self, fit: FitMode, session: DemoSession, tmp_path: Path
    ) -> None:
        loaded = session.load_photo(upload(tmp_path / "photo.png"), fit=fit)
        Image.fromarray(HOLE).save(tmp_path / "mask.png")
        masked = session.load_mask(tmp_path / "mask.png", loaded, fit)
        assert masked.hole is not None
        if fit == "crop":
            assert torch.equal(masked.hole, FITTED)
        assert "read white as the hole" in masked.notes
        result = session.complete(masked, masked.hole, variations=2, seed=0, full_size=True)
        photo = np.asarray(Image.open(tmp_path / "photo.png"))
        assert list(result.full_size) == ["photo_1.png", "photo_2.png"]
        for completed in map(np.asarray, result.full_size.values()):
            assert np.array_equal(completed[~HOLE], photo[~HOLE])
            assert (completed[HOLE] != photo[HOLE]).any()

    def test_paint_replaces_the_hole_of_a_file(self, session: DemoSession, tmp_path: Path) -> None:
        Image.fromarray(HOLE).save(tmp_path / "mask.png")
        loaded = session.load_photo(upload(tmp_path / "photo.png"), tmp_path / "mask.png")
        painted = torch.zeros(8, 8, dtype=torch.bool)
        painted[7, 7] = True
        result = session.complete(loaded, painted, variations=1, seed=0, full_size=True)
        photo = np.asarray(Image.open(tmp_path / "photo.png"))
        changed = (np.asarray(result.full_size["photo.png"]) != photo).any(axis=-1)
        assert changed[21:24, 29:32].any()
        changed[21:24, 29:32] = False
        assert not changed.any()

    def test_a_mask_for_a_test_image(self, session: DemoSession, tmp_path: Path) -> None:
        Image.fromarray(HOLE[:, 8:32]).save(tmp_path / "mask.png")  # three times as large
        loaded = session.load_mask(tmp_path / "mask.png", session.test_image(5))
        assert loaded.hole is not None and torch.equal(loaded.hole, FITTED)
        assert torch.equal(loaded.image, session.test_image(5).image)
        assert loaded.notes[1:] == ("mask.png: resized to the size of the image",)
        result = session.complete(loaded, loaded.hole, variations=1, seed=0, full_size=True)
        assert result.full_size == {}
        with pytest.raises(HoleError, match="there is no image yet: upload one before its mask"):
            session.load_mask(tmp_path / "mask.png", None)


def test_an_unknown_test_image_is_refused(session: DemoSession) -> None:
    with pytest.raises(ValueError, match="must be 0 to 36, not 37"):
        session.test_image(37)
