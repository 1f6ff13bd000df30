"""The power of images by frequency: closed forms of simple images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import spectrum
import torch
from toys import random_images

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import Config, DataConfig
from biglearn_gan.data.dataset import ImageDataset

ROWS, COLUMNS = torch.meshgrid(torch.arange(20), torch.arange(30), indexing="ij")


@pytest.mark.parametrize(
    ("wave", "band"),
    [
        ((ROWS + COLUMNS) * math.pi, 5),  # a chessboard: 0.707 cycles per pixel
        (COLUMNS * math.pi, 3),  # stripes of one pixel: 0.5
        (ROWS * math.pi / 2, 1),  # stripes of two pixels: 0.25
        (COLUMNS * math.pi / 15, 0),  # 0.033
    ],
)
def test_all_power_of_a_wave_lies_at_its_frequency(wave: torch.Tensor, band: int) -> None:
    powers = spectrum.band_powers(wave.cos().expand(2, 3, 20, 30))
    assert powers[band] > 1
    others = torch.arange(len(powers)) != band
    torch.testing.assert_close(powers[others], torch.zeros(5).double(), atol=1e-9, rtol=0)


def test_white_noise_has_the_same_power_everywhere() -> None:
    """|F|² of N values of variance v is N v on average; gray has a third of the variance."""
    torch.manual_seed(0)
    powers = spectrum.band_powers(2 * torch.randn(4000, 3, 16, 16))
    torch.testing.assert_close(
        powers / (16 * 16 * 4 / 3), torch.ones(6).double(), atol=0.05, rtol=0
    )


def test_brightness_has_no_power() -> None:
    assert not spectrum.band_powers(torch.full((2, 1, 8, 8), 0.7)).any()


def test_both_columns_are_ratios_to_the_test_images(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    model = BigLearnGAN(tiny_config({"model.generator.canvas_channels": 2}))
    assert model.generator.canvas is not None
    torch.nn.init.normal_(model.generator.canvas.conv2.weight)
    model.save_pretrained(tmp_path / "model")
    pixels = random_images(9, 1, 8, 8)
    monkeypatch.setattr(spectrum, "load_dataset", lambda *_: ImageDataset("toy:test", pixels))
    spectrum.main(str(tmp_path / "model"), tmp_path / "new" / "spectrum.json", num=9)
    found = json.loads((tmp_path / "new" / "spectrum.json").read_text())["ratios_to_real_images"]
    real = spectrum.band_powers(pixels / 127.5 - 1)
    assert found["images"] == pytest.approx(
        (spectrum.band_powers(model.sample(num=9)) / real).tolist()
    )
    model.generator.canvas = None
    assert found["before_convolutions"] == pytest.approx(
        (spectrum.band_powers(model.sample(num=9)) / real).tolist()
    )
    assert spectrum.table({"images": [2.0, 0.5] + 4 * [1.0]}).splitlines()[2:4] == [
        "| 0 to 0.2 | 2 |",
        "| 0.2 to 0.3 | 0.5 |",
    ]


def test_a_model_of_incomplete_images_is_compared_with_complete_ones(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tiny_config({"data.missing": {"hole": "center"}})
    BigLearnGAN(missing).save_pretrained(tmp_path / "model")
    read: list[DataConfig] = []

    def remember(data: DataConfig, split: str) -> ImageDataset:
        read.append(data)
        return ImageDataset(f"toy:{split}", random_images(9, 1, 8, 8))

    monkeypatch.setattr(spectrum, "load_dataset", remember)
    spectrum.main(str(tmp_path / "model"), tmp_path / "spectrum.json", num=9)
    assert [data.missing for data in read] == [None]


def test_more_images_than_there_are_is_one_sentence(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config()).save_pretrained(tmp_path / "model")
    images = ImageDataset("toy:test", random_images(9, 1, 8, 8))
    monkeypatch.setattr(spectrum, "load_dataset", lambda *_: images)
    with pytest.raises(CommandError, match="--num must be at most 9"):
        spectrum.main(str(tmp_path / "model"), tmp_path / "spectrum.json", num=10)


@pytest.mark.parametrize("side", [6, 7, 9, 32])
def test_every_band_has_frequencies(side: int) -> None:
    assert spectrum.band_powers(torch.rand(2, 3, side, side)).isfinite().all()
