"""Spending a budget on a ``Trainer``: logs, files, evaluation alongside, an orderly stop."""

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
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.devices import make_accelerator
from biglearn_gan.training.adversarial import METRIC_NAMES
from biglearn_gan.training.diagnostics import Diagnostics
from biglearn_gan.training.initial_model import load_initial
from biglearn_gan.training.monitor import Evaluation, PeriodicEvaluation, training_grid
from biglearn_gan.training.run_folder import RunFolder
from biglearn_gan.training.throughput import images_in_minutes
from biglearn_gan.training.trainer import Trainer, TrainingError, images_per_process

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""What stops a run: Ctrl-C, and what schedulers send before they kill."""


@dataclass(frozen=True)
class Progress:
    """What a progress display needs.

    ``metrics`` is empty except where a logging interval ended, ``evaluation`` except where the
    model was evaluated; ``outlook`` says when it will be again, where that can be told anew, else
    it is empty; ``warnings`` are sentences of the diagnostics.
    """

    images_seen: int
    total_images: int
    warm: bool
    metrics: dict[str, float]
    evaluation: dict[str, float]
    outlook: str
    warnings: list[str]


MakeEvaluation = Callable[[ImageDataset], Evaluation | None]
"""Called with the training images, in the main process alone."""


@dataclass(frozen=True)
class Outcome:
    """How :func:`fit` ended; when ``interrupted``, the same call goes on from here.

    ``summary`` is that of the diagnostics, of the images from ``images_before`` on.
    """

    images_before: int
    images_seen: int
    total_images: int
    seconds: float
    interrupted: bool
    checkpoint: Path
    is_main: bool
    summary: str


def fit(
    config: Config,
    output: Path,
    *,
    device: str = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    make_evaluation: MakeEvaluation = lambda dataset: None,
) -> Outcome:
    """Train until the budget is spent or a signal stops it, or go on with such a run.

    Ctrl-C (SIGINT) and SIGTERM save and end it after the step that is under way. Schedulers may
    send SIGTERM twice, so that it never stops a run at once, while a second Ctrl-C does.

    A run whose ``train.max_images`` was raised goes on, too: its warm start stays as it was, and
    its step sizes are those that the larger budget has from here on.

    Evaluation runs once at the start and once after each resume, to see how long it takes, however
    short the run. From then on it runs as often as ``logging.evaluation_time_share`` of the time of
    training allows, that first look and its making counted in, with the time for the last state put
    aside. The best state by its score is kept in ``best/``. Training is the same to the bit with
    and without it.

    Args:
        config: of the run.
        output: the run's folder, see :mod:`biglearn_gan.training.run_folder`.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_progress: called before the first step and after every step, in the main process.
        make_evaluation: makes what measures the model alongside.

    Raises:
        ConfigError: the device is not there, the batch does not divide among the processes, or
            ``train.initial_model`` has other networks.
        CheckpointError: ``train.initial_model`` cannot be had.
        TrainingError: a loss is not finite (the last good state is kept).
        DataError: the images cannot be had.
        HoleError: ``data.missing.hole`` is none.
        RunFolderError: the folder cannot be written, or holds another run or other files.
    """
    accelerator = make_accelerator(device)
    try:
        images_per_process(config, accelerator)
        return _fit(config, output, accelerator, on_progress, make_evaluation)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def load_training_images(config: Config, device: torch.device) -> ImageDataset:
    """The images that a task can be asked of: at least one patch of each is observed whole.

    Raises:
        DataError: the images cannot be had, or there is none like that.
        HoleError: ``data.missing.hole`` is no hole of such images.
    """
    dataset = load_dataset(config.data, "train", device)
    usable = dataset.with_observed_patch(config.model.patch_size)
    if len(usable) < len(dataset):
        told = (
            f"{dataset.name}: {len(dataset) - len(usable):,} of {len(dataset):,} images have no "
            f"patch of {config.model.patch_size} pixels that is observed whole"
        )
        if len(usable) == 0:
            raise DataError(f"{told}; lower model.patch_size or data.missing")
        warnings.warn(f"{told}, and are left out", stacklevel=2)
    return usable


def _fit(
    config: Config,
    output: Path,
    accelerator: Accelerator,
    on_progress: Callable[[Progress], None],
    make_evaluation: MakeEvaluation,
) -> Outcome:
    folder = RunFolder(output, config)
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            folder.check()
        initial = None if folder.has_state else load_initial(config)
        dataset = load_training_images(config, accelerator.device)
    evaluation, started = None, time.perf_counter()
    if accelerator.is_main_process and config.logging.evaluation_time_share > 0:
        evaluation = make_evaluation(dataset)
    spent = time.perf_counter() - started
    if accelerator.is_main_process:
        folder.open()
    state = folder.load_state()
    if state is None:
        max_images = config.train.max_images or images_in_minutes(config, dataset, accelerator)
        first_budget = max_images
    else:
        max_images = config.train.max_images or state["max_images"]
        first_budget = state["first_budget"]
    trainer = Trainer(config, dataset, accelerator, max_images, first_budget)
    if state is not None:
        trainer.load_state_dict(state["trainer"])
    elif initial is not None:
        trainer.players.start_from(initial.generator, initial.discriminator)
    del initial
    main, before = accelerator.is_main_process, trainer.images_seen
    if main:
        names = () if evaluation is None else evaluation.names
        folder.start_metrics((*METRIC_NAMES, *names), trainer.images_seen)
    try:
        observer = None
        if evaluation is not None:
            observer = PeriodicEvaluation(evaluation, trainer, folder, spent)
        diagnostics = Diagnostics(config)
        _spend(trainer, folder, on_progress, observer, diagnostics)
    finally:
        folder.close()
    return Outcome(
        before,
        trainer.images_seen,
        trainer.schedule.total_images,
        trainer.seconds,
        not trainer.finished,
        folder.checkpoint,
        main,
        diagnostics.summary(),
    )


def _spend(
    trainer: Trainer,
    folder: RunFolder,
    on_progress: Callable[[Progress], None],
    observer: PeriodicEvaluation | None,
    diagnostics: Diagnostics,
) -> None:
    """Take steps until the budget is spent or a signal; write logs, grids and checkpoints."""
    intervals, main = trainer.config.logging, trainer.accelerator.is_main_process
    saved = trainer.images_seen

    def report(metrics: dict[str, float]) -> None:
        measured, outlook = {}, ""
        if observer is not None:
            measured = observer.maybe_evaluate()
            outlook = observer.eta_message() if metrics else ""
        if main:
            seen, schedule = trainer.images_seen, trainer.schedule
            total, start = schedule.total_images, schedule.warm_images
            warnings = diagnostics.check(seen, metrics | measured, (seen - start) / (total - start))
            on_progress(Progress(seen, total, trainer.warm, metrics, measured, outlook, warnings))

    with _interrupts(trainer.accelerator) as interrupted:
        stop = False
        if not trainer.finished:
            report({})
        while not trainer.finished and not stop:
            before = trainer.images_seen
            try:
                trainer.step()
                stop = interrupted()
                saving = stop or _passed(intervals.checkpoint_images, before, trainer)
                if saving:
                    trainer.check_weights()
            except TrainingError as error:
                good = f"{folder.path} at {saved:,} images" if saved else "none yet"
                raise TrainingError(f"{error}; last good state: {good}") from None
            metrics = {}
            if _passed(intervals.log_images, before, trainer):
                metrics = trainer.take_metrics()
                if main:
                    folder.log({"images": trainer.images_seen, **metrics})
            if main and _passed(intervals.grid_images, before, trainer):
                grid = training_grid(trainer.model(), trainer.dataset)
                folder.save_grid(grid, trainer.images_seen)
            if saving:
                saved = trainer.images_seen
                if main:
                    _save(folder, trainer)
            report(metrics)


def _passed(interval: int, before: int, trainer: Trainer) -> bool:
    """Whether the last step crossed a multiple of the interval or was the last of all."""
    return trainer.images_seen // interval > before // interval or trainer.finished


def _save(folder: RunFolder, trainer: Trainer) -> None:
    model = trainer.model()
    folder.save_model(
        model,
        training_grid(model, trainer.dataset),
        images_seen=trainer.images_seen,
        seconds=trainer.seconds,
    )
    state = {
        "trainer": trainer.state_dict(),
        "max_images": trainer.schedule.max_images,
        "first_budget": trainer.schedule.first_budget,
    }
    folder.save_state(state)


@contextmanager
def _interrupts(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Turn a signal that stops into a question answered between steps, alike on every process.

    A second Ctrl-C stops at once, as it would without this.
    """
    received = False

    def note(signum: int, frame: object) -> None:
        nonlocal received
        received = True
        if signum == signal.SIGINT:
            restore(signal.SIGINT)

    def ask() -> bool:
        if accelerator.num_processes == 1:
            return received
        flag = torch.tensor(float(received), device=accelerator.device)
        return accelerator.reduce(flag, "sum").item() > 0

    def restore(number: signal.Signals) -> None:
        handler = previous[number]  # None where it was not set from Python
        signal.signal(number, signal.SIG_DFL if handler is None else handler)

    previous = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield ask
    finally:
        for number in STOPPING:
            restore(number)
