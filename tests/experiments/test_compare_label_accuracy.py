"""Accuracies of several models side by side."""

from __future__ import annotations

import compare_label_accuracy


def test_rows_have_their_accuracies_and_the_last_one_their_mean() -> None:
    def results(whole: float) -> dict[str, dict[str, object]]:
        holes = {"nothing": whole, "random:0.25": 0.9, "random:0.5": 0.8, "right-half": 0.7}
        prediction: dict[str, object] = {name: {"accuracy": share} for name, share in holes.items()}
        return {"prediction": prediction, "generation": {"best_of_1": 0.5, "best_of_2": 0.6}}

    rows = [
        (f"draw{i}", compare_label_accuracy.accuracies(results(0.9 + 0.02 * i))) for i in (0, 1)
    ]
    best = compare_label_accuracy.accuracies(results(0.99))
    lines = compare_label_accuracy.table(rows, [("all", best)]).splitlines()
    assert lines[2] == "| draw0 | 90.0 | 90.0 | 80.0 | 70.0 | 50.0 |"
    assert lines[4].startswith("| *mean* | 91.0 ± 1.4 | 90.0 ± 0.0 |")
    assert lines[5].startswith("| all | 99.0 | 90.0 |")
    assert len(compare_label_accuracy.table([("one", best)], []).splitlines()) == 3
