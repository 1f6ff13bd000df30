"""A run starts from a trained model with networks of the same sizes and refuses all others."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from training_tools import assert_same

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
    """A model with random weights that no run starts from."""
    torch.manual_seed(41)
    BigLearnGAN(tiny_config()).save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_run_with_tiny_steps_keeps_the_model(
    tiny_config: Callable[..., Config], trained: Path, tmp_path: Path
) -> None:
    tiny_steps = {f"train.learning_rate.{role}": 1e-30 for role in ("generator", "discriminator")}
    config = tiny_config({"train.initial_model": str(trained)} | NO_WARM_START | tiny_steps)
    outcome = fit(config, tmp_path / "run", device="cpu")
    before, after = weights_of(trained), weights_of(outcome.checkpoint)
    assert before.keys() == after.keys()
    for name, value in before.items():
        # The moving average of a constant is rounded.
        torch.testing.assert_close(after[name], value, rtol=1e-6, atol=1e-20)


def test_with_partial_patches_holes_of_whole_patches_give_the_same_samples(
    tiny_config: Callable[..., Config], trained: Path
) -> None:
    values = {"train.initial_model": str(trained), "tasks.partial_patches": 0.5} | NO_WARM_START
    config = tiny_config(values)
    initial = load_initial_model(config)
    assert initial is not None
    model = BigLearnGAN(config)
    state = initial_state(config, initial)
    for network in ("generator", "discriminator"):
        assert not state[f"{network}.embedding.known_values.weight"].any()
    model.load_state_dict(state)
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    hole = torch.zeros(3, 8, 8, dtype=torch.bool)
    hole[:, 2:6, 4:6] = True  # whole patches
    assert torch.equal(model.complete(images, hole), initial.complete(images, hole))
    assert torch.equal(model.rank(images, hole), initial.rank(images, hole))


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [
        ((0, 0), (5, 2), "has no convolutions; the run learns them from scratch"),
        ((3, 0), (0, 0), "has convolutions and the run has none; .* output layer from scratch"),
        ((3, 0), (3, 2), "canvas_features=0 and the run .* canvas_features=2; .* output layer"),
        ((3, 2), (5, 2), "canvas_channels=3.* and the run with canvas_channels=5.* output layer"),
        ((3, 2), (3, 2), None),
        ((3, 0, True), (3, 0, True), None),
        ((3, 0, True), (3, 0, False), None),
        ((3, 0, False), (3, 0, True), "canvas_detached=false .* the convolutions from scratch"),
        ((3, 0, False), (5, 2, True), "canvas_detached=false .* the convolutions from scratch"),
    ],
)
def test_other_convolutions_start_at_zero_with_a_new_output_layer(
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    before: tuple[int, ...],
    after: tuple[int, ...],
    note: str | None,
) -> None:
    """The output layer stays if the model had no convolutions, or if only the run detaches them."""

    def config(canvas: tuple[int, ...], changes: dict[str, Any]) -> Config:
        options = ("canvas_channels", "canvas_features", "canvas_detached")
        values = {
            f"model.generator.{key}": value for key, value in zip(options, canvas, strict=False)
        }
        return tiny_config(values | changes)

    torch.manual_seed(41)
    trained = BigLearnGAN(config(before, {}))
    for name, weight in trained.generator.named_parameters():
        if name.startswith("canvas."):
            torch.nn.init.normal_(weight)
    trained.save_pretrained(tmp_path / "trained")
    run = config(after, {"train.initial_model": str(tmp_path / "trained")} | NO_WARM_START)
    with nullcontext() if note is None else pytest.warns(UserWarning, match=note):
        initial = load_initial_model(run)
    assert initial is not None
    model = BigLearnGAN(run)
    model.load_state_dict(initial_state(run, initial))
    keeps_head = note is None or before == (0, 0) or "canvas_detached" in note
    assert torch.equal(model.generator.head.weight, trained.generator.head.weight) == keeps_head
    if note is not None:
        trained.generator.canvas = None
    trained.generator.head = model.generator.head
    assert torch.equal(model.sample(num=2, seed=1), trained.sample(num=2, seed=1))


def initial_state(config: Config, initial: BigLearnGAN) -> dict[str, Tensor]:
    """The weights of a run that starts from a model, under the names of a model for use."""
    from accelerate import Accelerator

    from biglearn_gan.training.adversarial import AdversarialTraining

    training = AdversarialTraining(config, Accelerator(cpu=True))
    training.init_from(initial.generator, initial.discriminator)
    for live, average in zip(
        training.generator.parameters(), training.average.parameters(), strict=True
    ):
        assert torch.equal(live, average)
    networks = {"generator": training.average, "discriminator": training.discriminator}
    return {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def test_a_resumed_run_does_not_need_its_initial_model(
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
    assert_same(weights_of(once.checkpoint), weights_of(again.checkpoint))


@pytest.mark.parametrize(
    ("changes", "message"),
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
    message: str,
) -> None:
    config = tiny_config({"train.initial_model": str(trained)} | NO_WARM_START | changes)
    for start in (lambda: fit(config, tmp_path / "run", device="cpu"), lambda: describe(config)):
        with pytest.raises(ConfigError) as caught:
            start()
        assert re.fullmatch(
            rf"train.initial_model: .*trained has {message}", caught.value.problems[0]
        )
    assert not (tmp_path / "run").exists()


def test_a_model_trained_with_partial_patches_needs_tasks_with_them(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config({"tasks.partial_patches": 0.5})).save_pretrained(tmp_path / "reads")
    config = tiny_config({"train.initial_model": str(tmp_path / "reads")} | NO_WARM_START)
    with pytest.raises(ConfigError, match="partial_patches above 0, so the run needs"):
        load_initial_model(config)


LABELS = {"data.labels": True, "data.name": "digits"}
LABEL_WEIGHTS = {
    "generator.label.value",
    "generator.label_head.weight",
    "generator.label_head.bias",
    "discriminator.label.value",
}


def test_a_model_without_labels_gets_new_label_weights(
    tiny_config: Callable[..., Config], trained: Path
) -> None:
    config = tiny_config({"train.initial_model": str(trained)} | NO_WARM_START | LABELS)
    with pytest.warns(
        UserWarning, match=r"trained knows no labels; the run learns \d+ from scratch$"
    ):
        initial = load_initial_model(config)
    assert initial is not None
    state = initial_state(config, initial)
    before = initial.state_dict()
    assert state.keys() - before.keys() == LABEL_WEIGHTS
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert all(state[name].any() for name in LABEL_WEIGHTS)


def test_a_model_with_the_same_labels_keeps_them(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    BigLearnGAN(tiny_config(LABELS)).save_pretrained(tmp_path / "labeled")
    values = {"train.initial_model": str(tmp_path / "labeled")} | NO_WARM_START | LABELS
    config = tiny_config(values)
    with warnings.catch_warnings(action="error"):
        initial = load_initial_model(config)
    assert initial is not None
    state, before = initial_state(config, initial), initial.state_dict()
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "labels and the run has none; they are dropped"),
        (
            LABELS | {"data.name": "folder", "data.classes": 3},
            "labels and the run has 3; the run l",
        ),
    ],
    ids=["no labels", "other classes"],
)
def test_other_labels_of_a_model_are_dropped(
    tiny_config: Callable[..., Config], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    initial = BigLearnGAN(tiny_config(LABELS))
    initial.save_pretrained(tmp_path / "labeled")
    values = {"train.initial_model": str(tmp_path / "labeled")} | NO_WARM_START | changes
    config = tiny_config(values)
    with pytest.warns(UserWarning, match=rf"^train.initial_model: .*labeled knows \d+ {message}"):
        loaded = load_initial_model(config)
    assert loaded is not None
    state = initial_state(config, loaded)
    for name, value in initial.state_dict().items():
        if ".label" not in name:
            assert torch.equal(state.pop(name), value)
    assert state.keys() == (LABEL_WEIGHTS if changes else set())
    assert all(
        len(value) in (3, 4) for value in state.values()
    )  # one more row, for an unknown label


def test_labels_of_other_data_keep_their_numbers_with_a_warning(
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
    assert initial_state(config, loaded).keys() == initial.state_dict().keys()


def test_a_missing_model_is_refused_before_anything_is_written(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny_config({"train.initial_model": str(tmp_path / "none")} | NO_WARM_START)
    with pytest.raises(CheckpointError, match="none does not exist"):
        fit(config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_card_names_the_initial_model_without_paths_of_this_machine(
    tiny_config: Callable[..., Config],
) -> None:
    for name, shown in (
        ("owner/model", "owner/model"),
        ("/home/me/runs/x/checkpoint", "x/checkpoint"),
    ):
        config = tiny_config({"train.initial_model": name} | NO_WARM_START).portable()
        assert config.train.initial_model == shown
        assert f"| images seen | 7, after starting from `{shown}`" in card_text(
            config, images_seen=7
        )


def test_a_warm_start_of_a_trained_model_keeps_its_discriminator(
    tiny_config: Callable[..., Config], trained: Path, tmp_path: Path
) -> None:
    values = {"train.initial_model": str(trained), "train.warm_start.share": 0.5}
    tiny_steps = {f"train.learning_rate.{role}": 1e-30 for role in ("generator", "discriminator")}
    config = tiny_config(values | tiny_steps | {"train.warm_start.transfer": "nothing"})
    before = weights_of(trained)
    after = weights_of(fit(config, tmp_path / "run", device="cpu").checkpoint)
    kept = {name for name in before if name.startswith("discriminator.")}
    assert kept
    for name in kept:
        torch.testing.assert_close(after[name], before[name], rtol=1e-6, atol=1e-20)
    assert any(not torch.allclose(after[name], before[name]) for name in before.keys() - kept)


def test_a_warm_start_does_not_overwrite_the_discriminator_of_a_trained_model(
    tiny_config: Callable[..., Config],
) -> None:
    with pytest.raises(ConfigError, match=r"would overwrite the .*; set it to 0, not 0\.25, or"):
        tiny_config({"train.initial_model": "somewhere"})
