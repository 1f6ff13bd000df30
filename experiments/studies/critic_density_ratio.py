"""Test whether a discriminator's logit learns the log density ratio that theory predicts.

    python experiments/studies/critic_density_ratio.py --output runs/critic_density_ratio

A discriminator is trained with the logistic loss between two *known* distributions over the tasks
(S, T) of `big`. There is no generator. The source x_S comes from the Gaussian field `mixture`. The
real target comes from the same field, and the fake one from the exact conditional of an opponent:
the field with its component means moved halfway together. The optimal logit is
f(x; S, T) = log q(x_T | x_S) - log p(x_T | x_S), which both distributions give in closed form.

For each kind of task, on equally many new real and fake images, the table has

- the correlation and the least-squares slope of the logit against the exact ratio, both 1 at best;
- the root mean square of the ratio and of the logit's error, in nats; a blind critic, whose logit
  is 0, has an error as large as the ratio;
- the logistic loss, between its floor (that of the exact ratio) and 2 ln 2 = 1.386 (blind).

The output folder gets the numbers as critic_density_ratio.json.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan.cli.runner import run
from biglearn_gan.config import NetworkConfig, TaskComponent
from biglearn_gan.config.task_presets import PRESETS
from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.gaussian_mixture import GaussianMixture
from biglearn_gan.models.discriminator import Discriminator
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import gather_tokens, patchify, pixels_of_tokens
from biglearn_gan.tasks.sampler import TaskSampler
from biglearn_gan.tasks.token_masks import TokenMasks, TokenSequence
from biglearn_gan.training.losses import logistic_discriminator

IMAGE_SIZE = (8, 8)
PATCH_SIZE = 2
GRID_SIZE = (4, 4)
TOKENS = 16
MEAN_SHIFT = 0.5
NETWORK = NetworkConfig(width=64, depth=2, heads=4)
TASKS_PER_STEP = 8
IMAGES_PER_TASK = 8
LEARNING_RATE = 2e-3
TEST_MASKS = 16
TEST_IMAGES = 256
TRAINING, TEST = 0, 1


@dataclass(frozen=True)
class TaskResult:
    """What is measured on one kind of task, see the module's docstring."""

    kind: str
    correlation: float
    slope: float
    ratio: float
    error: float
    loss: float
    floor: float
    images: int


@dataclass(frozen=True)
class RealAndFake:
    """N real and N fake images of one task with the same sources, and their exact log ratios."""

    tokens: Float[Tensor, "R M P"]  # R = 2 N, real images first
    sequence: TokenSequence
    log_ratio: Tensor  # (R,), float64


def main(
    output: Annotated[Path, typer.Option(help="Folder for critic_density_ratio.json.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 3200,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of the weights, tasks and images.")
    ] = 0,
) -> None:
    """Train a critic, compare it with the exact ratio, and print a Markdown table."""
    field = gaussian_field("mixture", IMAGE_SIZE)
    opponent = contract_means(field, MEAN_SHIFT)
    started = time.perf_counter()
    critic = train(field, opponent, steps, seed)
    minutes = (time.perf_counter() - started) / 60
    results = measure(critic, field, opponent, seed)
    images = steps * TASKS_PER_STEP * IMAGES_PER_TASK
    typer.echo(f"{table(results)}\n\n{images:,} real images in {minutes:.1f} minutes")
    document: dict[str, Any] = {"steps": steps, "images": images, "seed": seed}
    document |= {"rows": [asdict(result) for result in results]}
    make_folder(output)
    write_json(output / "critic_density_ratio.json", document)


def contract_means(field: GaussianMixture, share: float) -> GaussianMixture:
    """The field with the means of its components moved by ``share`` toward the overall mean."""
    means = (1 - share) * field.means + share * field.mean
    return GaussianMixture(field.weights, means, field.covariances)


