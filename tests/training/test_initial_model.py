"""A run that starts from a trained model: the same networks, or one sentence."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.checkpoint import CheckpointError
from biglearn_gan.models.model_card import card_text
from biglearn_gan.progress import TrainingProgress
from biglearn_gan.training.fit import fit
from biglearn_gan.training.initial_model import load_initial_model
from biglearn_gan.training.throughput import describe

NO_WARM_START = {"train.warm_start.share": 0.0}


@pytest.fixture
def trained(tiny_config: Callable[..., Config], tmp_path: Path) -> Path:
    """Random weights of another seed than a run's stand for trained ones."""
    torch.manual_seed(41)
    BigLearnGAN(tiny_config()).save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_run_without_steps_worth_the_name_leaves_the_model_as_it_was(
    tiny_config: Callable[..., Config], trained: Path, tmp_path: Path
) -> None:
    still = {f"train.learning_rate.{role}": 1e-30 for role in ("generator", "discriminator")}
    config = tiny_config({"train.initial_model": str(trained)} | NO_WARM_START | still)
    outcome = fit(config, tmp_path / "run", device="cpu")
    before, after = weights_of(trained), weights_of(outcome.checkpoint)
    assert before.keys() == after.keys()
    for name, value in before.items():
        # The average of one and the same number is rounded.
        torch.testing.assert_close(after[name], value, rtol=1e-6, atol=1e-20)


def test_what_keeps_no_pixels_is_drawn_as_the_model_drew_it(
    tiny_config: Callable[..., Config], trained: Path
) -> None:
    values = {"train.initial_model": str(trained), "tasks.partial_patches": 0.5} | NO_WARM_START
    config = tiny_config(values)
    initial = load_initial_model(config)
    assert initial is not None
    players = BigLearnGAN(config)
    state = players_state(config, initial)
    for network in ("generator", "discriminator"):
        assert not state[f"{network}.embedding.known_values.weight"].any()
    players.load_state_dict(state)
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    hole = torch.zeros(3, 8, 8, dtype=torch.bool)
    hole[:, 2:6, 4:6] = True  # whole patches
    assert torch.equal(players.complete(images, hole), initial.complete(images, hole))
    assert torch.equal(players.rank(images, hole), initial.rank(images, hole))


def players_state(config: Config, initial: BigLearnGAN) -> dict[str, Tensor]:
    from accelerate import Accelerator

    from biglearn_gan.training.adversarial import AdversarialTraining

    players = AdversarialTraining(config, Accelerator(cpu=True))
    players.init_from(initial.generator, initial.discriminator)
    for mine, average in zip(
        players.generator.parameters(), players.average.parameters(), strict=True
    ):
        assert torch.equal(mine, average)
    networks = {"generator": players.average, "discriminator": players.discriminator}
    return {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def test_a_run_that_goes_on_needs_its_first_model_no_more(
    tiny_config: Callable[..., Config], trained: Path, tmp_path: Path
) -> None:
    config = tiny_config({"train.initial_model": str(trained)} | NO_WARM_START)

    def stop(progress: TrainingProgress) -> None:
        if progress.images_seen == 20:
            raise KeyboardInterrupt

    once = fit(config, tmp_path / "once", device="cpu")
    short = tiny_config(
        {"train.initial_model": str(trained), "logging.checkpoint_images": 16} | NO_WARM_START
    )
    with pytest.raises(KeyboardInterrupt):
        fit(short, tmp_path / "twice", device="cpu", on_progress=stop)
    shutil.rmtree(trained)
    again = fit(short, tmp_path / "twice", device="cpu")
    assert again.images_seen == once.images_seen
    left, right = weights_of(once.checkpoint), weights_of(again.checkpoint)
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model.patch_size": 4}, "model.patch_size = 2, but the run has 4"),
        ({"model.generator.width": 40}, "model.generator.width = 20, but the run has 40"),
        ({"data.image_size": 16}, r"data.image_size = \[8, 8\], but the run has \[16, 16\]"),
        ({"data.channels": 3}, "data.channels = 1, but the run has 3"),
    ],
    ids=str,
)
def test_other_networks_are_refused_before_anything_is_written(
    tiny_config: Callable[..., Config],
    trained: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    told: str,
) -> None:
    config = tiny_config({"train.initial_model": str(trained)} | NO_WARM_START | changes)
    for start in (lambda: fit(config, tmp_path / "run", device="cpu"), lambda: describe(config)):
        with pytest.raises(ConfigError) as caught:
            start()
        assert re.fullmatch(rf"train.initial_model: .*trained has {told}", caught.value.problems[0])
    assert not (tmp_path / "run").exists()


