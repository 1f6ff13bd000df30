"""The game against a discriminator of features: its losses by hand, and what it leaves alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor
from toys import random_images
from training_tools import assert_same, head_gradient, train

from biglearn_gan.config import Config, ConfigError, NetworkConfig, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.models.efficientnet import FeatureNetworkError
from biglearn_gan.models.feature_discriminator import FeatureDiscriminator
from biglearn_gan.models.feature_networks import normalize_channels
from biglearn_gan.models.generator import Noise
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.tasks.patches import gather_tokens
from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence
from biglearn_gan.training import fit as fit_module
from biglearn_gan.training.feature_game import FeatureGame, FeatureTokens
from biglearn_gan.training.fit import fit
from biglearn_gan.training.perceptual import PerceptualFeatures, View
from biglearn_gan.training.throughput import describe
from biglearn_gan.training.trainer import Trainer
from biglearn_gan.training.training_batch import TrainingBatch

pytestmark = pytest.mark.usefixtures("small_network")

ROOT = Path(__file__).parents[2]

PENALTY = 0.7

ON: dict[str, Any] = {
    "data": {
        "name": "cifar10",
        "image_size": 8,
        "channels": 3,
        "standardize": True,
        "labels": True,
    },
    "loss.perceptual": {
        "layers": [1, 2],
        "size": 16,
        "adversarial": {"depth": 1, "weight": 0.5, "penalty": PENALTY},
    },
    "loss.mismatched_label": 0.25,
    "train.max_images": 24,
}
OFF = ON | {"loss.perceptual": {"layers": [1, 2], "size": 16}}


@pytest.fixture
def dataset() -> ImageDataset:
    return ImageDataset("toy:train", random_images(13, 3, 8, 8), torch.arange(13) % 10, 10)


@pytest.fixture
def config(tiny_config: Callable[..., Config]) -> Config:
    return tiny_config(deepcopy(ON))


@pytest.fixture
def make(dataset: ImageDataset, tiny_config: Callable[..., Config]) -> Callable[..., Trainer]:
    """A trainer at its first adversarial step."""

    def trainer(changes: dict[str, Any] = ON) -> Trainer:
        config = tiny_config(deepcopy(changes))
        result = Trainer(config, dataset, Accelerator(cpu=True), config.train.max_images)
        result.images_seen = result.schedule.warm_start_images
        return result

    return trainer


def small_discriminator(
    image_size: tuple[int, int],
    grid_size: tuple[int, int],
    map_shapes: list[tuple[int, int, int]],
) -> FeatureDiscriminator:
    sizes = NetworkConfig(width=8, depth=1, heads=2)
    return FeatureDiscriminator(image_size, grid_size, map_shapes, sizes)


def everything(rows: int, tokens: int) -> TokenSequence:
    target = torch.ones(rows, tokens, dtype=torch.bool)
    return TokenMasks(~target, target).sequence()


def test_a_token_holds_what_all_maps_show_at_its_place() -> None:
    """A map of 2 x 4 places on a grid of 1 x 2 tokens, and one that is coarser than the grid."""
    discriminator = small_discriminator((4, 8), (1, 2), [(1, 2, 4), (1, 1, 1)])
    fine = torch.tensor([[3.0, -3, 5, -5], [7, 7, -9, 9]]).view(1, 1, 2, 4)
    coarse = torch.full((1, 1, 1, 1), 4.0)
    tokens = discriminator.tokens([fine, coarse], everything(1, 2))
    expected = torch.tensor([[1.0, -1, 1, 1, 1], [1, -1, -1, 1, 1]])  # divided by their size
    torch.testing.assert_close(tokens[0], expected, atol=1e-3, rtol=0)
    one = everything(1, 2)
    last = replace(one, positions=one.positions[:, 1:], is_target=one.is_target[:, 1:])
    assert torch.equal(discriminator.tokens([fine, coarse], last), tokens[:, 1:])


def test_maps_of_any_size_are_fitted_to_the_grid() -> None:
    discriminator = small_discriminator((8, 12), (2, 3), [(4, 5, 7)])
    maps = torch.randn(1, 4, 5, 7)
    tokens = discriminator.tokens([maps], everything(1, 6))
    assert tokens.shape == (1, 6, 4 * 3 * 3)
    values = normalize_channels(maps).flatten()
    assert torch.isin(values, tokens.flatten()).all()
    assert discriminator(tokens, everything(1, 6)).shape == (1,)


@pytest.mark.parametrize("shift", [(0, 0), (1, -2), (-2, 1), (2, 2)])
@pytest.mark.parametrize("is_flipped", [False, True])
def test_tokens_follow_the_pictures_of_a_shifted_view(
    tiny_config: Callable[..., Config],
    draw_masks: Callable[..., TokenMasks],
    shift: tuple[int, int],
    is_flipped: bool,
) -> None:
    """The maps are the pixels: each patch holds its own ones, and 0 for those shifted out."""
    size = ON | {"data": ON["data"] | {"image_size": [8, 12], "standardize": False}}
    config = tiny_config(deepcopy(size))
    features = PerceptualFeatures(config, Standardization(config), torch.device("cpu"))
    features.network = torch.nn.Identity()
    features.network.forward = lambda shown: [shown]  # type: ignore[method-assign]
    features._size = (8, 12)
    game = FeatureGame(config, features)
    sequence, view = draw_masks(2, 24, 11).sequence(), View(shift, is_flipped)
    tokens, fakes = torch.rand(2, 11, 12), torch.rand(4, 11, 12)
    batch = TrainingBatch(tokens, sequence, Noise(tokens[:, 0], tokens), view=view)
    seen = game.tokens(batch, features(tokens, fakes, sequence, view))
    for values, found in ((tokens, seen.real), (fakes, seen.fakes)):
        repeated = sequence.repeat(len(values) // 2)
        pictures = features.pictures(values, repeated)
        for side, steps in ((2, shift[0]), (3, shift[1])):
            lost = slice(-steps, None) if steps > 0 else slice(0, -steps)
            pictures.transpose(side, -1)[..., lost] = 0
        expected = game.discriminator.tokens([pictures], repeated)
        torch.testing.assert_close(found, expected)


def test_a_token_of_a_shifted_picture_reads_the_cell_that_its_patch_went_to() -> None:
    """By hand: 24 pixels, 6 tokens of 4 pixels, and maps of 6, 3 and 12 cells."""

    def cells_of(count: int, shift: int) -> list[float]:
        discriminator = small_discriminator((24, 24), (6, 6), [(2, count, count)])
        channel = torch.arange(1.0, count + 1).expand(count, count)
        maps = torch.stack([channel, torch.ones(count, count)])[None]  # the ratio is the number
        tokens = discriminator.tokens([maps], everything(1, 36), (0, shift))[0, :6]
        values, ones = tokens.view(6, 2, -1)[:, :, : max(1, count // 6)].unbind(dim=1)
        return (values / ones).nan_to_num(0).flatten().round().tolist()

    assert cells_of(6, 0) == [1, 2, 3, 4, 5, 6]
    assert cells_of(6, 2) == [2, 3, 4, 5, 6, 0]
    assert cells_of(6, 1) == [1, 2, 3, 4, 5, 6]
    assert cells_of(6, -2) == [1, 2, 3, 4, 5, 6]
    assert cells_of(6, -3) == [0, 1, 2, 3, 4, 5]
    assert cells_of(3, 0) == [1, 1, 2, 2, 3, 3]
    assert cells_of(3, 3) == [1, 2, 2, 3, 3, 0]
    assert cells_of(12, 2) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0]


def test_maps_of_a_mirrored_view_lie_as_the_pictures_do(
    config: Config, draw_masks: Callable[..., TokenMasks]
) -> None:
    features = PerceptualFeatures(config, Standardization(config), torch.device("cpu"))
    features.network = torch.nn.Identity()
    features.network.forward = lambda shown: [shown]  # type: ignore[method-assign]
    sequence = draw_masks(2, 16, 7).sequence()
    tokens = torch.randn(2, 7, 12)
    as_it_is, mirrored = (
        features(tokens, tokens, sequence, View((0, 0), is_flipped)) for is_flipped in (False, True)
    )
    torch.testing.assert_close(mirrored.real, as_it_is.real)
    torch.testing.assert_close(mirrored.fakes, as_it_is.fakes)


def test_pictures_that_are_too_small_for_the_network_are_one_sentence(
    tiny_config: Callable[..., Config],
) -> None:
    perceptual = ON["loss.perceptual"] | {"size": 4}
    config = tiny_config(deepcopy(ON) | {"loss.perceptual": perceptual})
    features = PerceptualFeatures(config, Standardization(config), torch.device("cpu"))
    with pytest.raises(FeatureNetworkError, match="4 x 4 pixels are too small"):
        FeatureGame(config, features)


def test_absent_tokens_change_neither_the_logits_nor_their_gradients(
    config: Config, draw_masks: Callable[..., TokenMasks]
) -> None:
    features = PerceptualFeatures(config, Standardization(config), torch.device("cpu"))
    discriminator = FeatureGame(config, features).discriminator
    masks = draw_masks(3, 16, 9)
    sequence = replace(masks.sequence(), labels=torch.tensor([0, 3, -1]))
    whole = torch.randn(3, 16, 12)

    def results(whole: Tensor) -> tuple[Tensor, Tensor]:
        leaf = whole.clone().requires_grad_()
        maps = features(*[gather_tokens(leaf, sequence.positions)] * 2, sequence).fakes
        logits = discriminator(discriminator.tokens(maps, sequence), sequence)
        (gradient,) = torch.autograd.grad(logits.sum(), leaf)
        return logits.detach(), gradient

    logits, gradient = results(whole)
    absent = ~masks.union[..., None].expand_as(whole)
    other_logits, other_gradient = results(torch.where(absent, math.nan, whole))
    assert torch.equal(other_logits, logits)
    assert torch.equal(other_gradient, gradient)
    assert not gradient[absent].any() and gradient[~absent].any()


def played(trainer: Trainer) -> tuple[FeatureGame, TrainingBatch, FeatureTokens]:
    """The game of a trainer with large weights, its batch, and the tokens of random fakes."""
    game, perceptual = trainer.adversarial.feature_game, trainer.adversarial.perceptual
    assert game is not None and perceptual is not None
    torch.manual_seed(3)
    for weight in game.discriminator.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    batch, _ = trainer.batch_sampler.draw(trainer.images_seen)
    fakes = torch.randn(2 * len(batch.real), *batch.real.shape[1:])
    features = perceptual(batch.real, fakes, batch.sequence, batch.view)
    return game, batch, game.tokens(batch, features)


@pytest.mark.parametrize("centering", [0.0, 0.3])
def test_both_losses_are_relativistic_on_pairs_of_one_picture(
    make: Callable[..., Trainer], centering: float
) -> None:
    """Only the discriminator's has ``loss.logit_centering``; ``loss.adversarial`` is for pixels."""
    weights = {"loss.logit_centering": centering, "loss.adversarial": 0.5}
    game, batch, tokens = played(make(ON | weights))

    def logits(tokens: Tensor, labels: Tensor | None) -> Tensor:
        return game.discriminator(tokens, replace(batch.sequence, labels=labels))

    with torch.no_grad():
        real = logits(tokens.real, batch.sequence.labels)
        first, second = (logits(half, batch.sequence.labels) for half in tokens.fakes.chunk(2))
        mismatched = logits(tokens.real, batch.other_labels)
    objective, real_logits = game.discriminator_objective(batch, tokens, None)
    torch.testing.assert_close(real_logits, real)
    pairs = torch.stack([first - real, second - real])
    centers = torch.stack([first + real, second + real]).square()
    loss = (F.softplus(pairs) + centering * centers).mean()
    torch.testing.assert_close(objective.metrics["loss/feature_discriminator"], loss)
    labels, others = batch.sequence.labels, batch.other_labels
    assert labels is not None and others is not None
    differ = (labels >= 0) & (others >= 0) & (labels != others)
    wrong = (F.softplus(mismatched - real) * differ).mean()
    assert differ.any()
    torch.testing.assert_close(objective.total, loss + 0.25 * wrong)
    reply = game.generator_term(batch, tokens, real_logits)
    torch.testing.assert_close(reply, F.softplus(-pairs).mean(dim=0))


