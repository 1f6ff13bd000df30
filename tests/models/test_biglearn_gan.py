"""A checkpoint's folder, its errors, and what a sample may and may not depend on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from biglearn_gan.config import Config
from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.models.biglearn_gan import BigLearnGAN, ScoreError
from biglearn_gan.models.checkpoint import CheckpointError
from biglearn_gan.models.token_model import CHUNK_ROWS
from biglearn_gan.tasks.token_masks import TokenSequence

HEIGHT, WIDTH = 6, 10


@pytest.fixture
def model(oblong_config: Config) -> BigLearnGAN:
    """Untrained, with weights far enough from 0 that everything matters."""
    result = BigLearnGAN(oblong_config).eval()
    with torch.no_grad():
        result.generator.head.weight.mul_(3)
    return result


@pytest.fixture
def folder(model: BigLearnGAN, tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    model.save_pretrained(path)
    return path


def random_images(count: int) -> Tensor:
    return 2 * torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) - 1


def ragged_holes(count: int) -> Tensor:
    """Another number of holes, at other places, in every image."""
    rng = torch.Generator().manual_seed(2)
    shares = torch.linspace(0.02, 0.6, count)[:, None, None]
    hole = torch.rand(count, HEIGHT, WIDTH, generator=rng) < shares
    hole[:, 2, 3] = True
    return hole


def test_weights_of_another_precision_are_refused(model: BigLearnGAN) -> None:
    images, hole = random_images(2), ragged_holes(2)
    told = r"the model computes in torch\.float32, not torch\.float16: call \.to\(torch\.float32\)"
    for part in (model, model.generator, model.discriminator):
        part.half()
        for call in (lambda: model.sample(2), lambda: model.rank(images, hole)):
            with pytest.raises(ValueError, match=told):
                call()
        part.float()
    assert len(model.sample(2)) == 2


# The folder


def test_a_saved_model_comes_back_bit_for_bit(model: BigLearnGAN, folder: Path) -> None:
    again = BigLearnGAN.from_pretrained(folder)
    assert not again.training
    assert again.config == model.config.portable()
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(again.sample(5, seed=3), model.sample(5, seed=3))
    images, hole = random_images(5), ragged_holes(5)
    ours, theirs = (m.complete(images, hole, variations=2, seed=3) for m in (model, again))
    assert torch.equal(ours, theirs)
    tokens = torch.randn(3, 7, 12)
    sequence = TokenSequence(torch.arange(7).repeat(3, 1), torch.rand(3, 7) < 0.5)
    logits = again.discriminator(tokens, sequence)
    assert torch.equal(logits, model.discriminator(tokens, sequence))


def test_the_folder_is_complete_and_names_no_place_on_this_machine(
    model: BigLearnGAN, folder: Path
) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.safetensors", "config.json", "README.md"}
    assert model.config.data.root == "/home/somebody/x"
    for name in ("config.json", "README.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "somebody" not in text
        assert str(folder) not in text
    assert json.loads((folder / "config.json").read_text())["data"]["image_size"] == [6, 10]


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


HEAD = "generator.head.bias"

BROKEN: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "missing weight": (
        lambda folder: change_weights(folder, lambda weights: weights.pop(HEAD)),
        ["model.safetensors", "Missing key", HEAD],
    ),
    "extra weight": (
        lambda folder: change_weights(folder, lambda w: w.update(stranger=torch.zeros(3))),
        ["model.safetensors", "Unexpected key", "stranger"],
    ),
    "weight of another shape": (
        lambda folder: change_weights(folder, lambda w: w.update({HEAD: torch.zeros(13)})),
        ["model.safetensors", HEAD, "13", "12"],
    ),
    "configuration of another size": (
        lambda folder: change_config(folder, lambda c: c["model"].update(patch_size=1)),
        ["model.safetensors", "do not fit config.json"],
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        ["holds no model.safetensors"],
    ),
    "weights that are text": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs"),
        ["model.safetensors", "is not a safetensors file"],
    ),
    "truncated weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:-97]
        ),
        ["model.safetensors", "is not a safetensors file"],
    ),
    "empty weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        ["model.safetensors", "is not a safetensors file"],
    ),
    "no configuration": (
        lambda folder: (folder / "config.json").unlink(),
        ["holds no config.json"],
    ),
    "configuration that is not JSON": (
        lambda folder: (folder / "config.json").write_text('{"data": '),
        ["config.json", "JSON"],
    ),
    "configuration that is not text": (
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00{"),
        ["config.json", "JSON"],
    ),
    "configuration that is a list": (
        lambda folder: (folder / "config.json").write_text("[1, 2]"),
        ["config.json"],
    ),
    "configuration that is empty": (
        lambda folder: (folder / "config.json").write_text("{}"),
        ["config.json", "data", "model", "train"],
    ),
    "unknown key": (
        lambda folder: change_config(folder, lambda c: c["model"].update(color="red")),
        ["config.json", "model.color", "unknown key"],
    ),
    "impossible combination": (
        lambda folder: change_config(folder, lambda c: c["model"]["generator"].update(heads=3)),
        ["config.json", "model.generator.heads", "3"],
    ),
}


@pytest.mark.parametrize("breakage", BROKEN)
def test_a_broken_folder_is_one_sentence(folder: Path, breakage: str) -> None:
    break_it, said = BROKEN[breakage]
    break_it(folder)
    with pytest.raises(CheckpointError) as caught:
        BigLearnGAN.from_pretrained(folder)
    message = str(caught.value)
    assert "\n" not in message
    for words in [str(folder), *said]:
        assert words in message


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing", "a/b/c"])
def test_a_name_that_is_nothing_is_one_sentence_with_both_readings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError) as caught:
        BigLearnGAN.from_pretrained(name)
    message = str(caught.value)
    assert repr(name) in message
    assert "folder" in message
    assert "hub" in message
    assert "\n" not in message


def test_an_absolute_path_is_no_name_on_the_hub() -> None:
    with pytest.raises(CheckpointError, match=r"^/no/such/folder does not exist; no model is next"):
        BigLearnGAN.from_pretrained("/no/such/folder")


def test_a_misspelt_folder_is_told_the_models_beside_it_and_no_classifiers(
    model: BigLearnGAN, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "cats")
    ImageClassifier((8, 8), 1, 10).save_pretrained(tmp_path / "classifier_cats")
    for name, content in {"broken": b"\xff", "dogs": b"{"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes(content)
    (tmp_path / "odd" / "config.json").mkdir(parents=True)
    told = rf"does not exist; in {tmp_path} are broken, cats, dogs, odd$"
    with pytest.raises(CheckpointError, match=told):
        BigLearnGAN.from_pretrained(tmp_path / "cat")


# What a sample depends on


def test_samples_are_images(model: BigLearnGAN) -> None:
    samples = model.sample(7, seed=0)
    assert samples.shape == (7, 3, HEIGHT, WIDTH)
    assert samples.abs().max() <= 1
    assert not samples.requires_grad


def test_a_sample_does_not_depend_on_how_many_are_asked_for(model: BigLearnGAN) -> None:
    many = model.sample(CHUNK_ROWS + 7, seed=3)
    assert torch.equal(model.sample(3, seed=3), many[:3])
    assert len(many.flatten(1).unique(dim=0)) == CHUNK_ROWS + 7


def test_a_long_job_can_be_cut_in_parts(model: BigLearnGAN) -> None:
    images, hole = random_images(7), ragged_holes(7)
    whole = model.complete(images, hole, variations=2, seed=3)
    parts = [
        model.complete(images[part], hole[part], variations=2, seed=3, first_image=part.start)
        for part in (slice(0, 3), slice(3, 7))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_a_completion_does_not_depend_on_how_many_are_asked_for(model: BigLearnGAN) -> None:
    """Nor a variation on the others; 23 images of 5 variations are more than one chunk."""
    images, hole = random_images(23), ragged_holes(23)
    absent = torch.zeros_like(hole)
    absent[1::2, :, 8:] = True
    many = model.complete(images, hole, absent=absent, variations=5, seed=3)
    assert many.shape == (23, 5, 3, HEIGHT, WIDTH)
    for images_asked, variations in ((3, 1), (1, 5), (23, 2)):
        few = model.complete(
            images[:images_asked],
            hole[:images_asked],
            absent=absent[:images_asked],
            variations=variations,
            seed=3,
        )
        assert torch.equal(few, many[:images_asked, :variations])


def test_images_and_variations_have_noise_of_their_own(model: BigLearnGAN) -> None:
    """One source, three times: all of its twelve completions differ."""
    images, hole = random_images(1).repeat(3, 1, 1, 1), ragged_holes(5)[4:].repeat(3, 1, 1)
    completions = model.complete(images, hole, variations=4, seed=3)
    assert len(completions.flatten(0, 1).flatten(1).unique(dim=0)) == 12


def test_the_seed_decides(model: BigLearnGAN) -> None:
    torch.manual_seed(11)
    first = model.sample(5, seed=3)
    torch.manual_seed(12)
    assert torch.equal(model.sample(5, seed=3), first)
    others = model.sample(5, seed=4)
    assert not torch.isclose(others, first).flatten(1).all(dim=1).any()
    assert torch.equal(model.sample(5), model.sample(5, seed=0))


def test_sampling_leaves_global_randomness_alone(model: BigLearnGAN) -> None:
    state = torch.get_rng_state()
    model.sample(3, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


# Holes


def test_observed_pixels_come_back_bit_for_bit(model: BigLearnGAN) -> None:
    images, hole = random_images(11), ragged_holes(11)
    images[:, 0, 0] = -0.0
    images[:, 1, 1] = 1e-40  # denormal
    images[:, 2, 5] = 1.0005  # rounded
    completions = model.complete(images, hole, variations=2, seed=3)
    kept = (~hole)[:, None, None].expand_as(completions)
    given = images[:, None].expand_as(completions)
    assert torch.equal(completions[kept].view(torch.int32), given[kept].view(torch.int32))
    assert (completions[~kept] != given[~kept]).all()
    assert (completions[~kept].abs() <= 1).all()


def test_a_patch_that_a_hole_touches_is_generated_whole(model: BigLearnGAN) -> None:
    """Its kept pixels come back, but the model has not seen them; those of other patches it has."""
    images = random_images(1)
    hole = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    hole[0, 2, 4] = True  # of the patch with rows 2, 3 and columns 4, 5
    completion = model.complete(images, hole, seed=3)[0, 0, :, 2, 4]
    same_patch = images.clone()
    same_patch[..., 3, 5] = 0.5
    again = model.complete(same_patch, hole, seed=3)[0, 0]
    assert torch.equal(again[:, 2, 4], completion)
    assert torch.equal(again[:, 3, 5], torch.full((3,), 0.5))
    next_patch = images.clone()
    next_patch[..., 3, 6] = 0.5
    other = model.complete(next_patch, hole, seed=3)[0, 0, :, 2, 4]
    assert (other != completion).all()


def test_what_an_image_holds_inside_its_hole_does_not_matter(model: BigLearnGAN) -> None:
    images, hole = random_images(5), ragged_holes(5)
    completion = model.complete(images, hole, seed=3)
    filled = torch.where(hole[:, None], torch.full_like(images, torch.nan), images)
    assert torch.equal(model.complete(filled, hole, seed=3), completion)


def test_a_hole_wins_over_absent_pixels_in_one_patch(model: BigLearnGAN) -> None:
    images = random_images(1)
    hole, absent = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    hole[0, 2, 4] = absent[0, 3, 5] = True
    completion = model.complete(images, hole, absent=absent, seed=3)
    assert torch.equal(completion, model.complete(images, hole, seed=3))


def test_an_unknown_option_of_loading_is_refused(model: BigLearnGAN, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="unexpected keyword argument 'device'"):
        BigLearnGAN.from_pretrained(tmp_path, device="cpu")  # type: ignore[call-arg]


def test_wrong_sizes_are_refused(model: BigLearnGAN) -> None:
    images, hole = random_images(2), ragged_holes(2)
    expected = r"\(N, C, H, W\) = \(N, 3, 6, 10\)"
    wrong: list[tuple[Tensor, Tensor]] = [
        (images[:, :1], hole),
        (nn.functional.pad(images, (0, 2)), nn.functional.pad(hole, (0, 2))),
        (images.transpose(2, 3), hole.transpose(1, 2)),
    ]
    for some_images, some_hole in wrong:
        with pytest.raises(ValueError, match=expected):
            model.complete(some_images, some_hole)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        model.complete(images, hole, variations=0)
    with pytest.raises(ValueError, match="the hole of image 1 is empty"):
        model.complete(images, hole & torch.tensor([True, False])[:, None, None])
    with pytest.raises(ValueError, match="seed must be at least 0, not -1"):
        model.sample(1, seed=-1)


def test_what_is_no_whole_number_is_refused(unchecked: None, model: BigLearnGAN) -> None:
    for num in (2.5, "2", True, None):
        with pytest.raises(ValueError, match="num must be an integer of at least 1, not "):
            model.sample(num)  # type: ignore[arg-type]
    for steps in (1.5, 2.0):
        with pytest.raises(ValueError, match=f"steps must be 1 to 15, .* not {steps}"):
            model.sample(1, steps=steps)  # type: ignore[arg-type]


def test_whole_numbers_of_numpy_are_whole_numbers(unchecked: None, model: BigLearnGAN) -> None:
    num, seed, steps = np.int64(2), np.int32(3), np.int64(4)
    drawn = model.sample(num, seed=seed, steps=steps)  # type: ignore[arg-type]
    assert torch.equal(drawn, model.sample(2, seed=3, steps=4))


def test_masks_of_other_sizes_than_the_images_are_refused(
    unchecked: None, model: BigLearnGAN
) -> None:
    images, hole = random_images(2), ragged_holes(2)
    for wrong in (hole.repeat(2, 1, 1), hole[:, :4], hole.transpose(1, 2)):
        with pytest.raises(ValueError, match="hole must have the shape"):
            model.complete(images, wrong)
        with pytest.raises(ValueError, match="absent must have the shape"):
            model.complete(images, hole, absent=wrong)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"images": np.zeros((2, 3, 6, 10))}, "images must be a torch tensor .*not ndarray"),
        ({"images": torch.zeros(2, 3, 6, 10).double()}, "images must be torch.float32 .*float64"),
        (
            {"images": torch.full((2, 3, 6, 10), 200.0)},
            r"in \[-1, 1\], not in .*200",
        ),
        ({"images": torch.full((2, 3, 6, 10), math.nan)}, "images must be finite"),
        ({"hole": torch.ones(2, 6, 10)}, "hole must be a boolean torch tensor.*float32"),
        ({"hole": np.ones((2, 6, 10), bool)}, "hole must be a boolean torch tensor.*ndarray"),
        ({"absent": torch.ones(2, 6, 10).byte()}, "absent must be a boolean torch tensor.*uint8"),
    ],
)
def test_what_is_no_image_or_mask_is_one_sentence(
    model: BigLearnGAN, changed: dict[str, Any], told: str
) -> None:
    asked = {"images": random_images(2), "hole": ragged_holes(2)} | changed
    with pytest.raises(ValueError, match=told):
        model.complete(**asked)


def test_what_a_hole_holds_may_be_anything(model: BigLearnGAN) -> None:
    images, hole = random_images(2), ragged_holes(2)
    nothing = images.masked_fill(hole[:, None], math.nan)
    assert torch.equal(model.complete(nothing, hole), model.complete(images, hole))


def test_no_images_are_completed_to_none(model: BigLearnGAN) -> None:
    images, hole = random_images(0), torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    assert model.complete(images, hole, variations=2).shape == (0, 2, 3, HEIGHT, WIDTH)


def test_one_mask_is_that_of_all(model: BigLearnGAN) -> None:
    images, hole = random_images(3), ragged_holes(1)
    expected = model.complete(images, hole.repeat(3, 1, 1), absent=~hole.repeat(3, 1, 1))
    for one in (hole[0], hole, hole[None], hole.repeat(3, 1, 1)[:, None]):
        assert torch.equal(model.complete(images, one, absent=~one), expected)


def test_images_from_0_to_1_are_warned_of(model: BigLearnGAN) -> None:
    images, hole = random_images(3), ragged_holes(3)
    with pytest.warns(UserWarning, match=r"no known pixel is below 0: .* 2 \* x - 1"):
        model.complete((images + 1) / 2, hole)


# The critic


def test_a_score_reads_source_and_target_and_nothing_else(
    tiny_config: Callable[..., Config],
) -> None:
    model = BigLearnGAN(tiny_config({"loss.logistic": 1.0})).eval()
    rng = torch.Generator().manual_seed(0)
    images = 1.6 * torch.rand(70, 1, *model.config.data.image_size, generator=rng) - 0.8
    source, target = (torch.zeros(70, *images.shape[2:]).bool() for _ in range(2))
    source[:, :, :4] = True
    target[:35, :2, 4:] = True  # rows differ in their counts
    target[35:, :, 4:6] = True
    scores = model.score(images, source, target)
    assert scores.shape == (70,)
    absent = ~(source | target)[:, None]
    assert torch.equal(model.score(images.masked_fill(absent, 9), source, target), scores)
    assert (model.score(images + 0.1 * source[:, None], source, target) != scores).all()
    assert (model.score(images + 0.1 * target[:, None], source, target) != scores).all()
    alone = model.score(images[5:6], source[5:6], target[5:6])
    assert torch.equal(alone, scores[5:6])


def test_relativistic_logits_are_no_scores(tiny_config: Callable[..., Config]) -> None:
    model = BigLearnGAN(tiny_config({"loss.logistic": 0.0, "loss.relativistic": 1.0}))
    everything = torch.ones(1, *model.config.data.image_size).bool()
    with pytest.raises(ScoreError, match=r"no absolute scores.*loss.logistic of 0"):
        model.score(torch.zeros(1, 1, *everything.shape[1:]), ~everything, everything)


def test_push_to_hub_uploads_what_save_pretrained_writes(
    model: BigLearnGAN, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: dict[str, int] = {}

    class Hub:
        def __init__(self, token: str | None = None):
            pass

        def create_repo(self, repo_id: str, **options: object) -> SimpleNamespace:
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id: str, folder_path: Path, **options: object) -> str:
            assert repo_id == "somebody/digits"
            uploaded.update({path.name: path.stat().st_size for path in folder_path.iterdir()})
            return "done"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    assert model.push_to_hub("somebody/digits") == "done"
    assert uploaded.keys() == {"model.safetensors", "config.json", "README.md"}
    assert all(uploaded.values())
