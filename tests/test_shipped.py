"""What comes with the package is found by its name, also where a wheel is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from biglearn_gan import shipped
from biglearn_gan.config import load_config

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["mnist", "mnist.yaml", "experiments/mnist.yaml"])
def test_a_shipped_configuration_is_found_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(name, ["train.seed=3"]).data.name == "mnist"


def test_a_file_here_goes_before_a_shipped_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()  # a folder is no configuration
    assert load_config("mnist").data.name == "mnist"
    text = (shipped.CONFIGS / "digits.yaml").read_text()
    (tmp_path / "mnist.yaml").write_text(text)
    assert load_config("mnist").data.name == load_config("mnist.yaml").data.name == "digits"


def test_paths_and_unknown_names_are_not_shipped() -> None:
    for name in ("", ".", "..", "../digits", "./digits", "a/digits", "/digits", "cats"):
        assert shipped.find_checkpoint(name) is None
        assert shipped.find_config(name) is None


def test_names_are_suggested_by_their_spelling() -> None:
    assert shipped.suggest("mnits", ["digits", "mnist"]) == "mnist"
    assert shipped.suggest("cats", ["digits", "mnist"]) == "digits or mnist"
    assert shipped.suggest("cats", []) == "none"


def test_a_wheel_holds_what_is_shipped(tmp_path: Path) -> None:
    """Builds the package as pip does, without the archive."""
    pytest.importorskip("setuptools")
    library = tmp_path / "library"
    command = ["setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path)]
    command += ["build", "--build-base", str(tmp_path / "base"), "--build-lib", str(library)]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    code = (
        "from biglearn_gan import shipped as s; from biglearn_gan.config import load_config; "
        "print(s.checkpoint_names(), s.config_names(), load_config('digits').data.name, "
        "s.find_checkpoint('digits'), sep='\\n')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    checkpoints, configs, data, digits = ended.stdout.splitlines()
    assert checkpoints == str(shipped.checkpoint_names())
    assert configs == str(shipped.config_names())
    assert data == "digits"
    assert sorted(path.name for path in Path(digits).iterdir()) == [
        "README.md",
        "config.json",
        "evaluation",
        "model.safetensors",
    ]
    assert not list(library.rglob("ablate.py"))
