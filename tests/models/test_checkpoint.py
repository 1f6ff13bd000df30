"""A checkpoint is saved and loaded exactly, also under old names; a broken one is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from oblong import ragged_holes, random_images
from safetensors.torch import load_file, save_file
from torch import Tensor

from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.models import checkpoint
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.checkpoint import CheckpointError
from biglearn_gan.shipped import CHECKPOINTS
from biglearn_gan.tasks.token_masks import TokenSequence


@pytest.fixture
def folder(model: BigLearnGAN, tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    model.save_pretrained(path)
    return path


def test_a_saved_model_is_loaded_exactly(model: BigLearnGAN, folder: Path) -> None:
    again = BigLearnGAN.from_pretrained(folder)
    assert not again.training
    assert again.config == model.config.portable()
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(again.sample(5, seed=3), model.sample(5, seed=3))
    images, hole = random_images(5), ragged_holes(5)
    before, after = (m.complete(images, hole, variations=2, seed=3) for m in (model, again))
    assert torch.equal(before, after)
    tokens = torch.randn(3, 7, 12)
    sequence = TokenSequence(torch.arange(7).repeat(3, 1), torch.rand(3, 7) < 0.5)
    logits = again.discriminator(tokens, sequence)
    assert torch.equal(logits, model.discriminator(tokens, sequence))


def test_an_older_checkpoint_is_loaded_exactly(model: BigLearnGAN, folder: Path) -> None:
    """Its weights and the keys of its configuration have their old names."""
    old_parts = {
        ".mask_token": ".unknown",
        "summary.fc1": "summary.rise",
        "summary.fc2": "summary.fall",
    }

    def rename(weights: dict[str, Tensor]) -> None:
        for new_part, old_part in old_parts.items():
            for name in [name for name in weights if new_part in name]:
                weights[name.replace(new_part, old_part)] = weights.pop(name)

    def add_old_keys(values: dict[str, Any]) -> None:
        values["tasks"]["kept_pixels"] = values["tasks"].pop("partial_patches")
        values["loss"] |= {"communication_from": 0.0}
        values["train"]["warm_start"] |= {"tasks": "conditional"}

    change_weights(folder, rename)
    change_config(folder, add_old_keys)
    again = BigLearnGAN.from_pretrained(folder)
    assert again.config == model.config.portable()
    assert torch.equal(again.sample(5, seed=3), model.sample(5, seed=3))


def test_the_folder_is_complete_and_has_no_path_of_this_machine(
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


def test_an_unknown_loading_option_is_refused(model: BigLearnGAN, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="unexpected keyword argument 'device'"):
        BigLearnGAN.from_pretrained(tmp_path, device="cpu")  # type: ignore[call-arg]


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


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing"])
def test_an_unknown_name_is_one_sentence_about_folders_and_the_hub(
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


@pytest.mark.usefixtures("elsewhere")
def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    def fail(url: str, *, token: str | None, timeout: float) -> None:
        requests.append((url, token, timeout))
        raise ConnectionError("no route")

    monkeypatch.setattr(checkpoint, "get_hf_file_metadata", fail)
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    message = "^'nobody/nothing' is neither .*the Hugging Face hub cannot be reached: go online"
    with pytest.raises(CheckpointError, match=message) as caught:
        BigLearnGAN.from_pretrained("nobody/nothing", token="mine")
    assert caught.value.exit_code == 1
    url = f"{huggingface_hub.constants.ENDPOINT}/nobody/nothing/resolve/main/config.json"
    assert requests == [(url, "mine", 5)]


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.usefixtures("elsewhere")
def test_a_model_that_the_hub_does_not_have_is_wrong_usage(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object, **__: object) -> None:
        error = OSError("not found")
        error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(checkpoint, "get_hf_file_metadata", answer)
    with pytest.raises(CheckpointError, match="hub shows no such model: check the name") as caught:
        BigLearnGAN.from_pretrained("nobody/nothing")
    assert caught.value.exit_code == 2


def test_a_downloaded_model_needs_no_question_to_the_hub(
    model: BigLearnGAN, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "cache/models--somebody--digits"
    shutil.copytree(folder, cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0" * 40)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("looked on the hub")

    monkeypatch.setattr(checkpoint, "get_hf_file_metadata", refuse)
    options = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    loaded = BigLearnGAN.from_pretrained("somebody/digits", **options)
    assert torch.equal(loaded.sample(2), model.sample(2))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    loaded = BigLearnGAN.from_pretrained("somebody/digits", cache_dir=tmp_path / "cache")
    assert torch.equal(loaded.sample(2), model.sample(2))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, from which nothing may be looked up on the hub."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("looked on the hub")

    monkeypatch.setattr(checkpoint, "hf_hub_download", refuse)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./cats", "../cats", "a/b/c", "runs/cats", "checkpoints/cats"]
)
def test_a_path_is_not_looked_up_on_the_hub(name: str) -> None:
    message = rf"^the folder {name} does not exist; no model is next"
    with pytest.raises(CheckpointError, match=message):
        BigLearnGAN.from_pretrained(name)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("digts", "digits"),
        ("colored-mnist", "colored_mnist"),
        ("cats", "cifar10, colored_mnist, digits, emoji or mnist"),
        ("classifier_digit", "classifier_digits, classifier_mnist or masked_classifier_digits"),
    ],
)
def test_a_word_is_not_looked_up_on_the_hub(word: str, nearest: str) -> None:
    with pytest.raises(CheckpointError, match=f"'{word}' is neither .*: choose {nearest}, the"):
        BigLearnGAN.from_pretrained(word)


@pytest.mark.usefixtures("elsewhere")
def test_a_shipped_checkpoint_is_found_by_its_name_from_anywhere() -> None:
    expected = load_file(CHECKPOINTS / "digits" / "model.safetensors")
    for name in ("digits", "checkpoints/digits", "checkpoints/digits/"):
        state = BigLearnGAN.from_pretrained(name).state_dict()
        assert sum(value.numel() for value in state.values()) == 288527
        assert torch.equal(state[HEAD], expected[HEAD])
    assert ImageClassifier.from_pretrained("classifier_digits").num_classes == 10
    with pytest.raises(CheckpointError, match="classifier_digits holds a classifier, not a model"):
        BigLearnGAN.from_pretrained("classifier_digits")


def test_a_folder_with_a_checkpoint_goes_before_a_shipped_model(
    model: BigLearnGAN, elsewhere: Path
) -> None:
    (elsewhere / "digits").mkdir()
    assert BigLearnGAN.from_pretrained("digits").config.data.name == "digits"
    with pytest.raises(CheckpointError, match=r"digits holds no config\.json"):
        BigLearnGAN.from_pretrained("./digits")
    model.save_pretrained(elsewhere / "digits" / "checkpoint")
    with pytest.raises(CheckpointError, match="not a checkpoint; digits/checkpoint is one"):
        BigLearnGAN.from_pretrained("digits")
    model.save_pretrained(elsewhere / "digits")
    assert BigLearnGAN.from_pretrained("digits").config.data.name == "folder"


def test_a_misspelled_folder_gets_a_list_of_the_models_next_to_it(
    model: BigLearnGAN, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "cats")
    ImageClassifier((8, 8), 1, 10).save_pretrained(tmp_path / "classifier_cats")
    for name, content in {"broken": b"\xff", "dogs": b"{"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes(content)
    (tmp_path / "odd" / "config.json").mkdir(parents=True)
    message = rf"does not exist; in {tmp_path} are broken, cats, dogs, odd$"
    with pytest.raises(CheckpointError, match=message):
        BigLearnGAN.from_pretrained(tmp_path / "cat")


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