def test_the_penalty_is_of_all_features(make: Callable[..., Trainer]) -> None:
    """½ ‖∇ f‖² of reals and of fakes, times γ, the interval and the factor of the schedule."""
    trainer = make(ON | {"loss.mismatched_label": 0.0, "loss.penalty.interval": 3})
    game, batch, tokens = played(trainer)
    plain = float(game.discriminator_objective(batch, tokens, None)[0].total.detach())
    objective, _ = game.discriminator_objective(batch, tokens, 0.5)
    total = 0.0
    for values, repeats in ((tokens.real, 1), (tokens.fakes, 2)):
        sequence, leaf = batch.sequence.repeat(repeats), values.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(game.discriminator(leaf, sequence).sum(), leaf)
        total += 0.5 * float(gradient.square().sum()) / len(leaf)
    measured = float(objective.metrics["penalty/features"].detach())
    assert measured == pytest.approx(total, rel=1e-4)
    expected = plain + PENALTY * 3 * 0.5 * total
    assert float(objective.total.detach()) == pytest.approx(expected, rel=1e-4)


def test_gradients_of_the_generator_against_finite_differences(
    float64: None, make: Callable[..., Trainer]
) -> None:
    """From its term through shifted and mirrored tokens of features to the fakes."""
    trainer = make(ON | {"train.batch_size": 1})
    game, batch, _ = played(trainer)
    perceptual = trainer.adversarial.perceptual
    assert perceptual is not None
    view = View((1, -1), is_flipped=True)
    real = torch.randn(len(batch.real))

    def term(fakes: Tensor) -> Tensor:
        features = perceptual(batch.real, fakes, batch.sequence, view)
        tokens = game.tokens(replace(batch, view=view), features)
        return game.generator_term(batch, tokens, real)

    fakes = torch.randn(2 * len(batch.real), *batch.real.shape[1:], requires_grad=True)
    gradient = torch.autograd.grad(term(fakes).sum(), fakes)[0]
    assert gradient.abs().max() > 0.01
    for _ in range(5):
        direction = torch.randn_like(fakes)
        with torch.no_grad():
            difference = (term(fakes + 1e-3 * direction) - term(fakes - 1e-3 * direction)).sum()
        expected = float(difference) / 2e-3  # of float32 logits
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=0.01, abs=2e-3)


