"""The command line: parsing, progress, messages and exit codes; everything else is imported by the
command that needs it, so that ``--help`` answers at once.

Exit codes: 0 done, 1 failed (or interrupted), 2 wrong usage. A user's mistake is one sentence.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from biglearn_gan.config import load_config

app = typer.Typer(
    name="biglearn-gan",
    help="One adversarially trained transformer for every joint, marginal and conditional "
    "distribution of images.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file, see experiments/.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.max_minutes=2")
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same bytes.")]
DataRoot = Annotated[
    str | None, typer.Option("--data-root", help="Where data sets are (default: data).")
]

Classifier = Annotated[
    str | None,
    typer.Option(
        help="Folder of the classifier that measures (default: checkpoints/classifier_DATA)."
    ),
]


class FeatureKind(StrEnum):
    """What distances are taken in."""

    classifier = "classifier"
    inception = "inception"


class HoleColour(StrEnum):
    """Which colour of a mask file is generated."""

    white = "white"
    black = "black"


class Simulation(StrEnum):
    """Which simulation."""

    two_gmm = "two-gmm"
    grid_gmm = "grid-gmm"


class SimulationTask(StrEnum):
    """Which tasks a simulation draws."""

    joint = "joint"
    marginal = "marginal"
    conditional = "conditional"
    big = "big"


class SimulationSchedule(StrEnum):
    """How 25 Gaussians are fitted."""

    published = "published"
    ours = "ours"


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(help="Run folder (default: runs/NAME-OF-CONFIG).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    classifier: Classifier = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print configuration, sizes and memory, and stop.")
    ] = False,
) -> None:
    """Train a model, or go on with a run that was interrupted: the same command line resumes."""
    settings = load_config(config, overrides or ())
    if dry_run:
        from biglearn_gan.fit import describe

        typer.echo(settings.to_yaml())
        typer.echo(describe(settings, device))
        return
    from biglearn_gan.fit import fit

    folder = output if output is not None else Path("runs") / config.stem
    with _training_progress() as on_progress:
        outcome = fit(
            settings,
            folder,
            device=device,
            on_progress=on_progress,
            make_evaluation=lambda dataset: _quick_evaluation(settings, dataset, classifier),
        )
    if outcome.interrupted and not outcome.is_main:
        sys.exit(1)
    if outcome.interrupted:
        _fail(
            f"stopped at {outcome.images_seen:,} of {outcome.total_images:,} images; "
            "the same command goes on from there"
        )
    if outcome.is_main:
        typer.echo(
            f"{outcome.images_seen:,} images seen in {outcome.seconds / 60:.1f} minutes; "
            f"the model is in {outcome.checkpoint}"
        )


@app.command()
def sample(
    checkpoint: Annotated[str, typer.Option(help="Folder, or name on the Hugging Face hub.")],
    output: Annotated[Path, typer.Option(help="Folder for grid.png, samples/ and samples.npz.")],
    mask: Annotated[
        str,
        typer.Option(
            help="What to generate: joint, left-half, right-half, top-half, bottom-half, center, "
            "border, checkerboard, strokes, random:R[:BLOCK], or an image file (white = generate)."
        ),
    ] = "joint",
    images: Annotated[
        str | None,
        typer.Option(help="What to complete: a file, a folder or dataset:split (mnist:test)."),
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Rows: source images, or joint samples.")] = 16,
    variations: Annotated[int, typer.Option(min=1, help="Samples for each row.")] = 1,
    seed: Seed = 0,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Rows in memory at once; changes no sample.")
    ] = 256,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, ...")] = "cpu",
    mask_hole: Annotated[
        HoleColour, typer.Option(help="Which colour of a mask file is generated.")
    ] = HoleColour.white,
    data_root: DataRoot = None,
) -> None:
    """Generate images from nothing, or complete the hole of given ones."""
    import torch

    from biglearn_gan.sampling import Sources, draw, load_hole, load_sources, write_samples

    if mask == "joint" and images is not None:
        _fail("--images needs a --mask: with the mask 'joint' nothing of an image is used", code=2)
    model = _load_model(checkpoint, _device(device))
    data = model.config.data
    if data_root is not None:
        data = data.model_copy(update={"root": data_root})
    if mask == "joint":
        black = torch.zeros(num, data.channels, *data.image_size, dtype=torch.uint8)
        sources = Sources(black)
    else:
        load_hole(mask, model, 1, seed, mask_hole.value)
        sources = load_sources(data, images, num)
    for note in sources.notes:
        typer.echo(note)
    rows = len(sources.images)
    hole = load_hole(mask, model, rows, seed, mask_hole.value)
    typer.echo(f"the hole is {hole.float().mean():.1%} of the image")
    output.mkdir(parents=True, exist_ok=True)
    with _bar(rows, "image") as bar:
        samples = draw(
            model,
            sources.images,
            hole,
            variations=variations,
            seed=seed,
            batch_size=batch_size,
            on_rows=bar,
        )
    write_samples(samples, output)
    typer.echo(f"{rows} x {variations} images are in {output} (see grid.png)")


@app.command()
def evaluate(
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder, or name on the Hugging Face hub.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="Images made elsewhere: a folder, or an .npz with the keys of sample's."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set that --samples imitate, such as mnist.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Comma-separated, such as joint,random:0.5,marginal:center.")
    ] = None,
    features: Annotated[
        FeatureKind, typer.Option(help="What distances are taken in.")
    ] = FeatureKind.classifier,
    classifier: Classifier = None,
    masked_classifier: Annotated[
        str | None,
        typer.Option(help="Folder (default: checkpoints/masked_classifier_DATA)."),
    ] = None,
    inception_weights: Annotated[
        Path | None, typer.Option(help="pytorch-fid's weights (default: fetched and cached).")
    ] = None,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Compare with exact conditionals (Gaussian fields).")
    ] = False,
    joint_checkpoint: Annotated[
        str | None, typer.Option(help="For --oracle: a model trained with the joint task only.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Images per task.")] = 10_000,
    variations: Annotated[int, typer.Option(min=1, help="Completions of each image.")] = 8,
    seed: Seed = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Measure fewer images than features have dimensions.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, ...")] = "cpu",
    output: Annotated[
        Path, typer.Option(help="Folder for metrics.json, metrics.csv and figures.")
    ] = Path("samples/evaluation"),
    data_root: DataRoot = None,
) -> None:
    """Measure a model, or images made elsewhere: distances with floor, agreement with ceiling."""
    if (checkpoint is None) == (samples is None):
        _fail("give either --checkpoint or --samples", code=2)
    if samples is not None and data is None:
        _fail("--samples needs --data, the name of the data set that they imitate", code=2)
    if checkpoint is not None and data is not None:
        _fail("--data is for --samples; a checkpoint knows its data", code=2)
    if oracle and (checkpoint is None or tasks is not None):
        _fail("--oracle needs --checkpoint, and draws tasks of every kind itself", code=2)
    if joint_checkpoint is not None and not oracle:
        _fail("--joint-checkpoint is for --oracle", code=2)
    place = _device(device)
    output.mkdir(parents=True, exist_ok=True)
    if oracle:
        assert checkpoint is not None
        _evaluate_oracle(checkpoint, joint_checkpoint, place, seed, output)
        return

    from biglearn_gan.data import load_dataset
    from biglearn_gan.evaluation.answers import load_given
    from biglearn_gan.evaluation.protocol import default_tasks, evaluate, evaluate_given
    from biglearn_gan.evaluation.records import table
    from biglearn_gan.evaluation.reference import default_cache
    from biglearn_gan.evaluation.report import write_report

    model = None if checkpoint is None else _load_model(checkpoint, place)
    settings = _data_config(data or "") if model is None else model.config.data
    if data_root is not None:
        settings = settings.model_copy(update={"root": data_root})
    rulers = _load_rulers(
        settings.name, features, classifier, masked_classifier, inception_weights, place
    )
    train_data, test_data = load_dataset(settings, "train"), load_dataset(settings, "test")
    cache = default_cache()
    with _task_bars() as progress:
        if model is not None:
            patch_size = model.config.model.patch_size
            asked = tasks.split(",") if tasks else default_tasks(settings.image_size, patch_size)
            report = evaluate(
                model,
                patch_size,
                rulers,
                train_data,
                test_data,
                num=num,
                seed=seed,
                variations=variations,
                tasks=asked,
                cache=cache,
                allow_few=force,
                progress=progress,
            )
        else:
            assert samples is not None
            question, given = load_given(samples, test_data, tasks)
            report = evaluate_given(
                question,
                given,
                rulers,
                train_data,
                test_data,
                seed=seed,
                cache=cache,
                allow_few=force,
                progress=progress,
            )
    write_report(report, output)
    typer.echo(table(report.records))
    for task, speed in report.images_per_second.items():
        typer.echo(f"{task}: {speed:.0f} images/s")
    typer.echo(f"records and figures are in {output}")


@app.command("train-classifier")
def train_classifier(
    config: ConfigFile,
    output: Annotated[Path, typer.Option(help="Folder of the classifier.")],
    overrides: Overrides = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="Of partly observed images: p(label | part).")
    ] = False,
    images: Annotated[
        int | None, typer.Option(min=64, help="Budget in images seen (default: what ships).")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier that ``evaluate`` measures with, on the data set's labels."""
    from biglearn_gan.evaluation.classifier_training import train_and_save_classifier

    settings = load_config(config, overrides or ())
    with _task_bars() as progress:
        measured = train_and_save_classifier(
            settings.data,
            config.as_posix(),
            output,
            masked=masked,
            seed=seed,
            images=images,
            progress=lambda done, total: progress("classifier", done, total),
        )
    typer.echo(f"{measured}\nthe classifier is in {output}")


