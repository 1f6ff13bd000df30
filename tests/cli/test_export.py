"""The export command: each mistake is one sentence, and nothing is written.

What it writes is tested with the graph, in tests/models/test_export.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXPORT = ("export", "--checkpoint", "{checkpoint}", "--output")

MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a folder": ((*EXPORT, "{tmp}/bare"), 2, "bare is a folder: name a file with the suffix .onnx"),
    "another suffix": ((*EXPORT, "{tmp}/model.pt"), 2, "must have the suffix .onnx, not "),
    "no folder": ((*EXPORT, "{tmp}/no/model.onnx"), 2, "no does not exist, or is not a folder"),
    "below a file": ((*EXPORT, "{tmp}/file/m.onnx"), 2, "file does not exist, or is not a folder"),
    "no checkpoint": (
        ("export", "--checkpoint", "{tmp}/none", "--output", "{tmp}/model.onnx"),
        2,
        " are checkpoint, labeled",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(
    mistake: str, check_mistake: Callable[..., None], tmp_path: Path
) -> None:
    check_mistake(*MISTAKES[mistake])
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_damaged_checkpoint_is_one_sentence(
    check_mistake: Callable[..., None], checkpoint: Path, tmp_path: Path
) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"not weights")
    check_mistake((*EXPORT, "{tmp}/model.onnx"), 2, "is not a safetensors file")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_the_command_says_how_to_install_it(
    package: str, check_mistake: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    hint = f"export needs {package}: pip install 'biglearn-gan[onnx]'"
    check_mistake((*EXPORT, "{tmp}/model.onnx"), 1, hint)
