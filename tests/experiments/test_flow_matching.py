"""Flow matching: its loss, its steps, and its evaluation by the GAN's protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flow_matching import FlowModel, FlowTraining, VelocityField, flow_loss, main, train
from torch import Tensor

from biglearn_gan.cli.runner import CommandError
from biglearn_gan.config import Config
from biglearn_gan.evaluation.task import CompletionModel
from biglearn_gan.metrics.classifier import ClassifierError
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence


@pytest.fixture(params=["plain", "standardized, with convolutions"])
def field(request: pytest.FixtureRequest, tiny_config: Callable[..., Config]) -> VelocityField:
    torch.manual_seed(0)
    if request.param == "plain":
        return VelocityField(tiny_config())
    canvas = {"model.generator.canvas_channels": 3, "model.generator.canvas_features": 2}
    field = VelocityField(tiny_config({"data.standardize": True} | canvas))
    field.standardization.set_statistics(torch.tensor([0.25]), torch.tensor([0.5]))
    assert field.canvas is not None
    torch.nn.init.normal_(field.canvas.conv2.weight)
    return field


def images_and_holes(field: VelocityField, rows: int) -> tuple[Tensor, Tensor]:
    """Random images and holes of different sizes."""
    size = field.config.data.image_size
    rng = torch.Generator().manual_seed(1)
    hole = torch.rand(rows, *size, generator=rng) < torch.linspace(0.05, 0.6, rows)[:, None, None]
    hole[:, 0, 0] = True
    return 2 * torch.rand(rows, 1, *size, generator=rng) - 1, hole


def test_the_loss_compares_with_the_velocity_of_a_straight_path(field: VelocityField) -> None:
    rng = torch.Generator().manual_seed(2)
    target = torch.zeros(3, field.config.token_count).bool()
    target[:, :5] = True
    sequence = TokenMasks(~target, target).sequence()
    real = torch.rand(3, field.config.token_count, field.config.token_dim, generator=rng)
    drawn = make_rng(Stream.NOISE, field.config.train.seed, 7)
    t, noise = torch.rand(3, generator=drawn), torch.randn(real.shape, generator=drawn)
    seen: list[Tensor] = []

    def perfect(tokens: Tensor, sequence: TokenSequence, at: Tensor) -> Tensor:
        seen.extend([tokens, at])
        return real - noise + 0.5 * sequence.is_target[..., None]

    perfect.config = field.config  # type: ignore[attr-defined]
    loss = flow_loss(perfect, real, sequence, 7)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(0.25, rel=1e-5)
    tokens, at = seen
    assert torch.equal(at, t)
    share = t[:, None, None]
    torch.testing.assert_close(tokens[:, :5], ((1 - share) * noise + share * real)[:, :5])
    assert torch.equal(tokens[:, 5:], real[:, 5:])


def test_steps_follow_a_constant_velocity(
    field: VelocityField, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of steps gives the same result."""
    monkeypatch.setattr(
        field, "forward", lambda tokens, sequence, t: torch.full_like(tokens, 0.125)
    )
    images, hole = images_and_holes(field, 4)
    one, many = (FlowModel(field, steps).complete(images, hole, seed=3) for steps in (1, 8))
    torch.testing.assert_close(one, many)


def test_known_pixels_stay_and_the_content_of_holes_is_ignored(field: VelocityField) -> None:
    images, hole = images_and_holes(field, 5)
    model = FlowModel(field, 3)
    assert isinstance(model, CompletionModel)
    drawn = model.complete(images, hole, variations=2, seed=4)
    known = ~hole[:, None].expand(-1, 2, -1, -1)
    assert torch.equal(drawn[:, :, 0][known], images.expand(-1, 2, -1, -1)[known])
    other = torch.where(hole[:, None], torch.rand_like(images), images)
    assert torch.equal(model.complete(other, hole, variations=2, seed=4), drawn)
    assert (drawn[:, 0] != drawn[:, 1]).any()
    alone = model.complete(images[3:4], hole[3:4], variations=2, seed=4, first_image=3)
    torch.testing.assert_close(alone[0], drawn[3])


