"""The margins are differences of logits, and what test images lack of them is memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import memorization
import pytest
import torch
from toys import random_images

from biglearn_gan import BigLearnGAN
from biglearn_gan.config import Config, DataConfig
from biglearn_gan.data.dataset import ImageDataset


def model_with_margins() -> Any:
    """Its logit is the mean of the hidden pixels, which are 0.5 in its completions."""
    return SimpleNamespace(
        patch_size=2,
        complete=lambda images, hole, seed, first_image: torch.full_like(images, 0.5)[:, None],
        rank=lambda images, hole: (images * hole[:, None]).sum((1, 2, 3)) / hole.sum((1, 2)),
    )


@pytest.mark.parametrize("rows", [3, 250])
def test_each_margin_is_that_of_an_image_and_its_completion(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memorization, "BATCH_ROWS", rows)
    pixels = random_images(11, 1, 6, 6)
    found = memorization.margins(
        model_with_margins(), ImageDataset("toy:train", pixels), "right-half", 8, seed=0
    )
    expected = (pixels.double() / 127.5 - 1)[..., 3:].mean((1, 2, 3)) - 0.5
    order = {round(float(value), 6) for value in expected}
    assert len(found) == 8 and {round(float(value), 6) for value in found} <= order


def test_the_table_by_hand() -> None:
    margins = memorization.describe(torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64))
    assert margins == {"mean": 3.0, "error": pytest.approx((14 / 3) ** 0.5 / 2)}
    text = memorization.table({"joint": {"train": margins, "test": {"mean": 0.75, "error": 0.1}}})
    assert text.splitlines()[-1] == "| joint | 3.000 ± 1.080 | 0.750 ± 0.100 | 0.75 |"


def test_a_model_of_incomplete_images_is_measured_on_complete_ones(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tiny_config({"data.missing": {"hole": "center"}})
    BigLearnGAN(missing).save_pretrained(tmp_path / "model")
    read: list[DataConfig] = []
    splits = ImageDataset("toy:train", random_images(9, 1, 8, 8))

    def remember(data: DataConfig, split: str) -> ImageDataset:
        read.append(data)
        return splits

    monkeypatch.setattr(memorization, "load_dataset", remember)
    memorization.main(str(tmp_path / "model"), tmp_path / "found.json", num=9)
    assert len(read) == 2 and all(data.missing is None for data in read)
