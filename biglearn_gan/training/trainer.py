"""The state of a training run: it takes steps, saves itself and resumes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.statistics import channel_statistics, label_entropy
from biglearn_gan.errors import UserError
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.training.adversarial import AdversarialTraining
from biglearn_gan.training.batch_sampler import BatchSampler
from biglearn_gan.training.schedule import TrainingSchedule
from biglearn_gan.training.step_metrics import NonFiniteMetricError, StepMetrics
from biglearn_gan.training.weight_checks import (
    DifferentWeightsError,
    check_same_weights,
    copy_from_main,
)


class TrainingError(UserError):
    """Training cannot continue: a loss or a weight is not finite, or processes differ."""


class Trainer:
    """The state of a run: networks, optimizers and images seen.

    Args:
        config: of the run.
        dataset: training images.
        accelerator: device, precision and processes.
        max_images: the budget.
        original_max_images: the budget that the run began with, see :class:`TrainingSchedule`.

    Raises:
        ConfigError: the batch does not divide among the processes.
    """

    def __init__(
        self,
        config: Config,
        dataset: ImageDataset,
        accelerator: Accelerator,
        max_images: int,
        original_max_images: int | None = None,
    ):
        self.config = config
        self.accelerator = accelerator
        self.dataset = dataset
        self.schedule = TrainingSchedule(config, max_images, original_max_images)
        self.standardization = Standardization(config).to(accelerator.device)
        if self.standardization.enabled:
            statistics = channel_statistics(dataset)
            self.standardization.set_statistics(statistics.mean, statistics.deviation)
        self.adversarial = AdversarialTraining(config, accelerator, self.standardization)
        self.batch_sampler = BatchSampler(
            config,
            dataset,
            accelerator,
            self.schedule,
            self.adversarial.generator,
            self.standardization,
        )
        self.images_seen = 0
        self.seconds = 0.0
        self._metrics = StepMetrics(accelerator)
        self._last_report = (0, 0.0)  # images seen, seconds

    @property
    def in_warm_start(self) -> bool:
        """Whether the next step belongs to the warm start."""
        return self.images_seen < self.schedule.warm_start_images

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.images_seen >= self.schedule.total_images

    def init_from(self, model: BigLearnGAN) -> None:
        """Start from a trained model: its weights, and the statistics of its training images."""
        self.adversarial.init_from(model.generator, model.discriminator)
        self.standardization.load_state_dict(model.standardization.state_dict())

    def baselines(self) -> dict[str, float]:
        """By name of the metric, the warm start's losses of a model that learned nothing.

        These are the squared error of the mean image and the cross-entropy of guessing labels.
        """
        statistics = channel_statistics(self.dataset)
        error = statistics.mean_image_error
        if self.standardization.enabled:
            error = error / self.standardization.deviation.cpu().square()
        values = {"warm_start/squared_error": float(error.mean())}
        entropy = label_entropy(self.dataset) if self.config.data.labels else None
        return values if entropy is None else values | {"loss/label": entropy}

    def step(self) -> None:
        """Train on one batch. Its metrics are fetched later: a single process never waits here.

        Raises:
            TrainingError: see :meth:`collect_metrics`; only after many steps in which metrics were
                not collected.
        """
        started = time.perf_counter()
        settings = self.schedule.at(self.images_seen)
        batch, _ = self.batch_sampler.draw(self.images_seen)
        if self.in_warm_start:
            result = self.adversarial.warm_start_step(batch, settings)
        else:
            if self.images_seen == self.schedule.warm_start_images > 0:
                self.adversarial.transfer_to_discriminator()
            penalize = self.schedule.has_penalty(self.images_seen)
            result = self.adversarial.train_step(batch, settings, penalize)
        with self._explain_divergence():
            self._metrics.add(self.images_seen, result)
        self.images_seen += self.config.train.batch_size
        self.seconds += time.perf_counter() - started

    def close(self) -> None:
        """End what reads and draws ahead; a later :meth:`step` starts it again."""
        self.batch_sampler.close()

    def collect_metrics(self) -> None:
        """Wait for all steps and fetch their metrics. All processes must call this.

        Raises:
            TrainingError: a loss was not finite; the message names the step and the tasks.
        """
        started = time.perf_counter()
        with self._explain_divergence():
            self._metrics.collect()
        self.seconds += time.perf_counter() - started

    def take_metrics(self) -> dict[str, float]:
        """Means of all metrics since the last call, seconds of training, and images per second.

        Raises:
            TrainingError: see :meth:`collect_metrics`.
        """
        self.collect_metrics()
        images, seconds = self._last_report
        speed = (self.images_seen - images) / max(self.seconds - seconds, 1e-9)
        self._last_report = (self.images_seen, self.seconds)
        return {
            "seconds": self.seconds,
            "images_per_second": speed,
            **self._metrics.take(),
        }

    def check_weights(self) -> None:
        """Raise TrainingError if a loss or a weight is not finite. All processes must call this."""
        self.collect_metrics()
        for parameter in self.adversarial.parameters():
            if not bool(parameter.isfinite().all()):
                raise TrainingError(
                    f"a weight is not finite at {self.images_seen:,} images; "
                    "lower train.learning_rate or raise loss.penalty"
                )

    def copy_from_main(self) -> None:
        """Start from the main process's weights and statistics. All processes must call this."""
        tensors = [*self.adversarial.parameters(), *self.standardization.buffers()]
        copy_from_main(tensors, self.accelerator)

    def check_processes(self) -> None:
        """Raise TrainingError if a process has other weights. All processes must call this."""
        try:
            check_same_weights(self.adversarial.networks(), self.accelerator)
        except DifferentWeightsError as error:
            raise TrainingError(
                f"{error} at {self.images_seen:,} images: check its device and its version of "
                "PyTorch, then run the same command again"
            ) from None

    def model(self) -> BigLearnGAN:
        """The current model for use, on the CPU: averaged generator and live discriminator."""
        model = BigLearnGAN(self.config)
        model.generator.load_state_dict(self.adversarial.average.state_dict())
        model.discriminator.load_state_dict(self.adversarial.discriminator.state_dict())
        model.standardization.load_state_dict(self.standardization.state_dict())
        return model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, except the configuration and the data.

        With several processes, all of them must have collected the metrics of their steps.
        """
        self.collect_metrics()
        return {
            "adversarial": self.adversarial.state_dict(),
            "standardization": self.standardization.state_dict(),
            "images_seen": self.images_seen,
            "seconds": self.seconds,
            "metric_sums": self._metrics.sums,
            "last_report": self._last_report,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from a :meth:`state_dict`."""
        self.adversarial.load_state_dict(state["adversarial"])
        self.standardization.load_state_dict(state.get("standardization", {}))
        self.images_seen = state["images_seen"]
        self.seconds = state["seconds"]
        self._metrics.sums = state["metric_sums"]
        self._last_report = state["last_report"]

    @contextmanager
    def _explain_divergence(self) -> Iterator[None]:
        try:
            yield
        except NonFiniteMetricError as error:
            _, tasks = self.batch_sampler.draw(error.images_seen)
            names = self.batch_sampler.task_names(error.images_seen, tasks, error.rows)
            step = error.images_seen // self.config.train.batch_size
            listed = ", ".join(sorted(names)) or "of another process"
            raise TrainingError(
                f"{error} (step {step:,}; tasks: {listed}); "
                "lower train.learning_rate or raise loss.penalty"
            ) from None
