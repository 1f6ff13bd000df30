"""Training a run: set up or resume, step until the budget is spent, log and save on the way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL.Image import Image

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import DataError
from biglearn_gan.data.labeled import known_labels
from biglearn_gan.data.loading import count_classes, load_dataset
from biglearn_gan.devices import make_accelerator, tf32_products
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.feature_networks import load_feature_network
from biglearn_gan.progress import TrainingProgress
from biglearn_gan.training.adversarial import METRIC_NAMES
from biglearn_gan.training.batch_sampler import images_per_process
from biglearn_gan.training.diagnostics import Diagnostics
from biglearn_gan.training.initial_model import load_initial_model
from biglearn_gan.training.monitor import Evaluation, PeriodicEvaluation, training_grid
from biglearn_gan.training.processes import Processes
from biglearn_gan.training.run_folder import RunFolder, RunFolderError
from biglearn_gan.training.stop_signals import stop_signals
from biglearn_gan.training.throughput import images_in_minutes
from biglearn_gan.training.trainer import Trainer, TrainingError

MEETING_STEPS = 4
"""Steps after which several processes agree whether a signal stops them, at the latest."""

OnDataset = Callable[[ImageDataset], None]
"""Called with the training images as soon as they are read, in the main process only."""

OnProgress = Callable[[TrainingProgress], None]
MakeEvaluation = Callable[[ImageDataset], Evaluation | None]
"""Called with the training images, in the main process only; None turns evaluation off."""


@dataclass(frozen=True)
class TrainingResult:
    """How :func:`fit` ended.

    Attributes:
        images_at_start: images seen when the call began.
        images_seen: images seen when it ended.
        total_images: the budget of the run, in images.
        seconds: time of training, over all calls.
        interrupted: a signal stopped the run; the same call resumes it.
        checkpoint: the folder of the model.
        is_main_process: False in all but one of several processes.
        diagnostics: a sentence on the health of adversarial training during this call.
    """

    images_at_start: int
    images_seen: int
    total_images: int
    seconds: float
    interrupted: bool
    checkpoint: Path
    is_main_process: bool
    diagnostics: str


def fit(
    config: Config,
    output: str | Path,
    *,
    device: str = "auto",
    on_dataset: OnDataset = lambda dataset: None,
    on_progress: OnProgress = lambda progress: None,
    make_evaluation: MakeEvaluation = lambda dataset: None,
) -> TrainingResult:
    """Train until the budget is spent or a signal arrives; resume if ``output`` has a run.

    **Signals.** Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 finish the current step, save the run and
    return; several processes agree on it within ``MEETING_STEPS`` steps. A second Ctrl-C stops
    immediately. A second SIGTERM does not, because schedulers may send two.

    **Resuming.** A resumed run equals one that never stopped. This also holds after a crash or a
    full disk, from the last checkpoint on. If ``train.max_images`` was raised, the run resumes with
    the step sizes of the larger budget; its warm start stays as it was.

    **Evaluation.** The model is evaluated when the call begins, and again as often as
    ``logging.evaluation_time_share`` of the training time allows. The time of the first evaluation
    and of ``make_evaluation`` counts, and time for the final state is held back. The state with the
    best score is kept in ``best/``. Evaluation does not change the training.

    Args:
        config: of the run. The class folders of a folder with labels are counted if
            ``data.classes`` is None.
        output: the run's folder, see :mod:`biglearn_gan.training.run_folder`.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_dataset: called with the training images.
        on_progress: called before the first step and after every step, in the main process only.
        make_evaluation: makes what measures the model during training.

    Raises:
        CheckpointError: ``train.initial_model`` cannot be found or read.
        ConfigError: the batch does not divide among the processes, or ``train.initial_model`` has
            other networks.
        DataError: the dataset cannot be loaded, no image has a fully observed patch, or a process
            that decodes images was killed.
        DeviceError: this machine has no such device.
        FeatureNetworkError: the network of ``loss.perceptual`` cannot be loaded.
        HoleError: ``data.missing.hole`` is not a hole.
        OutputError: the folder cannot be made or written, or has files that are not a run's; the
            last good state is kept.
        ProcessError: another process of the run failed.
        RunFolderError: the folder cannot be read, or has a run of another configuration or of
            other images.
        RunLockError: another run is training in the folder.
        TrainingError: a loss or a weight is not finite, or a process has other weights than the
            others; the last good state is kept.
    """
    with Processes(make_accelerator(device)) as processes, tf32_products(config.train.tf32):
        with processes.failing_together():
            images_per_process(config, processes.accelerator)
        config = processes.main_first(lambda: count_classes(config))
        with RunFolder(Path(output), config) as folder:
            return _fit(config, folder, processes, on_dataset, on_progress, make_evaluation)


def load_training_images(config: Config, device: torch.device) -> ImageDataset:
    """The images to train on: those with at least one fully observed patch.

    With ``data.labeled_images`` or ``data.unlabeled``, only some labels are known.

    Raises:
        DataError: the dataset cannot be loaded, no image has a fully observed patch, or the images
            with labels are not what ``data.labeled_images`` and ``data.unlabeled`` need.
        HoleError: ``data.missing.hole`` is not a hole of such images.
    """
    dataset = load_dataset(config.data, "train", device)
    usable = dataset.with_observed_patch(config.model.patch_size)
    if len(usable) < len(dataset):
        problem = (
            f"{dataset.name}: {len(dataset) - len(usable):,} of {len(dataset):,} images have no "
            f"fully observed patch of {config.model.patch_size} pixels"
        )
        if len(usable) == 0:
            raise DataError(f"{problem}; lower model.patch_size or data.missing")
        warnings.warn(f"{problem} and are left out", stacklevel=2)
    return known_labels(usable, config.data)


def _fit(
    config: Config,
    folder: RunFolder,
    processes: Processes,
    on_dataset: OnDataset,
    on_progress: OnProgress,
    make_evaluation: MakeEvaluation,
) -> TrainingResult:
    trainer, evaluation, setup_seconds = _set_up(
        config, folder, processes, on_dataset, make_evaluation
    )
    images_at_start = trainer.images_seen
    diagnostics = Diagnostics(config, trainer.baselines() if trainer.in_warm_start else {})
    with processes.failing_together():
        if processes.is_main:
            names = () if evaluation is None else evaluation.names
            folder.start_log((*METRIC_NAMES, *names), images_at_start)
            _save_lost_model(folder, trainer)
    periodic = None
    if evaluation is not None:
        periodic = PeriodicEvaluation(evaluation, trainer, folder, setup_seconds)
    with closing(trainer):
        _train(trainer, folder, processes, periodic, diagnostics, on_progress)
    return TrainingResult(
        images_at_start=images_at_start,
        images_seen=trainer.images_seen,
        total_images=trainer.schedule.total_images,
        seconds=trainer.seconds,
        interrupted=not trainer.finished,
        checkpoint=folder.checkpoint,
        is_main_process=processes.is_main,
        diagnostics=diagnostics.summary(),
    )


def _set_up(
    config: Config,
    folder: RunFolder,
    processes: Processes,
    on_dataset: OnDataset,
    make_evaluation: MakeEvaluation,
) -> tuple[Trainer, Evaluation | None, float]:
    """A new or resumed trainer, the evaluation, and the seconds that making it took.

    Nearly everything that can fail is done before the folder is created.
    """
    accelerator = processes.accelerator
    with processes.failing_together():
        if processes.is_main:
            folder.check()
            folder.lock()
    if config.loss.perceptual is not None:
        network = config.loss.perceptual
        processes.main_first(lambda: load_feature_network(network.network, network.layers))
    initial, dataset = processes.main_first(
        lambda: (
            None if folder.has_state else load_initial_model(config),
            load_training_images(config, accelerator.device),
        )
    )
    with processes.failing_together():
        if processes.is_main:
            on_dataset(dataset)
    evaluation, started = None, time.perf_counter()
    with processes.failing_together():
        if processes.is_main and config.logging.evaluation_time_share > 0:
            evaluation = make_evaluation(dataset)
        setup_seconds = time.perf_counter() - started
        if processes.is_main:
            folder.create()
    with processes.failing_together():
        state = folder.load_state()
        if state is not None and state["data"] not in (None, dataset.content_hash()):
            raise RunFolderError(
                f"{folder.path} was trained on other images than these {len(dataset):,} of "
                f"{dataset.name}: choose another output folder, or start there from its model with "
                "train.initial_model"
            )

    if state is not None:
        max_images = config.train.max_images or state["max_images"]
        trainer = Trainer(config, dataset, accelerator, max_images, state["original_max_images"])
        trainer.load_state_dict(state["trainer"])
    else:
        max_images = config.train.max_images or images_in_minutes(config, dataset, accelerator)
        trainer = Trainer(config, dataset, accelerator, max_images, max_images)
        if initial is not None:
            trainer.init_from(initial)
    trainer.copy_from_main()
    return trainer, evaluation, setup_seconds


def _train(
    trainer: Trainer,
    folder: RunFolder,
    processes: Processes,
    evaluation: PeriodicEvaluation | None,
    diagnostics: Diagnostics,
    on_progress: OnProgress,
) -> None:
    """Step until the budget is spent or a signal arrives; log, save and evaluate on the way."""
    logging, saved_images = trainer.config.logging, trainer.images_seen

    def report(metrics: dict[str, float], evaluate: bool) -> None:
        measured = evaluation.maybe_evaluate() if evaluation is not None and evaluate else {}
        eta = evaluation.eta_message() if evaluation is not None and metrics else ""
        if processes.is_main:
            on_progress(_progress(trainer, diagnostics, metrics, measured, eta))

    with stop_signals() as signal_received:
        stopped = trainer.finished
        if not stopped:
            with processes.failing_together():
                report({}, evaluate=True)
        while not (trainer.finished or stopped):
            before = trainer.images_seen
            with _naming_last_state(folder, saved_images):
                trainer.step()
                if not _processes_meet(trainer, processes, before):
                    report({}, evaluate=False)
                    continue
                with processes.failing_together():
                    stopped = processes.any(signal_received())
                    saving = stopped or _is_due(logging.checkpoint_images, before, trainer)
                    if saving:
                        trainer.check_weights()
                    if saving or _is_due(logging.log_images, before, trainer):
                        trainer.check_processes()
                    metrics = _log_and_draw(trainer, folder, processes, before)
                    if saving:
                        saved_images = trainer.images_seen
                        if processes.is_main:
                            _save(folder, trainer)
                    report(metrics, evaluate=bool(metrics))  # the losses are finite


def _processes_meet(trainer: Trainer, processes: Processes, before: int) -> bool:
    """Whether the processes exchange signals and errors after the step that began at ``before``.

    One process always does; several do not in every step, because each exchange costs time.
    """
    logging, step = trainer.config.logging, trainer.images_seen // trainer.config.train.batch_size
    intervals = logging.log_images, logging.grid_images, logging.checkpoint_images
    return (
        processes.accelerator.num_processes == 1
        or step % MEETING_STEPS == 0
        or any(_is_due(interval, before, trainer) for interval in intervals)
    )


@contextmanager
def _naming_last_state(folder: RunFolder, saved_images: int) -> Iterator[None]:
    """Add the last good state to the message of a TrainingError."""
    try:
        yield
    except TrainingError as error:
        last = f"{folder.path} at {saved_images:,} images" if saved_images else "none yet"
        raise TrainingError(f"{error}; last good state: {last}") from None


def _log_and_draw(
    trainer: Trainer, folder: RunFolder, processes: Processes, before: int
) -> dict[str, float]:
    """Write a log line and a sample grid if they are due; return the metrics of the line."""
    logging, metrics = trainer.config.logging, {}
    if _is_due(logging.log_images, before, trainer):
        metrics = trainer.take_metrics()
        if processes.is_main:
            folder.log({"images": trainer.images_seen, **metrics})
    if processes.is_main and _is_due(logging.grid_images, before, trainer):
        folder.save_grid(training_grid(trainer.model(), trainer.dataset), trainer.images_seen)
    return metrics


def _progress(
    trainer: Trainer,
    diagnostics: Diagnostics,
    metrics: dict[str, float],
    measured: dict[str, float],
    evaluation_eta: str,
) -> TrainingProgress:
    images_seen, schedule = trainer.images_seen, trainer.schedule
    adversarial_images = schedule.total_images - schedule.warm_start_images
    share = (images_seen - schedule.warm_start_images) / adversarial_images
    return TrainingProgress(
        images_seen=images_seen,
        total_images=schedule.total_images,
        in_warm_start=trainer.in_warm_start,
        metrics=metrics,
        evaluation=measured,
        evaluation_eta=evaluation_eta,
        warnings=diagnostics.check(images_seen, metrics | measured, share),
    )


def _is_due(interval: int, before: int, trainer: Trainer) -> bool:
    """Whether the last step crossed a multiple of ``interval`` images, or ended the run."""
    return trainer.images_seen // interval > before // interval or trainer.finished


def _save(folder: RunFolder, trainer: Trainer) -> None:
    """Save the state, then the model, so that a crash in between loses only the model."""
    model = trainer.model()
    grid = training_grid(model, trainer.dataset)
    folder.save_state(
        {
            "trainer": trainer.state_dict(),
            "max_images": trainer.schedule.max_images,
            "original_max_images": trainer.schedule.original_max_images,
            "data": trainer.dataset.content_hash(),
        }
    )
    _save_model(folder, trainer, model, grid)


def _save_lost_model(folder: RunFolder, trainer: Trainer) -> None:
    """Save the model of a state that was saved without one, because of a crash or a full disk."""
    if trainer.images_seen > 0:
        model = trainer.model()
        if not folder.has_model(model):
            _save_model(folder, trainer, model, training_grid(model, trainer.dataset))


def _save_model(folder: RunFolder, trainer: Trainer, model: BigLearnGAN, grid: Image) -> None:
    folder.save_model(model, grid, images_seen=trainer.images_seen, seconds=trainer.seconds)
