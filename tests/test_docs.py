"""The README and the pages of docs/: their commands and examples run, their links lead somewhere.

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

import numpy as np
import pytest
from PIL import Image

from biglearn_gan.cli import main

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("guide", "training", "evaluation")]
GUIDES.append(ROOT / "docs" / "how-it-works.md")
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))
README = ROOT / "README.md"
DOCS = [README, *GUIDES, *RESULTS, ROOT / "docs" / "README.md", ROOT / "experiments" / "README.md"]
PROSE = [*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
SETUP = ("pip install", "python -m pytest")
MNIST = ("checkpoints/mnist", "checkpoints/colored_mnist", "mnist.yaml", "--other mnist")
"""A command that names one of these reads MNIST's images (except for the tables of records)."""

OF_MNIST = ("samples/mnist_evaluation", "samples/colored_mnist_evaluation")
"""What such commands write, and others read."""

BUDGETS = {
    "train": ["train.max_images=64", "logging.checkpoint_images=32"],
    "train-classifier": ["--images", "1280"],
    "evaluate": ["--num", "100", "--variations", "2", "--tasks", "joint,random:0.5"],
    "evaluate-oracle": ["--sources", "2", "--draws", "4"],
    "two-gmm": ["--task", "joint"],
    "experiments/benchmarks/ablation_cost.py": ["--rounds", "1", "--steps", "1"],
    "experiments/benchmarks/speed.py": ["--steps", "4"],
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
"""What options of results' commands become in a test, if the command has them."""


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
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


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_short(page: Path) -> None:
    assert len(prose(page).split()) <= (900 if page == README else 2000)
    if page == ROOT / "experiments" / "README.md":
        assert len(read(page).splitlines()) <= 120


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_table_is_narrow_and_has_a_sentence_above_it(page: Path) -> None:
    for above, rows in tables(page):
        columns = {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows}
        assert max(columns) <= 8, rows[0]
        assert above.rstrip().endswith((".", ":")), (above, rows[0])


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_the_readme_shows_a_picture_before_anything_else() -> None:
    before, _, _ = read(README).partition("\n## ")
    assert re.search(r"^!\[.+\]\(docs/images/.+\)$", before, re.MULTILINE)


def shortened(command: str) -> list[str]:
    """The command's words with a budget for tests."""
    words = [word for word in shlex.split(command) if not word.startswith("train.max_")]
    if words[1].startswith("experiments/studies"):
        for place, word in enumerate(words[:-1]):
            words[place + 1] = SHORT_OPTIONS.get(word, words[place + 1])
    if "page" in words:
        return words
    return [*words, *(option for word in words for option in BUDGETS.get(word, []))]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone in which a user put masks and photos."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("experiments", "checkpoints"):
        (folder / name).symlink_to(ROOT / name)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), dtype=np.uint8)
    hole = np.zeros((8, 8), dtype=np.uint8)
    hole[2:6, 3:7] = 255
    Image.fromarray(hole).save(folder / "mask.png")
    for name in ("photos", "masks"):
        (folder / name).mkdir()
    for number in range(24):
        photo = Image.fromarray(np.roll(pixels[number % 4], number, axis=0))
        photo.save(folder / "photos" / f"{number}.png")
        Image.fromarray(hole).save(folder / "masks" / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "command", [command for page in [README, *GUIDES, *RESULTS] for command in commands(page)]
)
def test_a_command_runs(
    command: str, clone: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """In the order of the pages, so that a command finds what an earlier one wrote."""
    monkeypatch.chdir(clone)
    words = shortened(command)
    root = os.environ.get("BIGLEARN_DATA")
    reads_mnist = any(name in command for name in MNIST) and not {"tables", "demo"} & {*words}
    if root is None and (reads_mnist or any(name in command for name in OF_MNIST)):
        pytest.skip("needs MNIST: set BIGLEARN_DATA to a folder that holds it")
    if reads_mnist:
        has_config = "--config" in words and "--checkpoint" not in words
        words += [f"data.root={root}"] if has_config else ["--data-root", root]
    if "evaluate_fid.py" in command:
        words += ["--inception-weights", str(request.getfixturevalue("inception_weights"))]
    if "demo" in words:
        serve_until_interrupted(words, monkeypatch)
        return
    if words[0] == "torchrun":
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        module = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
        ended = subprocess.run(module, check=False, capture_output=True, text=True, env=one_thread)
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
    """Start the page, read it at the address that the command prints, and stop it with Ctrl-C."""
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


def test_commands_write_what_the_docs_say(clone: Path) -> None:
    """Runs after the commands, in the same folder."""
    for name in ("digits", "random", "mine"):
        assert (clone / "samples" / name / "grid.png").is_file()
        assert (clone / "samples" / name / "samples.npz").is_file()
    for name in ("metrics.csv", "tensorboard", "grids", "state.pt", "checkpoint"):
        assert (clone / "runs" / "digits" / name).exists()
    assert (clone / "samples" / "metrics" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("page", "number", "name", "shape"),
    [
        (README, 0, "completions", (16, 4, 1, 8, 8)),
        (GUIDES[0], 0, "completions", (16, 4, 1, 8, 8)),
        (GUIDES[0], 1, "completions", (4, 1, 8, 8)),
        (GUIDES[0], 2, "scores", (16,)),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else None,
)
def test_an_example_runs(
    page: Path,
    number: int,
    name: str,
    shape: tuple[int, ...],
    clone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs after the commands, in the same folder."""
    monkeypatch.chdir(clone)
    names: dict[str, Any] = {}
    exec(blocks(page, "python")[number], names)
    assert tuple(names[name].shape) == shape


def test_no_example_is_left_out() -> None:
    assert [len(blocks(page, "python")) for page in DOCS[:2]] == [1, 3]
    assert not any(blocks(page, "python") for page in DOCS[2:])
