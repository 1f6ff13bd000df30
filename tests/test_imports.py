"""Imports run in one direction between folders, and the command line answers without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import biglearn_gan

ROOT = Path(__file__).parents[1]
NO_TORCH = "assert 'torch' not in sys.modules, 'torch was imported'"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contract in the folder's pyproject.toml against the package in it."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run_python(code, folder, "--no-cache")


def run_python(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_folders_import_in_one_direction() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


def test_an_import_that_runs_back_up_is_found(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "biglearn_gan",
        tmp_path / "biglearn_gan",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "biglearn_gan" / "tasks" / "patches.py").open("a", encoding="utf-8") as file:
        file.write("\nimport biglearn_gan.training.trainer\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    assert "biglearn_gan.tasks.patches -> biglearn_gan.training.trainer" in result.stdout


def test_every_public_name_is_there() -> None:
    for name in biglearn_gan.__all__:
        assert getattr(biglearn_gan, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = biglearn_gan.nothing


@pytest.mark.parametrize("module", ["biglearn_gan", "biglearn_gan.config", "biglearn_gan.cli"])
def test_importing_does_not_load_torch(module: str) -> None:
    result = run_python(f"import sys, {module}; {NO_TORCH}", ROOT)
    assert result.returncode == 0, result.stderr


def test_help_does_not_load_torch() -> None:
    code = f"""
import sys
from biglearn_gan.cli import main
sys.argv = ["biglearn-gan", "--help"]
try:
    code = main()
except SystemExit as stop:
    code = stop.code
assert not code, code
{NO_TORCH}
"""
    result = run_python(code, ROOT)
    assert result.returncode == 0, result.stderr
    assert "train" in result.stdout
    assert "sample" in result.stdout
