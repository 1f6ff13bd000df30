"""The curve over core-hours: its points are the records of the states, in the order of time."""

from __future__ import annotations

from pathlib import Path

import pytest
import training_curve

from biglearn_gan.cli.runner import CommandError
from biglearn_gan.evaluation.records import read_records

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "checkpoints" / "digits" / "evaluation"


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(("state,record,core_hours", *rows)), encoding="utf-8")
    return path


def test_states_come_by_core_hours_with_the_values_of_their_records(tmp_path: Path) -> None:
    states = training_curve.read_states(
        write(tmp_path / "hours.csv", f"later,{RECORD},2.5", f"first,{RECORD},1")
    )
    assert [(state.name, state.core_hours) for state in states] == [("first", 1), ("later", 2.5)]
    figure = training_curve.draw(states, ["joint", "random:0.5", "never measured"])
    distances, agreement = figure.axes  # these records have no seams
    records = read_records(RECORD / "metrics.json")
    expected = next(record for record in records if record.metric == "fd397_classifier_joint")
    line, floor = distances.lines[:2]
    assert line.get_xdata().tolist() == [1, 2.5]
    assert line.get_ydata().tolist() == [expected.value] * 2
    assert set(floor.get_ydata()) == {expected.floor}
    assert [text.get_text() for text in distances.get_xticklabels()] == [
        "1 h, first",
        "2.5 h, later",
    ]
    assert len(distances.lines) == 4  # two tasks, each with its floor
    assert len(agreement.lines) == 2  # joint samples have no original to agree with


@pytest.mark.parametrize("row", ["state,nowhere,1", f"state,{RECORD},soon", "state"])
def test_a_row_that_cannot_be_read_is_one_sentence(tmp_path: Path, row: str) -> None:
    with pytest.raises(CommandError, match=r"hours\.csv"):
        training_curve.read_states(write(tmp_path / "hours.csv", row))


def test_a_measure_that_no_state_has_gets_no_panel(tmp_path: Path) -> None:
    """Joint samples have no original to agree with."""
    states = training_curve.read_states(write(tmp_path / "hours.csv", f"one,{RECORD},1"))
    titles = [axes.get_title() for axes in training_curve.draw(states, ["joint"]).axes]
    assert not any("agreement" in title for title in titles)
    assert titles[0].startswith("Fréchet distance")
    with pytest.raises(CommandError, match=r"no state has a distance for --tasks letters"):
        training_curve.main(tmp_path / "hours.csv", tmp_path / "x.png", "letters")
