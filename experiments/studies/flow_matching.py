"""Train masked conditional flow matching with the GAN's backbone, and evaluate both alike.

    python experiments/studies/flow_matching.py --config experiments/digits.yaml --images 1300000 \
        --output runs/flow_digits --gan-evaluation checkpoints/digits/evaluation

The network is the transformer of the configuration's generator, with its convolutions and its
standardized values if it has them, conditioned on the time instead of the latent. It learns the
velocity from noise to the target tokens given the source tokens (Lipman et al. 2023,
arXiv 2210.02747, eqs. 21 to 23, with σ_min = 0), on the same tasks and without labels. It generates
with Euler steps and is evaluated by the protocol of `biglearn-gan evaluate`. A step is cheaper than
the GAN's, because there is no discriminator. For a fair comparison, choose --images such that both
trainings take the same time.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from biglearn_gan.cli.evaluation_options import (
    check_num,
    parse_counts,
    shipped_metric_models,
    split_names,
)
from biglearn_gan.cli.options import Classifier, without_missing
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.config.task_presets import task_components
from biglearn_gan.data.dataset import EpochOrder
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.data.statistics import channel_statistics
from biglearn_gan.evaluation.comparison import TASKS, evaluate_pending
from biglearn_gan.evaluation.protocol import check_tasks
from biglearn_gan.evaluation.tables import comparison_tables, load_numbers
from biglearn_gan.files import make_folder, replacing, write_json
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.models.canvas import CanvasConvolutions, PatchGrid
from biglearn_gan.models.embeddings import PatchEmbedding
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.models.token_model import chunks, sample_rng
from biglearn_gan.models.transformer import Transformer
from biglearn_gan.progress import unit_bars
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import (
    gather_tokens,
    patchify,
    scatter_tokens,
    tokens_touched,
    unpatchify,
)
from biglearn_gan.tasks.sampler import TaskSampler
from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence
from biglearn_gan.training.adversarial import ADAM_BETAS
from biglearn_gan.training.ema import update_ema
from biglearn_gan.training.losses import squared_error
from biglearn_gan.training.schedule import TrainingSchedule

FREQUENCIES = 16
SAVE_IMAGES = 100_000
"""Images between two saved states of the training."""


class VelocityField(nn.Module):
    """The velocity v(x_t, t; S, T) on the tokens of S ∪ T."""

    def __init__(self, config: Config):
        super().__init__()
        size = config.model.generator
        self.config = config
        self.embedding = PatchEmbedding(
            config.token_count, config.token_dim, size.width, mask_token=False
        )
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, size.width),
            nn.GELU(),
            nn.Linear(size.width, size.width),
            nn.GELU(),
        )
        self.trunk = Transformer(size.width, size.depth, size.heads, conditioning_dim=size.width)
        self.head = nn.Linear(size.width, config.token_dim)
        self.canvas = None
        if size.canvas_channels > 0:
            self.canvas = CanvasConvolutions(
                PatchGrid.of(config),
                size.width,
                hidden_channels=size.canvas_channels,
                feature_channels=size.canvas_features,
            )
        self.standardization = Standardization(config)

    def forward(
        self,
        tokens: Float[Tensor, "B M P"],
        sequence: TokenSequence,
        t: Float[Tensor, " B"],
    ) -> Float[Tensor, "B M P"]:
        """Velocities of all tokens; targets are at time ``t`` in [0, 1], where 0 is noise.

        The convolutions of ``model.generator.canvas_channels`` see the predicted image,
        x_t + (1 - t) v.
        """
        angles = t[:, None] * torch.logspace(0, 2, FREQUENCIES) * math.pi / 2
        conditioning = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        x = self.embedding(tokens, sequence)
        states = self.trunk(x, conditioning)  # (B, M, D)
        velocity = self.head(states)  # (B, M, P)
        if self.canvas is None:
            return velocity
        rest = sequence.is_target[..., None] * (1 - t)[:, None, None]
        return velocity + self.canvas(tokens + rest * velocity, sequence, states)


class FlowModel:
    """Completes images in ``steps`` Euler steps.

    Completion k of image i depends on (seed, i, k) only.
    """

    def __init__(self, field: VelocityField, steps: int):
        self.field = field
        self.steps = steps

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.field.config.model.patch_size

    @torch.inference_mode()
    def complete(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        *,
        absent: Bool[Tensor, "N H W"] | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Float[Tensor, "N K C H W"]:
        """See :meth:`biglearn_gan.models.biglearn_gan.BigLearnGAN.complete`."""
        config = self.field.config
        patch_size = self.patch_size
        target = tokens_touched(hole, patch_size)
        if absent is None:
            absent = torch.zeros_like(hole)
        source = ~target & ~tokens_touched(absent, patch_size)
        tokens = self.field.standardization(patchify(images, patch_size))
        completed = tokens[:, None].repeat(1, variations, 1, 1)
        for row, variation in chunks((source | target).sum(dim=1), variations):
            rngs = [
                sample_rng(seed, first_image + i, k)
                for i, k in zip(row.tolist(), variation.tolist(), strict=True)
            ]
            noise = torch.stack([torch.randn(tokens.shape[1:], generator=rng) for rng in rngs])
            masks = TokenMasks(source[row], target[row])
            completed[row, variation] = self._integrate(tokens[row], masks, noise)
        values = self.field.standardization.restore(completed.flatten(0, 1)).clamp(-1, 1)
        filled = unpatchify(values, config.grid_size, patch_size)
        filled = filled.view(len(images), variations, *images.shape[1:])
        return torch.where(hole[:, None, None], filled, images[:, None])

    def _integrate(
        self, tokens: Float[Tensor, "B L P"], masks: TokenMasks, noise: Float[Tensor, "B L P"]
    ) -> Float[Tensor, "B L P"]:
        """The tokens with their targets generated from the noise."""
        sequence = masks.sequence()
        is_target = sequence.is_target[..., None]
        x = gather_tokens(tokens, sequence.positions)
        x = torch.where(is_target, gather_tokens(noise, sequence.positions), x)
        for step in range(self.steps):
            t = torch.full((len(x),), step / self.steps)
            x = x + is_target * self.field(x, sequence, t) / self.steps
        return scatter_tokens(tokens, x, sequence.positions)


def flow_loss(
    field: VelocityField, real: Float[Tensor, "B M P"], sequence: TokenSequence, images_seen: int
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity x - ε at (1 - t) ε + t x, over the targets."""
    rng = make_rng(Stream.NOISE, field.config.train.seed, images_seen)
    t = torch.rand(len(real), generator=rng)
    noise = torch.randn(real.shape, generator=rng)
    share = t[:, None, None]
    is_target = sequence.is_target[..., None]
    mixed = torch.where(is_target, (1 - share) * noise + share * real, real)
    predicted = field(mixed, sequence, t)
    return squared_error(real - noise, predicted, sequence.is_target).mean()


