"""The split of emoji: all pictures of one code point are on one side."""

from __future__ import annotations

import runpy
import zipfile
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "experiments" / "prepare_emoji.py"


def test_skin_tones_and_genders_stay_together() -> None:
    split_of = runpy.run_path(str(SCRIPT))["split_of"]
    for code_point in range(0x1F600, 0x1F640):
        name = f"emoji_u{code_point:x}"
        variants = [f"{name}.png", f"{name}_1f3fb.png", f"a/{name}_200d_2640.png"]
        assert len({split_of(variant) for variant in variants}) == 1
    share = sum(split_of(f"emoji_u{number:x}.png") == "test" for number in range(2000)) / 2000
    assert share == pytest.approx(0.1, abs=0.02)


def test_files_are_unpacked_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "emoji.zip", "w") as files:
        for number in range(40):
            path = tmp_path / f"emoji_u{number:x}.png"
            Image.new("RGBA", (2, 2), (number, 0, 0, 128)).save(path)
            files.write(path, f"emoji/{path.name}")
    main = runpy.run_path(str(SCRIPT))["main"]
    main(tmp_path / "emoji.zip", tmp_path / "out")
    written = {path.name: path for path in (tmp_path / "out").glob("*/*.png")}
    assert written.keys() == {f"emoji_u{number:x}.png" for number in range(40)}
    for name, path in written.items():
        assert path.read_bytes() == (tmp_path / name).read_bytes()
    trained = len(list((tmp_path / "out/train").iterdir()))
    assert capsys.readouterr().out.startswith(f"{trained} pictures in")