def test_without_a_penalty_its_steps_have_none(make: Callable[..., Trainer]) -> None:
    perceptual = ON["loss.perceptual"]
    adversarial = perceptual["adversarial"] | {"penalty": 0.0}
    trainer = make(ON | {"loss.perceptual": perceptual | {"adversarial": adversarial}})
    game, batch, tokens = played(trainer)
    assert "penalty/features" not in game.discriminator_objective(batch, tokens, 1.0)[0].metrics


def test_a_penalty_without_steps_for_it_is_refused(tiny_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match="steps with penalties need"):
        tiny_config(deepcopy(ON) | {"loss.penalty": {"r1": 0, "r2": 0}})


@pytest.mark.parametrize(
    "changes",
    [
        {"train.precision": "bfloat16"},
        {"loss.reuse_fake_pass": True, "loss.penalty.interval": 2},
        {"loss.penalty.kind": "finite_difference"},
        {"loss.augmentation": {"flip_rotate": 0.5}},
        {"tasks.partial_patches": 0.9},
        {"loss.fakes_per_real": 3},
        {"data.missing": {"hole": "center"}},
        {"data.labeled_images": 10, "loss.pseudo_labels": {"threshold": 0.5}},
    ],
)
def test_it_goes_with_every_other_option(
    changes: dict[str, Any], make: Callable[..., Trainer]
) -> None:
    """The discriminator of features learns to tell real pictures from the untrained fakes."""
    steady = {"train.learning_rate": {"discriminator": 0.02, "generator": 1e-9}}
    trainer = make(
        ON | {"train.max_images": 4_000, "train.warm_start.share": 0.0} | steady | changes
    )
    train(trainer, steps=6)
    early = trainer.take_metrics()["loss/feature_discriminator"]
    train(trainer, steps=20)
    trainer.take_metrics()
    train(trainer, steps=6)
    assert trainer.take_metrics()["loss/feature_discriminator"] < early