@app.command()
def simulate(
    simulation: Annotated[Simulation, typer.Argument(help="Two Gaussians, or a grid of 25.")],
    task: Annotated[
        SimulationTask, typer.Option(help="Tasks to learn from; big mixes them.")
    ] = SimulationTask.big,
    schedule: Annotated[
        SimulationSchedule | None,
        typer.Option(help="How grid-gmm is fitted (default: ours, about 40 times as fast)."),
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option(help="Folder (default: samples/SIMULATION).")
    ] = None,
) -> None:
    """Fit Gaussians to Gaussians: what big learning is, with every number exact."""
    if simulation is Simulation.two_gmm and schedule is not None:
        _fail("--schedule is for grid-gmm; two-gmm goes down exact gradients", code=2)
    folder = output if output is not None else Path("samples") / simulation.value
    folder.mkdir(parents=True, exist_ok=True)
    if simulation is Simulation.two_gmm:
        _simulate_two(task.value, seed, folder)
    else:
        _simulate_grid(task.value, (schedule or SimulationSchedule.ours).value, seed, folder)
    typer.echo(f"figures and tables are in {folder}")


def main() -> None:
    """Run the command line and exit."""
    warnings.formatwarning = lambda message, *_, **__: f"biglearn-gan: {message}\n"
    command = typer.main.get_command(app)
    try:
        code = command.main(prog_name="biglearn-gan", standalone_mode=False)
    except Exception as error:
        _exit_for(error)
    if code == INTERRUPTED:
        _fail("interrupted")
    sys.exit(code if isinstance(code, int) else 0)


