"""The commands and Python examples of README and guides run, and write what the pages promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from docs_tools import GUIDES, README, follow

from biglearn_gan.evaluation.records import read_records

GUIDE, PHOTOS, TRAINING, CONFIGURATION, EVALUATION, HOW_IT_WORKS = GUIDES


@pytest.mark.parametrize(
    "page", [TRAINING, CONFIGURATION, HOW_IT_WORKS], ids=lambda page: page.stem
)
def test_the_page_can_be_followed(page: Path, clone: Path) -> None:
    follow(page)


def test_the_readme_leaves_samples_and_a_run(clone: Path) -> None:
    follow(README)
    check_samples(clone / "samples/digits", images=8, variations=8)
    for name in ("metrics.csv", "tensorboard", "grids", "state.pt", "checkpoint"):
        assert (clone / "runs/digits" / name).exists(), name


def test_the_guide_leaves_samples(clone: Path) -> None:
    follow(GUIDE)
    check_samples(clone / "samples/random", images=8, variations=6)


def test_the_page_on_photos_leaves_samples(clone: Path) -> None:
    follow(PHOTOS)
    check_samples(clone / "samples/mine", images=24, variations=4)


def test_the_page_on_evaluation_leaves_records(clone: Path, inception_weights: Path) -> None:
    follow(EVALUATION, inception_weights)
    records = read_records(clone / "samples/metrics/metrics.json")
    assert {record.task for record in records} == {"real", "joint", "random:0.5"}


def check_samples(folder: Path, images: int, variations: int) -> None:
    """The folder holds this many samples as an array, as files, and in a grid."""
    assert (folder / "grid.png").is_file()
    with np.load(folder / "samples.npz") as arrays:
        assert arrays["images"].shape[:2] == (images, variations)
    assert len(list((folder / "samples").glob("*.png"))) == images * variations
