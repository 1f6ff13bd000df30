"""The command line in this process, and small checkpoints for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import yaml
from toys import Run, save_gray

from biglearn_gan.cli.app import main
from biglearn_gan.config import Config
from biglearn_gan.models.biglearn_gan import BigLearnGAN


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hugging Face hub cannot be reached, which is noticed immediately."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["biglearn-gan", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_config: Callable[..., Config]) -> Path:
    """An untrained model of 8 x 8 digits."""
    folder = tmp_path / "checkpoint"
    BigLearnGAN(tiny_config()).save_pretrained(folder)
    return folder


@pytest.fixture
def labeled(tmp_path: Path, tiny_config: Callable[..., Config]) -> Path:
    """An untrained model of 8 x 8 digits and their labels."""
    folder = tmp_path / "labeled"
    BigLearnGAN(tiny_config({"data.labels": True})).save_pretrained(folder)
    return folder


@pytest.fixture
def config_file(tmp_path: Path, tiny_values: Callable[..., dict[str, Any]]) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_values()))
    return path


@pytest.fixture
def check_mistake(
    run: Run,
    checkpoint: Path,
    labeled: Path,
    config_file: Path,
    tmp_path: Path,
) -> Callable[[tuple[str, ...], int, str], None]:
    """Run a command line that must end with an exit code and one sentence with these words.

    In its arguments, ``{checkpoint}``, ``{labeled}``, ``{config}`` and ``{tmp}`` stand for paths.
    """
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "bare").mkdir()
    save_gray(tmp_path / "wide.png", np.full((8, 9), 255))
    save_gray(tmp_path / "black.png", np.zeros((8, 8)))
    save_gray(tmp_path / "gray.png", np.full((8, 8), 128))
    truncated_folder(tmp_path)
    paths = {"checkpoint": checkpoint, "labeled": labeled, "config": config_file, "tmp": tmp_path}

    def check(arguments: tuple[str, ...], exit_code: int, words: str) -> None:
        code, _, err = run(*(argument.format(**paths) for argument in arguments))
        assert code == exit_code
        assert words in err
        assert len(err.strip().splitlines()) == 1
        assert err.startswith("biglearn-gan: ")

    return check


def truncated_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    folder.mkdir()
    whole = save_gray(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (8, 8)))
    (folder / "half.png").write_bytes(whole.read_bytes()[:60])
    return folder
