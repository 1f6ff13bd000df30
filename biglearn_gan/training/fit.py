"""Training a run: set up or resume, step until the budget is spent, log and save on the way."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from biglearn_gan.config import Config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import DataError
from biglearn_gan.data.loading import count_classes, load_dataset
from biglearn_gan.devices import make_accelerator
from biglearn_gan.models.feature_networks import check_efficientnet
from biglearn_gan.progress import TrainingProgress
from biglearn_gan.training.adversarial import METRIC_NAMES
from biglearn_gan.training.batch_sampler import images_per_process
from biglearn_gan.training.diagnostics import Diagnostics
from biglearn_gan.training.initial_model import load_initial_model
from biglearn_gan.training.monitor import Evaluation, PeriodicEvaluation, training_grid
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.throughput import images_in_minutes
from biglearn_gan.training.trainer import Trainer, TrainingError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers send before they kill a process."""

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
        interrupted: a signal stopped the run; the same call goes on from here.
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
    output: Path,
    *,
    device: str = "auto",
    on_progress: OnProgress = lambda progress: None,
    make_evaluation: MakeEvaluation = lambda dataset: None,
) -> TrainingResult:
    """Train until the budget is spent or a signal arrives; resume if ``output`` has a run.

    **Signals.** Ctrl-C and SIGTERM finish the current step, save the run and return. A second
    Ctrl-C stops immediately. A second SIGTERM does not, because schedulers may send two.

    **Resuming.** A resumed run equals one that never stopped. If ``train.max_images`` was raised,
    the run goes on with the step sizes of the larger budget; its warm start stays as it was.

    **Evaluation.** The model is evaluated when the call begins, and again as often as
    ``logging.evaluation_time_share`` of the training time allows. The time of the first evaluation
    and of ``make_evaluation`` counts, and time for the final state is held back. The state with the
    best score is kept in ``best/``. Evaluation does not change the training.

    Args:
        config: of the run. The class folders of a folder with labels are counted if
            ``data.classes`` is None.
        output: the run's folder, see :mod:`biglearn_gan.training.run_folder`.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_progress: called before the first step and after every step, in the main process only.
        make_evaluation: makes what measures the model during training.

    Raises:
        CheckpointError: ``train.initial_model`` cannot be found or read.
        ConfigError: the batch does not divide among the processes, or ``train.initial_model`` has
            other networks.
        DataError: the dataset cannot be loaded, or no image has a fully observed patch.
        DeviceError: this machine has no such device.
        FeatureNetworkError: the network of ``loss.perceptual`` is not installed.
        HoleError: ``data.missing.hole`` is not a hole.
        OutputError: the folder cannot be made, or has files that are not a run's.
        RunFolderError: the folder cannot be read or written, or has a run of another
            configuration.
        TrainingError: a loss or a weight is not finite; the last good state is kept.
    """
    config = count_classes(config)
    accelerator = make_accelerator(device)
    try:
        images_per_process(config, accelerator)
        return _fit(config, RunFolder(output, config), accelerator, on_progress, make_evaluation)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def load_training_images(config: Config, device: torch.device) -> ImageDataset:
    """The images to train on: those with at least one fully observed patch.

    Raises:
        DataError: the dataset cannot be loaded, or no image has a fully observed patch.
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
    return usable


def _fit(
    config: Config,
    folder: RunFolder,
    accelerator: Accelerator,
    on_progress: OnProgress,
    make_evaluation: MakeEvaluation,
) -> TrainingResult:
    trainer, evaluation, setup_seconds = _set_up(config, folder, accelerator, make_evaluation)
    images_at_start = trainer.images_seen
    diagnostics = Diagnostics(config, trainer.baselines() if trainer.in_warm_start else {})
    if accelerator.is_main_process:
        names = () if evaluation is None else evaluation.names
        folder.start_log((*METRIC_NAMES, *names), images_at_start)
    try:
        periodic = None
        if evaluation is not None:
            periodic = PeriodicEvaluation(evaluation, trainer, folder, setup_seconds)
        _train(trainer, folder, periodic, diagnostics, on_progress)
    finally:
        folder.close()
    return TrainingResult(
        images_at_start=images_at_start,
        images_seen=trainer.images_seen,
        total_images=trainer.schedule.total_images,
        seconds=trainer.seconds,
        interrupted=not trainer.finished,
        checkpoint=folder.checkpoint,
        is_main_process=accelerator.is_main_process,
        diagnostics=diagnostics.summary(),
    )


def _set_up(
    config: Config, folder: RunFolder, accelerator: Accelerator, make_evaluation: MakeEvaluation
) -> tuple[Trainer, Evaluation | None, float]:
    """A new or resumed trainer, the evaluation, and the seconds that making it took.

    Everything that can fail is done before the folder is created.
    """
    is_main = accelerator.is_main_process
    with accelerator.main_process_first():
        if is_main:
            folder.check()
        if config.loss.perceptual is not None:
            check_efficientnet()
        initial = None if folder.has_state else load_initial_model(config)
        dataset = load_training_images(config, accelerator.device)
    evaluation, started = None, time.perf_counter()
    if is_main and config.logging.evaluation_time_share > 0:
        evaluation = make_evaluation(dataset)
    setup_seconds = time.perf_counter() - started
    if is_main:
        folder.create()

    state = folder.load_state()
    if state is not None:
        max_images = config.train.max_images or state["max_images"]
        trainer = Trainer(config, dataset, accelerator, max_images, state["original_max_images"])
        trainer.load_state_dict(state["trainer"])
    else:
        max_images = config.train.max_images or images_in_minutes(config, dataset, accelerator)
        trainer = Trainer(config, dataset, accelerator, max_images, max_images)
        if initial is not None:
            trainer.init_from(initial)
    return trainer, evaluation, setup_seconds


def _train(
    trainer: Trainer,
    folder: RunFolder,
    evaluation: PeriodicEvaluation | None,
    diagnostics: Diagnostics,
    on_progress: OnProgress,
) -> None:
    """Step until the budget is spent or a signal arrives; log, save and evaluate on the way."""
    logging, is_main = trainer.config.logging, trainer.accelerator.is_main_process
    saved_images = trainer.images_seen

    def report(metrics: dict[str, float]) -> None:
        measured = evaluation.maybe_evaluate() if evaluation is not None else {}
        eta = evaluation.eta_message() if evaluation is not None and metrics else ""
        if is_main:
            on_progress(_progress(trainer, diagnostics, metrics, measured, eta))

    with _stop_signals(trainer.accelerator) as stop_requested:
        stopped = False
        if not trainer.finished:
            report({})
        while not (trainer.finished or stopped):
            before = trainer.images_seen
            try:
                trainer.step()
                stopped = stop_requested()
                saving = stopped or _is_due(logging.checkpoint_images, before, trainer)
                if saving:
                    trainer.check_weights()
            except TrainingError as error:
                last = f"{folder.path} at {saved_images:,} images" if saved_images else "none yet"
                raise TrainingError(f"{error}; last good state: {last}") from None
            metrics = {}
            if _is_due(logging.log_images, before, trainer):
                metrics = trainer.take_metrics()
                if is_main:
                    folder.log({"images": trainer.images_seen, **metrics})
            if is_main and _is_due(logging.grid_images, before, trainer):
                grid = training_grid(trainer.model(), trainer.dataset)
                folder.save_grid(grid, trainer.images_seen)
            if saving:
                saved_images = trainer.images_seen
                if is_main:
                    _save(folder, trainer)
            report(metrics)


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
    model = trainer.model()
    folder.save_model(
        model,
        training_grid(model, trainer.dataset),
        images_seen=trainer.images_seen,
        seconds=trainer.seconds,
    )
    folder.save_state(
        {
            "trainer": trainer.state_dict(),
            "max_images": trainer.schedule.max_images,
            "original_max_images": trainer.schedule.original_max_images,
        }
    )


@contextmanager
def _stop_signals(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Catch signals that stop; yield a function that says on all processes whether one came.

    After the first Ctrl-C its previous handler is back, so that a second one stops immediately.
    """
    received = False

    def handle(signum: int, frame: object) -> None:
        nonlocal received
        received = True
        if signum == signal.SIGINT:
            restore(signal.SIGINT)

    def stop_requested() -> bool:
        if accelerator.num_processes == 1:
            return received
        flag = torch.tensor(float(received), device=accelerator.device)
        return accelerator.reduce(flag, "sum").item() > 0

    def restore(number: signal.Signals) -> None:
        handler = previous[number]  # None if it was not set from Python
        signal.signal(number, signal.SIG_DFL if handler is None else handler)

    previous = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield stop_requested
    finally:
        for number in STOP_SIGNALS:
            restore(number)
