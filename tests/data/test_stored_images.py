"""Images that are stored in files and archives, as worker processes read them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from biglearn_gan.data.image_listing import folder_at, image_tree
from biglearn_gan.data.stored_images import ArchiveImages, FileImages, StoredImages, store_images

CONTENTS = {"a.png": b"first" * 100, "b/c ü.png": b"", "d.png": bytes(range(256))}


def archive(path: Path, method: int = zipfile.ZIP_DEFLATED, before: bytes = b"") -> StoredImages:
    """The files of a new archive; ``before`` are bytes in front of it, as of a program."""
    path.write_bytes(before)
    with zipfile.ZipFile(path, "a", method) as file:
        for name, content in CONTENTS.items():
            file.writestr(name, content)
    return store_images(list(image_tree(folder_at(path)).values()))


def contents(images: StoredImages) -> list[bytes]:
    return [image.read_bytes() for image in images.fetch(range(len(images)))]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh"])
def test_files_of_an_archive_have_their_contents(
    tmp_path: Path, method: int, before: bytes
) -> None:
    images = archive(tmp_path / "photos.zip", method, before)
    assert isinstance(images, ArchiveImages)
    assert contents(images) == list(CONTENTS.values())
    assert [str(image) for image in images.fetch([1])] == [f"{tmp_path / 'photos.zip'}/b/c ü.png"]
    assert contents(images.subset([2, 0, 2])) == [CONTENTS[n] for n in ("d.png", "a.png", "d.png")]


def test_a_damaged_file_of_an_archive_is_noticed(tmp_path: Path) -> None:
    images = archive(tmp_path / "photos.zip", zipfile.ZIP_STORED)
    damaged = bytearray((tmp_path / "photos.zip").read_bytes())
    damaged[damaged.index(b"firstfirst")] ^= 1
    (tmp_path / "photos.zip").write_bytes(damaged)
    with pytest.raises(zipfile.BadZipFile, match=r"Bad CRC-32 for file 'a\.png'"):
        contents(images)


def test_files_keep_their_order_and_names(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("z.png", "ä b.png", "a.png")]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))
    images = store_images(files)
    assert isinstance(images, FileImages)
    assert images.fetch([1, 1, 0]) == [files[1], files[1], files[0]]
    assert contents(images.subset([2, 0])) == [b"\2", b"\0"]


def test_a_changed_file_changes_the_state(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"one")
    images = store_images([file])
    before = images.state()
    assert images.state() == before
    file.write_bytes(b"other")
    assert images.state() != before
    one, other = (archive(tmp_path / f"{n}.zip").state() for n in ("one", "other"))
    assert one.replace("one.zip", "other.zip") == other


@pytest.mark.parametrize("kind", ["files", "archive", "array"])
def test_every_kind_can_be_sent_to_another_process(tmp_path: Path, kind: str) -> None:
    images = archive(tmp_path / "photos.zip")
    if kind == "files":
        for name, content in (("a.png", b"1"), ("b.png", b"2")):
            (tmp_path / name).write_bytes(content)
        images = store_images([tmp_path / "a.png", tmp_path / "b.png"])
    if kind == "array":
        images = store_images(np.arange(24).reshape(2, 3, 4))
        copy = pickle.loads(pickle.dumps(images))
        assert np.array_equal(copy.fetch([1])[0], np.arange(12, 24).reshape(3, 4))
        return
    assert contents(pickle.loads(pickle.dumps(images))) == contents(images)
