"""``biglearn-gan sample``: its files, its inputs, and what its samples depend on."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import Run, save_gray

from biglearn_gan.inference.batched import rank_candidates
from biglearn_gan.models.biglearn_gan import BigLearnGAN


def test_sample_writes_what_it_says(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    code, out, _ = run(
        *("sample", "--checkpoint", checkpoint, "--output", output),
        *("--mask", "right-half", "--num", 3, "--variations", 2, "--seed", 7),
    )
    assert code == 0
    assert "50.0%" in out
    arrays = np.load(output / "samples.npz")
    assert arrays["images"].shape == (3, 2, 8, 8, 1)
    assert arrays["images"].dtype == np.uint8
    assert arrays["sources"].shape == (3, 8, 8, 1)
    assert arrays["masks"].shape == (3, 8, 8)
    assert arrays["masks"].dtype == bool
    assert arrays["masks"][:, :, 4:].all()
    assert not arrays["masks"][:, :, :4].any()
    assert arrays["seeds"][2, 1].tolist() == [7, 2, 1]
    kept = ~arrays["masks"]
    for variation in range(2):
        assert (arrays["images"][:, variation][kept] == arrays["sources"][kept]).all()
    names = sorted(path.name for path in (output / "samples").iterdir())
    assert names == [f"{row:05d}_{variation:02d}.png" for row in range(3) for variation in range(2)]
    written = np.asarray(Image.open(output / "samples" / "00002_01.png"))
    assert (written == arrays["images"][2, 1, :, :, 0]).all()
    # 3 rows of input, masked input and 2 variations, 8 pixels enlarged 7 times, 2 pixels between
    assert Image.open(output / "grid.png").size == (4 * 58 + 2, 3 * 58 + 2)


def test_the_best_of_several_is_the_one_the_critic_likes_most(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    def arrays(name: str, *options: object) -> dict[str, np.ndarray]:
        base = ("--mask", "center", "--seed", 3, "--num", 4, "--batch-size", 3)
        code, *_ = run(
            "sample", "--checkpoint", checkpoint, "--output", tmp_path / name, *base, *options
        )
        assert code == 0
        return dict(np.load(tmp_path / name / "samples.npz"))

    every = arrays("every", "--variations", 6)
    assert "scores" not in every
    best = arrays("best", "--variations", 2, "--best-of", 3)
    model = BigLearnGAN.from_pretrained(checkpoint)
    hole = torch.from_numpy(every["masks"])
    drawn = model.complete(
        torch.from_numpy(every["sources"]).movedim(-1, 1) / 127.5 - 1, hole, variations=6, seed=3
    )
    logits = rank_candidates(model, drawn, hole).view(4, 2, 3)
    assert best["scores"] == pytest.approx(logits.amax(dim=2).numpy(), abs=1e-4)
    for row, variation in itertools.product(range(4), range(2)):
        number = 3 * variation + int(logits[row, variation].argmax())
        assert (best["images"][row, variation] == every["images"][row, number]).all()
        assert best["seeds"][row, variation].tolist() == [3, row, number]
    only = arrays("only", "--variations", 6, "--best-of", 1)
    assert (only["images"] == every["images"]).all()
    assert only["scores"] == pytest.approx(logits.flatten(1).numpy(), abs=1e-4)


def test_rows_of_a_class_and_of_each_class_in_turn(run: Run, labeled: Path, tmp_path: Path) -> None:
    def arrays(name: str, *options: object) -> dict[str, np.ndarray]:
        place = ("--output", tmp_path / name)
        code, *_ = run("sample", "--checkpoint", labeled, *place, "--num", 12, *options)
        assert code == 0
        return dict(np.load(tmp_path / name / "samples.npz"))

    threes = arrays("threes", "--label", 3)
    assert threes["labels"].tolist() == [[3]] * 12
    every = arrays("every", "--label", "all", "--batch-size", 5)
    assert every["labels"][:, 0].tolist() == [*range(10), 0, 1]
    model = BigLearnGAN.from_pretrained(labeled)
    drawn = model.sample(12, labels=torch.from_numpy(every["labels"])[:, 0])
    assert (
        np.abs(every["images"][:, 0, :, :, 0] - (drawn[:, 0].numpy() + 1) * 127.5).max() <= 0.5001
    )
    same = (threes["images"] == every["images"]).reshape(12, -1).all(axis=1)
    assert same.tolist() == (every["labels"][:, 0] == 3).tolist()
    ranked = arrays("ranked", "--label", 3, "--best-of", 2)
    hole = torch.ones(12, 8, 8, dtype=torch.bool)
    images = torch.from_numpy(ranked["images"]).movedim(-1, 2) / 127.5 - 1
    scores = rank_candidates(model, images, hole, torch.full((12, 1), 3))
    assert ranked["scores"] == pytest.approx(scores.numpy(), abs=1e-2)
    whole = arrays("drawn", "--variations", 3, "--best-of", 2)
    part = arrays("part", "--variations", 3, "--best-of", 2, "--batch-size", 5)
    assert all((whole[name] == part[name]).all() for name in ("images", "labels", "scores"))
    drawn_labels = model.draw_labels(torch.zeros(12, 1, 8, 8), hole, variations=3)
    assert (whole["labels"] == drawn_labels.numpy()).all()


def test_samples_take_the_place_of_those_before(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    common = ("sample", "--checkpoint", checkpoint, "--output", tmp_path)
    assert run(*common, "--num", 4, "--variations", 3)[0] == 0
    (tmp_path / "samples" / "mine.png").write_bytes(b"kept")
    assert run(*common, "--num", 2)[0] == 0
    there = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert there == ["00000_00.png", "00001_00.png", "mine.png"]


def test_samples_depend_on_seed_row_and_variation_alone(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    def images(name: str, *options: object) -> np.ndarray:
        folder = tmp_path / name
        code, *_ = run("sample", "--checkpoint", checkpoint, "--output", folder, *options)
        assert code == 0
        return np.load(folder / "samples.npz")["images"]

    base = ("--mask", "random:0.5", "--seed", 3)
    many = images("many", *base, "--num", 7, "--variations", 3)
    few = images("few", *base, "--num", 5, "--variations", 2, "--batch-size", 2)
    assert (many[:5, :2] == few).all()
    assert (images("again", *base, "--num", 7, "--variations", 3) == many).all()
    other = images("other", "--mask", "random:0.5", "--seed", 4, "--num", 7, "--variations", 3)
    assert (other != many).any()
    assert (images("joint", "--num", 5)[:3] == images("joint3", "--num", 3)).all()


def test_sample_reads_masks_and_images_from_files(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    image = save_gray(tmp_path / "image.png", np.arange(64).reshape(8, 8) * 3)
    hole = np.zeros((8, 8))
    hole[2, 3] = 255
    mask = save_gray(tmp_path / "mask.png", hole)
    common = ("sample", "--checkpoint", checkpoint, "--images", image)
    code, out, _ = run(*common, "--num", 4, "--mask", mask, "--output", tmp_path / "white")
    assert code == 0
    assert "the hole is 1.6% of the image; the patches of 2 x 2 pixels that it touches, 6.2%" in out
    assert "found only 1 of the 4 images requested" in out
    arrays = np.load(tmp_path / "white" / "samples.npz")
    assert (arrays["masks"][0] == (hole > 0)).all()
    changed = arrays["images"][0, 0, :, :, 0] != np.asarray(Image.open(image))
    assert not changed[hole == 0].any()
    code, *_ = run(*common, "--mask", mask, "--mask-color", "black", "--output", tmp_path / "black")
    assert code == 0
    assert (np.load(tmp_path / "black" / "samples.npz")["masks"][0] == (hole == 0)).all()


def test_images_of_another_size_are_fitted_and_it_is_said(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    image = save_gray(tmp_path / "large.png", np.zeros((20, 30)))
    code, out, _ = run(
        *("sample", "--checkpoint", checkpoint, "--images", image),
        *("--mask", "center", "--output", tmp_path / "out"),
    )
    assert code == 0
    assert "1 of 1 images had another size and were resized and center-cropped to 8 x 8" in out


def test_data_set_and_split_as_images(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    common = ("sample", "--checkpoint", checkpoint, "--mask", "center", "--num", 4)
    assert run(*common, "--output", tmp_path / "default")[0] == 0
    assert run(*common, "--images", "digits:test", "--output", tmp_path / "test")[0] == 0
    assert run(*common, "--images", "digits:train", "--output", tmp_path / "train")[0] == 0

    def sources(name: str) -> np.ndarray:
        return np.load(tmp_path / name / "samples.npz")["sources"]

    assert (sources("default") == sources("test")).all()
    assert (sources("default") != sources("train")).any()


@pytest.mark.parametrize("name", ["grid.png", "samples.npz", "samples/00003_01.png"])
def test_samples_never_replace_what_sample_did_not_write(
    name: str, run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    file = output / name
    file.parent.mkdir(parents=True)
    file.write_text("somebody else's")
    code, _, err = run("sample", "--checkpoint", checkpoint, "--output", output, "--num", 2)
    assert code == 2
    assert f"{output} holds {name}, which `sample` did not write" in err
    assert [path for path in output.rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "somebody else's"


def test_samples_replace_those_of_another_call_and_leave_the_rest(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    common = ("sample", "--checkpoint", checkpoint, "--output", tmp_path)
    assert run(*common, "--num", 3)[0] == 0
    (tmp_path / "samples" / "mine.png").write_text("somebody else's")
    image = tmp_path / "samples" / "00002_00.png"
    code, _, err = run(*common, "--mask", "center", "--images", image)
    assert code == 2
    assert f"would mix with the input {image}: choose another output folder" in err
    assert run(*common, "--num", 1)[0] == 0
    assert sorted(file.name for file in (tmp_path / "samples").iterdir()) == [
        "00000_00.png",
        "mine.png",
    ]


def test_a_name_of_a_pattern_is_no_folder_of_masks(
    run: Run,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for mask in ("joint", "center"):
        common = ("sample", "--checkpoint", checkpoint, "--mask", mask, "--output", mask)
        assert run(*common, "--num", 1)[0] == run(*common, "--num", 2)[0] == 0
        assert (tmp_path / mask / "grid.png").is_file()


def test_a_folder_of_masks_has_one_for_each_image(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    holes = {"a": np.eye(8) * 255, "b": np.tri(8) * 255}
    ending = dict.fromkeys(itertools.product("ab", ("images", "masks")), ".png")
    ending |= {("a", "masks"): ".bmp", ("b", "masks"): ".mask.png"}
    for name, hole in holes.items():
        for folder, array in (("images", np.full((8, 8), 90)), ("masks", hole)):
            (tmp_path / folder).mkdir(exist_ok=True)
            save_gray(tmp_path / folder / f"{name}{ending[name, folder]}", array)
    code, *_ = run(
        *("sample", "--checkpoint", checkpoint, "--images", tmp_path / "images"),
        *("--mask", tmp_path / "masks", "--output", tmp_path / "out"),
    )
    assert code == 0
    arrays = np.load(tmp_path / "out" / "samples.npz")
    assert arrays["names"].tolist() == ["a.png", "b.png"]
    assert (arrays["masks"] == np.stack([hole > 0 for hole in holes.values()])).all()
