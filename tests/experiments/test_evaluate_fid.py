"""``experiments/evaluate_fid.py`` gives pytorch-fid's number, writes it, and explains mistakes."""

from __future__ import annotations

import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import evaluate_fid
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pytorch_fid import fid_score, inception

from biglearn_gan.cli.runner import run as run_command

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "checkpoints" / "digits"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the script; returns exit code, standard output, and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["evaluate_fid.py", *words])
        with pytest.raises(SystemExit) as ended:
            run_command(evaluate_fid.main, "evaluate_fid")
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def save_images(folder: Path, count: int, mode: str, size: tuple[int, int], seed: int) -> Path:
    folder.mkdir(parents=True)
    rng = torch.Generator().manual_seed(seed)
    width, height = size
    for number in range(count):
        level = torch.rand(1, generator=rng) * 200
        noise = torch.rand(height, width, len(mode), generator=rng) * 55
        pixels = (level + noise).to(torch.uint8).numpy()
        image = Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode=None)
        image.save(folder / f"{number:03d}.{'bmp' if number % 2 else 'png'}")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """70 RGB and 66 gray images of other sizes, among files that are not measured."""
    top = tmp_path_factory.mktemp("images")
    a = save_images(top / "a", 70, "RGB", (9, 7), seed=1)
    b = save_images(top / "b", 66, "L", (8, 8), seed=2)
    save_images(a / "below", 2, "RGB", (3, 3), seed=3)
    (a / "notes.txt").write_text("no image")
    Image.new("RGB", (3, 3)).save(a / "upper.PNG")
    return a, b


STORED_DISTANCE = 1.6184066688
"""The value of pytorch-fid 0.3.0 for these folders and weights, with SciPy 1.17.1."""