def _exit_for(error: Exception) -> NoReturn:
    """One sentence and a code for a mistake; anything else is a bug and keeps its traceback."""
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if "NoArgsIsHelpError" in kinds:
        typer.echo(error.format_message())  # type: ignore[attr-defined]
        sys.exit(2)
    if "ClickException" in kinds:
        _fail(error.format_message(), code=2)  # type: ignore[attr-defined]
    if kinds & set(USAGE_ERRORS):
        _fail(str(error), code=2)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")
    if kinds & set(FAILURES):
        _fail(str(error))
    raise error


INTERRUPTED = 130
"""What typer returns after Ctrl-C."""

USAGE_ERRORS = ("ConfigError", "HoleError", "ProtocolError", "OracleError")
FAILURES = (
    "DataError",
    "CheckpointError",
    "RunFolderError",
    "TrainingError",
    "ClassifierError",
    "FeaturesError",
)
"""Known errors by name, so that their modules (and torch) are not imported to recognise them."""


def _fail(message: str, code: int = 1) -> NoReturn:
    for line in message.splitlines():
        typer.echo(f"biglearn-gan: {line}", err=True)
    sys.exit(code)


def _device(name: str) -> Any:
    import torch

    try:
        place = torch.device(name)
        torch.zeros(1, device=place).item()
    except (RuntimeError, AssertionError):
        _fail(f"--device: {name!r} is not a device of this machine", code=2)
    return place


