"""Read the README and the pages of docs/, and follow one: run its commands and examples in order.

Training and measuring run with a reduced budget. Commands that need MNIST run only if the
environment variable BIGLEARN_DATA names a folder that holds it (in torchvision's layout).
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biglearn_gan.cli import main

ROOT = Path(__file__).parents[1]
GUIDE_NAMES = ("guide", "photos", "training", "configuration", "evaluation", "how-it-works")
GUIDES = [ROOT / "docs" / f"{name}.md" for name in GUIDE_NAMES]
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))
README = ROOT / "README.md"
SETUP = ("pip install", "python -m pytest")

DATA = os.environ.get("BIGLEARN_DATA")
MNIST = (
    *("checkpoints/mnist", "checkpoints/colored_mnist", "mnist.yaml", "mnist_few_labels.yaml"),
    *("--other mnist", "runs/mnist"),
)
"""A command that names one of these reads MNIST's images, unless it trains on a folder."""

OF_MNIST = (
    *("samples/mnist_evaluation", "samples/colored_mnist_evaluation"),
    *("samples/few_labels", "samples/draw_0"),
)
"""What such commands write, and others read."""

CIFAR10 = "--checkpoint checkpoints/cifar10"
"""A command that says this reads the folder ``cifar10`` of the clone for the tests."""

READ_RECORDS = ("tables", "experiments/studies/compare_label_accuracy.py")
"""Commands that read no images."""

BUDGETS = {
    "train": ["train.max_images=64", "logging.checkpoint_images=32"],
    "train-classifier": ["--images", "1280"],
    "evaluate": ["--num", "100", "--variations", "2", "--tasks", "joint,random:0.5"],
    "efficientnet": ["--force"],  # 100 images are few for 1,280 features
    "evaluate-oracle": ["--sources", "2", "--draws", "4"],
    "two-gmm": ["--task", "joint"],
    "experiments/benchmarks/ablation_cost.py": ["--rounds", "1", "--steps", "1"],
    "experiments/benchmarks/data_loading.py": [
        *("--images", "40", "--rounds", "1", "--seconds", "0", "--storages", "memory,files"),
        "train.batch_size=2",
    ],
    "experiments/benchmarks/frechet.py": ["--dims", "64"],
    "experiments/benchmarks/speed.py": ["--steps", "4"],
    "experiments/benchmarks/demo_speed.py": ["--clicks", "2"],
    "measure": ["--steps", "4", "--rounds", "1", "train.batch_size=2"],
    "predict": ["--batches", "2"],
    "experiments/studies/anomalies.py": ["--num", "4"],
    "experiments/studies/critic_density_ratio.py": ["--steps", "2"],
    "experiments/studies/fine_tune.py": [
        *("--budget", "64", "--counts", "50", "--evaluations", "1"),
    ],
    "experiments/studies/low_contrast.py": ["--images", "64"],
    "samples/emoji_efficientnet": ["--num", "20"],  # as many test pictures as there are
    "experiments/studies/memorization.py": ["--num", "50"],
    "experiments/studies/probe.py": ["--draws", "1", "--labels", "1"],
    "experiments/studies/pseudo_labels.py": ["--draws", "1", "train.max_images=64"],
    "experiments/studies/incomplete_images.py": ["--holes", "none,random:0.5:2"],
    "experiments/studies/generated_labels.py": ["--num", "64", "--budget", "64"],
    "experiments/studies/label_accuracy.py": ["--num", "100"],
    "experiments/studies/spectrum.py": ["--num", "50"],
    "experiments/studies/steps_and_ranking.py": ["--steps", "1,2", "--orders", "random"],
}
"""What is added to a command that has this word."""

SHORT_OPTIONS = {
    "--images": "640",
    "--num": "100",
    "--variations": "2",
    "--draws": "8",
    "--steps": "1,2",
    "--candidates": "1,2",
    "--rounds": "1",
}
"""What options of studies become in a test, if the command has them."""

