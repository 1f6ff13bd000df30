"""Ports, and a command line, for the tests of the demo."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from biglearn_gan.cli.app import main


def run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command line in a folder, in this process; the exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@contextmanager
def taken_port() -> Iterator[int]:
    """A port of 127.0.0.1 that is in use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is not in use."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        return int(free.getsockname()[1])
