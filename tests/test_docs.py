"""Every command and example of the README runs, training with a reduced budget.

Only its install and test commands are left out. What needs MNIST runs where the environment
variable BIGLEARN_DATA names a folder that holds it (in torchvision's layout).
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from biglearn_gan.cli.app import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEFT_OUT = ("pip install", "python -m pytest")


def test_nothing_is_left_to_fill_in() -> None:
    for path in [ROOT / "README.md", *ROOT.glob("experiments/*.md"), *ROOT.glob("*/*/README.md")]:
        assert "@@" not in path.read_text(encoding="utf-8"), path


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if not part.startswith(LEFT_OUT)]


def shortened(command: str) -> list[str]:
    """The command's words with a budget for tests."""
    words = [word for word in shlex.split(command) if not word.startswith("train.max_minutes")]
    if "train" in words:
        return [*words, "train.max_images=64", "logging.checkpoint_images=32"]
    if "train-classifier" in words:
        return [*words, "--images", "1280"]
    if "--oracle" in words:
        return [*words, "--num", "4", "--variations", "8"]
    if "evaluate" in words and "--samples" not in words:
        return [*words, "--num", "100", "--variations", "2"]
    if words[1].endswith("benchmark.py"):
        return [*words, "--steps", "4"]
    return words


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone in which a user put a mask and photos."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("experiments", "checkpoints"):
        (folder / name).symlink_to(ROOT / name)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), dtype=np.uint8)
    (folder / "photos").mkdir()
    for number in range(24):
        Image.fromarray(np.roll(pixels[number % 4], number, axis=0)).save(
            folder / "photos" / f"{number}.png"
        )
    hole = np.zeros((8, 8), dtype=np.uint8)
    hole[2:6, 3:7] = 255
    Image.fromarray(hole).save(folder / "mask.png")
    return folder


@pytest.mark.parametrize("command", commands())
def test_command_runs(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(place)
    words = shortened(command)
    if "evaluate_fid.py" in command:
        words += ["--inception-weights", str(request.getfixturevalue("inception_weights"))]
    if "picture.py" in command:
        root = os.environ.get("BIGLEARN_DATA")
        if root is None:
            pytest.skip("needs MNIST: set BIGLEARN_DATA to a folder that holds it")
        (place / "samples").mkdir(exist_ok=True)
        words += ["--data-root", root]
    if "demo" in words:
        serve_until_interrupted(words, monkeypatch)
        return
    if words[0] == "torchrun":
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        ended = subprocess.run(words, check=False, capture_output=True, text=True, env=one_thread)
        assert ended.returncode == 0, ended.stderr
        return
    program, *arguments = words
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        if program == "biglearn-gan":
            main()
        assert program == "python"
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_path(arguments[0], run_name="__main__")
    assert not ended.value.code


def serve_until_interrupted(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is up says where, and Ctrl-C ends it as it should end."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "biglearn_gan", *words[1:], "--port", str(port)]
    # A background job ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        signal.signal(signal.SIGINT, before)
        try:
            assert served.stdout is not None
            lines = iter(served.stdout.readline, "")
            url = next(line.split()[0] for line in lines if line.startswith("http"))
            with urllib.request.urlopen(url) as answer:
                assert answer.status == 200
            served.send_signal(signal.SIGINT)
            assert served.wait(60) == 0
        finally:
            served.kill()


def test_commands_leave_what_the_readme_says(place: Path) -> None:
    """Runs after the commands above, in the same folder."""
    for name in ("digits", "random", "mine"):
        assert (place / "samples" / name / "grid.png").is_file()
        assert (place / "samples" / name / "samples.npz").is_file()
    for name in ("metrics.csv", "tensorboard", "grids", "state.pt", "checkpoint"):
        assert (place / "runs" / "digits" / name).exists()
    assert (place / "samples" / "metrics" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("example", "name", "shape"),
    [
        (example, *made)
        for example, made in zip(
            blocks("python"), (("completions", (16, 4, 1, 8, 8)), ("scores", (16,))), strict=True
        )
    ],
)
def test_example_runs(
    example: str,
    name: str,
    shape: tuple[int, ...],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs after the commands above, in the same folder."""
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(example, names)
    assert tuple(names[name].shape) == shape
