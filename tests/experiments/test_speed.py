"""The speed benchmark times training and sampling, and compares commits."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import commit_speeds
import pytest
import speed
import step_profile
import torch
from step_profile import Kernel, Machine, StepCounter, Stopwatch

from biglearn_gan.cli.runner import CommandError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "experiments/digits.yaml"


def test_the_table_has_training_and_sampling(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(step_profile, "MACHINE_SECONDS", 0.01)
    speed.model(CONFIG, ["train.batch_size=2"], steps=4)
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| what | measured |"
    names = [row.split("|")[1].strip() for row in rows]
    parts = ("speed", "share of peak", "plain step", "generator forward", "everything else")
    for phase in ("warm start", "adversarial training"):
        for part in parts:
            assert f"{phase}: {part}" in names
    for part in ("discriminator forward", "step with penalty", "plain step, matrix products"):
        assert f"adversarial training: {part}" in names
    assert "warm start: step with penalty" not in names
    assert names[-1] == "sampling: `model.sample(512)`"


def test_a_step_counter_counts_kernels_and_products_with_their_derivatives() -> None:
    a, b = torch.ones(3, 5, requires_grad=True), torch.ones(5, 7, requires_grad=True)
    with StepCounter() as counter:
        product = a @ b.view(5, 7)  # a view is no kernel
    assert counter.kernels == [Kernel(4 * (3 * 5 + 5 * 7 + 3 * 7), operations=2 * 3 * 5 * 7)]
    with StepCounter() as counter:
        torch.autograd.grad(product, (a, b), torch.ones(3, 7))
    assert counter.operations == 2 * (2 * 3 * 5 * 7)
    machine = Machine(peak=1e3, bandwidth=1e9)
    assert counter.attainable_seconds(machine) == pytest.approx(0.42)


def test_a_product_is_limited_by_the_peak_or_by_the_bandwidth() -> None:
    machine = Machine(peak=100, bandwidth=10)
    assert machine.attainable_seconds(Kernel(size=20, operations=1000)) == 10
    assert machine.attainable_seconds(Kernel(size=200, operations=1000)) == 20


def test_a_stopwatch_restores_the_methods() -> None:
    layer = torch.nn.Linear(2, 2)
    parts = Stopwatch(torch.device("cpu"))
    parts.watch(layer.forward, "forward")
    layer(torch.zeros(1, 2))
    assert parts.seconds["forward"] > 0
    parts.stop()
    assert "forward" not in vars(layer)


BENCHMARK = """
import sys
assert sys.argv[1:] == ["--config", "{config}", "--steps", "8", "train.seed=3"]
print("| warm start: speed | 999 images/s, {warm} ms a step |")
print("| game: speed | 9 images/s, {game} ms a step |")
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commits_are_compared_in_turns_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        command = ["git", *identity, *arguments]
        return subprocess.check_output(command, cwd=tmp_path, text=True)

    git("init")
    (tmp_path / "experiments").mkdir()
    for warm, game in (("20.0", "1860.0"), ("10.0", "620.0")):
        code = BENCHMARK.format(config=CONFIG, warm=warm, game=game)
        (tmp_path / "experiments/benchmark.py").write_text(code)
        git("add", ".")
        git("commit", "-m", "speed")
    monkeypatch.setattr(speed, "repository_root", lambda: tmp_path)
    speed.compare("HEAD~1", CONFIG, ["train.seed=3"], steps=8, turns=2)
    rows = capsys.readouterr().out.splitlines()
    assert rows[2:] == [
        "| warm start | 1600.0 | 800.0 | 2.00 |",
        "| adversarial training | 25.8 | 8.6 | 3.00 |",
    ]
    assert len(git("worktree", "list").splitlines()) == 1
    with pytest.raises(CommandError, match="has no commit 'v9'"):
        speed.compare("v9", CONFIG, [], steps=8, turns=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "has no experiments/benchmarks/speed.py or experiments/benchmark.py"),
        ("print('fast')", "printed no speed of training"),
        ("import sys; sys.exit('broken')", "failed: broken"),
    ],
)
def test_a_benchmark_that_tells_nothing_is_an_error(
    code: str | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "experiments").mkdir()
    if code is not None:
        (tmp_path / "experiments/benchmark.py").write_text(code)
    with pytest.raises(CommandError, match=message):
        commit_speeds.step_seconds(tmp_path, CONFIG, 8, [])
