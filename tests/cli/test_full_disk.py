"""A command that fills the disk ends with one sentence, and finishes when it is repeated."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from toys import Run, toy_record

from biglearn_gan.evaluation.records import read_records, write_records
from biglearn_gan.files import WriteError

FullDisk = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """The disk is full when the file of a name is to be completed, and for all later files."""
    os_replace = os.replace

    @contextmanager
    def full_from(name: str) -> Iterator[None]:
        full = False

        def replace_unless_full(source: Path, target: Path) -> None:
            nonlocal full
            full |= Path(target).name == name
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os_replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace_unless_full)
            yield

    return full_from


def files_in(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sentence(path: Path) -> str:
    return (
        f"biglearn-gan: {path} cannot be written because its disk is full: free some space, then "
        "run the same command again\n"
    )


@pytest.fixture
def sample(run: Run, checkpoint: Path) -> Callable[[Path, int], tuple[int, str, str]]:
    """Run ``sample`` with an output folder and a number of images."""
    return lambda output, num: run(
        "sample", "--checkpoint", checkpoint, "--output", output, "--num", num
    )


@pytest.mark.parametrize("name", ["samples/00001_00.png", "grid.png"])
def test_samples_of_two_calls_never_mix(
    name: str,
    sample: Callable[[Path, int], tuple[int, str, str]],
    tmp_path: Path,
    full_disk: FullDisk,
) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    assert sample(whole, 2)[0] == sample(output, 3)[0] == 0
    with full_disk(Path(name).name):
        code, _, err = sample(output, 2)
    assert (code, err) == (1, sentence(output / name))
    assert files_in(output).items() < files_in(whole).items()
    assert sample(output, 2)[0] == 0
    assert files_in(output) == files_in(whole)


def test_samples_stay_if_there_is_no_room_for_new_ones(
    sample: Callable[[Path, int], tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(path: Path, **arrays: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = tmp_path / "out"
    assert sample(output, 3)[0] == 0
    before = files_in(output)
    monkeypatch.setattr(np, "savez_compressed", full)
    code, _, err = sample(output, 2)
    assert (code, err) == (1, sentence(output / "samples.npz"))
    assert files_in(output) == before


def test_files_of_two_reports_never_mix(tmp_path: Path, full_disk: FullDisk) -> None:
    def write(seed: int) -> None:
        write_records([toy_record(seed)], tmp_path)

    write(seed=0)
    (tmp_path / "completions_joint.png").write_text("of seed 0")
    with (
        full_disk("metrics.csv"),
        pytest.raises(WriteError, match=rf"^{tmp_path / 'metrics.csv'} cannot be written"),
    ):
        write(seed=1)
    assert [record.seed for record in read_records(tmp_path / "metrics.json")] == [1]
    assert list(files_in(tmp_path)) == ["metrics.json"]
    write(seed=1)
    assert sorted(files_in(tmp_path)) == ["metrics.csv", "metrics.json"]
