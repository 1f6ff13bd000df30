"""Generating in steps, choosing by the discriminator, and what its score tells apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import steps_and_ranking as study
import torch

from biglearn_gan import BigLearnGAN
from biglearn_gan.evaluation import comparison
from biglearn_gan.evaluation.tables import comparison_tables, detailed_comparison_tables
from biglearn_gan.inference.batched import rank_candidates

ROOT = Path(__file__).parents[2]
DIGITS = "checkpoints/digits"


@pytest.fixture(scope="module")
def model() -> BigLearnGAN:
    return BigLearnGAN.from_pretrained(ROOT / DIGITS)


def images_and_hole(model: BigLearnGAN) -> tuple[torch.Tensor, torch.Tensor]:
    """Three images whose upper five rows are the hole."""
    hole = torch.zeros(3, 8, 8, dtype=torch.bool)
    hole[:, :5] = True
    return model.sample(3, seed=1), hole


def test_a_stepwise_model_completes_in_its_steps_and_order(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(model)
    options = {"variations": 2, "seed": 4, "first_image": 7}
    completions = study.StepwiseModel(model, 2, "raster").complete(images, hole, **options)
    expected = model.complete(images, hole, steps=2, order="raster", **options)
    assert torch.equal(completions, expected)
    assert not torch.equal(completions, model.complete(images, hole, **options))


def test_the_best_of_one_candidate_is_a_plain_completion(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(model)
    options = {"variations": 2, "seed": 4, "first_image": 7}
    best = study.RankingModel(model, 1).complete(images, hole, **options)
    assert torch.equal(best, model.complete(images, hole, **options))


def test_the_best_of_several_has_the_highest_score_among_candidates_of_one_label(
    model: BigLearnGAN,
) -> None:
    images, hole = images_and_hole(model)
    labels = model.draw_labels(images, hole, variations=2, seed=4).repeat_interleave(3, dim=1)
    candidates = model.complete(images, hole, labels=labels, variations=6, seed=4)
    logits = rank_candidates(model, candidates, hole, labels).view(3, 2, 3)
    best = study.RankingModel(model, 3).complete(images, hole, variations=2, seed=4)
    for row in range(3):
        for variation in range(2):
            highest = 3 * variation + int(logits[row, variation].argmax())
            assert torch.equal(best[row, variation], candidates[row, highest])


def test_absent_pixels_do_not_affect_the_choice(model: BigLearnGAN) -> None:
    images, hole = images_and_hole(model)
    absent = torch.zeros_like(hole)
    absent[:, 6:] = True
    ranking = study.RankingModel(model, 3)
    options = {"absent": absent, "variations": 2, "seed": 4}
    best = ranking.complete(images, hole, **options)
    again = ranking.complete(images.masked_fill(absent[:, None], 0.5), hole, **options)
    assert torch.equal(again[:, :, :, :6], best[:, :, :, :6])
    assert not torch.equal(ranking.complete(images, hole, variations=2, seed=4), best)


def test_the_score_separates_digits_from_other_images(model: BigLearnGAN) -> None:
    data = model.config.data
    areas = study.discrimination_auc(model, data, study.load_other_images(data, "digits"), 397)
    assert areas["the same with their pixels shuffled"] > 0.95
    assert 0.3 < areas["the model's own"] < 0.8
    assert areas["digits"] == pytest.approx(0.5)


def test_the_printed_tables_are_those_of_the_written_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    tasks = ("joint", "random:0.5")
    for module in (comparison, study):
        monkeypatch.setattr(module, "TASKS", tasks)
    study.main(DIGITS, tmp_path, steps="2", orders="raster", num=70)
    rows = {"2 steps, raster": tmp_path / "2_raster"}
    tables = f"{comparison_tables(rows, tasks)}\n\n{detailed_comparison_tables(rows, tasks)}"
    assert capsys.readouterr().out == f"{tables}\n"
    assert (tmp_path / "steps.png").is_file()
    study.main(DIGITS, tmp_path, candidates="2", num=70)
    areas = json.loads((tmp_path / "discrimination_auc.json").read_text())
    printed = [f"| {name} | {area:.3f} |" for name, area in areas.items()]
    assert len(printed) == 3
    assert capsys.readouterr().out.splitlines()[-3:] == printed
    assert (tmp_path / "best_of.png").is_file()
