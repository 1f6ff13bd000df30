"""``--data-root``: folders, archives, and for tables also files and names on the hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import Run

from biglearn_gan.cli.options import with_data_root
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import DataConfig
from biglearn_gan.config.schema import DataSetName


@pytest.mark.parametrize(
    ("name", "root", "accepted"),
    [
        ("folder", "photos", True),
        ("folder", "photos.zip", True),
        ("folder", "table.parquet", False),
        ("folder", "owner/name", False),
        ("huggingface", "photos", True),
        ("huggingface", "table.parquet", True),
        ("huggingface", "owner/name", True),
        ("huggingface", "/owner/name", False),
    ],
)
def test_what_exists_or_is_on_the_hub_is_accepted(
    name: DataSetName, root: str, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for file in ("photos.zip", "table.parquet"):
        (tmp_path / file).touch()
    data = DataConfig(name=name, image_size=(8, 8), channels=1)
    if accepted:
        assert with_data_root(root, data).root == root
    else:
        with pytest.raises(CommandError, match=f"--data-root {root} is not a folder"):
            with_data_root(root, data)
    assert with_data_root(None, data) is data


def test_a_command_on_missing_images_names_its_option(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("sample", "--checkpoint", "emoji", "--mask", "center", "--output", "out")
    assert code == 2 and err.count("\n") == 1
    assert "data is not a folder: --data-root, or data.root in training, must name a folder" in err
    assert err.endswith("; or name images of your own with --images\n")
