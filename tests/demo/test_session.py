"""A painted hole, its completions, and the command line that draws the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from demo_tools import run
from PIL import Image

from biglearn_gan.demo.session import DemoSession
from biglearn_gan.image_grid import GAP
from biglearn_gan.tasks.holes import HoleError


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


def test_an_upload_is_fitted_to_the_model(session: DemoSession, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "right.png")
    fitted, note = session.load_upload(tmp_path / "right.png")
    assert (fitted.numpy() == pixels[None]).all()
    assert note == ""
    Image.new("RGB", (30, 20), (255, 255, 255)).save(tmp_path / "wide.jpg")
    fitted, note = session.load_upload(tmp_path / "wide.jpg")
    assert fitted.shape == (1, 8, 8)
    assert (fitted > 250).all()
    assert note == "the image was resized and center-cropped to 8 x 8"
    assert session.canvas_size == (448, 448)


def test_an_unknown_test_image_is_refused(session: DemoSession) -> None:
    with pytest.raises(ValueError, match="must be 0 to 36, not 37"):
        session.test_image(37)
