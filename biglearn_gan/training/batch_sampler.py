"""What a training step draws: images, flips, tasks and noise, from (seed, images seen) alone.

Every process draws for the whole global batch and keeps its own rows. So a resumed run equals one
that never stopped, and several processes equal one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from biglearn_gan.config import Config, ConfigError
from biglearn_gan.config.task_presets import task_components
from biglearn_gan.data.batch_reader import BatchReader
from biglearn_gan.data.dataset import Batch, EpochOrder, ImageDataset
from biglearn_gan.data.shifts import draw_shifts, shift_images
from biglearn_gan.devices import copy_to
from biglearn_gan.models.canvas import PatchGrid
from biglearn_gan.models.generator import Generator, Noise
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.partial_patches import PartialPatchSampler
from biglearn_gan.tasks.patches import gather_tokens, patchify, tokens_covered
from biglearn_gan.tasks.sampler import TaskBatch, TaskSampler, add_random_targets
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence
from biglearn_gan.training.augmentation import Augmentation
from biglearn_gan.training.drawn_ahead import DrawnAhead
from biglearn_gan.training.perceptual import View
from biglearn_gan.training.schedule import TrainingSchedule
from biglearn_gan.training.training_batch import (
    GeneratedSuperset,
    LabeledTokens,
    TrainingBatch,
)


@dataclass(frozen=True)
class _DrawnTasks:
    """What a step draws on the CPU: the tasks of the global batch, and this process's sequences.

    Attributes:
        tasks: of the global batch.
        sequence: the present tokens.
        second_split: other tasks on the same tokens, for the communication game.
        generated: the tokens to generate, if some of them are not scored.
    """

    tasks: TaskBatch
    sequence: TokenSequence
    second_split: TokenSequence | None
    generated: TokenSequence | None


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
        draws_ahead: whether the tasks of the next step are drawn while a step is computed. On a CPU
            that would only take a core from the step.

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
        self._labeled_reader = self._make_labeled_reader()
        self._tasks_ahead = DrawnAhead(self._tasks_of_complete_images, config.train.batch_size)
        self.draws_ahead = accelerator.device.type == "cuda"

    def draw(self, images_seen: int) -> tuple[TrainingBatch, TaskBatch]:
        """The batch of the step that begins at ``images_seen``.

        Returns:
            This process's rows of the batch, and the tasks of the global batch.
        """
        images = self._reader.read(images_seen)
        drawn = self._draw_tasks(images_seen, images)
        sequence = self._on_device(drawn.sequence, drawn, images.labels)
        second_split = None
        if drawn.second_split is not None:
            second_split = self._on_device(drawn.second_split, drawn, images.labels)
        generated = sequence
        if drawn.generated is not None:
            generated = self._on_device(drawn.generated, drawn, images.labels)

        device = self._accelerator.device
        noise_rng = make_rng(Stream.NOISE, self._config.train.seed, images_seen, device=device)
        noise = self._noise(generated.positions.shape[1], noise_rng)
        perturbation = None
        if (
            self._schedule.has_penalty(images_seen)
            and self._config.loss.penalty.kind == "finite_difference"
        ):
            perturbation = self._perturbation(sequence.positions.shape[1], noise_rng)
        tokens = self._tokens(images.images, drawn.tasks)
        batch = TrainingBatch(
            real=gather_tokens(tokens, sequence.positions),
            sequence=sequence,
            noise=noise,
            perturbation=perturbation,
            second_split=second_split,
            labels=images.labels if self._config.data.labels else None,
            superset=None if generated is sequence else _superset(tokens, generated, sequence),
            view=self._view(images_seen),
            labeled=self._labeled_tokens(images_seen, images, sequence, drawn.tasks),
            augmentation=self._augmentation(images_seen),
            label_is_source=self._label_is_source(drawn.tasks),
            other_labels=self._other_labels(images_seen),
        )
        return batch, drawn.tasks

    def close(self) -> None:
        """End what reads and draws ahead; a later :meth:`draw` starts it again."""
        self._reader.close()
        if self._labeled_reader is not None:
            self._labeled_reader.close()
        self._tasks_ahead.close()

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

    def _draw_tasks(self, images_seen: int, images: Batch) -> _DrawnTasks:
        """The tasks of the step, which were drawn before if they do not depend on its images."""
        if not self._dataset.incomplete:  # nothing to fetch from the device
            if self.draws_ahead:
                return self._tasks_ahead.at(images_seen)
            return self._tasks_of_complete_images(images_seen)
        observed = tokens_covered(images.observed, self._config.model.patch_size)
        return self._tasks_at(images_seen, self._accelerator.gather(observed).cpu())

    def _tasks_of_complete_images(self, images_seen: int) -> _DrawnTasks:
        shape = self._config.train.batch_size, self._config.token_count
        return self._tasks_at(images_seen, torch.ones(shape, dtype=torch.bool))

    def _tasks_at(self, images_seen: int, observed: Bool[Tensor, "B L"]) -> _DrawnTasks:
        """The tasks of the step for the observed tokens of the global batch, all on the CPU."""
        rng = make_rng(Stream.TASKS, self._config.train.seed, images_seen)
        tasks = self._task_sampler_at(images_seen).sample(observed, rng)
        second_split = None
        if self._schedule.has_communication(images_seen):
            other_tasks = self.task_sampler.resplit(tasks, observed, rng)
            second_split = self._local_sequence(other_tasks)
        generated = None
        if self._dataset.incomplete:
            generated = self._local_sequence(add_random_targets(tasks, rng))
        return _DrawnTasks(tasks, self._local_sequence(tasks), second_split, generated)

    def _local_indices(
        self, images_seen: int
    ) -> tuple[Int64[Tensor, " b"], Bool[Tensor, " b"] | None]:
        """This process's images of the step, and which of them are mirrored."""
        indices = self._order.indices(images_seen, self._config.train.batch_size)
        return indices[self._local_rows], self._flips(images_seen)

    def _flips(self, images_seen: int) -> Bool[Tensor, " b"] | None:
        """Which of this process's images are mirrored; None if none are."""
        config = self._config
        if not config.data.horizontal_flip:
            return None
        flip_rng = make_rng(Stream.FLIPS, config.train.seed, images_seen)
        return (torch.rand(config.train.batch_size, generator=flip_rng) < 0.5)[self._local_rows]

    def _tokens(self, images: Float[Tensor, "b C H W"], tasks: TaskBatch) -> Float[Tensor, "b L P"]:
        """All tokens of this process's images, as the networks read them."""
        tokens = self._standardization(patchify(images, self._config.model.patch_size))
        if tasks.transforms is not None:
            tokens = tasks.transforms[self._local_rows].to(tokens.device) @ tokens
        return tokens

    def _make_labeled_reader(self) -> BatchReader | None:
        """Reads as many labeled images as a batch has, in an order of their own."""
        dataset, config = self._dataset, self._config
        if not config.data.partly_labeled:
            return None
        labeled = dataset.labeled
        order = EpochOrder(len(labeled), config.train.seed)

        def local_indices(images_seen: int) -> tuple[Tensor, Tensor | None]:
            places = order.indices(images_seen, config.train.batch_size)[self._local_rows]
            return labeled[places], self._flips(images_seen)

        return BatchReader(dataset, local_indices, config.train.batch_size)

    def _labeled_tokens(
        self, images_seen: int, images: Batch, sequence: TokenSequence, tasks: TaskBatch
    ) -> LabeledTokens | None:
        """As many labeled images, and the batch's own; None if all images are labeled."""
        if self._labeled_reader is None:
            return None
        labeled = self._labeled_reader.read(images_seen)
        assert labeled.labels is not None
        real, unlabeled = (
            gather_tokens(self._tokens(moved, tasks), sequence.positions)
            for moved in self._moved(images_seen, (labeled.images, images.images))
        )
        return LabeledTokens(real, labeled.labels, unlabeled)

    def _moved(self, images_seen: int, images: Sequence[Tensor]) -> Iterator[Tensor]:
        """Images that are moved at random for ``loss.pseudo_labels``."""
        config = self._config
        most = 0 if config.loss.pseudo_labels is None else config.loss.pseudo_labels.shift
        if most == 0:
            yield from images
            return
        rng = make_rng(Stream.SHIFTS, config.train.seed, images_seen)
        for part in images:
            shifts = draw_shifts(config.train.batch_size, most, rng)[self._local_rows]
            yield shift_images(part, copy_to(shifts, part.device), most)

    def _label_is_source(self, tasks: TaskBatch) -> Bool[Tensor, " b"] | None:
        """Whether each of this process's tasks gives the label; None without labels."""
        if tasks.label_is_source is None:
            return None
        return copy_to(tasks.label_is_source[self._local_rows], self._accelerator.device)

    def _other_labels(self, images_seen: int) -> Int64[Tensor, " b"] | None:
        """For each of this process's images the label of the one before it in the global batch."""
        config, labels = self._config, self._dataset.labels
        is_used = config.loss.mismatched_label > 0 and config.data.labels
        if not is_used or images_seen < self._schedule.warm_start_images:
            return None
        assert labels is not None
        indices = self._order.indices(images_seen, config.train.batch_size)
        others = labels[indices.to(labels.device)].roll(1)[self._local_rows]
        return copy_to(others, self._accelerator.device)

    def _local_sequence(self, tasks: TaskBatch) -> TokenSequence:
        """The present tokens of this process's rows, on the CPU and without labels."""
        local_rows = self._local_rows
        sequence = tasks.masks.rows(local_rows).sequence()
        if tasks.transforms is not None:
            transforms = gather_tokens(tasks.transforms[local_rows], sequence.positions)
            sequence = replace(sequence, transforms=transforms)
        return sequence

    def _on_device(
        self, sequence: TokenSequence, drawn: _DrawnTasks, labels: Int64[Tensor, " b"] | None
    ) -> TokenSequence:
        """The sequence on the device, with the labels that are given of classes ``labels``."""
        sequence = sequence.to(self._accelerator.device)
        is_given = self._label_is_source(drawn.tasks)
        if is_given is None:
            return sequence
        assert labels is not None
        return replace(sequence, labels=torch.where(is_given, labels, UNKNOWN_LABEL))

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

    def _augmentation(self, images_seen: int) -> Augmentation | None:
        """Changes of what the discriminator sees of this process's images."""
        config = self._config
        settings = config.loss.augmentation
        if settings is None or images_seen < self._schedule.warm_start_images:
            return None
        rng = make_rng(Stream.AUGMENTATION, config.train.seed, images_seen)
        grid = PatchGrid.of(config)
        augmentation = Augmentation.draw(settings, grid, config.train.batch_size, rng)
        return augmentation.rows(self._local_rows).to(self._accelerator.device)


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
