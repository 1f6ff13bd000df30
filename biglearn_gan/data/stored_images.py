"""Where the images of a data set lie: in memory, in files, or in a ZIP archive.

Every kind takes little memory and can be pickled. Threads and processes can read it at the same
time, because no file stays open.
"""

from __future__ import annotations

import bz2
import hashlib
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from biglearn_gan.data.image_files import EncodedImage, ImageSource
from biglearn_gan.data.image_listing import ImagePath

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""The header of a member of a ZIP archive; its last two numbers are lengths of what follows."""

_DECOMPRESSORS: dict[int, Callable[[bytes], bytes]] = {
    zipfile.ZIP_STORED: bytes,
    zipfile.ZIP_DEFLATED: partial(zlib.decompress, wbits=-zlib.MAX_WBITS),
    zipfile.ZIP_BZIP2: bz2.decompress,
}

_ENCRYPTED = 1
"""The bit of a member's flags that says that a password is needed."""


class StoredImages(ABC):
    """Images by index, which are read when they are fetched and decoded later."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fetch(self, indices: Sequence[int]) -> list[ImageSource | np.ndarray]:
        """Files, or arrays of decoded pixels, in the order of ``indices``."""

    @abstractmethod
    def subset(self, indices: Sequence[int]) -> StoredImages:
        """The images of ``indices`` alone, in this order."""

    @abstractmethod
    def state(self) -> str:
        """A text that changes with the images."""


class ArrayImages(StoredImages):
    """Decoded images in one array (N, H, W) or (N, H, W, 3)."""

    def __init__(self, array: np.ndarray):
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def fetch(self, indices: Sequence[int]) -> list[ImageSource | np.ndarray]:
        return [self._array[index] for index in indices]

    def subset(self, indices: Sequence[int]) -> ArrayImages:
        return ArrayImages(self._array[list(indices)])

    def state(self) -> str:
        return "\n".join(hashlib.sha256(image.tobytes()).hexdigest() for image in self._array)


class FileImages(StoredImages):
    """Image files on disk."""

    def __init__(self, files: Sequence[Path]):
        self._files = _Texts([str(file) for file in files])

    def __len__(self) -> int:
        return len(self._files)

    def fetch(self, indices: Sequence[int]) -> list[ImageSource | np.ndarray]:
        return [Path(self._files[index]) for index in indices]

    def subset(self, indices: Sequence[int]) -> FileImages:
        return FileImages([Path(self._files[index]) for index in indices])

    def state(self) -> str:
        files = [Path(self._files[index]) for index in range(len(self))]
        statuses = [(file, file.stat()) for file in files]
        return "\n".join(f"{file} {s.st_size} {s.st_mtime_ns}" for file, s in statuses)


class ArchiveImages(StoredImages):
    """Image files in one ZIP archive, compressed or not."""

    def __init__(self, archive: str, members: Sequence[zipfile.ZipInfo]):
        self._archive = archive
        self._names = _Texts([member.filename for member in members])
        self._members = np.array(
            [
                (m.header_offset, m.compress_size, m.file_size, m.CRC, m.compress_type, m.flag_bits)
                for m in members
            ],
            dtype=np.int64,
        ).reshape(-1, 6)

    def __len__(self) -> int:
        return len(self._names)

    def fetch(self, indices: Sequence[int]) -> list[ImageSource | np.ndarray]:
        return [
            EncodedImage(f"{self._archive}/{self._names[index]}", partial(self._read, index))
            for index in indices
        ]

    def subset(self, indices: Sequence[int]) -> ArchiveImages:
        chosen = ArchiveImages(self._archive, [])
        chosen._names = _Texts([self._names[index] for index in indices])
        chosen._members = self._members[list(indices)]
        return chosen

    def state(self) -> str:
        return "\n".join(
            f"{self._archive}/{self._names[index]} {size} {crc}"
            for index, (_, _, size, crc, _, _) in enumerate(self._members.tolist())
        )

    def _read(self, index: int) -> bytes:
        """The bytes of a file; raises what :mod:`zipfile` raises for broken ones."""
        offset, size, _, crc, method, flags = self._members[index].tolist()
        if method not in _DECOMPRESSORS or flags & _ENCRYPTED:
            with zipfile.ZipFile(self._archive) as archive:
                return archive.read(self._names[index])
        with open(self._archive, "rb") as file:
            file.seek(offset)
            header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(header[-2] + header[-1], os.SEEK_CUR)
            content = _DECOMPRESSORS[method](file.read(size))
        if zlib.crc32(content) != crc:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._names[index]!r}")
        return content


class _Texts:
    """A list of texts in two arrays: worker processes share them, and a million are small."""

    def __init__(self, texts: Sequence[str]):
        encoded = [os.fsencode(text) for text in texts]
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        start, end = self._ends[index], self._ends[index + 1]
        return os.fsdecode(self._bytes[start:end].tobytes())


def store_images(images: Sequence[ImagePath] | np.ndarray | StoredImages) -> StoredImages:
    """The same images in a form that worker processes can read."""
    if isinstance(images, StoredImages):
        return images
    if isinstance(images, np.ndarray):
        return ArrayImages(images)
    members: list[Any] = [image for image in images if isinstance(image, zipfile.Path)]
    if members:  # all of one archive
        archive = members[0].root
        return ArchiveImages(archive.filename, [archive.getinfo(m.at) for m in members])
    return FileImages([image for image in images if isinstance(image, Path)])
