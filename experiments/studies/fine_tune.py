"""Measure from how many images on it pays to start from a trained model.

    python experiments/prepare_digits.py --size 28 --output digits28
    biglearn-gan train-classifier --config experiments/mnist.yaml --output digits28_classifier \
        data.name=folder data.root=digits28
    python experiments/studies/fine_tune.py --config experiments/mnist.yaml --checkpoint mnist \
        --data-root digits28 --classifier digits28_classifier --output fine_tune.json

For each number of training images, equally many of each class, one run starts from the trained
model with a third of the learning rates, and one from nothing. Both get about the same computing
time: the run from nothing spends half of it on the warm start, whose steps are faster
(``equal_time.py``). Completions of test images with half of the patches hidden are evaluated at the
start and --evaluations times later. The reference of the distance is the whole training split.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import torch
import typer
from accelerate import Accelerator
from equal_time import warm_start_images
from label_tools import fewest_labels

from biglearn_gan.cli.evaluation_options import parse_counts
from biglearn_gan.cli.options import Checkpoint, ConfigFile, Overrides
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.labeled import hide_labels
from biglearn_gan.data.loading import count_classes, load_dataset
from biglearn_gan.evaluation.during_training import TrainingEvaluation
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.metrics.classifier import ImageClassifier
from biglearn_gan.training.initial_model import load_initial_model
from biglearn_gan.training.trainer import Trainer

Curve = list[dict[str, float]]


def main(
    config: ConfigFile,
    checkpoint: Checkpoint,
    data_root: Annotated[
        Path, typer.Option(exists=True, help="Folder of the images: train/ and test/ by class.")
    ],
    classifier: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Classifier of these images.")
    ],
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    overrides: Overrides = None,
    counts: Annotated[str, typer.Option(help="Numbers of training images.")] = "50,500",
    budget: Annotated[int, typer.Option(min=64, help="Images of a run from the model.")] = 24_000,
    evaluations: Annotated[int, typer.Option(min=1, help="Evaluations after the start.")] = 4,
) -> None:
    """Print the results at the end as a Markdown table and write the curves as JSON."""
    torch.set_num_threads(1)
    numbers = parse_counts(counts, "--counts")
    shared = [
        *(overrides or ()),
        *("data.name=folder", f"data.root={data_root}", "data.validation_share=0"),
    ]
    warm_start = warm_start_images(budget // 2)
    starts = {
        "trained model": [
            f"train.initial_model={checkpoint}",
            f"train.max_images={budget}",
            "train.warm_start.share=0",
            *third_of_learning_rates(load_config(config, shared)),
        ],
        "nothing": [
            f"train.max_images={warm_start + budget // 2}",
            f"train.warm_start.share={warm_start / (warm_start + budget // 2)}",
        ],
    }
    configs = {
        name: count_classes(load_config(config, [*shared, *changes]))
        for name, changes in starts.items()
    }
    data = configs["nothing"].data
    train, test = load_dataset(data, "train"), load_dataset(data, "test")
    check_counts(train, numbers)
    network = ImageClassifier.from_pretrained(classifier)
    evaluation = TrainingEvaluation(network, train, test, configs["nothing"].model.patch_size)
    typer.echo(evaluation.description)
    make_folder(output.parent)
    results: dict[str, dict[str, Curve]] = {}
    for count in numbers:
        part = some_images(train, count)
        results[str(count)] = {
            name: list(learning_curve(changed, part, evaluation, evaluations))
            for name, changed in configs.items()
        }
        write_json(output, results)
    typer.echo(table(results))


def check_counts(train: ImageDataset, counts: Sequence[int]) -> None:
    """Refuse images without labels, and counts that the classes cannot share equally.

    Raises:
        CommandError: names what is allowed.
    """
    if train.num_classes is None:
        fail(f"--data-root: {train.name} has no labels; put the images into class folders", code=2)
    most = train.num_classes * fewest_labels(train)
    if any(count % train.num_classes or count > most for count in counts):
        fail(
            f"--counts must be multiples of the {train.num_classes} classes up to {most:,}, not "
            f"{','.join(map(str, counts))}",
            code=2,
        )


def third_of_learning_rates(config: Config) -> list[str]:
    """Overrides for both networks' learning rates."""
    rates = config.train.learning_rate
    return [
        f"train.learning_rate.generator={rates.generator / 3}",
        f"train.learning_rate.discriminator={rates.discriminator / 3}",
    ]


def some_images(dataset: ImageDataset, count: int) -> ImageDataset:
    """Some images with their labels, equally many of each class."""
    chosen = hide_labels(dataset, count, seed=0)
    return chosen.subset(chosen.labeled)


def learning_curve(
    config: Config, images: ImageDataset, evaluation: TrainingEvaluation, evaluations: int
) -> Iterator[dict[str, float]]:
    """The numbers at the start and at later times, with seconds of computing."""
    assert config.train.max_images is not None
    trainer = Trainer(config, images, Accelerator(cpu=True), config.train.max_images)
    initial = load_initial_model(config)
    if initial is not None:
        trainer.init_from(initial)
    seconds = 0.0
    with closing(trainer):
        for part in range(evaluations + 1):
            started = time.process_time()
            while trainer.images_seen < trainer.schedule.total_images * part / evaluations:
                trainer.step()
            trainer.collect_metrics()
            seconds += time.process_time() - started
            yield {
                "images": trainer.images_seen,
                "seconds": round(seconds, 1),
                **evaluation.measure(trainer.model()),
            }


def table(results: dict[str, dict[str, Curve]]) -> str:
    """The last numbers of each curve as Markdown."""
    lines = [
        "| training images, start | distance | agreement | CPU seconds |",
        "|---|---|---|---|",
    ]
    for count, curves in results.items():
        for name, curve in curves.items():
            last = curve[-1]
            lines.append(
                f"| {int(count):,}, {name} | {last['evaluation/completion_distance']:.2f} "
                f"| {last['evaluation/agreement']:.3f} | {last['seconds']:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "fine_tune")
