"""Imports run one way, and the command line answers without loading torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "biglearn_gan"
ROOT = Path(__file__).parents[1] / PACKAGE

# A file imports only from files above it. Inside `evaluation` the order is free, without a circle.
ORDER = [
    "sections",
    "presets",
    "config_checks",
    "config",
    "gaussians",
    "fields",
    "devices",
    "files",
    "progress",
    "hub",
    "randomness",
    "simulations",
    "simulation_training",
    "surfaces",
    "simulation_figures",
    "simulation_runs",
    "patches",
    "masks",
    "kept",
    "arguments",
    "progressive",
    "images",
    "colours",
    "holes",
    "observed",
    "tasks",
    "transformer",
    "networks",
    "losses",
    "readers",
    "data",
    "card",
    "inference",
    "model",
    "figures",
    "sources",
    "sampling",
    "sample_folder",
    "labelling",
    "studio",
    "painter",
    "demo",
    "game",
    "initial",
    "schedule",
    "run_folder",
    "trainer",
    "doctor",
    "calibration",
    "alongside",
    "fit",
    "evaluation",
    "command",
    "cli_options",
    "cli_measuring",
    "cli_simulating",
    "cli",
    "__main__",
]
# Files that may import less than what is above them.
ONLY = {
    "sections": set[str](),
    "presets": {"sections"},
    "config_checks": {"sections", "presets"},
    "config": {"sections", "config_checks"},
    "progress": set[str](),
    "doctor": {"config"},
    "patches": set[str](),
    "losses": set[str](),
    "images": set[str](),
    "gaussians": set[str](),
    "fields": {"config", "gaussians"},
    "colours": set[str](),
    "readers": {"colours", "config", "fields", "images", "randomness"},
    "data": {"config", "holes", "images", "observed", "patches", "readers"},
    "evaluation": set(ORDER[: ORDER.index("sampling") + 1]) - {"losses", "networks", "transformer"},
}
# Files that may name more in annotations (`if TYPE_CHECKING:`) than they import when they run.
TYPES_FROM_ABOVE = {"losses"}
# The names that the package itself exports, and where they come from.
EXPORTS = {"BigLearnGAN": "model"}


def module_name(path: Path) -> str:
    """``evaluation.frechet`` for ``biglearn_gan/evaluation/frechet.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = sorted(set(FILES) - {"__init__"})


def group(module: str) -> str:
    """The entry of ORDER that a module belongs to."""
    return module.partition(".")[0]


def imports_of(source: str, module: str) -> Iterator[tuple[str, bool]]:
    """What of this package a file imports, at any depth, and whether for annotations only."""
    package = [PACKAGE, *module.split(".")]
    if module not in FILES or FILES[module].name != "__init__.py":
        package.pop()
    tree = ast.parse(source)
    for_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source_name = ".".join([*start, *([node.module] if node.module else [])])
            names = [f"{source_name}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        for name in names:
            if f"{name}.".startswith(f"{PACKAGE}."):
                yield resolve(name.split(".")[1:]), node in for_types


def resolve(parts: list[str]) -> str:
    """The module that a dotted name lies in: names inside a module are cut off."""
    if parts and parts[0] in EXPORTS:
        return EXPORTS[parts[0]]
    while parts and ".".join(parts) not in FILES and parts[0] not in ORDER:
        parts = parts[:-1]
    while len(parts) > 1 and ".".join(parts) not in FILES:
        parts = parts[:-1]
    return ".".join(parts) or "__init__"


def read(module: str) -> list[tuple[str, bool]]:
    return list(imports_of(FILES[module].read_text(encoding="utf-8"), module))


def test_the_reader_sees_every_way_to_import() -> None:
    source = """
from typing import TYPE_CHECKING
import os, biglearn_gan.config as c
from biglearn_gan import masks, BigLearnGAN
from .data import load_dataset
from . import __version__
if TYPE_CHECKING:
    from biglearn_gan.networks import Generator
def late():
    from biglearn_gan.losses import logistic_generator
    import_module("biglearn_gan.patches")
import biglearn_gan_of_others
"""
    assert sorted(imports_of(source, "cli")) == [
        ("__init__", False),
        ("config", False),
        ("data", False),
        ("losses", False),
        ("masks", False),
        ("model", False),
        ("networks", True),
        ("patches", False),
    ]
    assert list(imports_of("from ..config import Config", "evaluation.frechet")) == [
        ("config", False)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_file_has_its_place_in_the_order(module: str) -> None:
    assert group(module) in ORDER, f"say in ORDER where {module} stands"


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_from_above(module: str) -> None:
    own = group(module)
    above = set(ORDER[: ORDER.index(own)])
    for imported, for_types in read(module):
        if imported == "__init__" or (own == "evaluation" and group(imported) == own):
            continue
        assert imported != module
        assert group(imported) in above, f"{module} imports {imported}, which is not above it"
        if not (for_types and own in TYPES_FROM_ABOVE):
            allowed = ONLY.get(own, above)
            assert group(imported) in allowed, f"{module} may not import {imported}"


def test_there_is_no_circle() -> None:
    graph = {
        module: {imported for imported, _ in read(module)} - {"__init__", module}
        for module in MODULES
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_package_itself_imports_nothing_of_ours_before_it_is_asked() -> None:
    tree = ast.parse(FILES["__init__"].read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    source = "\n".join(ast.unparse(node) for node in at_once)
    assert list(imports_of(source, "__init__")) == []


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


NO_TORCH = "assert 'torch' not in sys.modules, 'torch was imported'"


@pytest.mark.parametrize("module", [PACKAGE, f"{PACKAGE}.config", f"{PACKAGE}.cli"])
def test_importing_does_not_load_torch(module: str) -> None:
    result = run_python(f"import sys, {module}; {NO_TORCH}")
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
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert "train" in result.stdout
    assert "sample" in result.stdout
