"""Output folders are checked before anything is written, and files are written atomically."""

from __future__ import annotations

from pathlib import Path

import pytest

from biglearn_gan.files import OutputError, check_output_folder, replacing


def test_new_and_empty_folders_are_accepted(tmp_path: Path) -> None:
    check_output_folder(tmp_path, written_by="sample", replaces=[tmp_path / "grid.png"])
    check_output_folder(tmp_path / "a" / "b", written_by="sample")
    assert not list(tmp_path.iterdir())


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(OutputError) as caught:
            check_output_folder(folder, written_by="sample")
        assert str(caught.value) == (
            f"cannot create {folder} because {tmp_path / 'file'} is a file: choose another output "
            "folder"
        )


def test_only_files_of_an_earlier_call_are_replaced(tmp_path: Path) -> None:
    grid, archive = tmp_path / "grid.png", tmp_path / "samples.npz"
    for path in (grid, archive, tmp_path / "notes.txt"):
        path.touch()
    ours = [grid, archive]
    check_output_folder(tmp_path, written_by="sample", replaces=[grid, archive], ours=ours)
    with pytest.raises(OutputError) as caught:
        check_output_folder(tmp_path, written_by="sample", replaces=[grid, archive], ours=[grid])
    assert str(caught.value) == (
        f"{tmp_path} holds samples.npz, which `sample` did not write: choose another output folder"
    )


def test_output_is_kept_apart_from_inputs(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "train").mkdir(parents=True)
    (images / "a.png").touch()
    for path in (images, images / "a.png"):
        with pytest.raises(OutputError, match=rf"would mix with the input {path}: choose another"):
            check_output_folder(images, written_by="sample", inputs=[path])
        check_output_folder(images / "train", written_by="sample", inputs=[path])
        check_output_folder(tmp_path, written_by="sample", inputs=[path])
    with pytest.raises(OutputError, match="would mix with the input"):
        folder = images / "train" / "run"
        check_output_folder(folder, written_by="train", inputs=[images], recursive=True)
    check_output_folder(tmp_path, written_by="train", inputs=[images], recursive=True)


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.suffix == ".png"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_stays_as_it_was_if_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_text("old")
    with pytest.raises(MemoryError), replacing(path) as temporary:
        temporary.write_text("half of the new")
        raise MemoryError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
