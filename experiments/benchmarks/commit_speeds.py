"""Speeds of training in this checkout and in other commits, by their own benchmarks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from biglearn_gan.cli.runner import CommandError
from biglearn_gan.errors import UserError

BENCHMARKS = (("experiments/benchmarks/speed.py", "model"), ("experiments/benchmark.py",))
"""The command of the benchmark, today and before version 0.2."""

SPEED_ROW = re.compile(r"^\| (.*): speed \| \d+ images/s, ([\d.]+) ms a step \|$", re.MULTILINE)

RENAMED_PHASES = {"game": "adversarial training"}


def repository_root() -> Path:
    """The checkout that holds this file.

    Raises:
        GitError: it is not a git checkout, or git is not installed.
    """
    folder = Path(__file__).parent
    return Path(git(folder, "rev-parse", "--show-toplevel").strip())


@contextmanager
def other_checkout(root: Path, commit: str) -> Iterator[Path]:
    """A temporary checkout of another commit of the repository at ``root``.

    Raises:
        CommandError: there is no such commit.
    """
    try:
        git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    except GitError:
        raise CommandError(f"{root} has no commit {commit!r}", 2) from None
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        git(root, "worktree", "add", "--detach", str(checkout), commit)
        try:
            yield checkout
        finally:
            git(root, "worktree", "remove", "--force", str(checkout))


def step_seconds(
    root: Path, config: Path, steps: int, overrides: Sequence[str]
) -> dict[str, float]:
    """Seconds of a step of each phase of training, by the checkout's own benchmark.

    Args:
        root: the checkout; its own file is read if ``config`` is relative.
        config: YAML file of the run.
        steps: training steps to time.
        overrides: changes of the configuration, such as ``train.batch_size=32``.

    Raises:
        CommandError: the checkout has no benchmark, or it failed.
    """
    found = [command for command in BENCHMARKS if (root / command[0]).exists()]
    if not found:
        names = " or ".join(command[0] for command in BENCHMARKS)
        raise CommandError(f"{root} has no {names}", 2)
    options = ["--config", str(config), "--steps", str(steps), *overrides]
    result = subprocess.run(
        [sys.executable, *found[0], *options],
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise CommandError(f"the benchmark of {root} failed: {result.stderr.strip()}")
    rows = SPEED_ROW.findall(result.stdout)
    if not rows:
        raise CommandError(f"the benchmark of {root} printed no speed of training")
    return {RENAMED_PHASES.get(phase, phase): float(ms) / 1e3 for phase, ms in rows}


class GitError(UserError):
    """git is not installed, or a git command failed."""


def git(folder: Path, *arguments: str) -> str:
    """The output of a git command, run in ``folder``.

    Raises:
        GitError: the command failed.
    """
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=folder, check=False, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    if result.returncode != 0:
        raise GitError(result.stderr.strip())
    return result.stdout
