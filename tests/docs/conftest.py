"""A clone of the repository for each page, and settings that make its commands quick."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from docs_tools import ROOT
from PIL import Image

from biglearn_gan.evaluation import evaluator, gaussian_oracle
from biglearn_gan.simulations import grid_gmm


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a clone in which a user put masks and images; it is the current one.

    Scripts of experiments write results beside themselves, so these are copies.
    """
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), dtype=np.uint8)
    hole = np.zeros((12, 10), dtype=np.uint8)
    hole[3:9, 3:8] = 255
    Image.fromarray(hole).save(tmp_path / "mask.png")
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    for number in range(24):
        photo = Image.fromarray(np.roll(pixels[number % 4], number, axis=0))
        photo.save(tmp_path / "photos" / f"{number}.png")
        Image.fromarray(hole).save(tmp_path / "masks" / f"{number}.png")
        pet = tmp_path / "pets" / ("cat", "dog", "more")[number % 3] / f"{number}.png"
        pet.parent.mkdir(parents=True, exist_ok=True)
        photo.save(pet)
    (tmp_path / "drawings").symlink_to(tmp_path / "pets")
    for number in range(240):
        picture = tmp_path / "cifar10" / ("train", "test")[number % 2] / str(number // 24)
        picture.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number % 4]).resize((32, 32)).save(picture / f"{number}.png")
    with zipfile.ZipFile(tmp_path / "emoji.zip", "w") as archive:
        for number in range(200):
            archive.write(tmp_path / f"photos/{number % 24}.png", f"72/emoji_u{number:x}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def few_fits_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the commands that have no option for it."""
    for name, schedule in grid_gmm.SCHEDULES.items():
        monkeypatch.setitem(grid_gmm.SCHEDULES, name, replace(schedule, tasks=20))
    monkeypatch.setattr(evaluator, "HISTOGRAM_SOURCES", 10)
    monkeypatch.setattr(gaussian_oracle, "CRITIC_FIT", 128)
    monkeypatch.setattr(gaussian_oracle, "CRITIC_REAL", 64)
