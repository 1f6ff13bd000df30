"""The cost of a training step depends on what it computes, not on the batch size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ablation_cost import count_operations, main, time_in_turns
from step_profile import random_trainer

from biglearn_gan.config import Config
from biglearn_gan.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cost(tiny_config: Callable[..., Config]) -> Callable[..., float]:
    """Operations per image of a plain GAN, whose tasks have one size."""

    def measure(**changes: object) -> float:
        plain = {"tasks.preset": "joint", "train.warm_start.share": 0.0}
        config = tiny_config(plain | {key.replace("__", "."): v for key, v in changes.items()})
        return count_operations(random_trainer(config, "cpu"), steps=16)

    return measure


def test_operations_are_counted_per_image(cost: Callable[..., float]) -> None:
    base = cost()
    assert base > 0
    assert cost(train__batch_size=8) == base
    assert cost(train__seed=1) == base
    assert cost(loss__penalty__interval=1) > base > cost(loss__penalty__interval=8)
    assert cost(loss__fakes_per_real=4) > base


def test_every_variant_has_equally_many_turns(tiny_config: Callable[..., Config]) -> None:
    trainers = {name: random_trainer(tiny_config(), "cpu") for name in "ab"}
    seconds = time_in_turns(trainers, rounds=3, steps=2)
    assert {name: len(spent) for name, spent in seconds.items()} == {"a": 3, "b": 3}
    assert trainers["a"].images_seen == trainers["b"].images_seen == 3 * 2 * 4


def test_the_table_has_a_row_per_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    ablation = tmp_path / "ablation.yaml"
    ablation.write_text(
        "config: experiments/digits.yaml\nseeds: [0]\n"
        "overrides: [train.batch_size=2, data.root=nowhere, tasks.preset=joint]\n"
        "variants:\n  base: [train.warm_start.share=0]\n"
        "  every step: [train.warm_start.share=0, loss.penalty.interval=1]\n"
    )
    main(ablation, rounds=1, steps=4)
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0] for row in rows[2:]] == ["base", "every step"]
    assert float(rows[3][1]) > float(rows[2][1])
    assert rows[2][3] == "1.00"


@pytest.mark.parametrize(
    "text", ["seeds: [0]", "config: experiments/digits.yaml\nseeds: [0]\nvariants: {a: [b]}"]
)
def test_a_wrong_file_is_rejected(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "ablation.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        main(tmp_path / "ablation.yaml")
    assert error.value.exit_code == 2
