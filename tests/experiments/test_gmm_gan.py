"""The table of the GAN on 25 Gaussians: what is missing is trained, nothing is trained twice."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from biglearn_gan.config import load_config
from biglearn_gan.simulations.objectives import grid_data

ROOT = Path(__file__).parents[2]
Script = dict[str, Any]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """The script's names, seen from the root, measuring few samples."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "experiments")
    names: Script = runpy.run_path("experiments/simulate_gan.py")["main"].__globals__
    names["SAMPLES"] = 100
    return names


def test_what_is_missing_is_trained_and_drawn(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "results": tmp_path / "results.csv",
        "runs": tmp_path / "runs",
        "figure": tmp_path / "figure.png",
    }

    def call(**others: Any) -> list[dict[str, str]]:
        given = {"variant": None, "seeds": 1, "images": 192, "only_print": False} | others
        script["main"](**given, **places)
        return list(script["read"](places["results"]))

    (first,) = call(variant=["joint only"])
    assert (first["variant"], first["seed"], first["images"]) == ("joint only", "0", "192")
    assert not places["figure"].exists()
    found = call()
    assert found[0] == first  # its time included
    assert [row["variant"] for row in found] == list(script["VARIANTS"])
    with Image.open(places["figure"]) as image:
        assert image.width > 3 * image.height
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| joint only | 192 | 1 |") for line in printed) == 2
    assert call(only_print=True, seeds=7) == found


def test_the_arms_differ_in_their_tasks_alone(script: Script) -> None:
    whole = load_config(script["CONFIG"])
    kinds = []
    for overrides in script["VARIANTS"].values():
        config = load_config(script["CONFIG"], overrides)
        assert config.model_copy(update={"tasks": whole.tasks}) == whole
        components = config.tasks.components or []
        kinds.append((len(components), {component.domain for component in components}))
    assert kinds == [(0, set()), (3, {"own"}), (6, {"own", "orthogonal"})]


def test_data_fall_on_their_modes(script: Script) -> None:
    distances = torch.cdist(script["data_samples"](), grid_data().means).amin(dim=1)
    assert float((distances < 1).double().mean()) == 1


def test_an_unknown_variant_is_named(script: Script, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="'joined' is none of 'joint only'"):
        script["main"](variant=["joined"], results=tmp_path / "results.csv")
