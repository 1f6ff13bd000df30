"""Models with labels: class probabilities, given labels, and labels that are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from biglearn_gan.config import Config, ConfigError, DataConfig
from biglearn_gan.config.schema import CLASS_NAMES
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.labels import LabelError, label_number
from biglearn_gan.models.model_card import card_text
from biglearn_gan.models.token_model import CHUNK_ROWS
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenMasks

B, L, M, C = 7, 16, 11, 10


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def labeled(tiny_config: Callable[..., Config]) -> Callable[..., Config]:
    """A tiny configuration with labels, after changes."""
    return lambda changes=None: tiny_config({"data.labels": True} | (changes or {}))


@pytest.fixture
def model(labeled: Callable[..., Config]) -> BigLearnGAN:
    return BigLearnGAN(labeled()).eval()


def test_probabilities_depend_on_the_observed_patches_only(model: BigLearnGAN) -> None:
    torch.manual_seed(1)
    images, other = torch.rand(2, CHUNK_ROWS + 9, 1, 8, 8)
    observed = torch.rand(len(images), 8, 8) < torch.linspace(0, 1, len(images))[:, None, None]
    whole = observed.view(-1, 4, 2, 4, 2).all(4).all(2).repeat_interleave(2, 1)
    whole = whole.repeat_interleave(2, 2)
    probabilities = model.classify(images, observed=observed)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(images)))
    elsewhere = torch.where(whole[:, None], images, other)
    assert torch.equal(model.classify(elsewhere, observed=observed), probabilities)
    assert torch.equal(model.classify(images[5:8], observed=observed[5:8]), probabilities[5:8])
    assert not torch.equal(model.classify(other, observed=observed), probabilities)
    everything = torch.ones_like(observed)
    assert torch.equal(model.classify(images), model.classify(images, observed=everything))


def test_a_given_label_changes_the_sample_and_an_unknown_one_does_not(model: BigLearnGAN) -> None:
    images = torch.zeros(5, 1, 8, 8)
    hole = torch.zeros(5, 8, 8, dtype=torch.bool)
    hole[:, 3:] = True
    unknown = model.complete(images, hole, seed=4)
    labels = torch.tensor([-1, 0, 1, -1, 9])
    drawn = model.complete(images, hole, labels=labels, seed=4)
    assert torch.equal(drawn[labels < 0], unknown[labels < 0])
    assert (drawn[labels >= 0] != unknown[labels >= 0]).flatten(1).any(dim=1).all()
    alone = model.complete(images[:3], hole[:3], labels=labels[:3], seed=4)
    assert torch.equal(alone, drawn[:3])
    target = TokenMasks(torch.zeros(5, L, dtype=torch.bool), torch.ones(5, L, dtype=torch.bool))
    tokens = torch.zeros(5, L, 4)
    differ = model.critic_logits(tokens, target, labels) != model.critic_logits(tokens, target)
    assert differ.tolist() == (labels >= 0).tolist()


def test_a_drawn_label_depends_on_seed_image_and_variation_only(model: BigLearnGAN) -> None:
    torch.manual_seed(2)
    images, hole = torch.rand(9, 1, 8, 8), torch.zeros(9, 8, 8, dtype=torch.bool)
    hole[:, 3:] = True
    labels = model.draw_labels(images, hole, variations=5, seed=4)
    assert len(labels.unique()) > 5
    assert torch.equal(
        model.draw_labels(images[3:], hole[3:], variations=4, seed=4, first_image=3), labels[3:, :4]
    )
    assert not torch.equal(model.draw_labels(images, hole, variations=5, seed=5), labels)
    drawn = model.complete(images, hole, variations=5, seed=4)
    assert torch.equal(model.complete(images, hole, labels=labels, variations=5, seed=4), drawn)
    part = model.complete(images[3:], hole[3:], variations=4, seed=4, first_image=3)
    assert torch.equal(part, drawn[3:, :4])
    mixed = labels.clone()
    mixed[:, 1::2] = UNKNOWN_LABEL
    assert torch.equal(model.complete(images, hole, labels=mixed, variations=5, seed=4), drawn)


def test_labels_are_predicted_with_masked_targets_as_in_training(model: BigLearnGAN) -> None:
    torch.manual_seed(3)
    tokens, source = torch.rand(5, L, 4), torch.rand(5, L) < 0.5
    target = ~source
    target[:, ::3] = False
    rows = [
        model.label_probabilities(tokens[i : i + 1], source[i : i + 1], target[i : i + 1])
        for i in range(5)
    ]
    together = model.label_probabilities(tokens, source, target)
    assert torch.equal(torch.cat(rows), together)
    sequence = TokenMasks(source[:1], target[:1]).sequence()
    present = tokens[:1, sequence.positions[0]]
    logits = model.generator.label_logits(present, sequence)
    torch.testing.assert_close(together[:1], logits.softmax(dim=1), rtol=1e-5, atol=1e-6)
    assert not torch.equal(model.label_probabilities(tokens, source, ~source), together)


def test_an_unknown_label_is_drawn_from_its_probabilities(model: BigLearnGAN) -> None:
    images, hole = torch.zeros(400, 1, 8, 8), torch.ones(400, 8, 8, dtype=torch.bool)
    head = model.generator.label_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-50.0)
        head.bias[3], head.bias[8] = math.log(0.7), math.log(0.3)
    drawn = model.complete(images, hole, variations=2, seed=4)
    by_label = {
        label: model.complete(images, hole, labels=torch.full((400,), label), variations=2, seed=4)
        for label in (3, 8)
    }
    is_label = {label: (drawn == x).flatten(2).all(dim=2) for label, x in by_label.items()}
    assert torch.equal(is_label[3], ~is_label[8])
    share = is_label[3].double().mean().item()
    assert abs(share - 0.7) < 4 * math.sqrt(0.7 * 0.3 / 800)
    assert (is_label[3][:, 0] != is_label[3][:, 1]).any()


@pytest.mark.usefixtures("unchecked")
def test_images_of_another_size_are_refused_with_both_sizes(model: BigLearnGAN) -> None:
    message = r"images must have the shape \(N, C, H, W\) = \(N, 1, 8, 8\) .* not \(2, 1, 8, 6\)"
    with pytest.raises(ValueError, match=message):
        model.classify(torch.zeros(2, 1, 8, 6))
    with pytest.raises(ValueError, match=r"observed must have .*\(2, 8, 8\).*\(2, 8, 6\)"):
        model.classify(torch.zeros(2, 1, 8, 8), observed=torch.ones(2, 8, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"images must be floats .* not torch.int32"):
        model.classify(torch.zeros(2, 1, 8, 8, dtype=torch.int32))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([3, 10]), "label 10 must be one of this model's 10 classes, 0 to 9"),
        (torch.tensor([-2, 3]), "label -2 must be one of this model's 10 classes, 0 to 9"),
        (torch.tensor([3]), "labels must be 2 integers"),
        (torch.tensor([3.0, 2.0]), "labels must be 2 integers"),
        (10, "label 10 must be"),
        ([3, 2, 1], "labels must be 2 integers"),
        (["3", "x"], "label must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, not 'x'"),
        ([["3"], ["4"]], r"labels must be 2 integers, not \[\['3'\], \['4'\]\]"),
        ([None, 3], "labels must be 2 integers"),
    ],
)
def test_wrong_labels_are_one_sentence(model: BigLearnGAN, labels: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        model.complete(torch.zeros(2, 1, 8, 8), torch.ones(2, 8, 8).bool(), labels=labels)


def test_labels_can_be_one_number_a_list_or_a_tensor(model: BigLearnGAN) -> None:
    expected = model.sample(3, labels=torch.tensor([7, 7, 7]))
    for labels in (7, [7, 7, 7], torch.tensor(7), torch.full((3,), 7, dtype=torch.int32)):
        assert torch.equal(model.sample(3, labels=labels), expected)


def test_labels_can_be_names(tiny_config: Callable[..., Config]) -> None:
    names = ("ant", "bee", "cat")
    folder = {"data.name": "folder", "data.labels": True, "data.classes": 3}
    model = BigLearnGAN(tiny_config(folder | {"data.class_names": names}))
    assert torch.equal(model.sample(2, labels="cat"), model.sample(2, labels=2))
    mixed = model.sample(2, labels=["bee", 0])  # type: ignore[list-item]
    assert torch.equal(mixed, model.sample(2, labels=[1, 0]))
    with pytest.raises(
        LabelError, match="label must be one of ant, bee, cat, or 0 to 2, not 'dog'"
    ):
        model.sample(2, labels=["bee", "dog"])


@pytest.mark.parametrize(
    ("names", "text", "number"),
    [
        (("ant", "bee"), "1", 1),
        (("ant", "bee"), "bee", 1),
        (("3", "7"), "7", 1),
        (("1", "2", "0"), "2", 1),  # a name, not the number of another class
        (None, "2", 2),
    ],
)
def test_a_word_is_a_name_or_a_number(
    names: tuple[str, ...] | None, text: str, number: int, tiny_config: Callable[..., Config]
) -> None:
    classes = 3 if names is None else len(names)
    folder = {"data.name": "folder", "data.labels": True, "data.classes": classes}
    data = tiny_config(folder | {"data.class_names": names}).data
    assert label_number(text, data) == number


@pytest.mark.parametrize("text", ["1", "-1", "", "cat"])
def test_numbers_of_classes_with_numbers_as_names_are_refused(
    text: str, tiny_config: Callable[..., Config]
) -> None:
    folder = {"data.name": "folder", "data.labels": True, "data.classes": 2}
    data = tiny_config(folder | {"data.class_names": ("3", "7")}).data
    with pytest.raises(LabelError, match=f"label must be one of 3, 7, not '{text}'"):
        label_number(text, data)


def test_every_class_has_a_name(tiny_config: Callable[..., Config]) -> None:
    for name, names in CLASS_NAMES.items():
        data = DataConfig(name=name, image_size=(8, 8), channels=1, labels=True)  # type: ignore[arg-type]
        assert data.label_names == names and len(set(names)) == data.num_classes
    assert tiny_config().data.label_names == ()
    with pytest.raises(ConfigError, match=r"there are 2 names, but data\.classes is 3"):
        tiny_config(
            {
                "data.name": "folder",
                "data.labels": True,
                "data.classes": 3,
                "data.class_names": ("a", "b"),
            }
        )


def test_a_model_without_labels_refuses_them(tiny_config: Callable[..., Config]) -> None:
    model = BigLearnGAN(tiny_config())
    for ask in (
        lambda: model.sample(2, labels=torch.tensor([1, 2])),
        lambda: model.classify(torch.zeros(2, 1, 8, 8)),
    ):
        with pytest.raises(LabelError, match=r"trained without labels; data\.labels: true"):
            ask()


def test_a_card_names_classes_that_are_more_than_numbers(
    tiny_config: Callable[..., Config],
) -> None:
    folder = {"data.name": "folder", "data.labels": True}
    ants = {"data.classes": 2, "data.class_names": ("ant", "bee")}
    assert "| labels | 2 classes (ant, bee); a label" in card_text(tiny_config(folder | ants))
    assert "| labels | 10 classes; a label" in card_text(tiny_config({"data.labels": True}))
    many = {"data.classes": 21, "data.class_names": tuple(f"class {n}" for n in range(21))}
    assert "| labels | 21 classes; a label" in card_text(tiny_config(folder | many))
    assert "| labels | none |" in card_text(tiny_config())
