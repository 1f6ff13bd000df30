"""``biglearn-gan score``: its table, its picture, and the files that it replaces."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import Run, random_images, save_gray

from biglearn_gan.config import load_config
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import WriteError
from biglearn_gan.image_grid import GAP, MIN_CELL_SIZE
from biglearn_gan.inference import scoring
from biglearn_gan.inference.inputs import InputRequest, load_inputs
from biglearn_gan.inference.scoring import (
    HEADER,
    MAP_RANGE,
    PAIRS_PER_ROW,
    ImageScores,
    color_maps,
    map_grid,
    most_unusual,
    score_images,
)
from biglearn_gan.inference.surprise import critic_quantile, surprise_map
from biglearn_gan.models.biglearn_gan import BigLearnGAN


def read_table(path: Path) -> tuple[list[str], list[str], torch.Tensor]:
    """The header, the names, and the numbers of a table."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    numbers = torch.tensor([[float(cell) for cell in row[1:]] for row in rows])
    return header, [row[0] for row in rows], numbers


def test_the_table_has_the_numbers_of_the_functions(
    run: Run, labeled: Path, tmp_path: Path
) -> None:
    options = ("--num", 5, "--seed", 3, "--variations", 2, "--window", 6)
    code, out, _ = run("score", "--checkpoint", labeled, "--output", tmp_path / "out", *options)
    assert code == 0
    header, names, written = read_table(tmp_path / "out" / "scores.csv")
    assert header == list(HEADER)
    assert names == ["0", "1", "2", "3", "4"]
    model = BigLearnGAN.from_pretrained(labeled)
    data = load_dataset(load_config("digits").data, "test")
    images = data.batch(torch.arange(5)).images
    maps = surprise_map(model, images, window=6, variations=2, seed=3)
    assert isinstance(maps, torch.Tensor)
    columns = [critic_quantile(model, images, seed=3), maps.mean(dim=(1, 2)), maps.amax(dim=(1, 2))]
    torch.testing.assert_close(written, torch.stack(columns, dim=1), atol=1e-6, rtol=0)
    first = int(columns[1].argmax())
    quantile, mean, most = written[first].tolist()
    surprise = f"    {first}: surprise {mean:.2f} (maximum {most:.2f})"
    assert f"{surprise}, critic quantile {quantile:.3f}" == out.splitlines()[0]
    assert not (tmp_path / "out" / "map.png").exists()


def test_the_picture_shows_pairs_and_goes_with_its_table(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(PAIRS_PER_ROW + 1):
        save_gray(folder / f"{number}.png", random_images(8, 8, seed=number).numpy())
    asked = ("score", "--checkpoint", checkpoint, "--output", tmp_path / "out", "--variations", 2)
    code, out, _ = run(*asked, "--images", folder, "--map")
    assert code == 0
    assert "black is 0, and the brightest yellow is 4 or more" in out
    _, names, _ = read_table(tmp_path / "out" / "scores.csv")
    assert names == [f"{number}.png" for number in range(PAIRS_PER_ROW + 1)]
    with Image.open(tmp_path / "out" / "map.png") as picture:
        step = MIN_CELL_SIZE + GAP
        assert picture.size == (2 * PAIRS_PER_ROW * step + GAP, 2 * step + GAP)
        assert "the brightest yellow is 4 or more" in picture.text["Description"]
    assert run(*asked, "--images", folder / "0.png")[0] == 0
    assert not (tmp_path / "out" / "map.png").exists()  # it showed other images


def test_the_most_unusual_image_comes_first() -> None:
    maps = torch.zeros(3, 2, 2)
    maps[1] += 1.0
    maps[2, 0, 0] = 8.0
    images = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 1, 2, 2)
    scores = ImageScores(images, ("a", "b", "c"), torch.tensor([0.5, 0.25, 1.0]), maps)
    assert most_unusual(maps) == [2, 1, 0]
    assert list(scores.lines()) == [
        "    c: surprise 2.00 (maximum 8.00), critic quantile 1.000",
        "    b: surprise 1.00 (maximum 1.00), critic quantile 0.250",
        "    a: surprise 0.00 (maximum 0.00), critic quantile 0.500",
    ]
    cells = np.asarray(map_grid(images, maps))[GAP::2]
    side = MIN_CELL_SIZE + GAP
    assert [cells[0, GAP + 2 * place * side, 0] for place in range(3)] == [2, 1, 0]
    first_map = cells[0, GAP + side]
    assert np.array_equal(first_map, color_maps(torch.tensor([[[8.0]]]))[0, :, 0, 0].numpy())


def test_colors_are_those_of_a_fixed_range() -> None:
    low, high = MAP_RANGE
    values = torch.tensor([[[low, high, high + 5, (low + high) / 2]]])
    colors = color_maps(values)[0, :, 0].T.int()
    assert colors[0].sum() < 10  # black
    assert torch.equal(colors[1], colors[2])
    brightness = colors.sum(dim=1)
    assert brightness[0] < brightness[3] < brightness[1]
    assert torch.equal(color_maps(values[..., :1])[0, :, 0, 0].int(), colors[0])


@pytest.mark.parametrize("file", ["scores.csv", "map.png"])
def test_files_of_another_origin_are_not_replaced(
    run: Run, checkpoint: Path, tmp_path: Path, file: str
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / file).write_text("mine")
    code, _, err = run("score", "--checkpoint", checkpoint, "--output", output)
    assert code == 2
    assert f"holds {file}, which `score` did not write" in err
    assert (output / file).read_text() == "mine"


def test_a_picture_that_stays_keeps_its_table(tmp_path: Path) -> None:
    """An old picture that cannot be removed is reported in one sentence, and nothing is written."""
    ones = torch.ones(1, 2, 2)
    scores = ImageScores(ones[None].to(torch.uint8), ("a",), torch.tensor([0.5]), ones)
    scores.write(tmp_path, draw_map=False)
    before = (tmp_path / "scores.csv").read_bytes()
    (tmp_path / "map.png").mkdir()
    with pytest.raises(WriteError, match=r"map\.png cannot be written"):
        replace(scores, maps=2 * ones).write(tmp_path, draw_map=True)
    assert (tmp_path / "scores.csv").read_bytes() == before


def test_progress_moves_with_every_image(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "OWN_IMAGES", 70)
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = load_config("digits").data
    inputs = load_inputs(model, data, InputRequest(num=3))
    progress: dict[tuple[str, int], list[int]] = {}

    def on_start(unit: str, total: int) -> Callable[[int], None]:
        return progress.setdefault((unit, total), []).append

    options = {"window": None, "variations": 2, "seed": 0}
    score_images(model, inputs, **options, on_start=on_start)
    assert progress == {("own image", 70): [64, 6], ("image", 3): [1, 1, 1]}
