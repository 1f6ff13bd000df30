"""One run at a time writes into a folder; the lock of a killed process is free."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from training_tools import press_ctrl_c_at, subprocess_environment

from biglearn_gan.config import Config
from biglearn_gan.training.fit import fit
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.run_lock import RunLock, RunLockError

HOLDER = """
import sys
from pathlib import Path
from biglearn_gan.training.run_lock import RunLock

lock = RunLock(Path(sys.argv[1]))
lock.acquire()
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder_of(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock of a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=subprocess_environment(),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_a_second_run_is_refused_until_the_first_is_killed(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config, run = tiny_config({"train.max_images": 8}), tmp_path / "run"
    run.mkdir()
    with holder_of(run) as process:
        with pytest.raises(RunLockError) as caught:
            fit(config, run, device="cpu")
        assert str(caught.value) == (
            f"{run} is in use by process {process.pid}: wait until it ends, or choose another "
            "output folder"
        )
        assert caught.value.exit_code == 1
        assert not (run / "config.yaml").exists()
        process.kill()
        process.wait()
    assert (run / ".lock-holder.json").exists()  # a killed process cannot clean up
    assert fit(config, run, device="cpu").images_seen == 8
    assert not (run / ".lock-holder.json").exists()


def test_only_one_of_two_runs_that_start_together_makes_the_folder(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """Neither finds a folder when it begins, so neither has the lock while it loads its data."""
    first, second = (RunFolder(tmp_path / "run", tiny_config()) for _ in range(2))
    for folder in (first, second):
        folder.check()
        folder.lock()
    assert not (tmp_path / "run").exists()
    first.create()
    before = sorted(path.name for path in first.path.iterdir())
    with pytest.raises(RunLockError, match=f"is in use by process {os.getpid()}: wait"):
        second.create()
    assert sorted(path.name for path in first.path.iterdir()) == before


def test_the_lock_is_free_after_every_end(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert fit(tiny_config(), run, device="cpu", on_progress=press_ctrl_c_at(4)).interrupted
    with pytest.raises(MemoryError):
        fit(tiny_config(), run, device="cpu", on_progress=lambda progress: raise_memory_error())
    lock = RunLock(run)
    lock.acquire()
    lock.acquire()  # of what it has
    assert lock.is_held
    lock.release()
    lock.release()
    assert not lock.is_held


def raise_memory_error() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (json.dumps({"pid": 7, "host": "node12"}), "process 7 on node12"),
        ("", "another process"),
        ("[]", "another process"),
        (None, "another process"),
    ],
    ids=["host", "empty", "list", "none"],
)
def test_the_message_names_the_host_and_needs_no_file(
    tmp_path: Path, holder: str | None, name: str
) -> None:
    lock = RunLock(tmp_path)
    lock.acquire()
    file = tmp_path / ".lock-holder.json"
    assert json.loads(file.read_text())["pid"] == os.getpid()
    if holder is None:
        file.unlink()
    else:
        file.write_text(holder)
    with pytest.raises(RunLockError, match=f"^{tmp_path} is in use by {name}: wait"):
        RunLock(tmp_path).acquire()
    lock.release()