def train(
    field: GaussianMixture, opponent: GaussianMixture, steps: int, seed: int
) -> Discriminator:
    """A discriminator trained with the logistic loss against a fixed opponent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(make_rng(Stream.WEIGHTS, seed).initial_seed())
        critic = Discriminator(TOKENS, PATCH_SIZE**2, NETWORK)
    optimizer = torch.optim.Adam(critic.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sampler = TaskSampler(PRESETS["big"], GRID_SIZE)
    observed = torch.ones(TASKS_PER_STEP, TOKENS, dtype=torch.bool)
    for step in range(steps):
        rng = make_rng(Stream.ORACLE, seed, TRAINING, step)
        masks = sampler.sample(observed, rng).masks
        batches = [
            sample_images(field, opponent, source, target, IMAGES_PER_TASK, rng)
            for source, target in zip(masks.source, masks.target, strict=True)
        ]
        loss = logistic_loss(critic, batches)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 400 == 399:
            typer.echo(f"step {step + 1:,} of {steps:,}: loss {loss.item():.3f}", err=True)
    return critic.eval()


def logistic_loss(critic: Discriminator, batches: Sequence[RealAndFake]) -> Tensor:
    """The mean logistic loss over tasks with equally many present tokens."""
    sequence = TokenSequence(
        torch.cat([batch.sequence.positions for batch in batches]),
        torch.cat([batch.sequence.is_target for batch in batches]),
    )
    logits = critic(torch.cat([batch.tokens for batch in batches]), sequence)
    real, fake = logits.view(len(batches), 2, -1).transpose(0, 1).flatten(1)
    return logistic_discriminator(real, fake).mean()


def sample_images(
    field: GaussianMixture,
    opponent: GaussianMixture,
    source: Bool[Tensor, " L"],
    target: Bool[Tensor, " L"],
    count: int,
    rng: torch.Generator,
) -> RealAndFake:
    """``count`` real and ``count`` fake images of the task with these source and target tokens."""
    source_pixels, target_pixels = (
        pixels_of_tokens(tokens[None], GRID_SIZE, PATCH_SIZE).flatten().nonzero()[:, 0]
        for tokens in (source, target)
    )
    real = field.sample(count, rng)
    fake = real.clone()
    truth = field.conditional(target_pixels, source_pixels)
    other = opponent.conditional(target_pixels, source_pixels)
    fake[:, target_pixels] = other.sample(real[:, source_pixels], 1, rng)[:, 0]
    images = torch.cat([real, fake])
    x_target, x_source = images[:, target_pixels], images[:, source_pixels]
    log_ratio = truth.log_density(x_target, x_source) - other.log_density(x_target, x_source)
    rows = torch.ones(len(images), 1, dtype=torch.bool)
    sequence = TokenMasks(rows & source, rows & target).sequence()
    tokens = patchify(images.float().view(-1, 1, *IMAGE_SIZE), PATCH_SIZE)
    return RealAndFake(gather_tokens(tokens, sequence.positions), sequence, log_ratio)


@torch.no_grad()
def measure(
    critic: Discriminator, field: GaussianMixture, opponent: GaussianMixture, seed: int
) -> list[TaskResult]:
    """A result for each kind of task, and one for all kinds in equal shares."""
    logits, ratios = [], []
    for number, kind in enumerate(PRESETS["big"]):
        rng = make_rng(Stream.ORACLE, seed, TEST, number)
        batches = [sample_task(field, opponent, kind, rng) for _ in range(TEST_MASKS)]
        scores = [critic(batch.tokens, batch.sequence) for batch in batches]
        logits.append(torch.stack(scores).double())
        ratios.append(torch.stack([batch.log_ratio for batch in batches]))
    names = [kind.name for kind in PRESETS["big"]]
    results = [compare(*each) for each in zip(names, logits, ratios, strict=True)]
    return [*results, compare("all", torch.cat(logits), torch.cat(ratios))]


def sample_task(
    field: GaussianMixture,
    opponent: GaussianMixture,
    kind: TaskComponent,
    rng: torch.Generator,
) -> RealAndFake:
    """Test images of one random task of a kind."""
    observed = torch.ones(1, TOKENS, dtype=torch.bool)
    masks = TaskSampler([kind], GRID_SIZE).sample(observed, rng).masks
    return sample_images(field, opponent, masks.source[0], masks.target[0], TEST_IMAGES, rng)


def compare(
    kind: str, logits: Float[Tensor, "K R"], log_ratios: Float[Tensor, "K R"]
) -> TaskResult:
    """Compare logits with exact ratios of K tasks, the real half of each row first."""

    def loss(scores: Tensor) -> float:
        real, fake = (half.flatten() for half in scores.chunk(2, dim=1))
        return float(logistic_discriminator(real, fake).mean())

    covariance = torch.stack([log_ratios.flatten(), logits.flatten()]).cov()
    variances = covariance.diagonal()
    return TaskResult(
        kind=kind,
        correlation=float(covariance[0, 1] / variances.prod().sqrt()),
        slope=float(covariance[0, 1] / variances[0]),
        ratio=float(log_ratios.square().mean().sqrt()),
        error=float((logits - log_ratios).square().mean().sqrt()),
        loss=loss(logits),
        floor=loss(log_ratios),
        images=log_ratios.numel(),
    )


def table(results: Sequence[TaskResult]) -> str:
    """The results as Markdown, below those of a perfect and of a blind critic."""
    lines = [
        "| task | correlation | slope | ratio (nats) | error (nats) | loss | floor | images |",
        "|---|---|---|---|---|---|---|---|",
        "| *perfect* | 1 | 1 | | 0 | floor | | |",
        f"| *blind* | – | 0 | | ratio | {2 * math.log(2):.3f} | | |",
    ]
    for each in results:
        lines.append(
            f"| {each.kind} | {each.correlation:.3f} | {each.slope:.3f} | {each.ratio:.2f} | "
            f"{each.error:.2f} | {each.loss:.3f} | {each.floor:.3f} | {each.images:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "critic_density_ratio")
