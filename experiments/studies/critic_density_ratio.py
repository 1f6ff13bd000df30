"""Whether a discriminator's logit is the log density ratio that the theory says it is.

    python experiments/critic_oracle.py --output runs/critic_oracle [--steps 3200] [--seed 0]

A ``Discriminator`` plays the logistic game between two *known* laws over the tasks (S, T) of
``big``. x_S comes from the Gaussian field ``mixture``; the real x_T | x_S does too, the fake one
from the exact conditional of an opponent, the same field with components that differ half as much
(see ``flattened``). There is no generator. The best logit is
f(x; S, T) = log q(x_T | x_S) - log p(x_T | x_S), which both laws give in closed form.

It reports, for each kind of task, on as many real as fake images that training never saw:

- correlation and slope (least squares) of the logit against the exact ratio, both 1 at best;
- the root mean square of the ratio and of the logit's error, in nats; a blind critic, which says 0
  of everything, has an error as large as the ratio;
- the logistic loss, between its floor (the exact ratio's) and 2 ln 2 = 1.386 (a blind critic's).

``critic_oracle.md`` and ``critic_oracle.json`` in the output folder hold the same.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from biglearn_gan.cli.runner import run
from biglearn_gan.config import NetworkConfig, TaskComponent
from biglearn_gan.config.task_presets import PRESETS
from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.files import replacing
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
SHARE = 0.5
NETWORK = NetworkConfig(width=64, depth=2, heads=4)
TASKS_PER_STEP = 8
IMAGES_PER_TASK = 8
LEARNING_RATE = 2e-3
TEST_MASKS = 16
TEST_IMAGES = 256
TRAINING, TEST = 0, 1


@dataclass(frozen=True)
class Row:
    """One kind of task, see the text above."""

    kind: str
    correlation: float
    slope: float
    ratio: float
    error: float
    loss: float
    floor: float
    images: int


@dataclass(frozen=True)
class SampleSource:
    """Real images and fake ones of the same sources and task, and the exact ratio of each."""

    tokens: Tensor  # (2 N, M, P), real ones first
    sequence: TokenSequence  # 2 N rows
    ratio: Tensor  # (2 N,)


def main(
    output: Annotated[Path, typer.Option(help="Folder for critic_oracle.md and .json.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 3200,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, tasks and images.")] = 0,
) -> None:
    """Train the critic, hold it against the exact ratio, and write one table."""
    field = gaussian_field("mixture", IMAGE_SIZE)
    opponent = flattened(field, SHARE)
    started = time.perf_counter()
    critic = train(field, opponent, steps, seed)
    minutes = (time.perf_counter() - started) / 60
    rows = measure(critic, field, opponent, seed)
    facts = {"steps": steps, "images": steps * TASKS_PER_STEP * IMAGES_PER_TASK, "seed": seed}
    text = markdown(rows)
    typer.echo(f"{text}\n\n{facts['images']:,} real images in {minutes:.1f} minutes")
    document = json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=2)
    output.mkdir(parents=True, exist_ok=True)
    for name, content in (("critic_oracle.md", text), ("critic_oracle.json", document)):
        with replacing(output / name) as path:
            path.write_text(content + "\n", encoding="utf-8")


def flattened(field: GaussianMixture, share: float) -> GaussianMixture:
    """The same field with each component's mean moved by ``share`` toward the overall mean."""
    means = (1 - share) * field.means + share * field.mean
    return GaussianMixture(field.weights, means, field.covariances)


