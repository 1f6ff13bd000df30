"""What a training step draws: images, flips, tasks and noise, from (seed, images seen) alone.

Every process draws for the whole global batch and keeps its own rows. So a resumed run equals one
that never stopped, and several processes equal one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.config.task_presets import task_components
from biglearn_gan.data.batch_reader import BatchReader
from biglearn_gan.data.dataset import Batch, EpochOrder, ImageDataset
from biglearn_gan.models.generator import Generator, Noise
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.partial_patches import PartialPatchSampler
from biglearn_gan.tasks.patches import gather_tokens, patchify, tokens_covered
from biglearn_gan.tasks.sampler import TaskBatch, TaskSampler, add_random_targets
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence
from biglearn_gan.training.adversarial import GeneratedSuperset, TrainingBatch
from biglearn_gan.training.perceptual import View
from biglearn_gan.training.schedule import TrainingSchedule


class BatchSampler:
    """Draws the batch of every step.

    Args:
        config: of the run.
        dataset: training images.
        accelerator: device and processes.
        schedule: says which steps belong to the warm start, and which terms a step has.
        generator: draws its noise.
        standardization: maps pixel values to what the networks read.

    Attributes:
        task_sampler: draws the tasks of adversarial training.
        warm_start_task_sampler: draws the tasks of the warm start, which all have a source.

    Raises:
        ConfigError: the batch does not divide among the processes.
    """

    def __init__(
        self,
        config: Config,
        dataset: ImageDataset,
        accelerator: Accelerator,
        schedule: TrainingSchedule,
        generator: Generator,
        standardization: Standardization,
    ):
        self._config = config
        self._dataset = dataset
        self._accelerator = accelerator
        self._schedule = schedule
        self._generator = generator
        self._standardization = standardization
        self._order = EpochOrder(len(dataset), config.train.seed)
        self.task_sampler = _make_task_sampler(config)
        self.warm_start_task_sampler = self.task_sampler
        if schedule.warm_start_images > 0:
            self.warm_start_task_sampler = self.task_sampler.conditional()
        rows = images_per_process(config, accelerator)
        start = accelerator.process_index * rows
        self._local_rows = slice(start, start + rows)
        self._reader = BatchReader(dataset, self._local_indices, config.train.batch_size)

    def draw(self, images_seen: int) -> tuple[TrainingBatch, TaskBatch]:
        """The batch of the step that begins at ``images_seen``.

        Returns:
            This process's rows of the batch, and the tasks of the global batch.
        """
        seed, local_rows = self._config.train.seed, self._local_rows
        images, observed = self._images(images_seen)
        task_rng = make_rng(Stream.TASKS, seed, images_seen)
        tasks = self._task_sampler_at(images_seen).sample(observed, task_rng)
        sequence = self._local_sequence(tasks, images.labels)
        second_split = None
        if self._schedule.has_communication(images_seen):
            other_tasks = self.task_sampler.resplit(tasks, observed, task_rng)
            second_split = self._local_sequence(other_tasks, images.labels)
        generated = sequence
        if self._dataset.incomplete:
            more_tasks = add_random_targets(tasks, task_rng)
            generated = self._local_sequence(more_tasks, images.labels)

        noise_rng = make_rng(Stream.NOISE, seed, images_seen, device=self._accelerator.device)
        noise = self._noise(generated.positions.shape[1], noise_rng)
        perturbation = None
        if (
            self._schedule.has_penalty(images_seen)
            and self._config.loss.penalty.kind == "finite_difference"
        ):
            perturbation = self._perturbation(sequence.positions.shape[1], noise_rng)
        tokens = patchify(images.images, self._config.model.patch_size)  # (b, L, P)
        tokens = self._standardization(tokens)
        if tasks.transforms is not None:
            tokens = tasks.transforms[local_rows].to(tokens.device) @ tokens
        batch = TrainingBatch(
            real=gather_tokens(tokens, sequence.positions),
            sequence=sequence,
            noise=noise,
            perturbation=perturbation,
            second_split=second_split,
            labels=images.labels if self._config.data.labels else None,
            superset=None if generated is sequence else _superset(tokens, generated, sequence),
            view=self._view(images_seen),
        )
        return batch, tasks

    def close(self) -> None:
        """End the processes that decode images ahead; a later :meth:`draw` starts others."""
        self._reader.close()

    def task_names(
        self, images_seen: int, tasks: TaskBatch, local_rows: Int64[Tensor, " R"]
    ) -> set[str]:
        """Names of the tasks that were drawn for some of this process's rows."""
        components = self._task_sampler_at(images_seen).components
        rows = local_rows.cpu() + self._local_rows.start
        return {components[component].name for component in tasks.components[rows].tolist()}

    def _task_sampler_at(self, images_seen: int) -> TaskSampler:
        in_warm_start = images_seen < self._schedule.warm_start_images
        return self.warm_start_task_sampler if in_warm_start else self.task_sampler

    def _images(self, images_seen: int) -> tuple[Batch, Bool[Tensor, "B L"]]:
        """This process's images, and the observed tokens of the global batch, on the CPU."""
        config = self._config
        images = self._reader.read(images_seen)
        if not self._dataset.incomplete:  # nothing to fetch from the device
            return images, torch.ones(config.train.batch_size, config.token_count, dtype=torch.bool)
        observed = tokens_covered(images.observed, config.model.patch_size)
        return images, self._accelerator.gather(observed).cpu()

    def _local_indices(
        self, images_seen: int
    ) -> tuple[Int64[Tensor, " b"], Bool[Tensor, " b"] | None]:
        """This process's images of the step, and which of them are mirrored."""
        config, local_rows = self._config, self._local_rows
        indices = self._order.indices(images_seen, config.train.batch_size)
        flips = None
        if config.data.horizontal_flip:
            flip_rng = make_rng(Stream.FLIPS, config.train.seed, images_seen)
            flips = torch.rand(len(indices), generator=flip_rng) < 0.5
            flips = flips[local_rows]
        return indices[local_rows], flips

    def _local_sequence(
        self, tasks: TaskBatch, labels: Int64[Tensor, " b"] | None
    ) -> TokenSequence:
        """The present tokens of this process's rows, whose classes are ``labels``."""
        local_rows = self._local_rows
        sequence = tasks.masks.rows(local_rows).sequence()
        if tasks.transforms is not None:
            transforms = gather_tokens(tasks.transforms[local_rows], sequence.positions)
            sequence = replace(sequence, transforms=transforms)
        if tasks.label_is_source is not None:
            assert labels is not None
            is_given = tasks.label_is_source[local_rows].to(labels.device)
            sequence = replace(sequence, labels=torch.where(is_given, labels, UNKNOWN_LABEL))
        return sequence.to(self._accelerator.device)

    def _noise(self, length: int, rng: torch.Generator) -> Noise:
        """The generator's noise for K fakes of each of this process's rows, (K b) rows."""
        fakes, size = self._config.loss.fakes_per_real, self._config.train.batch_size
        noise = self._generator.draw_noise(fakes * size, length, rng)
        z = noise.z.view(fakes, size, -1)[:, self._local_rows]
        token_noise = noise.token_noise.view(fakes, size, length, -1)[:, self._local_rows]
        return Noise(z.flatten(0, 1), token_noise.flatten(0, 1))

    def _perturbation(self, length: int, rng: torch.Generator) -> Float[Tensor, "R M P"]:
        """Noise of a finite difference penalty, for this process's real images and their fakes."""
        config = self._config
        samples = 1 + config.loss.fakes_per_real
        shape = (samples, config.train.batch_size, length, config.token_dim)
        normal = torch.randn(shape, generator=rng, device=rng.device)
        return normal[:, self._local_rows].flatten(0, 1)

    def _view(self, images_seen: int) -> View | None:
        """How pictures are shown to the network of ``loss.perceptual``, alike on all processes."""
        config = self._config
        if config.loss.perceptual is None or images_seen < self._schedule.warm_start_images:
            return None
        rng = make_rng(Stream.VIEWS, config.train.seed, images_seen)
        return View.draw(config.data.image_size, rng)


def images_per_process(config: Config, accelerator: Accelerator) -> int:
    """This process's share of the global batch.

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


def _make_task_sampler(config: Config) -> TaskSampler:
    partial_patches = None
    if config.reads_partial_patches:
        partial_patches = PartialPatchSampler(
            config.tasks.partial_patches,
            config.grid_size,
            config.model.patch_size,
            config.data.channels,
        )
    label_conditioning = config.tasks.label_conditioning if config.data.labels else None
    components = task_components(config.tasks)
    return TaskSampler(components, config.grid_size, label_conditioning, partial_patches)


def _superset(
    tokens: Float[Tensor, "b L P"], generated: TokenSequence, scored: TokenSequence
) -> GeneratedSuperset:
    """Both sequences are in raster order, and ``scored`` is part of ``generated``."""
    indices = torch.searchsorted(generated.positions, scored.positions)
    return GeneratedSuperset(gather_tokens(tokens, generated.positions), generated, indices)