def _load_model(checkpoint: str, place: Any) -> Any:
    from biglearn_gan.model import BigLearnGAN

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return BigLearnGAN.from_pretrained(checkpoint).to(place)


def _data_config(name: str) -> Any:
    """A data set of that name in its own size, or that of a YAML file."""
    from biglearn_gan.config import DataConfig
    from biglearn_gan.data import NATIVE_SIZES

    if name.endswith((".yaml", ".yml")):
        return load_config(name).data
    if name not in NATIVE_SIZES:
        _fail(
            f"--data: {name!r} is none of {', '.join(NATIVE_SIZES)}, nor a YAML file as in "
            "experiments/",
            code=2,
        )
    image_size, channels = NATIVE_SIZES[name]
    return DataConfig.model_validate({"name": name, "image_size": image_size, "channels": channels})


def _load_rulers(
    data_name: str,
    kind: FeatureKind,
    classifier: str | None,
    masked_classifier: str | None,
    inception_weights: Path | None,
    place: Any,
) -> Any:
    """What measures: features, and the classifiers that were given or ship for the data."""
    from biglearn_gan.evaluation.bench import Rulers
    from biglearn_gan.evaluation.classifier import ImageClassifier
    from biglearn_gan.evaluation.features import ClassifierFeatures, InceptionFeatures
    from biglearn_gan.evaluation.masked_classifier import MaskedClassifier

    folder = _shipped("classifier", data_name, classifier)
    masked_folder = _shipped("masked_classifier", data_name, masked_classifier)
    reader = None if folder is None else ImageClassifier.from_pretrained(folder).to(place)
    masked = None
    if masked_folder is not None:
        masked = MaskedClassifier.from_pretrained(masked_folder).to(place)
    else:
        typer.echo("no ceiling of agreement: no --masked-classifier was given and none ships")
    if kind is FeatureKind.inception:
        return Rulers(InceptionFeatures(weights=inception_weights, device=place), reader, masked)
    if inception_weights is not None:
        _fail("--inception-weights is for --features inception", code=2)
    if reader is None:
        _fail(
            f"no classifier ships for {data_name}: give --classifier (train-classifier makes one), "
            "or --features inception",
            code=2,
        )
    return Rulers(ClassifierFeatures(reader), reader, masked)


def _shipped(kind: str, data_name: str, given: str | None) -> str | None:
    """The folder that was given, or the shipped one for these data, where it is."""
    folder = Path("checkpoints") / f"{kind}_{data_name}"
    return given or (folder.as_posix() if folder.is_dir() else None)


def _quick_evaluation(settings: Any, dataset: Any, classifier: str | None) -> Any:
    """What measures alongside training, or None where there is no classifier to measure with."""
    from biglearn_gan.data import load_dataset
    from biglearn_gan.evaluation.classifier import ImageClassifier
    from biglearn_gan.evaluation.quick import QuickEvaluation

    data = settings.data
    folder = _shipped("classifier", data.name, classifier)
    if folder is None:
        typer.echo("no evaluation alongside: no --classifier was given and none ships for the data")
        return None
    held_out = load_dataset(data, "validation") if data.validation_share else None
    ruler = ImageClassifier.from_pretrained(folder).to(dataset.device)
    evaluation = QuickEvaluation(ruler, dataset, held_out, settings.model.patch_size)
    typer.echo(
        f"evaluation alongside: {evaluation.description}; at most "
        f"{settings.logging.evaluation_share:.0%} of the time"
    )
    if held_out is None:
        typer.echo("data.validation_share is 0, so no state is kept as the best")
    return evaluation