def test_a_model_that_reads_kept_pixels_needs_tasks_with_them(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config({"tasks.partial_patches": 0.5})).save_pretrained(tmp_path / "reads")
    config = tiny_config({"train.initial_model": str(tmp_path / "reads")} | NO_WARM_START)
    with pytest.raises(ConfigError, match="partial_patches above 0, so the run needs"):
        load_initial_model(config)


LABELS = {"data.labels": True, "data.name": "digits"}
ADDED = {
    "generator.label.value",
    "generator.label_head.weight",
    "generator.label_head.bias",
    "discriminator.label.value",
}


def test_a_model_without_labels_learns_them_and_keeps_all_else(
    tiny_config: Callable[..., Config], trained: Path
) -> None:
    config = tiny_config({"train.initial_model": str(trained)} | NO_WARM_START | LABELS)
    with pytest.warns(
        UserWarning, match=r"trained knows no labels; the run learns \d+ from scratch$"
    ):
        initial = load_initial_model(config)
    assert initial is not None
    state = players_state(config, initial)
    before = initial.state_dict()
    assert state.keys() - before.keys() == ADDED
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert all(state[name].any() for name in ADDED)


def test_a_model_with_the_same_labels_keeps_them(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config(LABELS)).save_pretrained(tmp_path / "labeled")
    values = {"train.initial_model": str(tmp_path / "labeled")} | NO_WARM_START | LABELS
    config = tiny_config(values)
    with warnings.catch_warnings(action="error"):
        initial = load_initial_model(config)
    assert initial is not None
    state, before = players_state(config, initial), initial.state_dict()
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "labels and the run has none; they are dropped"),
        (
            LABELS | {"data.name": "folder", "data.classes": 3},
            "labels and the run has 3; the run l",
        ),
    ],
    ids=["no labels", "other classes"],
)
def test_a_model_with_other_labels_leaves_them_behind(
    tiny_config: Callable[..., Config], tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    initial = BigLearnGAN(tiny_config(LABELS))
    initial.save_pretrained(tmp_path / "labeled")
    values = {"train.initial_model": str(tmp_path / "labeled")} | NO_WARM_START | changes
    config = tiny_config(values)
    with pytest.warns(UserWarning, match=rf"^train.initial_model: .*labeled knows \d+ {told}"):
        loaded = load_initial_model(config)
    assert loaded is not None
    state = players_state(config, loaded)
    for name, value in initial.state_dict().items():
        if ".label" not in name:
            assert torch.equal(state.pop(name), value)
    assert state.keys() == (ADDED if changes else set())
    assert all(len(value) in (3, 4) for value in state.values())  # one row more for unknown


def test_labels_of_other_data_keep_their_numbers_and_that_is_told(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    initial = BigLearnGAN(tiny_config(LABELS))
    initial.save_pretrained(tmp_path / "labeled")
    classes = initial.config.data.num_classes
    values = {"train.initial_model": str(tmp_path / "labeled")} | NO_WARM_START | LABELS
    config = tiny_config(values | {"data.name": "folder", "data.classes": classes})
    with pytest.warns(UserWarning, match=r"labels of \w+; they now stand for those of folder$"):
        loaded = load_initial_model(config)
    assert loaded is not None
    assert players_state(config, loaded).keys() == initial.state_dict().keys()


def test_no_model_is_told_and_nothing_is_written(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny_config({"train.initial_model": str(tmp_path / "none")} | NO_WARM_START)
    with pytest.raises(CheckpointError, match="none does not exist"):
        fit(config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_card_says_where_the_run_started_but_not_on_which_machine(
    tiny_config: Callable[..., Config],
) -> None:
    for name, told in (
        ("owner/model", "owner/model"),
        ("/home/me/runs/x/checkpoint", "x/checkpoint"),
    ):
        config = tiny_config({"train.initial_model": name} | NO_WARM_START).portable()
        assert config.train.initial_model == told
        assert f"| images seen | 7, after starting from `{told}`" in card_text(
            config, images_seen=7
        )


def test_such_a_run_has_no_warm_start(tiny_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"has no warm start; set it to 0, not 0\.25"):
        tiny_config({"train.initial_model": "somewhere"})
