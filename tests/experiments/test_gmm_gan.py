"""The GAN on 25 Gaussians: missing runs are trained, and none is trained twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gmm_gan
import pytest
import torch
import typer
from PIL import Image

from biglearn_gan.config import load_config
from biglearn_gan.simulations.objectives import grid_data

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with few samples."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(gmm_gan, "SAMPLES", 100)
    return gmm_gan


def test_missing_runs_are_trained_and_drawn(
    study: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "results": tmp_path / "results.csv",
        "runs": tmp_path / "runs",
        "figure": tmp_path / "figure.png",
    }

    def call(**others: Any) -> list[dict[str, str]]:
        options = {"variant": None, "seeds": 1, "images": 192, "only_print": False} | others
        study.main(**options, **places)
        return list(study.read_rows(places["results"]))

    (first,) = call(variant=["joint only"])
    assert (first["variant"], first["seed"], first["images"]) == ("joint only", "0", "192")
    assert not places["figure"].exists()
    found = call()
    assert found[0] == first  # its time included
    assert [row["variant"] for row in found] == list(study.VARIANTS)
    with Image.open(places["figure"]) as image:
        assert image.width > 3 * image.height
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| joint only | 192 | 1 |") for line in printed) == 2
    assert call(only_print=True, seeds=7) == found


def test_variants_differ_only_in_their_tasks(study: Any) -> None:
    whole = load_config(study.CONFIG)
    kinds = []
    for overrides in study.VARIANTS.values():
        config = load_config(study.CONFIG, overrides)
        assert config.model_copy(update={"tasks": whole.tasks}) == whole
        components = config.tasks.components or []
        kinds.append((len(components), {component.domain for component in components}))
    assert kinds == [(0, set()), (3, {"own"}), (6, {"own", "orthogonal"})]


def test_data_lie_near_the_modes(study: Any) -> None:
    distances = torch.cdist(study.data_samples(), grid_data().means).amin(dim=1)
    assert float((distances < 1).double().mean()) == 1


def test_an_unknown_variant_is_named(study: Any, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"must be one of 'joint only', .*, not 'joined'"):
        study.main(variant=["joined"], results=tmp_path / "results.csv")
