"""The study of anomalies changes images as it says, and measures overlaps and areas by hand."""

from __future__ import annotations

import anomalies
import pytest
import torch

from biglearn_gan import BigLearnGAN, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.inference.surprise import judge_parts, sliding_windows


def test_intersections_over_unions_by_hand() -> None:
    assert anomalies.intersection_over_union((3, 4), (3, 4), 10) == 1
    assert anomalies.intersection_over_union((0, 0), (0, 5), 10) == pytest.approx(50 / 150)
    assert anomalies.intersection_over_union((2, 7), (4, 6), 10) == pytest.approx(72 / 128)
    for far in ((10, 0), (0, -10), (11, 11)):
        assert anomalies.intersection_over_union((0, 0), far, 10) == 0


def test_the_brightest_square_is_found() -> None:
    values = torch.zeros(3, 7, 11)
    values[0, 2:5, 6:9] = 1.0
    values[0, 0, 0] = 8.5  # the highest value is not the highest mean
    values[1, 4:7, 8:11] = 1.0
    values[2, 1:4, 0:3] = 1.0
    assert [anomalies.find_square(each, 3) for each in values] == [(2, 6), (4, 8), (1, 0)]
    overlaps = anomalies.overlaps(values, [(2, 6), (4, 7), (4, 0)], 3)
    assert overlaps == pytest.approx([1, 6 / 12, 0])


def test_squares_come_from_another_class_at_the_same_place() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(12) % 3
    values = labels + torch.rand(12, generator=rng) / 4  # of class k: k to k + 0.25
    images = (values / 2 - 1)[:, None, None, None].repeat(1, 2, 8, 10)
    pasted, corners = anomalies.paste_squares(images, labels, 3)
    for row, (top, left) in enumerate(corners):
        changed = pasted[row] != images[row]
        expected = torch.zeros(2, 8, 10, dtype=torch.bool)
        expected[:, top : top + 3, left : left + 3] = True
        assert torch.equal(changed, expected)
        other = (pasted[row, 0, top, left] + 1) * 2
        assert int(other) != labels[row]
    assert len(set(corners)) > 6
    again, _ = anomalies.paste_squares(images, labels, 3)
    assert torch.equal(again, pasted)


def test_a_square_changes_enough_or_the_most_that_was_found() -> None:
    images = torch.full((2, 1, 8, 8), -1.0)
    images[1, :, 4:, 4:] = 1.0
    pasted, corners = anomalies.paste_squares(images, None, 4)
    changes = (pasted - images).abs().sum(dim=(1, 2, 3)) / 16
    assert (changes >= anomalies.MIN_CHANGE).all() and len(corners) == 2
    images[1] = -0.9
    pasted, _ = anomalies.paste_squares(images, torch.zeros(2, dtype=torch.int64), 4)
    assert (pasted - images).abs().sum(dim=(1, 2, 3)).tolist() == pytest.approx([1.6, 1.6])


def test_a_blur_keeps_flat_images_and_spreads_a_point() -> None:
    images = torch.full((2, 1, 28, 28), -1.0)
    images[1, 0, 14, 14] = 1.0
    blurred = (anomalies.blurred(images) + 1) / 2
    assert torch.equal(blurred[0], torch.zeros(1, 28, 28))
    distances = torch.arange(28.0) - 14
    normal = (-(distances**2) / 2).exp() / (2 * torch.pi) ** 0.5  # a standard deviation of 1
    expected = normal[:, None] * normal
    torch.testing.assert_close(blurred[1, 0], expected, atol=1 / 255, rtol=0)


def test_noise_has_its_standard_deviation() -> None:
    difference = anomalies.noisy(torch.zeros(20, 1, 28, 28))
    assert abs(difference.std().item() - anomalies.NOISE) < 0.01
    assert difference.abs().max() <= 1


def test_a_judgment_has_high_values_for_what_is_unusual() -> None:
    model = BigLearnGAN.from_pretrained("digits")
    images = model.sample(6, seed=1)
    references = torch.cat([images[:5], images[:1] + 0.5])
    own = torch.linspace(-20, 20, 2000)
    judged = anomalies.judge(model, images, own, references, 3)
    nearest = judged.maps["nearest training image"]
    assert torch.equal(nearest[:5], torch.zeros(5, 8, 8)) and nearest[5].sum() > 0
    logits = model.rank(images, torch.ones(8, 8, dtype=torch.bool))
    assert torch.equal(judged.scores["critic score"], -logits)
    assert torch.equal(judged.scores["critic quantile"].argsort(), (-logits).argsort())
    for name, values in judged.maps.items():
        assert torch.equal(judged.scores[f"{name}, mean"], values.mean(dim=(1, 2)))
        assert torch.equal(judged.scores[f"{name}, maximum"], values.amax(dim=(1, 2)))
    parts = next(judge_parts(model, images, sliding_windows(model.config), variations=3))
    error = torch.zeros(8, 8)
    for hole, completions in zip(parts.holes, parts.completions, strict=True):
        error += hole * (images[0] - completions.mean(dim=0)).square()[0]
    error /= parts.holes.sum(dim=0)
    torch.testing.assert_close(judged.maps["reconstruction error"][0], error)


def test_areas_by_hand_and_their_tables() -> None:
    one = anomalies.Judgment({}, {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([1.0, 1.0])})
    other = anomalies.Judgment({}, {"a": torch.tensor([2.0, 0.0]), "b": torch.tensor([1.0, 1.0])})
    areas = anomalies.areas(one, other)
    assert areas == {"a": 0.75, "b": 0.5}  # 1 > 0, 3 > 0, 3 > 2, but 1 < 2; ties count half
    assert anomalies.auc_table({"blur": areas, "noise": {"a": 1.0, "b": 0.125}}).splitlines() == [
        "| score | blur | noise |",
        "|---|---|---|",
        "| a | 0.750 | 1.000 |",
        "| b | 0.500 | 0.125 |",
    ]
    assert anomalies.overlap_table({"a": [0.5, 0.7], "b": [0.0, 0.0]}).splitlines() == [
        "| map | intersection over union | at least 0.5 |",
        "|---|---|---|",
        "| a | 0.600 ± 0.100 | 100% |",
        "| b | 0.000 ± 0.000 | 0% |",
    ]


def test_only_test_images_of_a_known_class_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 1, 2, 2)
    labels = torch.tensor([3, -1, 0, -1, 3])
    data = load_config("digits").data
    every = [0, 1, 2, 3, 4]
    for known, rows in ((labels, [0, 2, 4]), (None, every), (torch.full((5,), -1), every)):
        dataset = ImageDataset("test", pixels, known, None if known is None else 10)
        monkeypatch.setattr(anomalies, "load_dataset", lambda data, split, one=dataset: one)
        chosen = anomalies.load_test_images(data)
        assert chosen.images_uint8(torch.arange(len(chosen)))[:, 0, 0, 0].tolist() == rows


def test_a_picture_shows_both_kinds_in_turn() -> None:
    one = torch.arange(40).view(20, 2)
    shown = anomalies.every_other(one, -one)
    assert len(shown) == anomalies.PICTURE_IMAGES
    assert shown[:4].tolist() == [[0, 1], [-2, -3], [4, 5], [-6, -7]]
    assert len(anomalies.every_other(one[:3], one[:3])) == 3