def _evaluate_oracle(
    checkpoint: str, joint_checkpoint: str | None, place: Any, seed: int, output: Path
) -> None:
    from biglearn_gan.evaluation.oracle import evaluate_oracle
    from biglearn_gan.evaluation.records import table, write_records
    from biglearn_gan.fields import gaussian_field

    model = _load_model(checkpoint, place)
    data = model.config.data
    if data.gaussian_field is None:
        _fail(
            f"--oracle needs a model of a gaussian_field, whose conditionals are known, "
            f"not of {data.name}",
            code=2,
        )
    field = gaussian_field(data.gaussian_field, data.image_size)
    joint_model = None if joint_checkpoint is None else _load_model(joint_checkpoint, place)
    with _task_bars() as progress:
        records = evaluate_oracle(
            model, field, seed=seed, joint_model=joint_model, progress=progress
        )
    write_records(records, output)
    typer.echo(table(records))


def _simulate_grid(task: str, schedule: str, seed: int, folder: Path) -> None:
    from biglearn_gan.simulation_figures import write_grid
    from biglearn_gan.simulation_training import SCHEDULES, TaskChoice, fit_grid

    settings = SCHEDULES[schedule]
    with _bar(settings.tasks, "task") as bar:
        history = fit_grid(settings, TaskChoice(task), seed, on_tasks=bar)
    facts: dict[str, str | int] = {
        "simulation": "grid-gmm",
        "task": task,
        "schedule": schedule,
        "seed": seed,
    }
    summary = write_grid(history, folder, facts)
    typer.echo(
        f"{summary['modes_covered']} of 25 modes, KL(model ‖ data) {summary['reverse_kl']:.4f} and "
        f"KL(data ‖ model) {summary['forward_kl']:.4f} nats, {summary['seconds']:.1f} s"
    )


def _simulate_two(task: str, seed: int, folder: Path) -> None:
    from biglearn_gan.simulation_figures import write_two
    from biglearn_gan.surfaces import DESCENT_STEPS, descend, plans, surfaces, tasks_of

    tasks, ways = tasks_of(task), plans(task)
    began = time.perf_counter()
    with _bar(len(tasks), "surface") as bar:
        found = surfaces(tasks, on_surface=bar)
    with _bar(len(ways) * DESCENT_STEPS, "step") as bar:
        descents = [descend(way, seed, on_steps=bar) for way in ways]
    facts: dict[str, str | int | float] = {
        "simulation": "two-gmm",
        "task": task,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 3),
    }
    summary = write_two(found, descents, folder, facts)
    for name, count in summary["spurious_minima"].items():
        typer.echo(f"{name}: {count} spurious minima")
    for name, share in summary["share_of_starts_solved"].items():
        typer.echo(f"{name}: {share:.0%} of the starts end at a global minimum")


@contextmanager
def _bar(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, leave=False, disable=not sys.stderr.isatty()) as bar:
        yield lambda done: bar.update(done) and None


@contextmanager
def _task_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar per task on a terminal, a line per task in a log."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    terminal = sys.stderr.isatty()

    def report(task: str, done: int, total: int) -> None:
        if task not in bars:
            bars[task] = tqdm(total=total, desc=task, unit="image", disable=not terminal)
        bars[task].update(done - bars[task].n)
        if not terminal and done >= total:
            typer.echo(f"{task}: {done:,} images", err=True)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()


@contextmanager
def _training_progress() -> Iterator[Callable[[Any], None]]:
    """A bar with speed and losses on a terminal, a line per logging interval in a log."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    bar: Any = None

    def report(progress: Any) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=progress.total_images, unit="image", disable=not terminal)
        bar.desc = "warm start" if progress.warm else "game"
        shown = {
            name.rpartition("/")[2]: f"{value:.3f}"
            for name, value in progress.metrics.items()
            if name.startswith(("loss/", "warm_start/"))
        }
        if shown:
            bar.set_postfix(shown, refresh=False)
        bar.update(progress.images_seen - bar.n)
        if progress.evaluation:
            bar.write(
                f"{progress.images_seen:>10,} images evaluated: "
                + "  ".join(
                    f"{name.rpartition('/')[2]} {value:.3f}"
                    for name, value in progress.evaluation.items()
                ),
                file=sys.stderr,
            )
        if progress.metrics and not terminal:
            speed = progress.metrics["images_per_second"]
            losses = "  ".join(f"{name} {value}" for name, value in shown.items())
            typer.echo(
                f"{progress.images_seen:>10,} / {progress.total_images:,} images  "
                f"{speed:.0f} images/s  {losses}",
                err=True,
            )

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()
