"""The demo's benchmark times clicks on a painted stroke."""

from __future__ import annotations

from pathlib import Path

import demo_speed
import pytest

from biglearn_gan.demo.session import DemoResult, DemoSession

ROOT = Path(__file__).parents[2]


def test_a_click_completes_the_painted_stroke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    calls: list[tuple[int, int, float]] = []
    complete = DemoSession.complete

    def watched(self: DemoSession, image: object, hole: object, **options: int) -> DemoResult:
        calls.append((options["variations"], options["seed"], float(hole.float().mean())))  # type: ignore[attr-defined]
        return complete(self, image, hole, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(DemoSession, "complete", watched)
    demo_speed.main("checkpoints/digits", variations="3,1", clicks=2)
    assert [call[:2] for call in calls] == [(1, 0), (1, 0), (1, 1), (3, 0), (3, 1)]
    assert all(0.1 < share < 0.5 for *_, share in calls)
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| variations | seconds per click, median | longest |"
    cells = [[float(cell) for cell in row.strip("| ").split(" | ")] for row in rows]
    assert [row[0] for row in cells] == [1, 3]
    assert all(0 < median <= longest for _, median, longest in cells)


def test_the_stroke_runs_from_corner_to_corner() -> None:
    paint = demo_speed.slanted_stroke((60, 40))
    alpha = paint.getchannel("A")
    assert alpha.getpixel((1, 1)) == alpha.getpixel((30, 20)) == alpha.getpixel((58, 38)) == 255
    assert alpha.getpixel((55, 3)) == alpha.getpixel((3, 35)) == 0