SHAPED_LINE = re.compile(r"^(\w[\w, ]*) = .*#(.*)$", re.MULTILINE)
"""A line of an example that assigns names, and its comment."""


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, languages: str) -> list[tuple[str, str]]:
    """Language and content of each code block in one of the languages, such as ``bash|python``."""
    pattern = rf"^```({languages})\n(.*?)^```"
    return re.findall(pattern, read(page), re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a ``bash`` block, except those that install and test."""
    parts = [part.strip() for line in block.splitlines() for part in line.split("&&")]
    return [part for part in parts if part and not part.startswith(SETUP)]


def text_of(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """The page without code blocks, tables, and the targets of links."""
    lines = [line for line in text_of(page).splitlines() if not line.lstrip().startswith("|")]
    return re.sub(r"\]\([^)]*\)", "]", "\n".join(lines))


def tables(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each table's lines, and the last line of text above it."""
    above, rows = "", []
    for line in [*text_of(page).splitlines(), ""]:
        if line.startswith("|"):
            rows.append(line)
            continue
        if rows:
            yield above, rows
            above, rows = "", []
        above = line if line.strip() else above
    assert not rows


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def follow(page: Path, inception_weights: Path | None = None) -> None:
    """Do what the page says from top to bottom, in the current folder.

    Every shape in a comment of an example is checked.
    """
    names: dict[str, Any] = {}
    for language, block in blocks(page, "bash|python"):
        if language == "bash":
            for command in commands(block):
                run_command(command, inception_weights)
            continue
        exec(block, names)
        for assigned, comment in SHAPED_LINE.findall(block):
            shapes = re.findall(r"\((\d+,[\d, ]*)\)", comment)
            for name, shape in zip(assigned.split(", "), shapes, strict=False):
                assert tuple(names[name].shape) == tuple(map(int, shape.strip(",").split(",")))


def needs_mnist(command: str) -> bool:
    reads_none = {"tables", "demo", "data.name=folder"} & {*command.split()}
    reads = any(name in command for name in MNIST) and not reads_none
    return reads or any(name in command for name in OF_MNIST)


def run_command(command: str, inception_weights: Path | None) -> None:
    """Run a command with a budget for tests; without MNIST, skip one that needs it."""
    if DATA is None and needs_mnist(command):
        return
    words = shortened(command)
    if needs_mnist(command) and not {*READ_RECORDS, "--data-root"} & {*words}:
        has_config = "--config" in words and "--checkpoint" not in words
        words += [f"data.root={DATA}"] if has_config else ["--data-root", str(DATA)]
    if CIFAR10 in command:
        words += ["--data-root", "cifar10"]
    if "evaluate_fid.py" in command:
        words += ["--inception-weights", str(inception_weights)]
    if "demo" in words:
        serve_until_interrupted(words)
    elif words[0] == "torchrun":
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        module = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
        ended = subprocess.run(module, check=False, capture_output=True, text=True, env=one_thread)
        assert ended.returncode == 0, ended.stderr
    else:
        run_here(command, words)


def run_here(command: str, words: list[str]) -> None:
    """Run ``biglearn-gan ...`` or ``python SCRIPT ...`` in this process."""
    program, *arguments = words
    assert program in ("biglearn-gan", "python"), command
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        if program == "biglearn-gan":
            patch.setattr(sys, "argv", words)
            main()
        patch.setattr(sys, "argv", arguments)
        runpy.run_path(arguments[0], run_name="__main__")
    assert not ended.value.code, command


def shortened(command: str) -> list[str]:
    """The command's words with a budget for tests."""
    words = [word for word in shlex.split(command) if not word.startswith("train.max_")]
    if words[1].startswith("experiments/studies"):
        for place, word in enumerate(words[:-1]):
            words[place + 1] = SHORT_OPTIONS.get(word, words[place + 1])
    return [*words, *(option for word in words for option in BUDGETS.get(word, []))]


def serve_until_interrupted(words: list[str]) -> None:
    """Start the page, read it at the address that the command prints, and stop it with Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "biglearn_gan", *words[1:], "--port", str(port)]
    unbuffered = os.environ | {"PYTHONUNBUFFERED": "1"}
    # A background job ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=unbuffered) as served:
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
