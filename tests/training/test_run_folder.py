"""A run folder refuses other runs and foreign files, and reads what earlier versions wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from toys import random_images
from training_tools import assert_same, load_state, load_weights, press_ctrl_c_at

from biglearn_gan.config import Config
from biglearn_gan.files import OutputError
from biglearn_gan.training.fit import fit
from biglearn_gan.training.run_folder import RunFolder, RunFolderError


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "train.learning_rate.generator",
            0.007,
            "train.learning_rate.generator = 0.002, not 0.007: choose another output folder or the "
            "same configuration (it may differ with a larger train.max_images)",
        ),
        ("model.generator.depth", 2, "model.generator.depth = 1, not 2"),
        ("train.max_images", 24, "train.max_images = 48, not 24: choose another output folder"),
        ("tasks.preset", "mae", "tasks.preset = big, not mae"),
    ],
)
def test_another_configuration_is_refused(
    tiny_config: Callable[..., Config], tmp_path: Path, key: str, value: Any, message: str
) -> None:
    run = tmp_path / "run"
    fit(tiny_config(), run, device="cpu", on_progress=press_ctrl_c_at(4))
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(RunFolderError) as caught:
        fit(tiny_config({key: value}), run, device="cpu")
    assert message in str(caught.value)
    assert str(run) in str(caught.value)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_run_from_before_classes_had_names_resumes(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    folder = {"data.name": "folder", "data.labels": True, "data.classes": 2}
    before = RunFolder(tmp_path / "run", tiny_config(folder))
    with before:
        before.create()
        before.save_state({})
    assert "class_names" not in (tmp_path / "run" / "config.yaml").read_text()
    named = folder | {"data.class_names": ("ant", "bee")}
    RunFolder(tmp_path / "run", tiny_config(named)).check()
    with pytest.raises(RunFolderError, match=r"data\.classes = 2, not 3"):
        RunFolder(tmp_path / "run", tiny_config(folder | {"data.classes": 3})).check()


def test_logging_and_the_place_of_the_data_may_change(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(tiny_config(), run, device="cpu", on_progress=press_ctrl_c_at(4))
    changed = tiny_config({"logging.log_images": 12, "data.root": "elsewhere"})
    assert fit(changed, run, device="cpu").images_seen == 48


def test_a_run_goes_on_with_its_images_in_another_folder_and_not_with_others(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    for name, count, seed in (("one", 9, 0), ("fewer", 7, 0), ("others", 9, 1)):
        (tmp_path / name).mkdir()
        for number, image in enumerate(random_images(count, 1, 8, 8, seed=seed)):
            Image.fromarray(image[0].numpy()).save(tmp_path / name / f"{number}.png")

    def config(name: str) -> Config:
        return tiny_config({"data.name": "folder", "data.root": str(tmp_path / name)})

    run = tmp_path / "run"
    fit(config("one"), run, device="cpu", on_progress=press_ctrl_c_at(4))
    before = load_state(run)
    for name in ("fewer", "others"):
        with pytest.raises(RunFolderError, match=r"run was trained on other images than these"):
            fit(config(name), run, device="cpu")
    assert_same(load_state(run), before)
    (tmp_path / "one").rename(tmp_path / "moved")
    assert fit(config("moved"), run, device="cpu").images_seen == 48


def test_a_damaged_state_is_reported_in_one_sentence(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(tiny_config(), run, device="cpu", on_progress=press_ctrl_c_at(4))
    intact = (run / "state.pt").read_bytes()
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.pt")
    for damaged in (intact[:1000], b"a text", b"", (tmp_path / "other.pt").read_bytes()):
        (run / "state.pt").write_bytes(damaged)
        with pytest.raises(RunFolderError, match=r"state\.pt: cannot be read") as caught:
            fit(tiny_config(), run, device="cpu")
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)


# Foreign files


@pytest.mark.parametrize("name", ["notes.txt", "photos", "best", "metrics.csv", "config.yaml"])
def test_a_folder_with_foreign_files_is_refused(
    tiny_config: Callable[..., Config], tmp_path: Path, name: str
) -> None:
    """A configuration written by hand is a foreign file too, and what a run needs one for."""
    if name in ("photos", "best"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("data: {name: digits}  # mine\n")
    message = f"holds {name}, which `train` did not write: choose another output folder$"
    with pytest.raises(OutputError, match=message):
        RunFolder(tmp_path, tiny_config()).check()


def test_a_run_that_stopped_before_its_first_checkpoint_is_no_foreign_folder(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run", tiny_config())
    folder.check()
    folder.create()
    (folder.path / ".writing-state.pt").write_text("half a state")
    RunFolder(folder.path, tiny_config({"train.seed": 5})).check()


def test_a_state_without_its_configuration_is_not_resumed(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """Any configuration could be that of the state."""
    (tmp_path / "state.pt").write_text("a state")
    with pytest.raises(RunFolderError, match=r"has a state\.pt but no config\.yaml that says"):
        RunFolder(tmp_path, tiny_config()).check()


def test_a_model_without_a_state_is_not_replaced(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(RunFolderError, match=r"has a model but no state\.pt to resume from"):
        RunFolder(tmp_path, tiny_config()).check()


@pytest.mark.parametrize("output", ["images", "images/train/runs/x"])
def test_a_run_among_the_images_of_its_folder_is_refused(
    tiny_config: Callable[..., Config], tmp_path: Path, output: str
) -> None:
    (tmp_path / "images" / "train").mkdir(parents=True)
    data = {"data.name": "folder", "data.root": str(tmp_path / "images")}
    with pytest.raises(OutputError, match=r"would mix with the input .*images: choose another"):
        RunFolder(tmp_path / output, tiny_config(data)).check()
    RunFolder(tmp_path / "run", tiny_config(data)).check()


# Runs of earlier versions

OLD_CONFIG_KEYS = {
    "tasks": {"partial_patches": "kept_pixels", "label_conditioning": "label_given"},
    "loss": {"reuse_fake_pass": "shared_pass"},
    "logging": {"evaluation_time_share": "evaluation_share"},
}
OLD_STATE_KEYS = {"original_max_images": "first_budget"}
OLD_TRAINER_KEYS = {
    "adversarial": "players",
    "metric_sums": "sums",
    "last_report": "reported",
}
OLD_WEIGHT_NAMES = {
    "embedding.known_values.": "embedding.kept.",
    "embedding.mask_token": "embedding.unknown",
    "summary.fc1.": "summary.rise.",
    "summary.fc2.": "summary.fall.",
}


def rename(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}


def downgrade_config(values: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration as the first version wrote it."""
    old = {name: rename(values[name], OLD_CONFIG_KEYS.get(name, {})) for name in values}
    old["loss"]["communication_from"] = 0.0
    warm_start = rename(old["train"]["warm_start"], {"transfer": "hand_over"})
    old["train"]["warm_start"] = warm_start | {"tasks": "conditional"}
    return old


