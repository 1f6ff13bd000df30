"""Unpack an archive of Noto emoji into train/ and test/ folders, for ``emoji.yaml``.

    python experiments/prepare_emoji.py --archive emoji.zip --output emoji

One picture often comes in several skin tones and genders. All pictures that begin with the same
code point therefore go into the same folder: a random split would test on pictures that the model
has seen in another color.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from biglearn_gan.cli.runner import fail, run
from biglearn_gan.files import make_folder, replacing

TEST_SHARE = 0.1
"""Share of the first code points whose pictures are held out."""


def main(
    archive: Annotated[Path, typer.Option(dir_okay=False, exists=True, help="ZIP of PNG files.")],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder for train/ and test/.")],
) -> None:
    """Write the pictures of an archive into train/ and test/."""
    counts = {"train": 0, "test": 0}
    try:
        with zipfile.ZipFile(archive) as files:
            names = [name for name in files.namelist() if name.endswith(".png")]
            for name in names:
                split = split_of(name)
                make_folder(output / split)
                with replacing(output / split / PurePosixPath(name).name) as path:
                    path.write_bytes(files.read(name))
                counts[split] += 1
    except zipfile.BadZipFile as error:
        fail(f"--archive {archive} cannot be read as a ZIP file ({error})", code=2)
    if min(counts.values()) == 0:
        fail(f"--archive {archive} has {sum(counts.values())} PNG files, too few to split", code=2)
    typer.echo(f"{counts['train']:,} pictures in {output}/train, {counts['test']:,} in test")


def split_of(file_name: str) -> str:
    """``train`` or ``test``, from the first code point of a name like emoji_u1f44b_1f3fb.png."""
    code_point = PurePosixPath(file_name).stem.removeprefix("emoji_u").split("_")[0]
    digest = hashlib.sha256(code_point.encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32 else "train"


if __name__ == "__main__":
    run(main, "prepare_emoji")
