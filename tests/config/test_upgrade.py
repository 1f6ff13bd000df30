"""Old names of keys: read in stored configurations, refused with the new name elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from biglearn_gan.config import Config, ConfigError, load_config, parse_config

RENAMED = {
    "tasks.kept_pixels": (0.25, "tasks.partial_patches"),
    "tasks.label_given": (0.5, "tasks.label_conditioning"),
    "loss.shared_pass": (True, "loss.reuse_fake_pass"),
    "train.warm_start.hand_over": ("nothing", "train.warm_start.transfer"),
    "logging.evaluation_share": (0.25, "logging.evaluation_time_share"),
}
REMOVED = {"loss.communication_from": (0.0, 0.5), "train.warm_start.tasks": ("conditional", "all")}
"""The value that a stored configuration can have, and one that it cannot."""

COLORED = {"data.name": "coloured_mnist", "data.image_size": 28, "data.channels": 3}

Values = Callable[..., dict[str, Any]]


@pytest.fixture
def old_values(tiny_values: Values) -> dict[str, Any]:
    """Plain values with every old name."""
    changes = {key: value for key, (value, _) in RENAMED.items()}
    changes |= {key: value for key, (value, _) in REMOVED.items()}
    values = tiny_values(changes | COLORED)
    del values["logging"]["evaluation_time_share"]
    return values


@pytest.fixture
def new_config(tiny_config: Callable[..., Config]) -> Config:
    changes = {new: value for value, new in RENAMED.values()}
    return tiny_config(changes | COLORED | {"data.name": "colored_mnist"})


def problems_of(values: dict[str, Any], stored: bool = False) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(values, stored=stored)
    return caught.value.problems


def test_a_stored_configuration_is_read_under_its_old_names(
    old_values: dict[str, Any], new_config: Config, tmp_path: Path
) -> None:
    before = copy.deepcopy(old_values)
    assert parse_config(old_values, stored=True) == new_config
    assert old_values == before
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(old_values))
    assert load_config(path, stored=True) == new_config


def test_a_stored_configuration_under_its_new_names_is_itself(new_config: Config) -> None:
    assert parse_config(new_config.to_dict(), stored=True) == new_config


@pytest.mark.parametrize("old", RENAMED)
def test_a_renamed_key_is_one_line_with_the_new_name(old: str, tiny_values: Values) -> None:
    value, new = RENAMED[old]
    assert problems_of(tiny_values({old: value})) == (f"{old}: this key is called {new} now",)


@pytest.mark.parametrize("old", RENAMED)
def test_a_renamed_key_in_an_override_is_the_same_line(
    old: str, tiny_values: Values, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tiny_values()))
    value, new = RENAMED[old]
    with pytest.raises(ConfigError) as caught:
        load_config(path, [f"{old}={yaml.safe_dump(value).split()[0]}"])
    assert caught.value.problems == (f"{old}: this key is called {new} now",)


def test_the_value_of_a_renamed_key_is_checked_as_well(tiny_values: Values) -> None:
    renamed, wrong = problems_of(tiny_values({"tasks.kept_pixels": 2.0}))
    assert "is called tasks.partial_patches now" in renamed
    assert wrong.startswith("tasks.partial_patches: 2.0 is not allowed")


def test_a_renamed_data_set_is_one_line_with_the_new_name(tiny_values: Values) -> None:
    (problem,) = problems_of(tiny_values(COLORED))
    assert problem == "data.name: 'coloured_mnist' is called 'colored_mnist' now"


@pytest.mark.parametrize("key", REMOVED)
def test_a_removed_key_is_one_line(key: str, tiny_values: Values) -> None:
    for value in REMOVED[key]:
        (problem,) = problems_of(tiny_values({key: value}))
        assert problem.startswith(f"{key}: this key is gone, ")
        assert problem.endswith("; remove it")


@pytest.mark.parametrize("key", REMOVED)
def test_a_stored_run_that_no_run_can_be_now_is_refused(key: str, tiny_values: Values) -> None:
    _, other = REMOVED[key]
    (problem,) = problems_of(tiny_values({key: other}), stored=True)
    assert problem.startswith(f"{key}: this key is gone, ")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"train.warm_start.transfer": "embedding"},
            "train.warm_start.transfer: 'embedding' is not allowed; it should be 'nothing' or",
        ),
        (
            {"tasks": {"components": [{"name": "x", "weight": 1, "union": {"pattern": "border"}}]}},
            "tasks.components.0.union.pattern: 'border' is not allowed",
        ),
    ],
)
def test_a_removed_value_is_one_line_with_those_allowed(
    changes: dict[str, Any], says: str, tiny_values: Values
) -> None:
    (problem,) = problems_of(tiny_values(changes))
    assert problem.startswith(says)