def test_a_step_trains_the_discriminator_of_features_and_through_it_the_generator(
    make: Callable[..., Trainer],
) -> None:
    def with_weight(weight: float) -> Trainer:
        perceptual = ON["loss.perceptual"]
        adversarial = perceptual["adversarial"] | {"weight": weight}
        return make(ON | {"loss.perceptual": perceptual | {"adversarial": adversarial}})

    trainer = with_weight(1.0)
    at_1, at_2, at_3 = map(head_gradient, (trainer, with_weight(2.0), with_weight(3.0)))
    assert not torch.equal(at_1, at_2)
    torch.testing.assert_close(at_3 - at_2, at_2 - at_1, rtol=1e-3, atol=1e-6)
    untrained, game = make().adversarial.feature_game, trainer.adversarial.feature_game
    assert untrained is not None and game is not None
    moved = [
        not torch.equal(one, other)
        for one, other in zip(
            game.discriminator.parameters(), untrained.discriminator.parameters(), strict=True
        )
    ]
    assert all(moved)
    metrics = trainer.take_metrics()
    assert metrics["loss/feature_generator"] > 0 and metrics["loss/feature_discriminator"] > 0


def test_a_run_resumes_exactly(make: Callable[..., Trainer]) -> None:
    whole = train(make())
    resumed = make()
    resumed.load_state_dict(train(make(), steps=2).state_dict())
    assert_same(train(resumed).state_dict(), whole.state_dict())