def train(
    field: GaussianMixture, opponent: GaussianMixture, steps: int, seed: int
) -> Discriminator:
    """The logistic game against an opponent that never moves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(make_rng(Stream.WEIGHTS, seed).initial_seed())
        critic = Discriminator(TOKENS, PATCH_SIZE**2, NETWORK)
    optimizer = torch.optim.Adam(critic.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sampler = TaskSampler(PRESETS["big"], GRID_SIZE)
    everything = torch.ones(TASKS_PER_STEP, TOKENS, dtype=torch.bool)
    for step in range(steps):
        rng = make_rng(Stream.ORACLE, seed, TRAINING, step)
        masks = sampler.sample(everything, rng).masks
        answers = [
            answer(field, opponent, *pair, IMAGES_PER_TASK, rng)
            for pair in zip(masks.source, masks.target, strict=True)
        ]
        loss = game(critic, answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 400 == 399:
            typer.echo(f"step {step + 1:,} of {steps:,}: loss {loss.item():.3f}", err=True)
    return critic.eval()


def game(critic: Discriminator, answers: list[SampleSource]) -> Tensor:
    """The mean logistic loss over tasks with equally many present tokens."""
    sequence = TokenSequence(
        torch.cat([each.sequence.positions for each in answers]),
        torch.cat([each.sequence.is_target for each in answers]),
    )
    logits = critic(torch.cat([each.tokens for each in answers]), sequence)
    real, fake = logits.view(len(answers), 2, -1).transpose(0, 1).flatten(1)
    return logistic_discriminator(real, fake).mean()


def answer(
    field: GaussianMixture,
    opponent: GaussianMixture,
    source: Tensor,
    target: Tensor,
    count: int,
    rng: torch.Generator,
) -> SampleSource:
    """``count`` real and as many fake images of one task, given by its tokens (L,)."""
    given, asked = (
        pixels_of_tokens(tokens[None], GRID_SIZE, PATCH_SIZE).flatten().nonzero()[:, 0]
        for tokens in (source, target)
    )
    real = field.sample(count, rng)
    fake = real.clone()
    truth, other = field.conditional(asked, given), opponent.conditional(asked, given)
    fake[:, asked] = other.sample(real[:, given], 1, rng)[:, 0]
    images = torch.cat([real, fake])
    ratio = truth.log_density(images[:, asked], images[:, given]) - other.log_density(
        images[:, asked], images[:, given]
    )
    rows = torch.ones(len(images), 1, dtype=torch.bool)
    sequence = TokenMasks(rows & source, rows & target).sequence()
    tokens = patchify(images.float().view(-1, 1, *IMAGE_SIZE), PATCH_SIZE)
    present = gather_tokens(tokens, sequence.positions)
    return SampleSource(present, sequence, ratio)


@torch.no_grad()
def measure(
    critic: Discriminator, field: GaussianMixture, opponent: GaussianMixture, seed: int
) -> list[Row]:
    """A row for every kind, and one for all of them in equal shares."""
    logits, ratios = [], []
    for number, kind in enumerate(PRESETS["big"]):
        rng = make_rng(Stream.ORACLE, seed, TEST, number)
        answers = [ask(field, opponent, kind, rng) for _ in range(TEST_MASKS)]
        scores = [critic(each.tokens, each.sequence) for each in answers]
        logits.append(torch.stack(scores).double())
        ratios.append(torch.stack([each.ratio for each in answers]))
    names = [kind.name for kind in PRESETS["big"]]
    rows = [row(*each) for each in zip(names, logits, ratios, strict=True)]
    return [*rows, row("all", torch.cat(logits), torch.cat(ratios))]


def ask(
    field: GaussianMixture,
    opponent: GaussianMixture,
    kind: TaskComponent,
    rng: torch.Generator,
) -> SampleSource:
    """Images of one task of a kind."""
    everything = torch.ones(1, TOKENS, dtype=torch.bool)
    masks = TaskSampler([kind], GRID_SIZE).sample(everything, rng).masks
    return answer(field, opponent, masks.source[0], masks.target[0], TEST_IMAGES, rng)


def row(kind: str, logits: Tensor, ratios: Tensor) -> Row:
    """Compare logits with exact ratios, (masks, 2 N) each, the real half first."""

    def loss(scores: Tensor) -> float:
        real, fake = (half.flatten() for half in scores.chunk(2, dim=1))
        return float(logistic_discriminator(real, fake).mean())

    covariance = torch.stack([ratios.flatten(), logits.flatten()]).cov()
    variances = covariance.diagonal()
    return Row(
        kind=kind,
        correlation=float(covariance[0, 1] / variances.prod().sqrt()),
        slope=float(covariance[0, 1] / variances[0]),
        ratio=float(ratios.square().mean().sqrt()),
        error=float((logits - ratios).square().mean().sqrt()),
        loss=loss(logits),
        floor=loss(ratios),
        images=ratios.numel(),
    )


def markdown(rows: list[Row]) -> str:
    """One table, its readings between what is perfect and what is blind."""
    lines = [
        "| task | correlation | slope | ratio (nats) | error (nats) | loss | floor | images |",
        "|---|---|---|---|---|---|---|---|",
        f"| *perfect* | 1 | 1 | | 0 | floor | | |\n| *blind* | – | 0 | | ratio | "
        f"{2 * math.log(2):.3f} | | |",
    ]
    for each in rows:
        lines.append(
            f"| {each.kind} | {each.correlation:.3f} | {each.slope:.3f} | {each.ratio:.2f} | "
            f"{each.error:.2f} | {each.loss:.3f} | {each.floor:.3f} | {each.images:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "critic_oracle")
