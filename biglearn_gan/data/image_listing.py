"""Find the image files of a folder or of a ZIP archive, always in the same order.

Names decide what an image file is; the content is not read. Hidden files and folders (``.cache``,
``._photo.jpg``), folders of the system (``__MACOSX``) and masks (``photo.mask.png``) are left out.
Links to files and folders are followed, but not back to a folder that contains the link.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from biglearn_gan.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {
        *(".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""Endings of image files, in lower case; capital letters are allowed in the files' names."""

UNREAD_SUFFIXES = frozenset(
    {
        *(".arw", ".cr2", ".cr3", ".dng", ".exr", ".heic", ".heif", ".ico", ".jxl"),
        *(".kra", ".nef", ".orf", ".psd", ".raf", ".rw2", ".svg", ".xcf"),
    }
)
"""Endings of images of other formats, which are left out with a warning."""

MASK_SUFFIX = ".mask.png"
"""A file with this ending is the mask of the image of the same name, never an image."""

SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")
"""Folders that macOS adds to archives, and that network disks fill with small previews."""

ImagePath = Path | zipfile.Path
"""A file or a folder, on disk or in a ZIP archive."""


class DataError(UserError):
    """Data are missing, empty or broken; the message says how to provide or repair them."""

    exit_code = 2


class UnavailableDataError(DataError):
    """Data that cannot be downloaded to this machine, or whose library is not installed."""

    exit_code = 1


def image_tree(root: ImagePath, masks: bool = False) -> dict[PurePosixPath, ImagePath]:
    """The image files of a folder and of all folders below it, sorted by their relative paths.

    Args:
        root: a folder, on disk or in an archive.
        masks: whether masks (``NAME.mask.png``) are listed as well.
    """
    found = {name: file for name, file in _walk(root) if _is_image(name, masks)}
    return {name: found[name] for name in sorted(found)}


def named_images(path: Path, leave_out: Path | None = None) -> dict[PurePosixPath, ImagePath]:
    """The image files that a user names by a path, at least one, by their names.

    A file is itself. A folder or a ZIP archive (``.zip``) stands for all image files in it and in
    the folders below. A warning tells if it has both.

    Args:
        path: of a file, a folder or an archive.
        leave_out: a folder below the path whose files are not listed, such as one of masks, or a
            file that is not.

    Raises:
        DataError: the path does not exist, it has no image files, or it is a broken archive.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; name an image file or a folder of image files")
    if not path.is_dir() and not is_archive(path):
        return {PurePosixPath(path.name): path}
    files = image_tree(folder_at(path))
    if leave_out is not None and _is_below(leave_out, path):
        files = {
            name: file
            for name, file in files.items()
            if not _is_below(file, leave_out) and not _is_same(file, leave_out)
        }
    if not files:
        raise without_images(path)
    warn_of_depths(path, files)
    warn_of_unread_formats(path, folder_at(path))
    return files


def warn_of_depths(folder: object, files: Collection[PurePosixPath]) -> None:
    """Warn if some of the files of a folder are directly in it and others in folders below it."""
    below = sum(len(name.parts) > 1 for name in files)
    if 0 < below < len(files):
        warnings.warn(
            f"{folder}: reading all {len(files):,} image files, {below:,} of them in folders below",
            stacklevel=3,
        )


def warn_of_unread_formats(name: object, folder: ImagePath) -> None:
    """Warn of images in a folder or below it that have a format which is not read."""
    unread = [
        file
        for file, _ in _walk(folder)
        if file.suffix.lower() in UNREAD_SUFFIXES and not any(map(_is_ignored, file.parts))
    ]
    if unread:
        files, it = f"{len(unread):,} files of formats that are", "them"
        if len(unread) == 1:
            files, it = "1 file of a format that is", "it"
        warnings.warn(
            f"{name}: left out {files} not read, such as {min(unread)}; convert {it} to PNG or "
            "JPEG",
            stacklevel=3,
        )


def without_images(folder: object) -> DataError:
    """The error for a folder or an archive without image files."""
    return DataError(f"{folder} has no image files ({' '.join(sorted(IMAGE_SUFFIXES))})")


def is_archive(path: Path) -> bool:
    """Whether the path names a ZIP archive, by its ending."""
    return path.suffix.lower() == ".zip" and path.is_file()


def folder_at(path: Path) -> ImagePath:
    """The folder itself, or the content of a ZIP archive.

    If a single folder holds all image files of an archive, as in most zipped folders, the content
    is what that folder holds.

    Raises:
        DataError: the archive is broken.
    """
    if not is_archive(path):
        return path
    try:
        root = zipfile.Path(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a readable ZIP archive ({error})") from None
    folders = [name.parent for name in image_tree(root)]
    common = os.path.commonpath(folders) if folders else ""
    return root / common if common else root


def _is_below(file: ImagePath, folder: Path) -> bool:
    return isinstance(file, Path) and folder.resolve() in file.resolve().parents


def _is_same(file: ImagePath, path: Path) -> bool:
    return isinstance(file, Path) and file.resolve() == path.resolve()


def _is_image(name: PurePosixPath, masks: bool) -> bool:
    if any(map(_is_ignored, name.parts)):
        return False
    is_mask = name.name.endswith(MASK_SUFFIX)
    return name.suffix.lower() in IMAGE_SUFFIXES and (masks or not is_mask)


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _walk(root: ImagePath) -> Iterator[tuple[PurePosixPath, ImagePath]]:
    return _walk_archive(root) if isinstance(root, zipfile.Path) else _walk_folder(root)


def _walk_folder(
    folder: Path, name: str = "", above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[PurePosixPath, Path]]:
    """All visible files below a folder.

    Args:
        folder: where to look.
        name: the folder's path from where the search began.
        above: identifies the folders that contain it, so that no link leads back to them.
    """
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not _is_ignored(entry.name)]
    for entry in visible:
        if entry.is_dir():
            yield from _walk_folder(folder / entry.name, f"{name}{entry.name}/", above | {identity})
        elif entry.is_file():
            yield PurePosixPath(name, entry.name), folder / entry.name


def _walk_archive(folder: zipfile.Path) -> Iterator[tuple[PurePosixPath, zipfile.Path]]:
    """All files below a folder of an archive."""
    for member in folder.root.namelist():
        if member.startswith(folder.at) and not member.endswith("/"):
            name = PurePosixPath(member[len(folder.at) :])
            yield name, zipfile.Path(folder.root, member)