def test_several_threads_sum_in_the_same_order_every_time() -> None:
    """With networks of the size of the shipped ones, whose gradients several threads sum."""
    overrides = ["train.warm_start.share=0.0", "loss.perceptual.layers=[1, 2]"]
    config = load_config(ROOT / "experiments" / "cifar10_cpu.yaml", overrides)
    pictures = ImageDataset("toy:train", random_images(32, 3, 32, 32), torch.arange(32) % 10, 10)
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, os.cpu_count() or 1))
    try:
        one, other = (
            train(Trainer(config, pictures, Accelerator(cpu=True), 10**6), steps=3)
            for _ in range(2)
        )
    finally:
        torch.set_num_threads(before)
    assert_same(one.state_dict(), other.state_dict())


def test_the_other_networks_start_with_the_same_weights(make: Callable[..., Trainer]) -> None:
    on, off = make().adversarial, make(OFF).adversarial
    assert_same(on.generator.state_dict(), off.generator.state_dict())
    assert_same(on.discriminator.state_dict(), off.discriminator.state_dict())


def test_it_is_no_part_of_the_checkpoint_and_starts_anew_from_one(
    config: Config, dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fit_module, "load_dataset", lambda *_: dataset)
    result = fit(config, tmp_path / "first", device="cpu")
    names = load_file(result.checkpoint / "model.safetensors")
    assert {name.partition(".")[0] for name in names} == {
        "generator",
        "discriminator",
        "standardization",
    }
    initial = {"initial_model": str(result.checkpoint), "max_images": 8}
    going_on = config.model_copy(update={"train": config.train.model_copy(update=initial)})
    assert fit(going_on, tmp_path / "second", device="cpu").checkpoint.exists()


def test_a_description_counts_its_parameters(config: Config) -> None:
    (line,) = [text for text in describe(config, "cpu") if "parameters" in text]
    assert ", feature discriminator " in line
