"""Which files of a folder or of an archive are images, and in which order."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

import pytest

from biglearn_gan.data.image_listing import (
    DataError,
    folder_at,
    image_tree,
    named_images,
)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_in(folder: Path, masks: bool = False) -> list[str]:
    return [str(name) for name in image_tree(folder, masks)]


def zip_files(archive: Path, *names: str) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, name)
    return archive


class TestTree:
    def test_all_depths_are_listed_by_the_parts_of_their_paths(self, tmp_path: Path) -> None:
        touch(tmp_path, "b.png", "a/z.jpg", "a/c/1.webp", "a.png", "a-b/x.tif", "notes.txt")
        assert names_in(tmp_path) == ["a/c/1.webp", "a/z.jpg", "a-b/x.tif", "a.png", "b.png"]
        assert list(image_tree(tmp_path).values())[1] == tmp_path / "a" / "z.jpg"

    def test_endings_in_capital_letters_and_of_browsers_are_image_files(
        self, tmp_path: Path
    ) -> None:
        touch(tmp_path, "IMG_1.JPG", "b.Jpeg", "c.jfif", "d.avif", "e.apng", "f.heic", "g.svg")
        names = ["IMG_1.JPG", "b.Jpeg", "c.jfif", "d.avif", "e.apng"]
        assert names_in(tmp_path) == names
        with pytest.warns(UserWarning, match=r"left out 2 files .* such as f.heic; convert them"):
            assert [str(name) for name in named_images(tmp_path)] == names

    def test_hidden_files_and_folders_of_the_system_are_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "._a.png", ".thumbnails/a.png", "cat/.b.png", "cat/.c/d.png")
        touch(tmp_path, "@eaDir/a.png", "cat/__MACOSX/b.png", "Thumbs.db", "cat/.DS_Store")
        assert names_in(tmp_path) == ["a.png"]

    def test_masks_are_listed_only_on_request(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "a.mask.png", "b/c.mask.png")
        assert names_in(tmp_path) == ["a.png"]
        assert names_in(tmp_path, masks=True) == ["a.mask.png", "a.png", "b/c.mask.png"]

    def test_folders_named_like_images_are_not_files(self, tmp_path: Path) -> None:
        touch(tmp_path, "album.png/a.png")
        assert names_in(tmp_path) == ["album.png/a.png"]

    def test_links_are_followed_but_not_in_circles(self, tmp_path: Path) -> None:
        touch(tmp_path / "elsewhere", "x.png")
        touch(tmp_path / "top", "cat/a.png")
        top = tmp_path / "top"
        try:
            (top / "dog").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
            (top / "b.png").symlink_to(tmp_path / "elsewhere" / "x.png")
            (top / "cat" / "up").symlink_to(top, target_is_directory=True)
            (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
            (top / "gone.png").symlink_to(tmp_path / "nowhere.png")
        except OSError:
            pytest.skip("this file system has no links")
        assert names_in(top) == ["b.png", "cat/a.png", "dog/x.png"]


class TestNamedImages:
    def test_a_file_is_itself_whatever_its_ending(self, tmp_path: Path) -> None:
        touch(tmp_path, "photo.dat")
        assert named_images(tmp_path / "photo.dat") == {
            PurePosixPath("photo.dat"): tmp_path / "photo.dat"
        }

    def test_a_folder_is_all_files_in_it_and_below(self, tmp_path: Path) -> None:
        touch(tmp_path, "dog/1.png", "cat/1.png", "notes.txt")
        assert [str(name) for name in named_images(tmp_path)] == ["cat/1.png", "dog/1.png"]
        touch(tmp_path, "b.png")
        with pytest.warns(
            UserWarning, match=r"reading all 3 image files, 2 of them in folders below$"
        ):
            files = named_images(tmp_path)
        assert [str(name) for name in files] == ["b.png", "cat/1.png", "dog/1.png"]

    def test_a_folder_of_masks_below_is_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "b.png", "cat/1.png", "holes/b.png", "holes/cat/1.png")
        with pytest.warns(UserWarning, match="reading all 2 image files, 1 of them"):
            files = named_images(tmp_path, leave_out=tmp_path / "holes")
        assert [str(name) for name in files] == ["b.png", "cat/1.png"]
        assert len(named_images(tmp_path / "cat", leave_out=tmp_path / "cat")) == 1
        assert len(named_images(tmp_path / "cat", leave_out=tmp_path)) == 1

    def test_a_mask_among_the_images_is_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "cat.png", "hole.png")
        assert [str(name) for name in named_images(tmp_path, tmp_path / "hole.png")] == ["cat.png"]
        assert len(named_images(tmp_path / "hole.png", tmp_path / "hole.png")) == 1

    def test_one_file_that_is_not_read_is_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "b.psd")
        message = (
            r"left out 1 file of a format that is not read, such as b\.psd; convert it to PNG or"
        )
        with pytest.warns(UserWarning, match=message):
            named_images(tmp_path)

    def test_nothing_to_read_is_one_sentence(self, tmp_path: Path) -> None:
        touch(tmp_path, "notes.txt", ".hidden/a.png")
        with pytest.raises(DataError, match=r"has no image files \(.apng .avif .bmp .*\.webp\)$"):
            named_images(tmp_path)
        with pytest.raises(DataError, match="nowhere does not exist; name an image file or a fol"):
            named_images(tmp_path / "nowhere")


class TestArchives:
    def test_the_folder_that_was_zipped_is_the_content(self, tmp_path: Path) -> None:
        archive = zip_files(
            tmp_path / "Photos.ZIP",
            *("photos/dog/b.png", "photos/cat/a.JPG", "photos/cat/a.mask.png"),
            *(
                "__MACOSX/photos/cat/._a.JPG",
                "__MACOSX/b.png",
                "photos/.DS_Store",
                "photos/notes.txt",
            ),
        )
        files = named_images(archive)
        assert [str(name) for name in files] == ["cat/a.JPG", "dog/b.png"]
        assert next(iter(files.values())).read_bytes() == b"photos/cat/a.JPG"
        root = folder_at(archive)
        assert (root / "cat").is_dir() and not (root / "train").is_dir()

    def test_files_at_its_top_are_read_as_they_are(self, tmp_path: Path) -> None:
        archive = zip_files(tmp_path / "a.zip", "b.png", "cat/a.png")
        with pytest.warns(UserWarning, match="reading all 2 image files, 1 of them"):
            files = named_images(archive)
        assert [str(name) for name in files] == ["b.png", "cat/a.png"]

    def test_broken_and_empty_archives_are_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
        with pytest.raises(DataError, match=r"broken.zip is not a readable ZIP archive"):
            named_images(tmp_path / "broken.zip")
        with pytest.raises(DataError, match=r"empty.zip has no image files"):
            named_images(zip_files(tmp_path / "empty.zip", "notes.txt"))
