"""What the commands and scripts that evaluate share: counts and shipped classifiers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from biglearn_gan.cli.evaluation_options import parse_counts, shipped_metric_models
from biglearn_gan.cli.runner import CommandError
from biglearn_gan.metrics.features import fingerprint

ROOT = Path(__file__).parents[2]


def test_counts_are_sorted_whole_numbers() -> None:
    assert parse_counts("8,1,2,2", "--steps") == [1, 2, 8]
    for text in ("", "0", "1,two", "-1", "1.5"):
        with pytest.raises(CommandError, match="--steps must be whole numbers from 1"):
            parse_counts(text, "--steps")


def test_classifiers_ship_or_lie_next_to_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    message = (
        "there is no classifier_moons to measure with in checkpoints/, in the clone or next to "
        f"{tmp_path / 'a'}: make one with train-classifier"
    )
    with pytest.raises(CommandError, match=re.escape(message)):
        shipped_metric_models("moons", str(tmp_path / "a"))
    shutil.copytree(ROOT / "checkpoints/classifier_digits", tmp_path / "classifier_moons")
    near = shipped_metric_models("moons", str(tmp_path / "a")).classifier
    shipped = shipped_metric_models("digits", None).classifier
    assert near is not None and shipped is not None
    assert fingerprint(near) == fingerprint(shipped)
