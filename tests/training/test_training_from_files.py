"""Training on images that are decoded on demand equals training from memory, exactly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_tools import (
    MOST_RANDOMNESS,
    assert_same,
    load_metrics,
    load_state,
    press_ctrl_c_at,
)

from biglearn_gan.config import Config
from biglearn_gan.training.fit import fit


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen gray images to train on: no multiple of a batch, so that batches cross epochs."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (14, 8, 8), dtype=np.uint8)
    for split, images in (("train", pixels[:13]), ("test", pixels[13:])):
        (folder / split).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / split / f"{number:02d}.png")
    return folder


@pytest.fixture
def run(
    tiny_config: Callable[..., Config], photos: Path, tmp_path: Path
) -> Callable[..., tuple[Any, Any]]:
    """Train on six batches; gives the state and the metrics at the end.

    Every part is a call of its own with a limit of memory and a number of workers; all but the last
    are stopped when some images are seen.
    """

    def run(*parts: tuple[int, int], stops: tuple[int, ...] = ()) -> tuple[Any, Any]:
        for (limit, workers), images in zip(parts, (*stops, None), strict=True):
            data = {"data.name": "folder", "data.root": str(photos), "data.workers": workers}
            changes = {"data.memory_limit_mb": limit, "train.max_images": 24}
            stop = press_ctrl_c_at(-1 if images is None else images)
            fit(
                tiny_config(MOST_RANDOMNESS | data | changes),
                tmp_path,
                device="cpu",
                on_progress=stop,
            )
        return load_state(tmp_path), load_metrics(tmp_path)

    return run


IN_MEMORY = 4096
IN_FILES = 0


@pytest.fixture(scope="module")
def results() -> dict[str, tuple[Any, Any]]:
    """What the first test leaves to the others: the run from memory."""
    return {}


@pytest.fixture
def from_memory(
    run: Callable[..., tuple[Any, Any]], results: dict[str, tuple[Any, Any]], tmp_path: Path
) -> tuple[Any, Any]:
    """A run from memory that never stops."""
    if not results:
        results["memory"] = run((IN_MEMORY, 0))
        for file in tmp_path.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    return results["memory"]


@pytest.mark.parametrize(
    ("parts", "stops"),
    [
        ([(IN_FILES, 0)], ()),
        ([(IN_FILES, 0), (IN_FILES, 0)], (8,)),
        ([(IN_FILES, 2), (IN_FILES, 2)], (8,)),
        ([(IN_FILES, 1), (IN_MEMORY, 0), (IN_FILES, 3)], (4, 12)),
    ],
    ids=["whole", "resumed", "resumed with workers", "resumed with others"],
)
def test_a_run_from_files_equals_a_run_from_memory(
    run: Callable[..., tuple[Any, Any]],
    from_memory: tuple[Any, Any],
    parts: list[tuple[int, int]],
    stops: tuple[int, ...],
) -> None:
    state, metrics = run(*parts, stops=stops)
    assert_same(state, from_memory[0])
    assert metrics == from_memory[1]
