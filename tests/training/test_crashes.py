"""A full disk or a killed process loses nothing but the work since the last checkpoint."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_tools import assert_same, load_metrics, load_state, load_weights

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.files import WriteError, writing
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.training import fit as fit_module
from biglearn_gan.training import metrics_log
from biglearn_gan.training.fit import fit
from biglearn_gan.training.run_folder import RunFolder

FOUR_STEPS: dict[str, Any] = {
    "train.max_images": 16,
    "logging.checkpoint_images": 8,
    "logging.grid_images": 8,
    "logging.tensorboard": True,
}


class KilledError(BaseException):
    """Stands for the end of the process."""


def naming_errors(append: Callable[[Path, bytes], None]) -> Callable[[Path, bytes], None]:
    def named(path: Path, data: bytes) -> None:
        with writing(path):
            append(path, data)

    return named


@contextmanager
def broken_after(changes: int, *, killed: bool) -> Iterator[None]:
    """Allow a number of changes to files, then raise at each one.

    Args:
        changes: allowed calls that create, complete, or rename a file or a folder.
        killed: raise KilledError, also when files are removed, so that nothing is cleaned up; else
            the error of a full disk, which lets files be removed.
    """
    left = changes

    def watch(function: Callable[..., Any], *, removes: bool = False) -> Callable[..., Any]:
        def watched(path: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal left
            if ".lock" not in str(path):  # the system releases the lock of a killed process
                if left <= 0 and killed:
                    raise KilledError
                if left <= 0 and not removes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                left -= not removes
            return function(path, *arguments, **options)

        return watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", watch(os.replace))
        patch.setattr(os, "fsync", watch(os.fsync))
        patch.setattr(Path, "mkdir", watch(Path.mkdir))
        patch.setattr(Path, "rename", watch(Path.rename))
        patch.setattr(metrics_log, "append", naming_errors(watch(metrics_log.append)))
        patch.setattr(Path, "unlink", watch(Path.unlink, removes=True))
        patch.setattr(shutil, "rmtree", watch(shutil.rmtree, removes=True))
        yield


@pytest.fixture(autouse=True)
def few_images(tiny_dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load images of which there are few, because these tests start many runs."""
    monkeypatch.setattr(fit_module, "load_dataset", lambda *_: tiny_dataset)


def images_of(run: Path) -> int:
    """Images seen in the last good state; 0 without one."""
    return load_state(run)["trainer"]["images_seen"] if (run / "state.pt").exists() else 0


@pytest.mark.parametrize("killed", [False, True], ids=["full disk", "killed"])
def test_a_run_that_breaks_at_any_change_goes_on_exactly(
    tiny_config: Callable[..., Config], tmp_path: Path, killed: bool
) -> None:
    """Start ``n`` breaks at its ``n``-th change, until a start has no change left to break at."""
    config, whole, run = tiny_config(FOUR_STEPS), tmp_path / "whole", tmp_path / "run"
    fit(config, whole, device="cpu")
    saved: list[int] = []
    for changes in range(100):
        try:
            with broken_after(changes, killed=killed):
                result = fit(config, run, device="cpu")
            break
        except (KilledError, WriteError) as error:
            assert isinstance(error, KilledError) == killed
            if not killed:
                assert str(error).startswith(str(run))
                assert "its disk is full: free some space" in str(error)
        saved.append(images_of(run))
        if (run / "checkpoint").exists():
            BigLearnGAN.from_pretrained(run / "checkpoint")
    assert result.images_seen == 16
    assert saved == sorted(saved)
    assert set(saved) == {0, 8, 16}
    assert len(saved) > 10
    assert_same(load_state(run), load_state(whole))
    assert_same(load_weights(run), load_weights(whole))
    assert load_metrics(run) == load_metrics(whole)
    for name in ("", "checkpoint", "grids"):
        assert sorted(os.listdir(run / name)) == sorted(os.listdir(whole / name))
    losses = [
        [(event.step, event.value) for event in EventAccumulator(str(path)).Reload().Scalars(tag)]
        for path in (run / "tensorboard", whole / "tensorboard")
        for tag in ("loss/generator",)
    ]
    assert losses[0] == losses[1]


def test_the_model_of_a_state_is_made_again(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run lost its model, or has an older one or a damaged one."""
    config, run = tiny_config({"train.max_images": 8}), tmp_path / "run"
    fit(config, run, device="cpu")
    weights = load_weights(run)
    older = BigLearnGAN(config)
    for damage in (
        lambda: shutil.rmtree(run / "checkpoint"),
        lambda: older.save_pretrained(run / "checkpoint"),
        lambda: (run / "checkpoint" / "model.safetensors").write_bytes(b"half"),
    ):
        damage()
        assert fit(config, run, device="cpu").images_at_start == 8
        assert_same(load_weights(run), weights)
        assert (run / "checkpoint" / "grid.png").exists()
    monkeypatch.setattr(RunFolder, "save_model", lambda *_, **__: pytest.fail("saved again"))
    fit(config, run, device="cpu")


def test_a_line_that_was_not_written_to_its_end_is_dropped(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config, run = tiny_config({"train.max_images": 16}), tmp_path / "run"
    fit(config, run, device="cpu")
    lines = load_metrics(run)
    with (run / "metrics.csv").open("a") as file:
        file.write("16,0.")
    fit(config, run, device="cpu")
    assert load_metrics(run) == lines
    assert (run / "metrics.csv").read_text().endswith("\n")
