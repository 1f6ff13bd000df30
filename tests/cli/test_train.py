"""``biglearn-gan train``: it resumes, protects folders, and evaluates as it goes."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from toys import Run

from biglearn_gan import shipped
from biglearn_gan.training.trainer import Trainer


def test_training_resumes_and_ends(run: Run, config_file: Path, tmp_path: Path) -> None:
    command = ("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu")
    code, out, err = run(*command)
    assert code == 0
    assert "48 images seen" in out
    assert "48 / 48 images" in err
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").is_file()
    before = (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes()
    code, out, _ = run(*command)
    assert code == 0
    assert out.splitlines()[-1].startswith("nothing to do: all 48 images were seen before")
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes() == before
    code, out, err = run(*command, "model.generator.depth=2", "logging.evaluation_time_share=0.5")
    assert code == 2 and "has a run with model.generator.depth = 1, not 2" in err
    assert out == "", "a refused run prints nothing else"
    code, out, _ = run(*command, "train.max_images=64")
    assert code == 0
    assert "64 images seen" in out


def test_a_model_without_its_state_is_not_begun_anew(
    run: Run, config_file: Path, tmp_path: Path
) -> None:
    command = ("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu")
    assert run(*command)[0] == 0
    weights = tmp_path / "run" / "checkpoint" / "model.safetensors"
    before = weights.read_bytes()
    (tmp_path / "run" / "state.pt").unlink()
    code, _, err = run(*command, "train.seed=5")
    assert code == 2 and "has a model but no state.pt to resume from" in err
    assert weights.read_bytes() == before


def test_a_folder_of_a_persons_own_is_not_taken_for_a_run(
    run: Run, config_file: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(config_file, mine / "config.yaml")
    before = (mine / "config.yaml").read_bytes()
    command = ("train", "--config", mine / "config.yaml", "--output", mine, "--device", "cpu")
    code, _, err = run(*command)
    assert code == 2 and "holds config.yaml, which `train` did not write" in err
    assert (mine / "config.yaml").read_bytes() == before
    (mine / "config.yaml").unlink()
    assert run("train", "--config", config_file, *command[3:])[0] == 0


def test_a_stopped_run_is_told_from_a_failed_one_by_its_exit_code(
    run: Run,
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Trainer.step

    def stopped(self: Trainer) -> None:
        step(self)
        if self.images_seen == 8:
            signal.raise_signal(signal.SIGTERM)

    command = ("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        code, _, err = run(*command)
    assert code == 75
    assert "stopped at 8 of 48 images; run the same command to resume" in err
    assert run(*command)[0] == 0


def test_a_run_that_cannot_be_measured_leaves_no_folder(
    run: Run, config_file: Path, tmp_path: Path
) -> None:
    code, _, err = run(
        *("train", "--config", config_file, "--output", tmp_path / "run", "--device", "cpu"),
        *("--classifier", shipped.CHECKPOINTS / "digits", "logging.evaluation_time_share=0.5"),
    )
    assert code == 2 and "no classifier can be loaded" in err
    assert not (tmp_path / "run").exists()


def test_dry_run_prints_and_writes_nothing(
    run: Run,
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("train", "--config", config_file, "data.name=mnist", "train.seed=5")
    command = (*command, "--output", tmp_path / "run", "--dry-run")
    code, out, _ = run(*command)
    assert code == 0
    resolved = yaml.safe_load(out.split("\n\n")[0])
    assert resolved["train"]["seed"] == 5
    assert resolved["data"]["name"] == "mnist"
    assert "16 tokens of 4 values" in out
    assert "parameters" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_training_is_evaluated_and_says_so(
    run: Run,
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("train", "--config", config_file, "--device", "cpu", "--output")
    monkeypatch.setattr(shipped, "CHECKPOINTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    share = ("logging.evaluation_time_share=1.0", "data.validation_share=0.2")
    code, out, _ = run(*arguments, tmp_path / "without", *share)
    assert code == 0 and "no evaluation during training" in out
    monkeypatch.chdir(Path(__file__).parents[2])
    code, out, err = run(*arguments, tmp_path / "with", *share)
    assert code == 0
    assert "1,120 images of digits:train\n" in out
    assert "evaluation during training: 280 images of digits:validation" in out
    assert "100% of the time" in out
    assert "images seen, evaluation: joint_distance" in err
    assert re.search(r"images seen: (next|no time for another) evaluation", err)
    assert (tmp_path / "with" / "best" / "evaluation.json").is_file()


def test_several_problems_are_told_at_once(run: Run, config_file: Path) -> None:
    code, _, err = run("train", "--config", config_file, "train.seed=-1", "model.patch_size=3")
    assert code == 2
    keys = [line.split(": ")[1] for line in err.splitlines()]
    assert keys == ["train.seed", "data.image_size", "data.image_size"]  # height and width
