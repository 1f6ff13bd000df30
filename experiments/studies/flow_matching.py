"""The peer that a user would pick instead: masked conditional flow matching, measured alike.

    python experiments/flow_matching.py --config experiments/digits.yaml --images 1300000 \
        --output runs/flow_digits --beside checkpoints/digits/evaluation

One transformer, that of the configuration's generator with the time in place of the latent, learns
the velocity from noise to the target tokens given the source tokens (Lipman et al. 2023, arXiv
2210.02747, eqs. 21 to 23, with σ_min = 0), on the same task distribution, without labels. It draws
with Euler steps and is measured by the same protocol as the GAN, which draws in one pass. Without
an adversary it sees more images in the same time: choose --images so that both take as many
seconds.
"""

from __future__ import annotations

import copy
import json
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

from biglearn_gan.cli.options import without_missing
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.config.task_presets import components_of
from biglearn_gan.data.dataset import EpochOrder
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.comparison import (
    TASKS,
    check_num,
    counts_of,
    measure,
    shipped_metric_models,
)
from biglearn_gan.evaluation.tables import measured, side_by_side
from biglearn_gan.files import replacing
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.models.embeddings import PatchEmbedding
from biglearn_gan.models.token_model import CHUNK_ROWS
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
from biglearn_gan.training.losses import squared_error
from biglearn_gan.training.schedule import Schedule

FREQUENCIES = 16
SAVE_IMAGES = 100_000
"""A training is saved as often as this, to go on when it is stopped."""


class VelocityField(nn.Module):
    """v(x_t, t; S, T) on the tokens of S ∪ T."""

    def __init__(self, config: Config):
        super().__init__()
        size = config.model.generator
        self.config = config
        self.embedding = PatchEmbedding(config.token_count, config.token_dim, size.width)
        del self.embedding.unknown
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, size.width),
            nn.GELU(),
            nn.Linear(size.width, size.width),
            nn.GELU(),
        )
        self.trunk = Transformer(size.width, size.depth, size.heads, conditioning_dim=size.width)
        self.head = nn.Linear(size.width, config.token_dim)

    def forward(
        self,
        tokens: Float[Tensor, "B M P"],
        sequence: TokenSequence,
        t: Float[Tensor, " B"],
    ) -> Float[Tensor, "B M P"]:
        """The velocity of every token; targets are at time ``t`` in [0, 1], 0 being noise."""
        angles = t[:, None] * torch.logspace(0, 2, FREQUENCIES) * math.pi / 2
        conditioning = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        x = self.embedding(tokens, sequence)
        return self.head(self.trunk(x, conditioning))


class FlowModel:
    """Draws with ``steps`` Euler steps; completion k of image i depends on (seed, i, k) alone."""

    def __init__(self, field: VelocityField, steps: int):
        self.field = field
        self.steps = steps

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
        patch_size = config.model.patch_size
        target = tokens_touched(hole, patch_size)
        gone = torch.zeros_like(hole) if absent is None else absent
        source = ~target & ~tokens_touched(gone, patch_size)
        tokens = patchify(images, patch_size)
        drawn = tokens[:, None].repeat(1, variations, 1, 1)
        counts = (source | target).sum(dim=1)
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero()[:, 0]
            pairs = torch.cartesian_prod(rows, torch.arange(variations)).view(-1, 2)
            for chunk in pairs.split(CHUNK_ROWS):
                row, variation = chunk.T
                noise = [
                    torch.randn(
                        tokens.shape[1:],
                        generator=make_rng(Stream.SAMPLE, seed, first_image + i, k),
                    )
                    for i, k in chunk.tolist()
                ]
                masks = TokenMasks(source[row], target[row])
                drawn[row, variation] = self._draw(tokens[row], masks, torch.stack(noise))
        without_missing = unpatchify(drawn.flatten(0, 1), config.grid_size, patch_size)
        without_missing = without_missing.view(len(images), variations, *images.shape[1:]).clamp(
            -1, 1
        )
        return torch.where(hole[:, None, None], without_missing, images[:, None])

    def _draw(self, tokens: Tensor, masks: TokenMasks, noise: Tensor) -> Tensor:
        sequence = masks.sequence()
        is_target = sequence.is_target[..., None]
        x = gather_tokens(tokens, sequence.positions)
        x = torch.where(is_target, gather_tokens(noise, sequence.positions), x)
        for step in range(self.steps):
            t = torch.full((len(x),), step / self.steps)
            x = x + is_target * self.field(x, sequence, t) / self.steps
        return scatter_tokens(tokens, x, sequence.positions)


