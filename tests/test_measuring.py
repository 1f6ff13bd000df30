"""Several ways to draw, measured alike; what is there is not measured again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from biglearn_gan import BigLearnGAN

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "experiments"))

import measuring  # noqa: E402


class Copies:
    """Stands for a model: answers with what it was shown, or with grey."""

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, images: Tensor, hole: Tensor, *, variations: int = 1, **_: object) -> Tensor:
        self.asked += 1
        answers = torch.where(hole[:, None], torch.zeros_like(images), images)
        return answers[:, None].repeat(1, variations, 1, 1, 1)


def test_what_is_measured_is_kept_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    model = BigLearnGAN.from_pretrained("checkpoints/digits")
    data = measuring.data_of(model, None)
    assert data.validation_share == 0
    assert measuring.data_of(model, tmp_path).root == str(tmp_path)
    first, second = Copies(), Copies()
    folders = {1: tmp_path / "a", 4: tmp_path / "b"}
    measuring.measure({folders[1]: first}, "these", data, 2, 397)
    measuring.measure({folders[1]: first, folders[4]: second}, "these", data, 2, 397)
    assert first.asked == second.asked > 0
    measuring.measure({folders[1]: first}, "others", data, 2, 397)
    assert first.asked == 2 * second.asked
    kept = [(folder / "metrics.csv").read_text() for folder in folders.values()]
    assert kept[0] == kept[1]
    measures = ("fd", "agreement", "diversity")
    measuring.draw_curves({"copies": folders}, measures, "steps", tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1500, 780)
