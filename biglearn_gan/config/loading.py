"""Reads a configuration: YAML files, overrides, and all error messages about them.

All problems are reported together in one :class:`ConfigError`. Each line names the key, its value
and what is allowed. Nothing here needs torch, data or the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from biglearn_gan.config.checks import cross_check
from biglearn_gan.config.schema import Config
from biglearn_gan.config.upgrade import upgrade
from biglearn_gan.config.values import ConfigError, Section
from biglearn_gan.shipped import config_names, find_config, suggest


def load_config(path: str | Path, overrides: Iterable[str] = (), *, stored: bool = False) -> Config:
    """Read a YAML file, apply overrides and check all values.

    Args:
        path: the file, with or without ``.yaml``, or the name of a shipped one, such as ``mnist``.
            A file here goes before a shipped one of the same name.
        overrides: ``key.sub=value``. A budget of one kind (``train.max_images`` or
            ``train.max_minutes``) replaces the file's budget of the other kind.
        stored: see :func:`parse_config`.

    Raises:
        ConfigError: the file cannot be read or is not a YAML mapping, an override has no ``=``, or
            a value is not allowed; ``problems`` has all of them.
    """
    values = _read_yaml(_find_file(Path(path)))
    problems = _apply_overrides(values, overrides)
    try:
        config = parse_config(values, stored=stored)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    return config


def parse_config(values: Mapping[str, Any], *, stored: bool = False) -> Config:
    """Check plain values section by section, then across sections.

    Args:
        values: nested dictionaries, as in a YAML or JSON file.
        stored: whether a program wrote them, in a run or a checkpoint. Old names of keys are then
            translated without a word.

    Raises:
        ConfigError: a value is missing or not allowed; ``problems`` has all of them.
    """
    values, problems = upgrade(values, stored)
    for key in values:
        if key not in Config.model_fields:
            problems.append(_unknown_key(str(key), Config.model_fields))
    sections: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        section = field.annotation
        assert isinstance(section, type) and issubclass(section, Section)
        given = values.get(name, {} if not field.is_required() else None)
        if given is None:
            found = "is empty" if name in values else "is missing"
            problems.append(f"{name}: this section {found}")
            continue
        try:
            sections[name] = section.model_validate(given)
        except ValidationError as error:
            problems.extend(_describe(name, item) for item in error.errors())
    problems.extend(cross_check(sections))
    if problems:
        raise ConfigError(problems)
    return Config(**sections)


class _Loader(yaml.SafeLoader):
    """Reads ``2e-3`` as a number, as YAML 1.2 does, and refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _find_file(path: Path) -> Path:
    """The file here, else the shipped one of this name, else the path that does not exist."""
    here = next((each for each in (path, Path(f"{path}.yaml")) if each.is_file()), None)
    return here or find_config(path.as_posix()) or path


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = f", nor a shipped one; choose {suggest(path.name, config_names())}"
        raise ConfigError(
            [f"{path}: there is no such file{names if path.parent == Path() else ''}"]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read ({error})"]) from None
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([f"{path}: is not valid YAML ({_one_line(error)})"]) from None
    if values is None:
        raise ConfigError([f"{path}: the file is empty"])
    if not isinstance(values, dict):
        raise ConfigError([f"{path}: sections such as 'data:' are expected, not {values!r}"])
    return values


def _apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> list[str]:
    problems, given = [], set()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            problems.append(f"{override!r}: an override has the form key.sub=value")
            continue
        try:
            value = yaml.load(text, _Loader)
        except (yaml.YAMLError, ValueError) as error:
            problems.append(f"{key}: {text!r} is not a valid value ({_one_line(error)})")
            continue
        problem = _set(values, key, value)
        if problem is not None:
            problems.append(problem)
        given.add(key)
    for ours, other in (("max_images", "max_minutes"), ("max_minutes", "max_images")):
        train = values.get("train")
        if f"train.{ours}" in given and f"train.{other}" not in given and isinstance(train, dict):
            train.pop(other, None)
    return problems


def _set(values: dict[str, Any], key: str, value: Any) -> str | None:
    """Set ``key.sub`` to a value; return the problem if a list is in the way."""
    *parents, last = key.split(".")
    here = values
    for depth, parent in enumerate(parents):
        if isinstance(here.get(parent), list):
            return f"{key}: {'.'.join(parents[: depth + 1])} is a list; override the whole list"
        if not isinstance(here.get(parent), dict):
            here[parent] = {}
        here = here[parent]
    here[last] = value
    return None


def _describe(section: str, item: Any) -> str:
    """One sentence for one pydantic error: the key, its value and what is allowed."""
    location = [part for part in item["loc"] if not str(part).startswith("function-")]
    key = ".".join([section, *map(str, location)])
    if item["type"] == "extra_forbidden":
        return _unknown_key(key, _allowed_keys(section, location[:-1]))
    if item["type"] == "missing":
        return f"{key}: this key is missing"
    if item["type"] == "model_type":
        keys = ", ".join(_allowed_keys(section, location))
        return f"{key}: {item['input']!r} is not allowed; it should be a section with {keys}"
    message = item["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    message = message[0].lower() + message[1:]
    return f"{key}: {item['input']!r} is not allowed; {message}"


def _unknown_key(key: str, allowed: Iterable[str]) -> str:
    names = list(allowed)
    similar = get_close_matches(key.rpartition(".")[2], names, n=1)
    hint = f", perhaps {similar[0]}" if similar else ""
    return f"{key}: unknown key{hint}; allowed here: {', '.join(names)}"


def _allowed_keys(section: str, location: list[Any]) -> list[str]:
    here: Any = Config.model_fields[section].annotation
    for part in location:
        if isinstance(part, int):
            continue
        here = _section_type(here.model_fields[part].annotation)
    return list(here.model_fields)


def _section_type(annotation: Any) -> Any:
    """The section class in ``X``, ``X | None`` or ``list[X] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_type(inner)
        if found is not None:
            return found
    return None


def _one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem}, at line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())
