"""Keys of your own images: names on the Hugging Face hub, folders, columns and classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biglearn_gan.config import Config, ConfigError

HUB = {"data.name": "huggingface", "data.root": "owner/name"}


@pytest.mark.parametrize("key", ["subset", "image_column", "label_column"])
def test_keys_of_tables_are_refused_for_other_data(
    key: str, tiny_config: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigError, match=f"data.{key}: this key is only for huggingface; remove"):
        tiny_config({f"data.{key}": "x", "data.name": "folder"})
    assert getattr(tiny_config(HUB | {f"data.{key}": "x"}).data, key) == "x"


def test_a_table_may_have_any_number_of_classes(tiny_config: Callable[..., Config]) -> None:
    labels: dict[str, Any] = HUB | {"data.labels": True, "data.classes": 7}
    assert tiny_config(labels).data.num_classes == 7
    with pytest.raises(ConfigError, match=r"data\.classes: .* only for a folder or huggingface"):
        tiny_config(HUB | {"data.classes": 7})


@pytest.mark.parametrize(
    ("root", "on_hub"),
    [
        ("owner/name", True),
        ("name", True),
        ("a/b/c", False),
        ("/a/b", False),
        ("./a", False),
        ("../a", False),
        ("~/a", False),
        ("here", False),
    ],
)
def test_a_name_on_the_hub_is_no_path_and_no_folder_here(
    root: str,
    on_hub: bool,
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    data = tiny_config(HUB | {"data.root": root}).data
    assert (data.on_hub, data.is_folder) == (on_hub, not on_hub)
    folder = tiny_config({"data.name": "folder", "data.root": root}).data
    assert (folder.on_hub, folder.is_folder) == (False, True)


def test_a_checkpoint_keeps_a_name_on_the_hub_and_no_path(
    tiny_config: Callable[..., Config],
) -> None:
    assert tiny_config(HUB | {"data.download": False}).portable().data.root == "owner/name"
    assert tiny_config(HUB | {"data.root": "/photos"}).portable().data.root == "data"
    assert tiny_config({"data.root": "owner/name"}).portable().data.root == "data"