def test_training_sees_standardized_values_and_images_return_to_pixel_values(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"data.standardize": True, "train.max_images": 640, "train.batch_size": 320}
    training = FlowTraining(tiny_config(changes | {"train.warm_start.share": 0.0}))
    images = training.dataset.batch(torch.arange(len(training.dataset))).images
    torch.testing.assert_close(training.field.standardization.mean, images.mean()[None])
    _, tokens = training._next_batch()
    assert abs(float(tokens.mean())) < 0.3 and 0.8 < float(tokens.std()) < 1.2

    def velocity_to_zero(x: Tensor, sequence: TokenSequence, t: Tensor) -> Tensor:
        return -x / (1 - t[:, None, None])

    monkeypatch.setattr(training.field, "forward", velocity_to_zero)
    hole = torch.ones(2, 8, 8, dtype=torch.bool)
    mean_image = FlowModel(training.field, 2).complete(torch.zeros(2, 1, 8, 8), hole)
    torch.testing.assert_close(mean_image, images.mean().expand_as(mean_image))


def test_convolutions_see_the_picture_that_the_velocity_leads_to(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    field = VelocityField(tiny_config({"model.generator.canvas_channels": 3}))
    assert field.canvas is not None
    torch.nn.init.ones_(field.head.bias)
    torch.nn.init.zeros_(field.head.weight)  # the velocity is 1
    seen: list[Tensor] = []

    def correction(tokens: Tensor, sequence: TokenSequence, states: Tensor) -> Tensor:
        seen.append(tokens)
        return torch.full_like(tokens, 0.5)

    monkeypatch.setattr(field.canvas, "forward", correction)
    target = torch.zeros(2, field.config.token_count).bool()
    target[:, 3:] = True
    sequence = TokenMasks(~target, target).sequence()
    tokens = torch.rand(2, field.config.token_count, field.config.token_dim)
    velocity = field(tokens, sequence, torch.tensor([0.25, 1.0]))
    torch.testing.assert_close(velocity, torch.full_like(tokens, 1.5))
    assert torch.equal(seen[0][:, :3], tokens[:, :3])
    torch.testing.assert_close(seen[0][0, 3:], tokens[0, 3:] + 0.75)
    assert torch.equal(seen[0][1], tokens[1])


def test_an_interrupted_training_ends_with_the_same_weights(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    changes = {"train.max_images": 48, "train.batch_size": 4, "train.warm_start.share": 0.0}
    config = tiny_config(changes | {"data.horizontal_flip": True, "data.standardize": True})
    whole, _ = train(config, tmp_path / "whole.pt")
    saved, _ = train(config, tmp_path / "saved.pt", save_every=20)
    state = torch.load(tmp_path / "saved.pt", weights_only=True)
    assert state["images"] == 40
    again, spent = train(config, tmp_path / "saved.pt")
    assert spent["seconds"] > state["seconds"][0]
    for one in (saved, again):
        for name, value in whole.state_dict().items():
            assert torch.equal(one.state_dict()[name], value), name
    assert not (tmp_path / "whole.pt").exists()


def test_the_table_has_the_gan_and_every_number_of_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    options: dict[str, Any] = {
        "config": Path("experiments/digits.yaml"),
        "output": tmp_path / "flow",
        "images": 64,
        "gan_evaluation": Path("checkpoints/digits/evaluation"),
        "steps": "1,2",
        "tasks": "joint,center",
        "num": 70,
    }
    main(**options, batch_size=32, overrides=None)
    table = capsys.readouterr().out
    names = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    drawn = ["flow matching, 1 step", "flow matching, 2 steps"]
    assert names[-4:] == ["GAN, one pass", *drawn, "*floor or ceiling*"]
    assert "| joint: distance | center: distance, agreement | joint images/s |" in table
    config = tmp_path / "flow" / "config.yaml"  # an older version knows fewer keys
    content = config.read_text()
    config.write_text(content.replace("  memory_limit_mb: 4096\n", ""))
    assert config.read_text() != content
    before = (tmp_path / "flow" / "steps_1" / "metrics.json").read_bytes()
    main(**options, batch_size=32, overrides=None)  # nothing is repeated
    assert capsys.readouterr().out == table
    assert (tmp_path / "flow" / "steps_1" / "metrics.json").read_bytes() == before
    with pytest.raises(
        CommandError, match="holds a training of another configuration: choose another --output"
    ):
        main(**options | {"images": 96}, batch_size=32, overrides=None)


def test_a_classifier_of_other_images_is_refused_before_the_training(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with pytest.raises(ClassifierError, match="28"):
        main(
            config=root / "experiments" / "digits.yaml",
            output=tmp_path / "flow",
            images=64,
            num=70,
            classifier=str(root / "checkpoints" / "classifier_mnist"),
        )
    assert not (tmp_path / "flow").exists()