def downgrade_state(state: dict[str, Any]) -> dict[str, Any]:
    """A training state as the first version wrote it."""

    def old_name(name: str) -> str:
        for new, old in OLD_WEIGHT_NAMES.items():
            name = name.replace(new, old)
        return name

    adversarial = dict(state["trainer"]["adversarial"])
    for network in ("generator", "discriminator", "average"):
        adversarial[network] = {old_name(n): w for n, w in adversarial[network].items()}
    trainer = rename(state["trainer"] | {"adversarial": adversarial}, OLD_TRAINER_KEYS)
    return rename(state | {"trainer": trainer}, OLD_STATE_KEYS)


def test_a_run_of_the_first_version_goes_on_exactly(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny_config({"tasks.partial_patches": 0.5, "data.labels": True})
    fit(config, tmp_path / "whole", device="cpu")
    run = tmp_path / "run"
    fit(config, run, device="cpu", on_progress=press_ctrl_c_at(16))
    old_state = downgrade_state(load_state(run))
    assert "embedding.kept.weight" in old_state["trainer"]["players"]["discriminator"]
    torch.save(old_state, run / "state.pt")
    (run / "config.yaml").write_text(yaml.safe_dump(downgrade_config(config.to_dict())))

    assert fit(config, run, device="cpu").images_seen == 48
    assert_same(load_state(run), load_state(tmp_path / "whole"))
    assert_same(load_weights(run), load_weights(tmp_path / "whole"))
    assert (run / "config.yaml").read_text() == config.to_yaml()