class FlowTraining:
    """The networks and the optimizer of a training, which saves and loads its state.

    Learning rates, their schedule, and the moving average are those of the configuration's
    generator.
    """

    def __init__(self, config: Config):
        assert config.train.max_images is not None
        self.config = config
        self.schedule = TrainingSchedule(config, config.train.max_images)
        self.dataset = load_dataset(config.data, "train")
        self.sampler = TaskSampler(task_components(config.tasks), config.grid_size)
        self.order = EpochOrder(len(self.dataset), config.train.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(make_rng(Stream.WEIGHTS, config.train.seed).initial_seed())
            self.field = VelocityField(config)
        if self.field.standardization.enabled:
            statistics = channel_statistics(self.dataset)
            self.field.standardization.set_statistics(statistics.mean, statistics.deviation)
        self.average = copy.deepcopy(self.field).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.field.parameters(), betas=ADAM_BETAS, fused=True)
        self.images_seen = 0
        self._started = (time.perf_counter(), time.process_time())

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall time and CPU time of the training, over all its calls."""
        wall, cpu = self._started
        return time.perf_counter() - wall, time.process_time() - cpu

    def step(self) -> None:
        """Train on one batch."""
        sequence, real = self._next_batch()
        settings = self.schedule.at(self.images_seen)
        self.optimizer.param_groups[0]["lr"] = settings.generator_lr
        self.optimizer.zero_grad()
        flow_loss(self.field, real, sequence, self.images_seen).backward()
        self.optimizer.step()
        update_ema(self.average.parameters(), self.field.parameters(), settings.ema_decay)
        self.images_seen += self.config.train.batch_size

    def _next_batch(self) -> tuple[TokenSequence, Float[Tensor, "B M P"]]:
        seed, batch_size = self.config.train.seed, self.config.train.batch_size
        flips = None
        if self.config.data.horizontal_flip:
            rng = make_rng(Stream.FLIPS, seed, self.images_seen)
            flips = torch.rand(batch_size, generator=rng) < 0.5
        batch = self.dataset.batch(self.order.indices(self.images_seen, batch_size), flips)
        observed = torch.ones(batch_size, self.config.token_count, dtype=torch.bool)
        rng = make_rng(Stream.TASKS, seed, self.images_seen)
        sequence = self.sampler.sample(observed, rng).masks.sequence()
        tokens = patchify(batch.images, self.config.model.patch_size)
        tokens = self.field.standardization(tokens)
        return sequence, gather_tokens(tokens, sequence.positions)

    def save(self, path: Path) -> None:
        """Write the state, from which :meth:`load` continues exactly."""
        state = {"images": self.images_seen, "seconds": list(self.seconds)}
        state |= {"field": self.field.state_dict(), "average": self.average.state_dict()}
        with replacing(path) as temporary:
            torch.save(state | {"optimizer": self.optimizer.state_dict()}, temporary)

    def load(self, path: Path) -> None:
        """Continue from the state of a training with the same configuration."""
        state = torch.load(path, weights_only=True)
        self.images_seen = state["images"]
        wall, cpu = state["seconds"]
        self._started = (time.perf_counter() - wall, time.process_time() - cpu)
        self.field.load_state_dict(state["field"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(
    config: Config, state_file: Path, save_every: int = SAVE_IMAGES
) -> tuple[VelocityField, dict[str, Any]]:
    """The averaged network after ``train.max_images`` images, and how long its training took.

    Args:
        config: has a budget in images.
        state_file: where the state is saved; if it exists, the training continues from it.
        save_every: images between two saved states.
    """
    training = FlowTraining(config)
    if state_file.exists():
        training.load(state_file)
    images, batch_size = training.schedule.total_images, config.train.batch_size
    with unit_bars() as on_start:
        advance = on_start("images", images)
        advance(training.images_seen)
        while training.images_seen < images:
            before = training.images_seen
            training.step()
            advance(batch_size)
            if training.images_seen // save_every > before // save_every:
                training.save(state_file)
    wall, cpu = training.seconds
    return training.average, {"images": images, "seconds": wall, "cpu_seconds": cpu}


def main(
    config: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="YAML file.")],
    output: Annotated[Path, typer.Option(help="Folder for weights and evaluations.")],
    images: Annotated[int, typer.Option(min=1, help="Training images.")],
    gan_evaluation: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The GAN's evaluation, for the table."),
    ] = None,
    steps: Annotated[str, typer.Option(help="Numbers of Euler steps.")] = "1,2,4,8,16,64",
    tasks: Annotated[str, typer.Option(help="Tasks of the evaluation.")] = ",".join(TASKS),
    num: Annotated[int, typer.Option(min=1, help="Images per task.")] = 10_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per training step.")] = 32,
    classifier: Classifier = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
) -> None:
    """Train unless the output folder has weights, evaluate, and print a Markdown table."""
    torch.set_num_threads(1)
    counts, names = parse_counts(steps, "--steps"), split_names(tasks)
    budget = [f"train.max_images={images}", f"train.batch_size={batch_size}"]
    settings = load_config(config, [*budget, "train.warm_start.share=0", *(overrides or ())])
    check_supported(settings)
    check_tasks(names, settings.data.image_size, settings.model.patch_size)
    metric_models = shipped_metric_models(settings.data.name, classifier=classifier)
    metric_models = replace(metric_models, masked_classifier=None)
    data = without_missing(settings.data)
    assert metric_models.classifier is not None
    metric_models.classifier.check_dataset(load_dataset(data, "test"))
    check_num(num, metric_models)
    if gan_evaluation is not None:
        load_numbers(gan_evaluation)
    field = train_or_load(settings, output)
    samplers = {output / f"steps_{count}": FlowModel(field, count) for count in counts}
    evaluate_pending(samplers, fingerprint(field), data, num, metric_models, names)
    typer.echo(comparison_tables(table_rows(output, counts, gan_evaluation), names))


def check_supported(config: Config) -> None:
    """Reject what flow matching does not support.

    Raises:
        CommandError: names the key.
    """
    transformed = any(part.domain != "own" for part in task_components(config.tasks))
    unsupported = {
        "data.missing": config.data.missing is not None,
        "tasks.partial_patches": config.tasks.partial_patches > 0,
        "an orthogonal domain in tasks.components": transformed,
        "model.generator.output=linear": config.model.generator.output == "linear",
    }
    for name, is_set in unsupported.items():
        if is_set:
            fail(f"flow matching does not support {name}: override it", code=2)


def train_or_load(config: Config, output: Path) -> VelocityField:
    """The trained network of a folder, which is trained first if it is not there.

    Raises:
        CommandError: the folder holds a training of another configuration.
    """
    make_folder(output)
    config_file, config = output / "config.yaml", config.portable()
    if config_file.exists() and load_config(config_file, stored=True) != config:
        fail(f"{output} holds a training of another configuration: choose another --output", 2)
    with replacing(config_file) as path:
        path.write_text(config.to_yaml(), encoding="utf-8")
    weights = output / "model.safetensors"
    if not weights.exists():
        field, spent = train(config, output / "state.pt")
        write_json(output / "training.json", spent)
        with replacing(weights) as path:
            save_file(field.state_dict(), path)
    field = VelocityField(config)
    field.load_state_dict(load_file(weights))
    return field


def table_rows(output: Path, counts: Sequence[int], gan: Path | None) -> dict[str, Path]:
    """The evaluation folder of each row of the table, by its label."""
    rows = {} if gan is None else {"GAN, one pass": gan}
    for count in counts:
        steps = "1 step" if count == 1 else f"{count} steps"
        rows[f"flow matching, {steps}"] = output / f"steps_{count}"
    return rows


if __name__ == "__main__":
    run(main, "flow_matching")