def flow_loss(
    field: VelocityField, real: Float[Tensor, "B M P"], sequence: TokenSequence, seen: int
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity x - ε at (1 - t) ε + t x, over the targets."""
    rng = make_rng(Stream.NOISE, field.config.train.seed, seen)
    t = torch.rand(len(real), generator=rng)
    noise = torch.randn(real.shape, generator=rng)
    share = t[:, None, None]
    is_target = sequence.is_target[..., None]
    mixed = torch.where(is_target, (1 - share) * noise + share * real, real)
    predicted = field(mixed, sequence, t)
    return squared_error(real - noise, predicted, sequence.is_target).mean()


def train(
    config: Config, state_file: Path, save_every: int = SAVE_IMAGES
) -> tuple[VelocityField, dict[str, Any]]:
    """The averaged field after the budget, and what it took.

    Rates, their schedule and the average are those of the configuration's generator. A training
    that was stopped goes on from ``state_file``, which holds one of the same configuration.
    """
    assert config.train.max_images is not None
    seed, batch_size = config.train.seed, config.train.batch_size
    plan = Schedule(config, config.train.max_images)
    dataset = load_dataset(config.data, "train")
    sampler = TaskSampler(components_of(config.tasks), config.grid_size)
    order = EpochOrder(len(dataset), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(make_rng(Stream.WEIGHTS, seed).initial_seed())
        field = VelocityField(config)
    average = copy.deepcopy(field).requires_grad_(False)
    optimizer = torch.optim.Adam(field.parameters(), betas=ADAM_BETAS, fused=True)
    began = [time.perf_counter(), time.process_time()]
    first, images = 0, plan.total_images
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        first = state["images"]
        began = [now - spent for now, spent in zip(began, state["seconds"], strict=True)]
        for part, name in ((field, "field"), (average, "average"), (optimizer, "optimizer")):
            part.load_state_dict(state[name])
    observed = torch.ones(batch_size, config.token_count, dtype=torch.bool)
    with unit_bars() as start:
        advance = start("images", images)
        advance(first)
        for seen in range(first, images, batch_size):
            flips = None
            if config.data.horizontal_flip:
                flips = torch.rand(batch_size, generator=make_rng(Stream.FLIPS, seed, seen))
                flips = flips < 0.5
            batch = dataset.batch(order.indices(seen, batch_size), flips)
            masks = sampler.sample(observed, make_rng(Stream.TASKS, seed, seen)).masks
            sequence = masks.sequence()
            real = gather_tokens(
                patchify(batch.images, config.model.patch_size), sequence.positions
            )
            sizes = plan.at(seen)
            optimizer.param_groups[0]["lr"] = sizes.generator
            optimizer.zero_grad()
            flow_loss(field, real, sequence, seen).backward()
            optimizer.step()
            ours = [parameter.detach() for parameter in average.parameters()]
            theirs = [parameter.detach() for parameter in field.parameters()]
            torch._foreach_lerp_(ours, theirs, 1 - sizes.ema_decay)
            advance(batch_size)
            if (seen + batch_size) // save_every > seen // save_every:
                state = {"images": seen + batch_size, "seconds": since(began)}
                state |= {"field": field.state_dict(), "average": average.state_dict()}
                with replacing(state_file) as path:
                    torch.save(state | {"optimizer": optimizer.state_dict()}, path)
    seconds, cpu_seconds = since(began)
    return average, {"images": images, "seconds": seconds, "cpu_seconds": cpu_seconds}


def since(began: Sequence[float]) -> list[float]:
    """Seconds by the clock and of the processor."""
    return [time.perf_counter() - began[0], time.process_time() - began[1]]


def main(
    config: Annotated[Path, typer.Option(exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option(help="Folder for weights and measurements.")],
    images: Annotated[int, typer.Option(min=1, help="Budget.")],
    beside: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder of the GAN's evaluation, for the table."
        ),
    ] = None,
    steps: Annotated[str, typer.Option(help="Euler steps to measure.")] = "1,2,4,8,16,64",
    num: Annotated[int, typer.Option(min=1, help="Images of each task.")] = 10_000,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    overrides: Annotated[list[str] | None, typer.Argument(help="Such as train.seed=1.")] = None,
) -> None:
    """Train (where the output holds no weights yet), measure, and print the table."""
    torch.set_num_threads(1)
    counts = counts_of(steps, "--steps")
    plan = [f"train.max_images={images}", f"train.batch_size={batch_size}"]
    settings = load_config(config, [*plan, "train.warm_start.share=0", *(overrides or ())])
    check(settings)
    metric_models = replace(shipped_metric_models(settings.data.name), masked_classifier=None)
    check_num(num, metric_models)
    if beside is not None:
        measured(beside)
    output.mkdir(parents=True, exist_ok=True)
    asked, text = output / "config.yaml", settings.portable().to_yaml()
    if asked.exists() and asked.read_text(encoding="utf-8") != text:
        fail(f"{output} is of another training: choose another --output")
    with replacing(asked) as path:
        path.write_text(text, encoding="utf-8")
    weights = output / "model.safetensors"
    if not weights.exists():
        field, spent = train(settings, output / "state.pt")
        with replacing(output / "training.json") as path:
            path.write_text(json.dumps(spent, indent=2) + "\n", encoding="utf-8")
        with replacing(weights) as path:
            save_file(field.state_dict(), path)
    field = VelocityField(settings)
    field.load_state_dict(load_file(weights))
    samplers = {output / f"steps_{count}": FlowModel(field, count) for count in counts}
    given = fingerprint(field), without_missing(settings.data), settings.model.patch_size, num
    measure(samplers, *given, metric_models)
    typer.echo(side_by_side(rows_of(output, counts, beside), TASKS))


def check(config: Config) -> None:
    """What no velocity is learned for is a mistake."""
    transformed = any(part.domain != "own" for part in components_of(config.tasks))
    refused = {
        "data.missing": config.data.missing is not None,
        "tasks.partial_patches": config.tasks.partial_patches > 0,
        "an orthogonal domain in tasks.components": transformed,
        "model.generator.output=linear": config.model.generator.output == "linear",
    }
    for name, asked in refused.items():
        if asked:
            fail(f"{name} has no meaning for flow matching: override it", code=2)


def rows_of(output: Path, counts: Sequence[int], beside: Path | None) -> dict[str, Path]:
    """Folders of the table's lines by what these are called."""
    folders = {} if beside is None else {"GAN, one pass": beside}
    return folders | {f"flow matching, {n} steps": output / f"steps_{n}" for n in counts}


if __name__ == "__main__":
    run(main, "flow_matching")
