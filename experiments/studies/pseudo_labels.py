"""Measure what pseudo-labels and adversarial training add if few images are labeled.

    python experiments/studies/pseudo_labels.py --config experiments/mnist_few_labels.yaml \
        --output pseudo_labels.json train.max_images=60_000

Four variants of the configuration learn from the same labels: with and without pseudo-labels, with
and without adversarial training. Without adversarial training, a run has a longer warm start, whose
steps are faster (``equal_time.py``), so that the times of all are similar. The table has the times
and the accuracy of the predicted labels of all test images, whole and with half of the patches
hidden, as mean and standard deviation over draws of the labels.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from accelerate import Accelerator
from equal_time import warm_start_images
from label_tools import accuracy_of_model

from biglearn_gan.cli.options import ConfigFile, Overrides
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.training.fit import load_training_images
from biglearn_gan.training.schedule import TrainingSchedule
from biglearn_gan.training.trainer import Trainer

HOLES = ("nothing", "random:0.5")
ALMOST_ALL = "train.warm_start.share=0.9999"  # at least one batch is left for the game

Results = dict[str, dict[str, list[float]]]


def main(
    config: ConfigFile,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    overrides: Overrides = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the labeled images.")] = 2,
) -> None:
    """Print the accuracies as a Markdown table and write them as JSON."""
    torch.set_num_threads(1)
    base = load_config(config, overrides or ())
    needed = (base.data.labeled_images, base.loss.pseudo_labels, base.train.max_images)
    if None in needed:
        fail(
            f"{config} must set data.labeled_images, loss.pseudo_labels and train.max_images",
            code=2,
        )
    assert base.train.max_images is not None
    schedule = TrainingSchedule(base, base.train.max_images)
    game = schedule.total_images - schedule.warm_start_images
    longer = schedule.warm_start_images + warm_start_images(game)
    without_game = [f"train.max_images={longer}", ALMOST_ALL]
    variants = {
        "labels alone": ["loss.pseudo_labels=null", *without_game],
        "labels, adversarial training": ["loss.pseudo_labels=null"],
        "pseudo-labels": without_game,
        "pseudo-labels, adversarial training": [],
    }
    test = load_dataset(base.data, "test")
    test = test.subset(test.labeled)
    make_folder(output.parent)
    results: Results = {name: {} for name in variants}
    for draw in range(draws):
        seeds = [f"data.labeled_seed={draw}", f"train.seed={draw}"]
        for name, changes in variants.items():
            changed = load_config(config, [*(overrides or ()), *changes, *seeds])
            for measure, value in train_and_measure(changed, test).items():
                results[name].setdefault(measure, []).append(value)
            write_json(output, results)
    typer.echo(table(results))


def train_and_measure(config: Config, test: ImageDataset) -> dict[str, float]:
    """Accuracy by hidden part, and seconds of computing."""
    accelerator = Accelerator(cpu=True)
    assert config.train.max_images is not None
    started = time.process_time()
    images = load_training_images(config, accelerator.device)
    trainer = Trainer(config, images, accelerator, config.train.max_images)
    with closing(trainer):
        while not trainer.finished:
            trainer.step()
        trainer.collect_metrics()
    seconds = time.process_time() - started
    model = trainer.model()
    return {hole: accuracy_of_model(model, test, hole) for hole in HOLES} | {
        "seconds": round(seconds, 1)
    }


def table(results: Results) -> str:
    """Means and standard deviations over the draws, in percent."""
    lines = ["| learns from | whole images | half hidden | CPU seconds |", "|---|---|---|---|"]
    for name, measures in results.items():
        cells = [percent(measures[hole]) for hole in HOLES]
        lines.append(f"| {name} | {' | '.join(cells)} | {np.mean(measures['seconds']):.0f} |")
    return "\n".join(lines)


def percent(shares: list[float]) -> str:
    """``mean ± standard deviation`` in percent; a single value without a deviation."""
    mean = f"{100 * np.mean(shares):.1f}"
    return mean if len(shares) == 1 else f"{mean} ± {100 * np.std(shares, ddof=1):.1f}"


if __name__ == "__main__":
    run(main, "pseudo_labels")
