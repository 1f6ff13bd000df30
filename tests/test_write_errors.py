"""A file that cannot be written is named in one sentence, and what stood there before stays."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file

from biglearn_gan.files import (
    OutputError,
    WriteError,
    append,
    check_output_folder,
    check_space,
    make_folder,
    recover_folder,
    replacing,
    replacing_folder,
    writing,
)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """As if the disk had room for ``size`` bytes of each file; the system then reports EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
"""12 kB that no format compresses."""


def write_text(path: Path) -> None:
    path.write_text("x" * 10_000)


def write_torch(path: Path) -> None:
    torch.save({"weights": torch.ones(10_000)}, path)


def write_safetensors(path: Path) -> None:
    save_file({"weights": torch.ones(10_000)}, path)


def write_png(path: Path) -> None:
    Image.fromarray(NOISE).save(path, format="png")


def write_gif(path: Path) -> None:
    frames = [Image.fromarray(np.roll(NOISE, step, axis=0)) for step in range(3)]
    frames[0].save(path, format="gif", save_all=True, append_images=frames[1:])


def write_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, noise=NOISE)


def write_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, NOISE)


def write_figure(path: Path) -> None:
    figure = Figure()
    figure.subplots().imshow(NOISE)
    figure.savefig(path, format="png")


def write_onnx(path: Path) -> None:
    weights = onnx.numpy_helper.from_array(NOISE, "weights")
    graph = onnx.helper.make_graph([], "graph", [], [], [weights])
    onnx.save(onnx.helper.make_model(graph), path)


WRITERS = (
    write_text,
    write_torch,
    write_safetensors,
    write_png,
    write_gif,
    write_npz,
    write_npy,
    write_figure,
    write_onnx,
)


@pytest.mark.parametrize("write", WRITERS)
def test_every_library_fails_with_the_same_sentence(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "file.bin"
    path.write_text("old")
    with file_size_limit(3000), pytest.raises(WriteError) as caught, replacing(path) as temporary:
        write(temporary)
    assert str(caught.value) == (
        f"{path} cannot be written because files of its size are not allowed: raise `ulimit -f`, "
        "then run the same command again"
    )
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as temporary:
        write(temporary)
    assert path.stat().st_size > 3000


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            errno.ENOSPC,
            "because its disk is full: free some space, then run the same command again",
        ),
        (
            errno.EDQUOT,
            "because your disk quota is used up: free some space, then run the same command again",
        ),
        (
            errno.EACCES,
            "because its folder or the file is protected: change the permissions, or choose "
            "another output",
        ),
        (errno.EROFS, "because its disk is read-only: choose another output"),
        (errno.EIO, "(Input/output error): check the disk, or choose another output"),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else "",
)
@pytest.mark.parametrize("names_a_file", [True, False])
def test_the_sentence_says_why_and_what_to_do(
    tmp_path: Path, number: int, sentence: str, names_a_file: bool
) -> None:
    path = tmp_path / "grid.png"
    with pytest.raises(OutputError) as caught, replacing(path) as temporary:
        filename = str(temporary) if names_a_file else None
        raise OSError(number, os.strerror(number), filename)
    assert str(caught.value) == f"{path} cannot be written {sentence}"
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == number


def test_an_error_of_its_own_number_is_read_from_its_cause(tmp_path: Path) -> None:
    """As torch raises a RuntimeError, and zipfile a ValueError, while an OSError is handled."""
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(WriteError, match="its disk is full"), replacing(tmp_path / "x") as path:
        try:
            raise full
        finally:
            path.write_text("half")
            raise ValueError("write to closed file")


def test_an_unknown_error_of_a_writer_is_quoted(tmp_path: Path) -> None:
    message = "[enforce fail at inline_container.cc:672] . unexpected pos 1940928 vs 1940820"
    with pytest.raises(WriteError) as caught, replacing(tmp_path / "state.pt"):
        raise RuntimeError(f"{message}\nC++ frames")
    assert str(caught.value) == (
        f"{tmp_path / 'state.pt'} cannot be written ({message}): check the disk, or choose another "
        "output"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/elsewhere/photo.png"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, replacing(tmp_path / "grid.png"):
        raise error
    assert caught.value is error


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "a"
    with pytest.raises(WriteError, match=rf"^{folder} cannot be written \(Not a directory\)"):
        make_folder(folder)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_protected_output_folder_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(WriteError) as caught:
        check_output_folder(tmp_path / "a" / "b", written_by="sample")
    assert str(caught.value) == (
        f"{tmp_path / 'a' / 'b'} cannot be written because its folder or the file is protected: "
        "change the permissions, or choose another output"
    )


def test_only_a_full_disk_counts_among_the_errors_of_a_download(tmp_path: Path) -> None:
    check_space(OSError(errno.ECONNRESET, "Connection reset by peer"), tmp_path)
    check_space(ValueError("a bug"), tmp_path)
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(WriteError, match=str(tmp_path)):
            check_space(OSError(number, os.strerror(number)), tmp_path)


# Lines that are appended


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    append(path, b"first\n")
    with file_size_limit(10), pytest.raises(WriteError, match=rf"^{path} cannot be written"):
        append(path, b"second\n")  # four bytes of it have room
    assert path.read_bytes() == b"first\n"
    append(path, b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"


# Folders


def fill(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "weights").write_text(text)
    return folder


def test_a_folder_is_replaced_when_all_its_files_are_complete(tmp_path: Path) -> None:
    folder = fill(tmp_path / "checkpoint", "old")
    with replacing_folder(folder) as temporary:
        (temporary / "weights").write_text("new")
        assert (folder / "weights").read_text() == "old"
    assert (folder / "weights").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_stays_as_it_was_if_a_file_in_it_cannot_be_written(tmp_path: Path) -> None:
    folder = fill(tmp_path / "checkpoint", "old")
    with (
        file_size_limit(100),
        pytest.raises(WriteError) as caught,
        replacing_folder(folder) as temporary,
        writing(temporary / "weights") as path,
    ):
        path.write_text("x" * 200)
    assert str(caught.value).startswith(f"{folder / 'weights'} cannot be written because")
    assert (folder / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ({"checkpoint.tmp": "half"}, None),
        ({"checkpoint": "old", "checkpoint.tmp": "half"}, "old"),
        ({"checkpoint.tmp": "new", "checkpoint.old": "old"}, "new"),
        ({"checkpoint": "new", "checkpoint.old": "old"}, "new"),
        ({"checkpoint.old": "old"}, "old"),
    ],
    ids=["first", "filling", "between", "removing", "old"],
)
def test_a_killed_process_leaves_one_complete_folder(
    tmp_path: Path, left: dict[str, str], expected: str | None
) -> None:
    for name, text in left.items():
        fill(tmp_path / name, text)
    folder = tmp_path / "checkpoint"
    recover_folder(folder)
    if expected is None:
        assert not list(tmp_path.iterdir())
    else:
        assert list(tmp_path.iterdir()) == [folder]
        assert (folder / "weights").read_text() == expected
