"""Training: one state object that takes steps, saves itself and goes on.

Every step draws what it needs for the whole global batch from (seed, images seen) and each process
takes its slice, so a resumed run equals one that never stopped, and several processes equal one.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int64
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.config.task_presets import task_components
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.errors import UserError
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.partial_patches import PartialPatchSampler
from biglearn_gan.tasks.patches import gather_tokens, patchify, tokens_covered
from biglearn_gan.tasks.sampler import TaskBatch, TaskSampler, add_random_targets
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence
from biglearn_gan.training.adversarial import (
    AdversarialTraining,
    DrawnTokens,
    GameBatch,
    StepResult,
)
from biglearn_gan.training.schedule import Schedule


class TrainingError(UserError):
    """Training cannot go on, in one sentence."""


class Trainer:
    """The state of a run: players and images seen; :meth:`step` moves it on by one batch.

    Args:
        config: of the run.
        dataset: training images.
        accelerator: device, precision and processes.
        max_images: the budget.
        first_budget: what it was before it was raised, see :class:`Schedule`.

    Raises:
        ConfigError: the batch does not divide among the processes.
    """

    def __init__(
        self,
        config: Config,
        dataset: ImageDataset,
        accelerator: Accelerator,
        max_images: int,
        first_budget: int | None = None,
    ):
        share = images_per_process(config, accelerator)
        self.config = config
        self.accelerator = accelerator
        self.dataset = dataset
        self.schedule = Schedule(config, max_images, first_budget)
        self.players = AdversarialTraining(config, accelerator)
        self.images_seen = 0
        self.seconds = 0.0
        self._sums: dict[str, tuple[float, int]] = {}
        self._reported = (0, 0.0)
        self._order = EpochOrder(len(dataset), config.train.seed)
        label_conditioning = config.tasks.label_conditioning if config.data.labels else None
        partial_patches = None
        if config.reads_partial_patches:
            partial_patches = PartialPatchSampler(
                config.tasks.partial_patches,
                config.grid_size,
                config.model.patch_size,
                config.data.channels,
            )
        components = task_components(config.tasks)
        self.game_tasks = TaskSampler(
            components, config.grid_size, label_conditioning, partial_patches
        )
        self.warm_start_tasks = self.game_tasks
        if self.schedule.warm_images:
            self.warm_start_tasks = self.game_tasks.conditional()
        start = accelerator.process_index * share
        self._slice = slice(start, start + share)

    @property
    def warm(self) -> bool:
        """Whether the next step belongs to the warm start."""
        return self.images_seen < self.schedule.warm_images

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.images_seen >= self.schedule.total_images

    def step(self) -> None:
        """Sample a batch of images, tasks and noise, and let the players move.

        Raises:
            TrainingError: a loss is not finite; it names the step and the tasks of the batch.
        """
        started = time.perf_counter()
        sizes = self.schedule.at(self.images_seen)
        sampler = self.warm_start_tasks if self.warm else self.game_tasks
        if self.warm:
            batch, tasks = self._draw(sampler, penalize=False)
            result = self.players.warm_start_step(batch, sizes)
        else:
            played = self.images_seen - self.schedule.warm_images
            if played == 0 and self.schedule.warm_images:
                self.players.hand_over()
            step = played // self.config.train.batch_size
            penalty = self.config.loss.penalty
            penalize = max(penalty.r1, penalty.r2) > 0 and step % penalty.interval == 0
            batch, tasks = self._draw(sampler, penalize)
            result = self.players.train_step(batch, sizes, penalize)
        self._record(result, tasks, sampler)
        self.images_seen += self.config.train.batch_size
        self.seconds += time.perf_counter() - started

    def take_metrics(self) -> dict[str, float]:
        """Means of everything recorded since the last call, with the speed in images per second."""
        images, seconds = self._reported
        speed = (self.images_seen - images) / max(self.seconds - seconds, 1e-9)
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        self._reported = (self.images_seen, self.seconds)
        return {"seconds": self.seconds, "images_per_second": speed, **means}

    def check_weights(self) -> None:
        """Raise TrainingError if a weight is not finite, as after a gradient that was not."""
        for parameter in self.players.parameters():
            if not bool(parameter.isfinite().all()):
                raise TrainingError(
                    f"a weight is not finite at {self.images_seen:,} images; "
                    "lower train.learning_rate or raise loss.penalty"
                )

    def model(self) -> BigLearnGAN:
        """The model for use as it stands: the averaged generator and the critic, on the CPU."""
        model = BigLearnGAN(self.config)
        model.generator.load_state_dict(self.players.average.state_dict())
        model.discriminator.load_state_dict(self.players.discriminator.state_dict())
        return model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, but for the configuration and the data."""
        return {
            "players": self.players.state_dict(),
            "images_seen": self.images_seen,
            "seconds": self.seconds,
            "sums": self._sums,
            "reported": self._reported,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken."""
        self.players.load_state_dict(state["players"])
        self.images_seen = state["images_seen"]
        self.seconds = state["seconds"]
        self._sums = state["sums"]
        self._reported = state["reported"]

    def _draw(self, sampler: TaskSampler, penalize: bool) -> tuple[GameBatch, TaskBatch]:
        """Everything random in one step, for the global batch; this process's slice of it."""
        config, seed, seen = self.config, self.config.train.seed, self.images_seen
        size, device = config.train.batch_size, self.accelerator.device
        indices = self._order.indices(seen, size)
        flips = None
        if config.data.horizontal_flip:
            flips = torch.rand(size, generator=make_rng(Stream.FLIPS, seed, seen)) < 0.5
            flips = flips[self._slice]
        images = self.dataset.batch(indices[self._slice], flips)
        observed = tokens_covered(images.observed, config.model.patch_size)
        observed = self.accelerator.gather(observed).cpu()

        task_rng = make_rng(Stream.TASKS, seed, seen)
        tasks = sampler.sample(observed, task_rng)
        sequence = self._local_slice(tasks, images.labels)
        second = None
        if config.loss.communication > 0 and not self.warm:
            other = sampler.resplit(tasks, observed, task_rng)
            second = self._local_slice(other, images.labels)
        drawn = sequence
        if self.dataset.incomplete:
            drawn = self._local_slice(add_random_targets(tasks, task_rng), images.labels)

        noise_rng = make_rng(Stream.NOISE, seed, seen, device=device)
        fakes, length = config.loss.fakes_per_real, sequence.positions.shape[1]
        noise_shape = (fakes * size, drawn.positions.shape[1])
        noise = self.players.generator.draw_noise(*noise_shape, noise_rng)
        perturbation = None
        if penalize and config.loss.penalty.kind == "finite_difference":
            shape = (1 + fakes, size, length, config.token_dim)
            normal = torch.randn(shape, generator=noise_rng, device=device)
            perturbation = normal[:, self._slice].flatten(0, 1)
        real = patchify(images.images, config.model.patch_size)
        if tasks.transforms is not None:
            real = tasks.transforms[self._slice].to(device) @ real
        batch = GameBatch(
            gather_tokens(real, sequence.positions),
            sequence,
            noise.z.view(fakes, size, -1)[:, self._slice],
            noise.token_noise.view(fakes, size, noise_shape[1], -1)[:, self._slice],
            perturbation,
            second,
            images.labels if config.data.labels else None,
            None if drawn is sequence else _superset_tokens(real, drawn, sequence),
        )
        return batch, tasks

    def _local_slice(self, tasks: TaskBatch, labels: Int64[Tensor, " b"] | None) -> TokenSequence:
        """The present tokens of this process's rows, whose classes are ``labels``."""
        sequence = tasks.masks.rows(self._slice).sequence()
        if tasks.transforms is not None:
            rows = gather_tokens(tasks.transforms[self._slice], sequence.positions)
            sequence = replace(sequence, transforms=rows)
        if tasks.label_is_source is not None:
            assert labels is not None
            given = tasks.label_is_source[self._slice].to(labels.device)
            sequence = replace(sequence, labels=torch.where(given, labels, UNKNOWN_LABEL))
        return sequence.to(self.accelerator.device)

    def _record(self, result: StepResult, tasks: TaskBatch, sampler: TaskSampler) -> None:
        """Add the step's metrics, averaged over processes, to the sums."""
        values = self.accelerator.reduce(torch.stack(list(result.metrics.values())), "mean")
        for name, value in zip(result.metrics, values.tolist(), strict=True):
            if not math.isfinite(value):
                raise TrainingError(self._describe_divergence(name, result, tasks, sampler))
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def _describe_divergence(
        self, name: str, result: StepResult, tasks: TaskBatch, sampler: TaskSampler
    ) -> str:
        bad = (~result.per_sample.isfinite()).nonzero()[:, 0] + self._slice.start
        components = {sampler.components[tasks.components[row]].name for row in bad.cpu()}
        return (
            f"{name} is not finite at {self.images_seen:,} images (step "
            f"{self.images_seen // self.config.train.batch_size:,}; tasks: "
            f"{', '.join(sorted(components)) or 'of another process'}); "
            "lower train.learning_rate or raise loss.penalty"
        )


def _superset_tokens(
    real: Float[Tensor, "b L P"], drawn: TokenSequence, judged: TokenSequence
) -> DrawnTokens:
    """Both sequences are in raster order."""
    places = torch.searchsorted(drawn.positions, judged.positions)
    return DrawnTokens(gather_tokens(real, drawn.positions), drawn, places)


def images_per_process(config: Config, accelerator: Accelerator) -> int:
    """Each process's share of the global batch.

    Raises:
        ConfigError: the batch does not divide among the processes.
    """
    share, rest = divmod(config.train.batch_size, accelerator.num_processes)
    if rest:
        raise ConfigError(
            [
                f"train.batch_size: {config.train.batch_size} images do not divide among "
                f"{accelerator.num_processes} processes"
            ]
        )
    return share