def fid_of_pytorch_fid(a: Path, b: Path) -> float | None:
    """pytorch-fid's value at 64 dimensions, or None if SciPy lacks a function that it calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated calls, and features that never vary
        try:
            return fid_score.calculate_fid_given_paths([str(a), str(b)], 50, "cpu", 64, 0)
        except TypeError:
            return None


def test_the_value_is_that_of_pytorch_fid(
    run: Run, folders: tuple[Path, Path], hub: Path, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "record.json"
    code, out, err = run(*folders, "--dims", 64, "--json", file)
    assert (code, err) == (0, "")
    record = json.loads(file.read_text())
    assert list(record) == ["metric", "value", "dims", "samples", "reference_samples", "seed"]
    assert record | {"value": 0} == {
        "metric": "fd70_inception64_folders",
        "value": 0,
        "dims": 64,
        "samples": 70,
        "reference_samples": 66,
        "seed": None,
    }
    assert f"fd70_inception64_folders: {record['value']:.6f}" in out
    assert f"the 70 images in {folders[0]} to the 66 images in {folders[1]}" in out
    message = "measuring the 70 files that pytorch-fid measures, without 3 others, such as "
    assert f"{folders[0]}: {message}{folders[0] / 'below' / '000.png'}" in out
    expected = fid_of_pytorch_fid(*folders)
    if expected is None:
        warnings.warn(
            "this SciPy lacks a function that pytorch-fid calls: comparing with a stored value",
            stacklevel=1,
        )
        assert record["value"] == pytest.approx(STORED_DISTANCE, rel=1e-4)
    else:
        assert record["value"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dimensions", [192, 768, 2048])
def test_the_features_are_those_of_pytorch_fid(
    dimensions: int, run: Run, hub: Path, tmp_path: Path
) -> None:
    """With few images the distance has a closed form; pytorch-fid's own value is off by 1e-5.

    With centered features as rows, the trace of the root is the nuclear norm of A Bᵀ.
    """
    folders = [
        save_images(tmp_path / "a", 9, "RGB", (9, 7), seed=1),
        save_images(tmp_path / "b", 7, "L", (8, 8), seed=2),
    ]
    block = inception.InceptionV3.BLOCK_INDEX_BY_DIM[dimensions]
    network = inception.InceptionV3([block])
    centered, means = [], []
    for folder in folders:
        files = sorted(folder.iterdir())
        found = fid_score.get_activations(files, network, 50, dimensions, "cpu", num_workers=0)
        features = torch.from_numpy(found).double()
        means.append(features.mean(dim=0))
        centered.append((features - means[-1]) / (len(files) - 1) ** 0.5)
    first, second = centered
    traces = first.square().sum() + second.square().sum()
    root = torch.linalg.svdvals(first @ second.T).sum()
    expected = float((means[0] - means[1]).square().sum() + traces - 2 * root)
    file = tmp_path / "record.json"
    code, _, err = run(*folders, "--dims", dimensions, "--force", "--json", file)
    assert (code, err) == (0, "")
    record = json.loads(file.read_text())
    assert record["metric"] == f"fd9few_inception{dimensions}_folders"
    assert record["value"] == pytest.approx(expected, rel=1e-6)


def test_a_checkpoint_is_sampled(
    run: Run, folders: tuple[Path, Path], inception_weights: Path, tmp_path: Path
) -> None:
    file = tmp_path / "record.json"
    command = (folders[1], "--checkpoint", DIGITS, "--dims", 64, "--num", 80, "--json", file)
    command += ("--inception-weights", inception_weights)
    code, out, err = run(*command, "--seed", 3)
    assert (code, err) == (0, "")
    joint = json.loads(file.read_text())
    assert joint["metric"] == "fd80_inception64_joint"
    assert (joint["dims"], joint["samples"], joint["seed"]) == (64, 80, 3)
    assert f"80 joint samples of {DIGITS}" in out


def test_completions_are_those_of_the_sample_command(
    run: Run, inception_weights: Path, tmp_path: Path
) -> None:
    from biglearn_gan.inference.batched import draw_samples
    from biglearn_gan.inference.inputs import InputRequest, load_inputs
    from biglearn_gan.inference.sample_writer import write_samples
    from biglearn_gan.models.biglearn_gan import BigLearnGAN
    from biglearn_gan.models.token_model import SamplingOptions

    model = BigLearnGAN.from_pretrained(DIGITS)
    request = InputRequest(mask="random:0.5", num=9, seed=5)
    inputs = load_inputs(model, model.config.data, request)
    options = SamplingOptions(seed=5)
    samples = draw_samples(model, inputs.images, inputs.hole, options, batch_size=7)
    write_samples(samples, tmp_path)
    few = save_images(tmp_path / "few", 9, "L", (8, 8), seed=7)
    forced = (few, "--dims", 64, "--inception-weights", inception_weights, "--force")
    drawn = ("--checkpoint", DIGITS, "--mask", "random:0.5", "--num", 9)
    records = {}
    for name, first in {
        "folder": (tmp_path / "samples",),
        "drawn": (*drawn, "--seed", 5),
        "default seed": drawn,
        "named source": (*drawn, "--seed", 5, "--images", "digits:test"),
    }.items():
        file = tmp_path / "record.json"
        code, out, err = run(*first, *forced, "--json", file)
        assert (code, err) == (0, "")
        records[name] = json.loads(file.read_text())
    assert records["drawn"]["metric"] == "fd9few_inception64_test_random50"
    assert "9 completions of digits:test" in out and "hole random:0.5" in out
    assert records["drawn"]["value"] == pytest.approx(records["folder"]["value"], rel=1e-6)
    assert records["named source"] == records["drawn"]
    assert records["default seed"]["seed"] == 0
    assert records["default seed"]["value"] != records["drawn"]["value"]


def test_too_few_images_need_force_and_the_metric_says_so(
    run: Run, folders: tuple[Path, Path], inception_weights: Path, tmp_path: Path
) -> None:
    few = save_images(tmp_path / "few", 7, "L", (8, 8), seed=4)
    file = tmp_path / "record.json"
    options = ("--dims", 64, "--inception-weights", inception_weights, "--json", file)
    for pair in ((few, folders[1]), (folders[1], few)):
        code, out, err = run(*pair, *options)
        assert (code, out) == (2, "")
        assert_one_sentence(err, "7 images are too few for features of 64 dimensions", "--force")
    assert not file.exists()
    code, out, _ = run(few, few, *options, "--force")
    assert code == 0
    assert json.loads(file.read_text())["metric"] == "fd7few_inception64_folders"
    assert "mostly bias" in out


def test_images_of_several_sizes_are_resized_one_by_one(
    run: Run, hub: Path, tmp_path: Path
) -> None:
    """The features are those of pytorch-fid in batches of one, which it needs for this."""
    mixed = save_images(tmp_path / "mixed", 4, "RGB", (9, 7), seed=1)
    for number, size in enumerate(((300, 200), (9, 7), (31, 400), (300, 200))):
        picture = save_images(tmp_path / f"{number}", 1, "RGB", size, seed=9 + number)
        (picture / "000.png").rename(mixed / f"photo{number}.png")
    same = save_images(tmp_path / "same", 5, "L", (8, 8), seed=2)
    file = tmp_path / "record.json"
    code, _, err = run(mixed, same, "--dims", 64, "--force", "--json", file)
    assert (code, err) == (0, "")
    network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[64]])
    means, deviations = [], []
    for folder in (mixed, same):
        files = sorted(folder.iterdir())
        found = fid_score.get_activations(files, network, 1, 64, "cpu", num_workers=0)
        features = torch.from_numpy(found).double()
        means.append(features.mean(dim=0))
        deviations.append((features - means[-1]) / (len(files) - 1) ** 0.5)
    root = torch.linalg.svdvals(deviations[0] @ deviations[1].T).sum()
    expected = float(
        (means[0] - means[1]).square().sum()
        + sum(deviation.square().sum() for deviation in deviations)
        - 2 * root
    )
    record = json.loads(file.read_text())
    assert record["metric"] == "fd8few_inception64_folders"
    assert record["value"] == pytest.approx(expected, rel=1e-6)


class MeanColors:
    """In place of ``InceptionFeatures``: the mean colors of 8 x 8 fields, which takes no time."""

    def __init__(self, weights: Path | None, dimensions: int, device: str):
        self.name, self.dimensions = f"inception{dimensions}", dimensions

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(images.float(), 8)[:, 0].flatten(1)


@pytest.fixture
def mean_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_fid, "InceptionFeatures", MeanColors)


@pytest.mark.usefixtures("mean_colors")
def test_unreadable_files_are_named_and_do_not_count(
    run: Run, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = save_images(tmp_path / "whole", 66, "L", (8, 8), seed=3)
    spoiled = save_images(tmp_path / "spoiled", 66, "L", (8, 8), seed=3)
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(spoiled / "depth.tif")
    (spoiled / "page.jpg").write_text("no image")
    file = tmp_path / "record.json"
    options = ("--dims", 64, "--json", file)
    records = []
    for folder in (whole, spoiled):
        code, out, err = run(folder, folders[1], *options)
        assert (code, err) == (0, "")
        records.append(json.loads(file.read_text()))
    assert records[0] == records[1]
    assert f"images in {spoiled}: skipped 2 broken image files: " in out
    assert (
        "depth.tif is not a readable image (pixels of mode F have no known range: save 8 or 16"
        in out
    )
    assert "page.jpg is not a readable image (it has no known image format)" in out


@pytest.mark.usefixtures("mean_colors")
def test_folders_without_a_readable_file_are_refused(run: Run, tmp_path: Path) -> None:
    b = save_images(tmp_path / "b", 65, "L", (8, 8), seed=2)
    broken = save_images(tmp_path / "broken", 64, "L", (8, 8), seed=3)
    (broken / "001.bmp").write_bytes(b"BM")
    code, out, err = run(b, broken, "--dims", 64)
    assert code == 2
    assert f"images in {broken}: skipped 1 broken image file: {broken / '001.bmp'} is not" in out
    assert_one_sentence(err, "63 images are too few for features of 64 dimensions")
    for file in broken.iterdir():
        file.write_text("no image")
    code, out, err = run(broken, b, "--dims", 64)
    assert (code, out) == (2, "")
    assert_one_sentence(err, f"none of the images in {broken} is readable: ", "000.png is not a re")


@pytest.mark.usefixtures("mean_colors")
def test_large_photos_are_read_a_few_at_a_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batches: list[int] = []
    measure = MeanColors.__call__

    def count(self: MeanColors, images: torch.Tensor) -> torch.Tensor:
        batches.append(len(images))
        return measure(self, images)

    monkeypatch.setattr(MeanColors, "__call__", count)
    monkeypatch.setattr(evaluate_fid, "MAX_BATCH_PIXELS", 3 * 64)
    a = save_images(tmp_path / "a", 7, "L", (8, 8), seed=2)
    assert run(a, a, "--dims", 64, "--force")[0] == 0
    assert batches == [4, 3, 4, 3]


@pytest.mark.usefixtures("mean_colors")
def test_folders_of_folders_and_archives_are_read_whole(
    run: Run, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    flat = save_images(tmp_path / "flat", 66, "L", (8, 8), seed=3)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for number, image in enumerate(sorted(flat.iterdir())):
            copy = tmp_path / "tree" / str(number // 50) / image.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(image.read_bytes())
            archive.write(image, f"images/{image.name}")
    file = tmp_path / "record.json"
    values = []
    for first in (flat, tmp_path / "tree", tmp_path / "images.zip"):
        options = ("--dims", 64, "--json", file)
        code, _, err = run(first, folders[1], *options)
        assert (code, err) == (0, "")
        values.append(json.loads(file.read_text()))
    assert values[0]["samples"] == 66
    assert values[0]["value"] == pytest.approx(values[1]["value"], rel=1e-6)
    assert values[0] == values[2]


def assert_one_sentence(err: str, *parts: str) -> None:
    assert err.startswith("evaluate_fid: ") and err.count("\n") == 1
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("A",), ("give two folders, or one folder and --checkpoint",)),
        (("A", "B", "B"), ("give two folders, or one folder and --checkpoint",)),
        (("A", "B", "--checkpoint", DIGITS), ("give two folders, or one folder and --checkpoint",)),
        (("A", "B", "--mask", "center"), ("--mask requires --checkpoint",)),
        (("A", "B", "--num", 10_000), ("--num requires --checkpoint",)),
        (("A", "B", "--data-root", "x"), ("--data-root requires --checkpoint",)),
        (("A", "--checkpoint", DIGITS, "--images", "B"), ("--images requires a --mask",)),
        (("A", "--checkpoint", DIGITS, "--mask", "middle"), ("middle", "center")),
        (("A", "B", "--dims", 100), ("--dims", "100", "2048")),
        (("A", "B", "--device", "abacus"), ("no device", "abacus")),
        (("A", "B", "--numb", 3), ("--numb",)),
        ((), ("FOLDER_B",)),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: tuple[object, ...],
    parts: tuple[str, ...],
    run: Run,
    folders: tuple[Path, Path],
) -> None:
    named = dict(zip("AB", folders, strict=True))
    code, out, err = run(*(named.get(str(argument), argument) for argument in arguments))
    assert (code, out) == (2, "")
    assert_one_sentence(err, *parts)


def test_failures_are_one_sentence(
    run: Run, folders: tuple[Path, Path], inception_weights: Path, tmp_path: Path
) -> None:
    a, b = folders
    options = ("--dims", 64, "--inception-weights", inception_weights)
    empty = tmp_path / "empty"
    empty.mkdir()
    missing = tmp_path / "missing"
    for arguments, *parts in (
        ((missing, b), str(missing), "is not a folder"),
        ((a, b / "000.png"), "000.png", "is not a folder"),
        ((a, empty), str(empty), "has no image files", ".webp"),
        ((b, "--checkpoint", missing), str(missing)),
        ((b, "--checkpoint", DIGITS, "--mask", "center", "--images", missing), str(missing)),
    ):
        code, out, err = run(*arguments, *options)
        assert (code, out) == (2, ""), arguments
        assert_one_sentence(err, *parts)
    code, _, err = run(a, b, "--dims", 64, "--inception-weights", missing)
    assert code == 2
    assert_one_sentence(err, str(missing))
    weights = torch.load(inception_weights)
    weights["Conv2d_2b_3x3.conv.weight"][0] = torch.nan
    torch.save(weights, tmp_path / "nan.pth")
    code, _, err = run(a, b, "--dims", 64, "--inception-weights", tmp_path / "nan.pth")
    assert code == 1
    assert_one_sentence(err, "the weights of the Inception network give features that are not f")
