"""``biglearn-gan classify``: its table, and the images that it reads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import Run, save_gray

from biglearn_gan.config import load_config
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.models.biglearn_gan import BigLearnGAN

DIGITS = Path(__file__).parents[2] / "experiments" / "digits.yaml"


def test_classify_prints_and_writes_probabilities(run: Run, labeled: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels" / "part.csv"
    hidden = ("--mask", "right-half", "--num", 20, "--batch-size", 7)
    code, out, _ = run("classify", "--checkpoint", labeled, "--output", path, *hidden)
    assert code == 0
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "predicted", *map(str, range(10))]
    written = torch.tensor([[float(p) for p in row[2:]] for row in rows])
    images = load_dataset(load_config(DIGITS).data, "test").batch(torch.arange(20)).images
    observed = torch.zeros(20, 8, 8, dtype=torch.bool)
    observed[:, :, :4] = True
    expected = BigLearnGAN.from_pretrained(labeled).classify(images, observed=observed)
    torch.testing.assert_close(written, expected, atol=1e-6, rtol=0)
    assert [int(row[1]) for row in rows] == expected.argmax(dim=1).tolist()
    lines = [line for line in out.splitlines() if line.lstrip()[:1].isdigit()]
    assert lines[19].startswith(f"   19: {rows[19][1]} ({expected[19].max():.3f}), ")
    whole = tmp_path / "whole.csv"
    assert run("classify", "--checkpoint", labeled, "--output", whole, "--num", 20)[0] == 0
    assert whole.read_text() != path.read_text()


def test_images_of_a_folder_keep_their_names(run: Run, labeled: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("2.png", "10.png", "x.png")):
        save_gray(folder / name, np.full((8, 8), 40 * number))
    path = tmp_path / "read.csv"
    asked = ("--checkpoint", labeled, "--images", folder, "--num", 2)
    code, out, _ = run("classify", *asked, "--output", path)
    assert code == 0
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == [
        "image",
        "10.png",
        "2.png",
    ]
    assert out.splitlines()[0].startswith("10.png: ")
    code, *_ = run("sample", *asked, "--mask", "center", "--output", tmp_path / "out")
    assert code == 0
    assert np.load(tmp_path / "out" / "samples.npz")["names"].tolist() == ["10.png", "2.png"]


def test_all_files_are_read_and_some_images_of_a_data_set(
    run: Run,
    labeled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(19):
        save_gray(tmp_path / "photos" / f"{number:02}.png", np.full((8, 8), 10 * number))
    note = "using the first 16 of 397 images; set --num to use more"
    asked = ("--checkpoint", labeled)
    for options, rows, count_is_noted in (
        (("--images", "photos"), 19, False),
        (("--images", "photos/03.png"), 1, False),
        (("--images", "digits:test"), 16, True),
        ((), 16, True),
        (("--num", 3), 3, False),
    ):
        code, out, _ = run("classify", *asked, *options)
        assert code == 0
        written = (tmp_path / "samples" / "labels.csv").read_text().splitlines()
        assert len(written) == 1 + rows
        assert (note in out) == count_is_noted
        code, *_ = run("sample", *asked, *options, "--mask", "center", "--output", "out")
        assert code == 0
        assert len(np.load(tmp_path / "out" / "samples.npz")["images"]) == rows
    assert run("sample", *asked, "--output", "joint")[0] == 0
    assert len(np.load(tmp_path / "joint" / "samples.npz")["images"]) == 16
